from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinface.fairness.audit import audit_fairness
from kinface.fairness.standards import (
    audit_operating_points,
    choose_threshold_at_fmr,
    match_across_groups,
    measure_acquisition,
    shift_scores,
)
from swinface.files import InputError
from swinface.metrics import tar_at_far


@pytest.fixture(scope="module")
def audit(request):
    draw = request.getfixturevalue("draw_scored")
    return audit_fairness(draw(2000, shift={"African": -0.8}), 0.6, resamples=200)


@pytest.fixture(scope="module")
def draw_scored():
    """That of the package, for a whole module."""
    from tests.kinface.conftest import draw_scored as fixture

    return fixture.__wrapped__()


@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("fmr", [0.01, 0.05, 0.1, 0.5])
def test_the_threshold_is_the_lowest_that_keeps_the_rate(draw_scored, fmr, digits):
    pairs = draw_scored(1200, seed=3, digits=digits)
    other = pairs.loc[~pairs["kin"], "score"]
    threshold = choose_threshold_at_fmr(pairs, fmr)
    assert (other >= threshold).mean() <= fmr
    lower = other[other < threshold].max()
    assert (other >= lower).mean() > fmr
    kin, score = pairs["kin"].to_numpy(), pairs["score"].to_numpy()
    assert (score[kin] >= threshold).mean() == tar_at_far(score, kin, [fmr])[fmr], "one convention"


def test_thresholds_that_cannot_be_had_are_refused(draw_scored):
    with pytest.raises(InputError, match="between 0 and 1"):
        choose_threshold_at_fmr(draw_scored(100), 1)
    with pytest.raises(InputError, match="too few"):
        choose_threshold_at_fmr(draw_scored(100), 0.001)


def test_a_list_of_rates_is_refused_and_one_grouping_may_be_a_text(audit, draw_scored):
    validation = draw_scored(800, seed=5, prefix="V")
    with pytest.raises(InputError, match=r"FMR: \[0.1\] is not a finite number"):
        audit_operating_points(audit, validation, fmrs=([0.1],))
    (listed,) = {*audit_operating_points(audit, validation, groupings="race")["grouping"]}
    assert listed == "race"


def test_operating_points_by_hand(audit, draw_scored):
    validation = draw_scored(800, seed=5, prefix="V")
    points = audit_operating_points(audit, validation, fmrs=(0.05, 0.1, 1e-6))
    assert points["chosen_at"].unique().tolist() == [0.05, 0.1]
    pairs = audit.pairs
    for row in points.itertuples():
        chosen = (audit.labels[row.grouping] == row.group).to_numpy()
        accepted = pairs["score"] >= choose_threshold_at_fmr(validation, row.chosen_at)
        assert row.fmr == pytest.approx(accepted[chosen & ~pairs["kin"]].mean())
        assert row.fmr_low <= row.fmr <= row.fmr_high
        if row.group == "cross-race":  # kin pairs of these families share their race
            assert np.isnan([row.fnmr, row.fnmr_low, row.fnmr_high]).all()
        else:
            assert row.fnmr == pytest.approx(1 - accepted[chosen & pairs["kin"]].mean())
            assert row.fnmr_low <= row.fnmr <= row.fnmr_high


def test_a_score_at_the_threshold_is_accepted_at_operating_points_too(draw_scored):
    pairs = draw_scored(600, digits=0)
    validation = draw_scored(600, seed=5, prefix="V", digits=0)
    (overall,) = audit_operating_points(audit_fairness(pairs, 0.0, resamples=20), validation, fmrs=[0.3]).query(
        "grouping == 'overall'"
    ).itertuples()  # fmt: skip
    assert (pairs["score"] == overall.threshold).any()
    assert overall.fnmr == (pairs.loc[pairs["kin"], "score"] < overall.threshold).mean()
    assert overall.fmr == (pairs.loc[~pairs["kin"], "score"] >= overall.threshold).mean()


def test_at_the_audits_threshold_rates_and_intervals_are_the_audits(audit):
    """The same resamples: the FMR within each race is that of the audit, to the last figure."""
    cells = match_across_groups(audit)
    within = cells[cells["a"] == cells["b"]].set_index("a")
    groups = audit.groups[audit.groups["grouping"] == "race"].set_index("group").drop("cross-race")
    for name in ("fmr", "fmr_low", "fmr_high"):
        assert within[name].to_numpy() == pytest.approx(groups[name].to_numpy(), abs=1e-6)
    assert within["non_kin"].tolist() == groups["non_kin"].tolist()


def test_every_two_groups_are_matched_whichever_face_comes_first(audit):
    pairs, cells = audit.pairs, match_across_groups(audit)
    names = sorted(set(pairs["race_a"]) | set(pairs["race_b"]))
    assert len(cells) == len(names) * (len(names) + 1) / 2
    assert cells["non_kin"].sum() == (~pairs["kin"]).sum()
    accepted = pairs["score"] >= audit.threshold
    for cell in cells.itertuples():
        both = [set(pair) == {cell.a, cell.b} for pair in zip(pairs["race_a"], pairs["race_b"], strict=True)]
        rows = np.array(both) & ~pairs["kin"]
        assert (cell.fmr, cell.non_kin) == (pytest.approx(accepted[rows].mean()), rows.sum())
    with pytest.raises(InputError, match="'age_a'"):
        match_across_groups(audit, "age")


def test_shifts_are_found_where_they_were_planted(audit):
    shifts, pairs = shift_scores(audit), audit.pairs
    race = shifts[shifts["grouping"] == "race"].set_index(["group", "kind"])
    for kind, of_kind in (("kin", pairs["kin"]), ("non-kin", ~pairs["kin"])):
        score, chosen = pairs.loc[of_kind, "score"], of_kind & (audit.labels["race"] == "African")
        expected = (pairs.loc[chosen, "score"].mean() - score.mean()) / score.std(ddof=0)
        assert race.loc[("African", kind), "shift"] == pytest.approx(expected)
    assert race.loc[("African", "kin"), "high"] < 0
    assert race.loc[("African", "non-kin"), "low"] < 0 < race.loc[("African", "non-kin"), "high"]
    assert race.loc[("Caucasian", "kin"), "shift"] > 0


def test_few_families_give_no_interval(draw_scored):
    audit = audit_fairness(draw_scored(400, families=4), 0.6, resamples=100)
    assert shift_scores(audit)[["low", "high"]].isna().all(axis=None)
    assert match_across_groups(audit)[["fmr_low", "fmr_high"]].isna().all(axis=None)


def test_failures_to_acquire_by_group():
    photos = pd.DataFrame({"acquired": [1, 1, 0, 1, 0, 0, 1, 1] * 20, "race": (["a"] * 4 + ["b"] * 3 + [None]) * 20})
    found = measure_acquisition(photos, "race").set_index("group")
    assert found.index.fillna("no label").tolist() == ["a", "b", "no label"]
    assert found[["photos", "failed"]].to_numpy().tolist() == [[80, 20], [60, 40], [20, 0]]
    assert found["rate"].tolist() == pytest.approx([0.25, 2 / 3, 0])
    assert found.loc["a", "rate_high"] < found.loc["b", "rate_low"]
    none = measure_acquisition(photos.assign(acquired=1), "race").set_index("group").loc["a"]
    assert (none["rate"], none["rate_low"]) == (0, 0)
    assert 0 < none["rate_high"] < 0.05


def test_photos_of_one_person_fail_together():
    rng = np.random.default_rng(0)
    failed = np.repeat(rng.random(20) < 0.3, 30)
    photos = pd.DataFrame({"acquired": ~failed, "race": "a", "person": np.repeat(np.arange(20), 30)})
    people, single = measure_acquisition(photos, "race"), measure_acquisition(photos.drop(columns="person"), "race")
    assert (people["rate_high"] - people["rate_low"]).item() > 3 * (single["rate_high"] - single["rate_low"]).item()


def test_tables_of_photos_that_lack_something_are_named():
    with pytest.raises(InputError, match="'acquired'"):
        measure_acquisition(pd.DataFrame({"race": ["a"]}), "race")
    with pytest.raises(InputError, match="no photo"):
        measure_acquisition(pd.DataFrame({"acquired": [1], "race": [None]}), "race")
