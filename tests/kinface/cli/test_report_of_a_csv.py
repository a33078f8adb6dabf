"""``kinface report`` of a csv with neither families nor people: custom groups, photos, and odd names and scores."""

from __future__ import annotations

import contextlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from kinface.cli.report import report
from swinface.files import InputError

pytestmark = pytest.mark.usefixtures("blank_pictures")


def write_plain(path, **columns):
    """A csv of 200 pairs without families or labels, with the better scores for kin."""
    rng, kin = np.random.default_rng(0), np.arange(200) % 2
    table = {"face_a": [f"a{row}" for row in range(200)], "face_b": [f"b{row}" for row in range(200)], "kin": kin}
    pd.DataFrame(table | {"score": kin + rng.normal(size=200)} | columns).to_csv(path, index=False)
    return path


@pytest.mark.usefixtures("no_figures")
def test_where_no_groups_are_compared_it_does_not_say_that_none_is_treated_worse(tmp_path, capsys):
    scores = write_plain(tmp_path / "scores.csv")
    report(scores, threshold=0.5, out=tmp_path / "out", resamples=100)
    assert "no groups were compared" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No groups were compared" in page
    assert "treated worse" not in page


@pytest.mark.usefixtures("no_figures")
def test_warnings_come_before_figures(tmp_path, capsys):
    scores = write_plain(tmp_path / "scores.csv")
    report(scores, threshold=7, out=tmp_path / "out", resamples=100)
    told = capsys.readouterr().out.splitlines()
    warned = [line.startswith("warning: ") for line in told]
    assert any("accepts 0.0% of the pairs" in line for line in told[: warned.index(False)])
    assert told[warned.index(False)].split()[0] == "accuracy" and not any(warned[warned.index(False) :])


def test_one_column_for_both_people_of_a_pair_is_refused(tmp_path):
    scores = write_plain(tmp_path / "scores.csv", race="Asian")
    with pytest.raises(InputError, match=r"column race: a pair has two people; name the columns race_a and race_b"):
        report(scores, threshold=0.5, out=tmp_path / "out")


@pytest.mark.usefixtures("no_figures")
def test_pairs_of_no_group_are_counted_on_page_output_and_record(tmp_path, capsys):
    ethnicity, tone = ["x", "y", None, "NA"] * 50, [*["light", "dark"] * 98, *[None] * 4]
    scores = write_plain(tmp_path / "scores.csv", ethnicity=ethnicity, tone_a=tone, tone_b="dark")
    report(scores, threshold=0.5, by=["ethnicity", "tone"], matched=scores, out=tmp_path / "out", resamples=100)
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for listed in (record, record["matched"]):
        assert listed["without_group"] == {"overall": 0, "ethnicity": 50, "tone": 4}
    assert [row["group"] for row in record["groups"] if row["grouping"] == "ethnicity"] == ["NA", "x", "y"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("50 of the 200 pairs have no label for ethnicity and are in none of its groups") == 2
    printed = capsys.readouterr().out.splitlines()
    assert "ethnicity: 50 of 200 pairs have no label and are in no group" in printed
    assert "tone on the matched list: 4 of 200 pairs have no label and are in no group" in printed
    assert not any("overall" in line for line in printed)


@pytest.mark.pictures
def test_names_from_a_file_move_neither_terminal_nor_figures(tmp_path, capsys):
    names = ["$\\frac{", "$a$ $", "_x", "\x1b[31mred", "\u202e"]
    scores = write_plain(tmp_path / "scores.csv", own=np.resize(names, 200))
    table = pd.read_csv(scores)
    table["score"] -= 2.0 * (table["kin"] * (table["own"] == names[3]))
    table = pd.concat([table.assign(face_a=f"{copy}" + table["face_a"]) for copy in range(3)])
    table.to_csv(scores, index=False)
    report(scores, threshold=0.5, by=["own"], out=tmp_path / "out", resamples=100)
    printed = capsys.readouterr().out
    assert "\\x1b[31mred 0." in printed and "\x1b" not in printed and "\u202e" not in printed
    assert (tmp_path / "out" / "det_own.png").stat().st_size > 1000
    assert {row["group"] for row in json.loads((tmp_path / "out" / "metrics.json").read_text())["groups"]} >= {*names}


@pytest.mark.usefixtures("no_figures")
def test_a_disparity_of_ones_own_stands_in_the_report(tmp_path, monkeypatch):
    (tmp_path / "own_measure.py").write_text(
        "from kinface.fairness.disparities import Disparity\n"
        "measure = Disparity(lambda tpr: tpr.max(axis=-1) - tpr.min(axis=-1), ('tpr',), 0)\n"
    )
    monkeypatch.chdir(tmp_path)
    scores = write_plain(tmp_path / "scores.csv", own=["x", "x", "y", "y"] * 50)
    options = {"threshold": 0.5, "by": ["own"], "out": tmp_path / "out", "resamples": 100}
    report(scores, **options, disparity=["own_measure.measure"])
    rows = {row["disparity"]: row for row in json.loads((tmp_path / "out" / "metrics.json").read_text())["disparities"]}
    assert rows["own_measure.measure"] == rows["TPR gap"] | {"disparity": "own_measure.measure"}
    assert "own_measure.measure" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(InputError, match=r"^--disparity: no disparity 'nothing'; choose from accuracy gap, "):
        report(scores, **options, disparity=["nothing"])


@pytest.mark.usefixtures("no_figures")
def test_a_model_is_not_called_better_for_a_group_of_too_few_pairs(tmp_path):
    kin = np.arange(200) % 2
    own = np.where((kin == 0) & (np.arange(200) >= 52), "rest", "few")
    scores = write_plain(tmp_path / "scores.csv", own=own)
    table = pd.read_csv(scores)
    table.assign(score=table["score"] - 9 * (own == "few") * (kin == 0)).to_csv(tmp_path / "other.csv", index=False)
    write_plain(tmp_path / "validation.csv", face_a=[f"v{row}" for row in range(200)])
    validation = {"threshold_from": tmp_path / "validation.csv", "compare_threshold_from": tmp_path / "validation.csv"}
    report(scores, compare=tmp_path / "other.csv", **validation, by=["own"], out=tmp_path / "out", resamples=100)
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = {row["metric"]: row for row in record["differences"] if row["group"] == "few"}
    assert rows["fmr"]["difference"] > 0.1
    assert rows["fmr"]["low"] is rows["fmr"]["high"] is rows["auc"]["low"] is None
    assert rows["tpr"]["low"] == rows["tpr"]["high"] == 0
    section = (tmp_path / "out" / "report.html").read_text().split('id="comparison"')[1].split('id="groups"')[0]
    (line,) = re.findall(r"<tr>(?:(?!</tr>).)*>few<.*?</tr>", section, re.DOTALL)
    assert "too few pairs" in line and "<b>" not in line


@pytest.mark.filterwarnings("ignore:.*empty rows")
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"acquired": ["1", "maybe"] * 2}, "photos.csv: row 2: acquired is 1 or 0"),
        ({"problem": [None, "no face"] * 2, "race": None}, "photos.csv: no photo has a value of 'race'"),
        ({"seen": 1}, "photos.csv: no column 'acquired'"),
    ],
)
def test_a_table_of_photos_is_read_or_named(tmp_path, columns, said):
    scores = write_plain(tmp_path / "scores.csv")
    pd.DataFrame({"race": ["x", "y", "x", None]} | columns).to_csv(tmp_path / "photos.csv", index=False)
    with pytest.raises(InputError, match=said):
        report(scores, threshold=0.5, acquisition=tmp_path / "photos.csv", out=tmp_path / "out", resamples=100)


@pytest.mark.usefixtures("no_figures")
def test_photos_of_a_csv_are_counted_by_group_and_without_one(tmp_path):
    scores = write_plain(tmp_path / "scores.csv")
    photos = pd.DataFrame({"race": ["x", "y", None] * 20, "acquired": ["yes", "no", 1, 0, 1, "0"] * 10})
    photos.to_csv(tmp_path / "photos.csv", index=False)
    report(scores, threshold=0.5, acquisition=tmp_path / "photos.csv", out=tmp_path / "out", resamples=100)
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["acquisition"]["race"]
    assert [(row["group"], row["photos"], row["failed"]) for row in rows] == [
        ("x", 20, 10),
        ("y", 20, 10),
        (None, 20, 10),
    ]
    assert "no label" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("no_figures")
def test_marks_of_the_unknown_in_a_table_of_photos_are_no_group_no_person_and_no_problem(tmp_path):
    scores, found = write_plain(tmp_path / "scores.csv"), []
    photos = pd.DataFrame({"photo": range(60), "race": ["x", "y", None] * 20, "person": [*range(30), *[None] * 30]})
    photos["problem"] = np.where(photos.index % 4 == 0, "no face found", None)
    for marks in ({}, {"race": "unknown", "person": "NA", "problem": "NA"}, {"race": "-1", "person": "unk"}):
        photos.astype(object).fillna(marks).to_csv(tmp_path / "photos.csv", index=False)
        with pytest.warns(UserWarning, match="photos: .* read as missing") if marks else contextlib.nullcontext():
            report(scores, threshold=0.5, acquisition=tmp_path / "photos.csv", out=tmp_path / "out", resamples=100)
        found.append(json.loads((tmp_path / "out" / "metrics.json").read_text())["acquisition"]["race"])
    assert found[0] == found[1] == found[2]
    assert [(row["group"], row["failed"]) for row in found[0]] == [("x", 5), ("y", 5), (None, 5)]
    photos.assign(race=["Asian", "asian"] * 30).to_csv(tmp_path / "photos.csv", index=False)
    with pytest.warns(UserWarning, match="photos: groups of 'race' that look alike, yet differ"):
        report(scores, threshold=0.5, acquisition=tmp_path / "photos.csv", out=tmp_path / "out", resamples=100)


@pytest.mark.usefixtures("no_figures")
def test_distances_and_repeated_pairs_are_warned_of(tmp_path, capsys):
    scores = write_plain(tmp_path / "scores.csv")
    table = pd.read_csv(scores).assign(score=lambda pairs: -pairs["score"])
    again = table[:3].assign(kin=1 - table["kin"][:3])
    pd.concat([table, table[:80], again]).to_csv(scores, index=False)
    report(scores, threshold=-0.5, out=tmp_path / "out", resamples=100)
    printed = capsys.readouterr().out
    assert "non-kin pairs in" in printed and "give their negative" in printed
    assert "80 rows of" in printed and "3 pairs of" in printed and "non-kin in another" in printed
