"""``kinface report`` with a second list beside the first, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from kinface.cli.report import report
from kinface.data.pairs import write_pairs
from swinface.files import InputError
from tests.commands import run_kinface

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def matched(lists, tmp_path) -> Path:
    """The kin pairs of the scored list but ten, and strangers who score half a point more than its own."""
    pairs = pd.read_parquet(lists[0])
    other = pairs[~pairs["kin"]].assign(score=lambda table: table["score"] + 0.5, list="drawn matched by race")
    for side in "ab":
        other[f"face_{side}"] = "other" + other[f"face_{side}"]
    path = tmp_path / "matched.parquet"
    write_pairs(pd.concat([pairs[pairs["kin"]][10:].assign(list="drawn matched by race"), other]), path)
    return path


@pytest.mark.usefixtures("no_figures")
def test_a_matched_list_stands_beside_the_standard_one(lists, matched, tmp_path, capsys):
    out = tmp_path / "out"
    report(lists[0], threshold_from=lists[1], matched=matched, out=out, resamples=200)
    record = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    rows = {(row["group"], row["metric"]): row for row in record["matched"]["differences"]}
    for path, side in ((matched, "ours"), (lists[0], "other")):
        pairs = pd.read_parquet(path)
        overall = rows["all pairs", "auc"]
        assert overall[side] == pytest.approx(roc_auc_score(pairs["kin"], pairs["score"]), abs=1e-9)
        strangers = pairs[~pairs["kin"]]
        fmr = (strangers["score"] >= record["threshold"]["value"]).mean()
        assert rows["all pairs", "fmr"][side] == pytest.approx(fmr, abs=1e-9)
        one_race = strangers[(strangers["race_a"] == "Asian") & (strangers["race_b"] == "Asian")]
        asian = (one_race["score"] >= record["threshold"]["value"]).mean()
        assert rows["Asian", "fmr"][side] == pytest.approx(asian, abs=1e-9)
    for key, row in rows.items():
        if row["difference"] is None:
            assert key in {("cross-race", "auc"), ("cross-race", "tpr")}  # no drawn family is of two races
            continue
        assert row["difference"] == pytest.approx(row["ours"] - row["other"])
        if key == ("cross-race", "accuracy"):
            assert row["low"] is row["high"] is None, "a group without kin pairs is not judged by its accuracy"
        else:
            assert row["low"] <= row["difference"] <= row["high"]
    assert rows["all pairs", "auc"]["high"] < 0 < rows["all pairs", "fmr"]["low"], "the planted difference is shown"
    assert abs(rows["all pairs", "tpr"]["difference"]) < 0.01
    for name in ("equalized odds difference", "GARBE"):
        ours, other = (
            next(row["value"] for row in lists if (row["grouping"], row["disparity"]) == ("race", name))
            for lists in (record["matched"]["disparities"], record["disparities"])
        )
        assert (rows[None, name]["ours"], rows[None, name]["other"]) == (pytest.approx(ours), pytest.approx(other))
    assert record["matched"]["kin_in_both"] == 740
    groups = pd.read_csv(out / "groups_matched.csv")
    assert groups.loc[0, "auc"] == pytest.approx(rows["all pairs", "auc"]["ours"])
    section = (out / "report.html").read_text().split('id="matched"')[1].split('id="groups"')[0]
    assert "740 of the 750 kin pairs" in section and str(matched) in section
    assert "Part of what the standard list measures is not kinship" in section
    assert "GARBE" in section and "None" not in section
    assert "on the matched list, 0." in capsys.readouterr().out
    report(lists[0], threshold_from=lists[1], out=out, resamples=100)
    assert not (out / "groups_matched.csv").exists()
    assert 'id="matched"' not in (out / "report.html").read_text()


@pytest.mark.usefixtures("no_figures")
def test_the_same_list_twice_shows_no_difference(lists, tmp_path):
    report(lists[0], threshold_from=lists[1], matched=lists[0], out=tmp_path / "out", resamples=100)
    rows = json.loads((tmp_path / "out/metrics.json").read_text())["matched"]["differences"]
    known = [row for row in rows if row["low"] is not None]
    assert len(known) > 15
    assert max(abs(row[name]) for row in known for name in ("difference", "low", "high")) < 1e-12
    assert "The difference is not significant." in (tmp_path / "out/report.html").read_text().split('id="matched"')[1]


def test_a_matched_list_of_another_model_or_list_is_refused(lists, matched, tmp_path):
    given = {"scores": lists[0], "threshold_from": lists[1], "out": tmp_path / "out", "resamples": 100}
    pairs = pd.read_parquet(matched)
    write_pairs(pairs.assign(score=pairs["score"] * 1.1), tmp_path / "rescored.parquet")
    with pytest.raises(InputError, match=r"rescored.parquet: scores of kin pairs differ from .*scores.parquet"):
        report(**given, matched=tmp_path / "rescored.parquet")
    with pytest.raises(InputError, match="none of its kin pairs is in"):
        write_pairs(pairs.assign(face_a="x" + pairs["face_a"]), tmp_path / "strange.parquet")
        report(**given, matched=tmp_path / "strange.parquet")
    with pytest.raises(InputError, match="600 of its pairs are also in"):
        report(**given, matched=lists[1])
    assert not (tmp_path / "out").exists()


BAD_TABLES = {
    "column score": (lambda pairs: pairs.drop(columns="score"), r"scores\.parquet.*column.* score"),
    "column face_a": (lambda pairs: pairs.drop(columns="face_a"), r"scores\.parquet.*column.* face_a"),
    "empty": (lambda pairs: pairs.head(0), r"scores\.parquet.*no pairs"),
    "no kin": (lambda pairs: pairs[~pairs["kin"]], r"scores\.parquet: column kin: .*no kin pairs"),
    "no non-kin": (lambda pairs: pairs[pairs["kin"]], r"scores\.parquet: column kin: .*no non-kin pairs"),
    "not a number": (
        lambda pairs: pairs.assign(score=pairs["score"].where(pairs.index != 4, np.nan)),
        r"scores\.parquet: row 5: score",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
@pytest.mark.parametrize("role", ["scores", "threshold_from"])
def test_a_bad_table_is_named_and_nothing_is_written(lists, tmp_path, name, role):
    spoil, message = BAD_TABLES[name]
    good, path = lists[1], lists[0]
    spoil(pd.read_parquet(path)).to_parquet(path)
    given = {"scores": path, "threshold_from": good} if role == "scores" else {"scores": good, "threshold_from": path}
    with pytest.raises(InputError, match=message):
        report(**given, out=tmp_path / "out", resamples=100)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["scores.parquet", "validation.parquet"]


def test_the_command_prints_one_line_and_exits_with_2(lists, tmp_path, capsys):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    for path, message in ((broken, "not a readable pairs table"), (tmp_path / "no.parquet", "no such file")):
        arguments = ["report", str(path), "--threshold-from", str(lists[1]), "--out", str(tmp_path / "out")]
        assert run_kinface(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert path.name in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_fit_are_refused(lists, tmp_path):
    given = {"scores": lists[0], "threshold_from": lists[1], "out": tmp_path / "out"}
    with pytest.raises(InputError, match="go together"):
        report(**given, compare=lists[0])
    with pytest.raises(InputError, match="resamples is 10"):
        report(**given, resamples=10)
    with pytest.raises(InputError, match=r"either --threshold-from.* or --threshold"):
        report(**given, threshold=0.5)
    with pytest.raises(InputError, match=r"scores\.parquet: cannot group by 'shoe_size'.*columns are face_a"):
        report(**given, by=["shoe_size"])
    shorter = tmp_path / "shorter.parquet"
    write_pairs(pd.read_parquet(lists[0]).head(1000), shorter)
    with pytest.raises(InputError, match=r"shorter\.parquet cannot be compared with .*1,000 pairs against 1,500"):
        report(**given, compare=shorter, compare_threshold_from=lists[1], resamples=100)
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(InputError, match="is a file"):
        report(lists[0], threshold_from=lists[1], out=occupied, resamples=100)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_figures")
def test_page_and_terminal_say_which_model_is_better_and_for_whom(lists, tmp_path, capsys):
    pairs = pd.read_parquet(lists[0])
    worse = tmp_path / "worse.parquet"
    noise = np.random.default_rng(0).normal(scale=3, size=len(pairs)) * (pairs["race_a"] == "Asian")
    write_pairs(pairs.assign(score=pairs["score"] + noise), worse)
    given = {"threshold_from": lists[1], "compare_threshold_from": lists[1], "resamples": 100}
    report(lists[0], compare=worse, **given, out=tmp_path / "out")
    printed = " ".join(capsys.readouterr().out.split())
    assert "warning about the other model: The thresholds of both models come from the same scores" in printed
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert record["models"] == ["scores", "worse"]
    rows = {row["group"]: row["difference"] for row in record["differences"] if row["metric"] == "auc"}
    assert rows["Asian"] > 0.1
    better = f"significantly better for Asian (+{rows['Asian']:.3f})"
    short = " ".join((tmp_path / "out/report.html").read_text().split('id="summary"')[1].split("</details>")[0].split())
    for text in (printed, short):
        assert "scores is the better model" in text and f"scores is {better}" in text
        assert "worse is significantly better for no group" in text
