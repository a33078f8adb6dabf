"""``kinface report``: what it writes, what the page says, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kinface.cli.report import report
from kinface.data.fiw import read_families
from kinface.data.lists import read_list
from kinface.data.pairs import write_pairs
from kinface.data.sampling import sample_pairs
from swinface.files import InputError
from tests.commands import run_kinface
from tests.pages import section, without_scripts

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.pictures
def test_it_writes_one_self_contained_page_tables_and_figures(lists, tmp_path, capsys):
    out = tmp_path / "out"
    report(lists[0], threshold_from=lists[1], out=out, resamples=100, title="A <b>title</b>")
    page = (out / "report.html").read_text()
    names = {path.name for path in out.iterdir()}
    groupings = ["race", "race_crossing", "gender_pair", "type", "generation_gap", "race_and_gender"]
    assert names >= {"report.html", "groups.csv", "metrics.json", "roc_race.png", "scores_race.png"}
    assert names >= {f"rates_{name}.png" for name in groupings}
    for grouping in ("race", "race_crossing", "gender_pair", "type", "generation_gap"):
        assert names >= {f"roc_{grouping}.png", f"scores_{grouping}.png"}
    assert page.index('id="groups"') < page.index("Kinship type: ROC curves") < page.index("Generation gap: ROC curves")
    assert page.count("data:image/png;base64,") == len([name for name in names if name.endswith(".png")])
    assert not re.search(r"""(src|href)=["'](?!data:|#)|<link|@import|url\(""", without_scripts(page))
    assert "<script src" not in page and len(page) < 3e6
    assert "A &lt;b&gt;title&lt;/b&gt;" in page
    assert not re.search(r"\b(None|nan)\b", without_scripts(page))
    assert str(out / "report.html") in capsys.readouterr().out


@pytest.mark.usefixtures("no_figures")
def test_page_and_record_say_what_the_figures_rest_on(lists, tmp_path, capsys):
    out = tmp_path / "out"
    report(lists[0], threshold_from=lists[1], out=out, resamples=100, seed=7)
    record = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    page = (out / "report.html").read_text()
    validation = pd.read_parquet(lists[1])
    families = len(set(validation["family_a"]) | set(validation["family_b"]))
    assert record["threshold"]["file"] == str(lists[1])
    assert record["threshold"]["pairs"] == 600
    assert (record["resamples"], record["seed"], record["warnings"]) == (100, 7, [])
    assert (record["resampled"], record["scores"]["pairs_of_unknown_families"]) == ("families", 0)
    assert f"600 pairs of {families} families" in page
    moved = record["threshold"]["range"][0]
    assert moved["metric"] == "threshold" and moved["low"] <= record["threshold"]["value"] <= moved["high"]
    assert f"95% of thresholds are {moved['low']:.4g} to {moved['high']:.4g}, with TPR of all pairs from" in page
    assert str(lists[1]) in page
    assert "split: V" in page
    assert "race: drawn; gender: drawn" in page
    groups = pd.read_csv(out / "groups.csv")
    assert len(groups) == len(record["groups"])
    assert {"pairs", "families", "tpr", "tpr_low", "tpr_high", "tar_at_1e-1"} <= set(groups)
    race = next(gap for gap in record["gaps"] if (gap["grouping"], gap["metric"]) == ("race", "tpr"))
    assert race["lowest"] == "African"
    assert race["significant"]
    assert "<b>Race, TPR (kin pairs accepted):</b>" in page
    tests = sum(gap["comparable"] for gap in record["gaps"])
    corrected = f"significant at 5% after correction for {tests} tests (Holm)"
    named = sum(gap["significant"] for gap in record["gaps"])
    assert corrected in page.replace("</b>", "")
    assert f"{named} of {tests} differences between groups are {corrected}" in capsys.readouterr().out
    assert "Do not compare accuracies by race" in page


def test_types_are_reported_where_they_are_predicted(draw_scored, lists, tmp_path, capsys):
    out, scored = tmp_path / "out", draw_scored(600)
    scored["type_predicted"] = scored["type"].where(scored["kin"] & (scored.index < 300), "unrelated")
    write_pairs(scored, tmp_path / "typed.parquet")
    report(tmp_path / "typed.parquet", threshold_from=lists[1], out=out, resamples=100)
    first = pd.read_csv(out / "types.csv").iloc[0]
    assert (first["pairs"], first["accuracy"], first["missed"], first["rejected"]) == (300, 0.5, 0.5, 1)
    counts = pd.read_csv(out / "confusions.csv", index_col=0)
    assert counts.loc["fd", "unrelated"] + counts.loc["fd", "fd"] == (scored["kin"] & (scored["type"] == "fd")).sum()
    assert json.loads((out / "metrics.json").read_text())["types"]["groups"][0]["accuracy"] == 0.5
    assert (out / "types.png").read_bytes().startswith(b"\x89PNG")
    said = section((out / "report.html").read_text(), "types")
    assert "Of 300 kin pairs of known type, it identifies the type of 50.0%" in said
    assert "type of kinship: balanced accuracy 0." in capsys.readouterr().out
    report(lists[0], threshold_from=lists[1], out=out, resamples=100)
    assert not {"types.csv", "confusions.csv", "types.png"} & {path.name for path in out.iterdir()}
    assert 'id="types"' not in (out / "report.html").read_text()
    assert "type of kinship" not in capsys.readouterr().out


def test_a_predicted_type_of_another_name_is_refused_with_its_row(draw_scored, tmp_path, capsys):
    scored = draw_scored(600).assign(type_predicted="fd")
    scored.loc[4, "type_predicted"] = "father"
    write_pairs(scored, tmp_path / "typed.csv")
    assert run_kinface("report", tmp_path / "typed.csv", "--threshold", 0.5, "--out", tmp_path / "out") == 2
    assert "typed.csv: row 5: type_predicted must be one of" in capsys.readouterr().err


def test_equal_models_show_no_difference(lists, tmp_path):
    out = tmp_path / "out"
    report(lists[0], threshold_from=lists[1], compare=lists[0], compare_threshold_from=lists[1], out=out, resamples=100)
    record = json.loads((out / "metrics.json").read_text())
    known = [row["difference"] for row in record["differences"] if isinstance(row["difference"], float)]
    assert len(known) > 100
    assert set(known) == {0.0}
    section = (out / "report.html").read_text().split('id="comparison"')[1].split('id="controls"')[0]
    assert "differences_race" not in section
    assert (out / "differences_race.png").exists()
    assert "<td><b>" not in section


def test_a_group_of_few_families_is_no_stumbling_block(lists, tmp_path):
    """Non-kin pairs of two races from fewer families than an interval needs."""
    pairs = pd.read_parquet(lists[0])
    crossing = pairs["race_a"] != pairs["race_b"]
    write_pairs(pd.concat([pairs[~crossing], pairs[crossing].head(1)]), lists[0])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=100)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["race_reward"] is None
    assert "Does it help to recognise race?" not in (tmp_path / "out/report.html").read_text()


@pytest.mark.usefixtures("no_figures")
def test_judging_what_a_model_was_fitted_on_is_warned_of(lists, tmp_path, capsys):
    pairs = pd.read_parquet(lists[0])
    pairs.loc[:299, "split"], pairs.loc[300:399, "split"] = "train", "tune"
    write_pairs(pairs, lists[0])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=100)
    page, printed = (tmp_path / "out/report.html").read_text(), capsys.readouterr().out
    for count, split in ((300, "train"), (100, "tune")):
        warning = f"{count} of the 1,500 pairs in {lists[0]} belong to the split {split}"
        assert warning in page
        assert f"warning: {warning}" in printed


@pytest.mark.usefixtures("no_figures")
def test_a_threshold_of_another_model_is_warned_of(lists, tmp_path, capsys):
    other = pd.read_parquet(lists[1])
    write_pairs(other.assign(score=other["score"] + 50), lists[1])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=100)
    assert "accepts 0.0% of the pairs" in capsys.readouterr().out
    assert "scored by the model that the threshold is for?" in (tmp_path / "out" / "report.html").read_text()


def test_anyones_scores_are_reported_by_any_column(draw_scored, tmp_path, capsys):
    """From a csv with faces, kin, score and custom groups, whose names may be hostile."""
    evil = "<script>alert('$x_1$')</script>"
    for name, prefix, seed in (("scores", "F", 0), ("validation", "V", 1)):
        table = draw_scored(800, seed=seed, prefix=prefix)[["face_a", "face_b", "kin", "score"]]
        table["age_band"] = np.resize(["5-9", "10-14", evil], len(table))
        table["light_a"], table["light_b"] = "day", np.resize(["day", "night", "day", "day", "day"], len(table))
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    arguments = [str(tmp_path / "scores.csv"), "--threshold-from", str(tmp_path / "validation.csv")]
    groupings = ["age_band", "light", "light x age_band"]
    arguments += [word for name in groupings for word in ("--by", name)]
    arguments += ["--resamples", "100", "--out", str(tmp_path / "out")]
    assert run_kinface("report", *arguments) == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "out/metrics.json").read_text(), parse_constant=pytest.fail)
    page = without_scripts((tmp_path / "out/report.html").read_text())
    assert record["own_groupings"] == groupings
    groups = [row["group"] for row in record["groups"]]
    assert groups[:6] == ["all pairs", "5-9", "10-14", evil, "day", "cross-light"]
    assert {gap["grouping"] for gap in record["gaps"]} == {"age_band", "light x age_band"}
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "Groupings of the user: age_band, light, light x age_band." in page
    assert "race: not stated" not in page
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"rates_age_band.png", "roc_age_band.png", "rates_light_x_age_band.png"}
    assert not re.search(r"\b(None|nan)\b", page)


@pytest.mark.usefixtures("no_figures")
def test_a_threshold_can_be_given_and_the_page_says_that_it_was(lists, tmp_path):
    report(lists[0], threshold=0.25, out=tmp_path / "out", resamples=100)
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert record["threshold"] == {"value": 0.25, "rule": "given"}
    page = " ".join((tmp_path / "out/report.html").read_text().split())
    assert "Threshold: <b>0.25</b>, the same for all groups. It was given by the user." in page


def test_figures_of_an_earlier_report_go_and_other_files_stay(lists, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("differences_race.png", "roc_shoe_size.png", "notes.png", "notes.txt"):
        (out / name).write_text("earlier")
    report(lists[0], threshold_from=lists[1], out=out, resamples=100)
    assert not (out / "differences_race.png").exists()
    assert not (out / "roc_shoe_size.png").exists()
    assert (out / "notes.png").exists() and (out / "notes.txt").exists()


def test_labels_may_be_missing(lists, tmp_path):
    pairs = pd.read_parquet(lists[0])
    missing = ["race_a", "race_b", "race_source", "gender_a", "gender_b", "gender_source", "type"]
    write_pairs(pairs.assign(**dict.fromkeys(missing)), lists[0])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=100)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The pairs have no labels for results by race. The pairs have no labels for results by gender pair." in page
    assert "No grouping has two groups" in page


PERSONS = ["person_a", "person_b", "family_a", "family_b"]
LABELS = ["race_a", "race_b", "race_source", "gender_a", "gender_b", "gender_source"]


@pytest.mark.parametrize("rows", [slice(None), slice(500)], ids=["none known", "some known"])
def test_pairs_of_unknown_families_are_resampled_one_by_one_and_the_page_says_so(lists, tmp_path, capsys, rows):
    pairs = pd.read_parquet(lists[0])
    pairs.loc[pairs.index[rows], [*PERSONS, "split"]] = None
    write_pairs(pairs.assign(**dict.fromkeys(LABELS)), lists[0])
    out, unknown = tmp_path / "out", len(pairs.iloc[rows])
    report(lists[0], threshold_from=lists[1], compare=lists[0], compare_threshold_from=lists[1], out=out, resamples=100)
    record = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    page = without_scripts((out / "report.html").read_text())
    resampled, known = ("pairs", 0) if unknown == len(pairs) else ("families and pairs", 60)
    assert record["resampled"] == resampled
    assert (record["scores"]["families"], record["scores"]["pairs_of_unknown_families"]) == (known, unknown)
    overall = record["groups"][0]
    assert (overall["families"], overall["units"]) == (known, known + unknown)
    assert overall["auc_low"] < overall["auc"] < overall["auc_high"]
    warning = (
        f"The families of {unknown:,} of the 1,500 pairs in {lists[0]} are unknown (columns family_a and family_b)."
    )
    assert [text for text in record["warnings"] if text.startswith(warning)]
    assert page.count(warning) == 1
    assert f"warning: {warning}" in capsys.readouterr().out
    assert "100 resamples (seed 0). <b>Pairs of unknown families were taken as independent" in page
    came = "unknown families" if not known else "60 known families and unknown ones"
    assert f"They come from {came}." in page
    for name in ("race", "gender pair"):
        assert f"no labels for results by {name}." in page
    assert not {group["grouping"] for group in record["groups"]} & {"race", "race crossing", "gender pair"}
    assert "<b>Too many differences may be called significant.</b>" in page
    assert "Kinship type: ROC curves" in page
    assert not re.search(r"\b(None|nan)\b", page)
    assert {row["difference"] for row in record["differences"] if isinstance(row["difference"], float)} == {0.0}


@pytest.mark.usefixtures("no_figures")
def test_independent_pairs_have_the_binomial_interval(lists, tmp_path):
    pairs = pd.read_parquet(lists[0])
    write_pairs(pairs.assign(**dict.fromkeys(PERSONS)), lists[0])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=1000)
    overall = json.loads((tmp_path / "out/metrics.json").read_text())["groups"][0]
    for metric, count in (("accuracy", 1500), ("tpr", 750), ("fmr", 750)):
        deviation = (overall[metric] * (1 - overall[metric]) / count) ** 0.5
        width = overall[f"{metric}_high"] - overall[f"{metric}_low"]
        assert width == pytest.approx(2 * 1.96 * deviation, rel=0.12)


@pytest.mark.usefixtures("no_figures")
def test_labels_of_race_are_audited_without_families(lists, tmp_path):
    pairs = pd.read_parquet(lists[0])
    write_pairs(pairs.assign(**dict.fromkeys(PERSONS)), lists[0])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=200)
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    race = next(gap for gap in record["gaps"] if (gap["grouping"], gap["metric"]) == ("race", "tpr"))
    assert race["lowest"] == "African"
    assert race["significant"]


@pytest.mark.usefixtures("no_figures")
def test_a_threshold_from_unknown_families_is_warned_of(lists, tmp_path):
    write_pairs(pd.read_parquet(lists[1]).assign(**dict.fromkeys(PERSONS)), lists[1])
    report(lists[0], threshold_from=lists[1], out=tmp_path / "out", resamples=100)
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert record["resampled"] == "families"
    assert "Too many differences may be called" not in (tmp_path / "out/report.html").read_text()
    assert len(record["warnings"]) == 1
    assert "cannot be checked whether audited families are among them" in record["warnings"][0]


@pytest.mark.usefixtures("no_figures")
def test_shared_families_are_warned_of_and_shared_pairs_refused(lists, tmp_path, draw_scored, capsys):
    overlapping = tmp_path / "overlapping.parquet"
    other = draw_scored(600, seed=5)
    for side in "ab":
        other[f"face_{side}"] = "other" + other[f"face_{side}"]
    write_pairs(other, overlapping)
    report(lists[0], threshold_from=overlapping, out=tmp_path / "out", resamples=100)
    assert "60 of the 60 audited families were also used to choose" in (tmp_path / "out/report.html").read_text()
    assert "warning: 60 of the 60 audited families" in capsys.readouterr().out
    mirrored = pd.read_parquet(lists[0]).head(300)
    for name in ("face", "person", "family", "race", "gender"):
        mirrored[[f"{name}_a", f"{name}_b"]] = mirrored[[f"{name}_b", f"{name}_a"]].to_numpy()
    write_pairs(mirrored, overlapping)
    with pytest.raises(InputError, match="300 of its pairs are also in"):
        report(lists[0], threshold_from=overlapping, out=tmp_path / "none", resamples=100)
    assert not (tmp_path / "none").exists()


def test_bias_analysis_imports_no_torch():
    code = "import sys, kinface.cli.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_real_validation_list(shared_data, tmp_path):
    """Raw cosine of a public face recogniser tells kin from non-kin, and strangers of one race less well."""
    families = read_families(shared_data / "fiw")
    teacher = np.load(shared_data / "teacher/dlib_fiw.npz", allow_pickle=False)
    unit = teacher["embedding"].astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    place = {face: row for row, face in enumerate(teacher["face"])}
    listed = read_list(shared_data / "fiw/lists/val_choose.txt", families)
    for name, pairs in (("scores", listed), ("validation", sample_pairs(families, "tune"))):
        a, b = (unit[[place[face] for face in pairs[f"face_{side}"]]] for side in "ab")
        write_pairs(pairs.assign(score=(a * b).sum(axis=1)), tmp_path / f"{name}.parquet")
    report(tmp_path / "scores.parquet", threshold_from=tmp_path / "validation.parquet", out=tmp_path, resamples=100)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["warnings"] == []
    assert record["groups"][0]["auc"] == pytest.approx(0.709, abs=0.01)
    assert record["race_reward"]["low"] > 0
