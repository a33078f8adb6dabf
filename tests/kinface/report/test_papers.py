"""Tables and figures for papers, and what makes a page again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Text

import kinface
from kinface.cli.report import report
from kinface.fairness.audit import audit_fairness
from kinface.report.build import build_report
from kinface.report.html import render
from kinface.report.papers import tabulate_groups, write_card, write_table
from kinface.report.plots import COLUMN, TEXT
from swinface.files import InputError, to_plain
from tests.pages import BROWSER, PDFTOTEXT, print_pages, section, text_of

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def scores(tmp_path):
    """A csv of 200 pairs in groups whose names mean something to LaTeX and Markdown."""
    rng, kin = np.random.default_rng(0), np.arange(200) % 2
    faces = {f"face_{side}": [f"{side}{row}.jpg" for row in range(200)] for side in "ab"}
    groups = np.resize(["a_b & 100%", "x|y", "a_b & 100%"], 200)
    pairs = pd.DataFrame({**faces, "kin": kin, "score": kin + rng.normal(size=200), "own_group": groups})
    pairs.to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "scores.csv"


def test_tables_and_figures_for_papers_come_on_request(scores, tmp_path):
    out = tmp_path / "out"
    options = {"threshold": 0.5, "by": ["own_group"], "resamples": 100, "out": out}
    report(scores, **options, tables=["latex", "csv", "markdown"], figures=["pdf", "svg"])
    latex = (out / "table_own_group.tex").read_text()
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\usepackage{booktabs}"))
    assert r"a\_b \& 100\% & " in latex and r"Results by own\_group" in latex
    assert "| x\\|y |" in (out / "table_own_group.md").read_text()
    groups, table = pd.read_csv(out / "groups.csv"), pd.read_csv(out / "table_own_group.csv")
    assert table["Group"].tolist() == groups["group"].tolist()
    low, high = groups.loc[1, ["auc_low", "auc_high"]]
    assert table.loc[1, "AUC"] == f"{groups.loc[1, 'auc']:.3f} [{low:.3f}, {high:.3f}]"
    assert (out / "table_disparities_own_group.tex").exists()
    drawn = (out / "roc_own_group.pdf").read_bytes()
    assert drawn.startswith(b"%PDF") and b"FontFile2" in drawn, "fonts are embedded"
    assert "<svg" in (out / "verdict.svg").read_text()
    report(scores, **options)
    assert not [file for file in out.iterdir() if file.suffix in (".tex", ".pdf", ".svg") or file.match("table_*")]


def test_the_page_says_how_it_was_made(scores, tmp_path):
    out = tmp_path / "a folder"
    report(scores, threshold=0.5, by=["own_group"], resamples=100, seed=3, out=out)
    page = (out / "report.html").read_text()
    made = json.loads((out / "metrics.json").read_text())["made_by"]
    command = f"kinface report {scores} --out '{out}' --threshold 0.5 --by own_group --resamples 100 --seed 3"
    assert made["command"] == command
    assert made["inputs"] == {str(scores): hashlib.sha256(scores.read_bytes()).hexdigest()}
    again = section(page, "again")
    assert made["inputs"][str(scores)] in again and "seed 3, 100 resamples" in again
    assert f"numpy {np.__version__}" in again
    assert "Fairness was audited on 200 pairs of faces (100 kin, 100 non-kin; unknown families" in text_of(page)


def test_a_group_without_pairs_of_a_kind_has_no_interval(draw_scored):
    audit = audit_fairness(draw_scored(600), 0.5, groupings=["race"], resamples=50)
    table = tabulate_groups(to_plain(audit.groups.to_dict("records")), "race").set_index("Group")
    assert table.loc["two races", "TPR (%)"] == "–"
    assert write_table(table, "csv", "").count("[") > 10


def test_an_audit_gives_its_table_and_figures_at_the_width_of_paper(draw_scored):
    audit = kinface.audit(draw_scored(600, shift={"African": -1.2}), 0.5, resamples=50)
    latex = audit.to_latex("type")
    row = audit.groups.loc[audit.groups["group"] == "gmgd"].iloc[0]
    line = next(line for line in latex.splitlines() if line.startswith("grandmother and granddaughter"))
    cells = line.removesuffix(r" \\").split(" & ")
    assert cells[1:4] == [str(row[name]) for name in ("kin", "non_kin", "families")]
    assert cells[5] == f"{100 * row['tpr']:.1f} [{100 * row['tpr_low']:.1f}, {100 * row['tpr_high']:.1f}]"
    widths = {"verdict": TEXT, "rates": TEXT, "scores": TEXT, "roc": TEXT, "det": COLUMN}
    for name, width in widths.items():
        figure = getattr(audit, f"plot_{name}")()
        figure.canvas.draw()  # before, not all letters are there
        texts = [text for text in figure.findobj(Text) if text.get_text()]
        assert figure.get_figwidth() == width and {text.get_fontsize() for text in texts} == {7}, name
    for ask in (audit.to_latex, audit.plot_rates, audit.plot_scores, audit.plot_roc, audit.plot_det):
        with pytest.raises(InputError, match="no grouping 'shoe'; this audit has overall, race"):
            ask("shoe")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX is installed")
def test_latex_takes_the_tables_and_figures_and_none_is_wider_than_the_page(lists, tmp_path):
    out = tmp_path / "out"
    report(lists[0], threshold_from=lists[1], out=out, resamples=100, tables=["latex"], figures=["pdf"])
    sides = "left=0.8125in,right=0.8125in,columnsep=0.3125in"  # of CVPR's pages
    lines = [rf"\documentclass[twocolumn,letterpaper]{{article}}\usepackage[{sides}]{{geometry}}"]
    lines += [r"\usepackage{booktabs,graphicx}\extrafloats{99}\begin{document}"]
    lines += [rf"\input{{{path.name}}}" for path in sorted(out.glob("table_*.tex"))]
    for path in sorted(out.glob("*.pdf")):
        kind = "figure" if path.stem.startswith("det") else "figure*"
        lines += [rf"\begin{{{kind}}}\includegraphics{{{path.name}}}\end{{{kind}}}"]
    (out / "paper.tex").write_text("\n".join([*lines, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_what_latex_lacks_is_written_as_a_command():
    latex = write_table(pd.DataFrame({"a_b": ["−1.5", "∞"]}), "latex", "50% of {all} \\^~")
    assert "$-$1.5" in latex and r"$\infty$" in latex
    signs = r"\textbackslash{}\textasciicircum{}\textasciitilde{}"
    assert rf"\caption{{50\% of \{{all\}} {signs}, with 95\% confidence intervals.}}" in latex


def test_the_hub_reads_the_model_card(draw_scored):
    hub = pytest.importorskip("huggingface_hub")
    pairs = draw_scored(1500, shift={"African": -1.2})
    pairs["age_band"] = np.resize(["5-9", "10-14", "5-9"], len(pairs))
    audit = audit_fairness(pairs, 0.5, groupings=["age_band"], resamples=50)
    text = write_card(build_report(audit))
    card = hub.ModelCard(text)
    again = hub.ModelCardData(model_name=card.data.model_name, eval_results=card.data.eval_results)
    assert again.to_dict() == yaml.safe_load(text.split("---\n")[1])
    found = {(it.dataset_config, it.metric_type): it for it in card.data.eval_results}
    assert {config for config, _ in found} == {
        None, "race", "age_band", "race: African", "race: Asian", "race: Caucasian", "race: cross-race",
        "age_band: 5-9", "age_band: 10-14",
    }  # fmt: skip
    african = audit.groups[(audit.groups["group"] == "African") & (audit.groups["grouping"] == "race")].iloc[0]
    fmr = found["race: African", "fmr"]
    assert fmr.metric_value == pytest.approx(african["fmr"], abs=1e-4)
    ends = f"[{african['fmr_low']:.3f}, {african['fmr_high']:.3f}]"
    assert fmr.metric_name == f"FMR {ends}, {african['kin']} kin, {african['non_kin']} non-kin pairs"
    assert "Fairness was audited on 1,500 pairs" in card.text and "| African | " in card.text
    assert "&" not in card.text


@pytest.mark.pictures
@pytest.mark.skipif(BROWSER is None or PDFTOTEXT is None, reason="no Chromium, or no pdftotext of Poppler")
def test_print_has_every_section_and_no_slider_and_cuts_nothing_off(lists, tmp_path):
    audits = [audit_fairness(pd.read_parquet(lists[0]), at, resamples=50) for at in (0.5, 0.6)]
    page = render(build_report(audits[0], other=audits[1], title="In print"))
    folded = page.replace("<details open", "<details")
    words, width = print_pages(folded, tmp_path)
    text = " ".join(word for word, _ in words)
    for title in ("Findings", "Two models", "Results by group", "NIST and ISO/IEC 19795-10", "Limits", "For papers"):
        assert title in text
    assert "Fairness was audited on 1,500 pairs" in text, "sections are unfolded"
    assert "Move the threshold and see" not in text and "show rows with" not in text
    assert text.count("0.1%,") >= text_of(page).count("0.1%,") > 5, "the last column of the widest tables is there"
    assert max(right for _, right in words) < width
