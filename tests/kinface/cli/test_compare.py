"""``kinface compare``: two runs of fit side by side, without torch."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kinface
from kinface.data.pairs import write_pairs
from kinface.fairness.threshold import choose_threshold
from tests.commands import run_kinface


@pytest.fixture
def runs(draw_scored, tmp_path):
    """What two runs leave of the same tune pairs; the scores of the second have noise where A is Caucasian."""
    pairs = draw_scored(1500)
    noise = np.random.default_rng(1).normal(0, 4, len(pairs)) * (pairs["race_a"] == "Caucasian")
    tables = {"sound-0.5": pairs, "noisy-0.5": pairs.assign(score=pairs["score"] + noise)}
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        write_pairs(table, tmp_path / name / "tune_scores.parquet")
    return tables


def compare(*words) -> int:
    return run_kinface("compare", *words)


def test_it_says_which_run_is_better_by_how_much_and_for_whom(runs, tmp_path, capsys):
    assert compare(*(tmp_path / name for name in runs)) == 0
    told = capsys.readouterr().out
    audits = [kinface.audit(table, choose_threshold(table)) for table in runs.values()]
    rows = kinface.compare(*audits).query("metric == 'auc' and grouping in ('overall', 'race')")
    assert told.startswith("sound-0.5 is the better model over all pairs: AUC ")
    assert re.search(
        r"sound-0.5 is significantly better for .*Caucasian \(\+0\.\d+\); noisy-0.5 is significantly better", told
    )
    lines = {line[:30].strip(): line[30:].split() for line in told.splitlines()}
    for row in rows.itertuples():
        expected = [f"{row.ours:.3f}", f"{row.other:.3f}", f"{row.difference:+.3f}"]
        expected += [f"[{row.low:+.3f},", f"{row.high:+.3f}]" + "," * (row.low > 0)]
        if row.group != "cross-race":  # without kin pairs there is no AUC
            assert lines[row.group][2:7] == [word.replace("-", "−") for word in expected]
    assert "cross-race" not in lines and "two races" not in lines
    assert told.endswith("on 1,500 tune pairs of 60 families, on which the epochs and thresholds were chosen\n")


def test_a_default_grouping_is_shown_where_it_is_asked_for(runs, tmp_path, capsys):
    folders = [tmp_path / name for name in runs]
    assert compare(*folders) == 0
    assert "both female" not in capsys.readouterr().out
    assert compare(*folders, "--by", "gender pair", "--by", "race") == 0
    told = capsys.readouterr().out
    assert re.search(r"^both female +\d", told, re.MULTILINE)
    assert "By gender pair, the largest gap in TPR" in told
    assert told.count("\nCaucasian ") == told.count("By race,") == 1


def test_runs_of_other_data_and_runs_that_are_not_done_are_refused(runs, tmp_path, capsys):
    first, second = (tmp_path / name for name in runs)
    write_pairs(runs["sound-0.5"][1:], second / "tune_scores.parquet")
    assert compare(first, second) == 2
    assert f"{second} cannot be compared with {first}: 1,499 pairs against 1,500" in capsys.readouterr().err
    (second / "tune_scores.parquet").unlink()
    assert compare(first, second) == 2
    assert f"{second}: no tune_scores.parquet; finish the run" in capsys.readouterr().err
    assert compare(first / "tune_scores.parquet", second) == 2
    assert "tune_scores.parquet is no folder of a run of `kinface fit`; for scores, use `kinface report" in (
        capsys.readouterr().err
    )
