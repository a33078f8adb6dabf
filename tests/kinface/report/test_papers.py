"""Tables and figures for papers, and what makes a page again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from kinface.cli.report import report
from kinface.fairness.audit import audit_fairness
from kinface.report.build import build_report
from kinface.report.papers import tabulate_groups, write_table
from tests.pages import section, text_of


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
    assert (out / "table_disparities.tex").exists()
    drawn = (out / "roc_own_group.pdf").read_bytes()
    assert drawn.startswith(b"%PDF") and b"FontFile2" in drawn, "fonts are embedded"
    assert "<svg" in (out / "verdict.svg").read_text()
    report(scores, **options)
    assert not [file for file in out.iterdir() if file.suffix in (".tex", ".md", ".pdf", ".svg")]


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
    record = build_report(audit_fairness(draw_scored(600), 0.5, groupings=["race"], resamples=50)).record
    table = tabulate_groups(record, "race").set_index("Group")
    assert table.loc["two races", "TPR (%)"] == "–"
    assert write_table(table, "csv", "").count("[") > 10
