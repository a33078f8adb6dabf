"""EER and d' by hand and against naive loops, their influence values, and their intervals in an audit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits
from kinface.fairness.contrasts import GAPS
from kinface.fairness.separation import measure_dprime, measure_eer
from kinface.report.curves import plot_det

MEASURES = {"eer": measure_eer, "dprime": measure_dprime}


def naive_eer(kin: np.ndarray, others: np.ndarray) -> float:
    """Walk over all thresholds, from one that accepts all pairs to one that accepts none."""
    points = [
        (np.mean(kin < threshold), np.mean(others >= threshold)) for threshold in [*np.unique([*kin, *others]), np.inf]
    ]
    for (fnmr, fmr), (next_fnmr, next_fmr) in pairwise(points):
        if next_fnmr >= next_fmr:
            share = (fmr - fnmr) / (fmr - fnmr + next_fnmr - next_fmr)
            return fnmr + share * (next_fnmr - fnmr)
    raise AssertionError("the last threshold rejects all pairs")


@pytest.mark.parametrize(
    ("kin", "others", "eer"),
    [
        ([3, 4], [1, 2], 0),  # apart
        ([1, 2], [3, 4], 1),  # the wrong way round
        ([2, 3, 4, 5], [1, 1, 1, 3], 1 / 4),  # above 2, one of four kin pairs is missed and one non-kin pair accepted
        ([7, 7], [7, 7, 7], 1 / 2),  # all tie: the ROC is the diagonal
        ([1, 4], [0, 2, 3], 1 / 2),  # above 1, FNMR is 1/2: FMR falls through it at 3
        ([2, 3], [1, 2], 1 / 4),  # at 2, (FNMR, FMR) goes from (0, 1/2) to (1/2, 0)
    ],
)
def test_eer_by_hand(kin, others, eer):
    assert measure_eer(np.array(kin, float), np.array(others, float))[0] == eer


@pytest.mark.parametrize("digits", [6, 1, 0])
def test_eer_is_that_of_a_walk_over_all_thresholds(digits):
    rng = np.random.default_rng(0)
    for _ in range(100):
        m, n = rng.integers(1, 30, 2)
        kin, others = np.sort((1 + rng.normal(size=m)).round(digits)), np.sort(rng.normal(size=n).round(digits))
        assert measure_eer(kin, others)[0] == pytest.approx(naive_eer(kin, others), abs=1e-12)


def test_dprime_by_hand():
    # means 5 and 1, variances 4 and 1: 4 / sqrt(2.5)
    assert measure_dprime(np.array([3.0, 7]), np.array([0.0, 2]))[0] == pytest.approx(4 / 2.5**0.5)
    assert measure_dprime(np.array([0.0, 2]), np.array([3.0, 7]))[0] == pytest.approx(4 / 2.5**0.5)
    for unit in (1e-300, 1e300):
        assert measure_dprime(unit * np.array([3.0, 7]), unit * np.array([0.0, 2]))[0] == pytest.approx(4 / 2.5**0.5)
    assert np.isnan(measure_dprime(np.full(3, 0.1), np.full(2, 0.3))[0]), "without a spread there is no d'"


@pytest.mark.parametrize("metric", MEASURES)
def test_influence_values_have_the_spread_of_independent_tables(metric):
    """Of kin scores twice as spread as the others, so that the two densities at the EER differ."""
    rng, values, errors = np.random.default_rng(0), [], []
    for _ in range(300):
        value, *parts = MEASURES[metric](np.sort(1.5 + 2 * rng.normal(size=150)), np.sort(rng.normal(size=400)))
        values.append(value)
        errors.append(np.sqrt(sum((part**2).sum() for part in parts)))
        assert [part.sum() for part in parts] == pytest.approx([0, 0], abs=1e-12)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_influence_values_of_dprime_are_derivatives():
    """By the weight of a pair, computed by repeating one pair among a thousand copies of all."""
    rng, copies = np.random.default_rng(0), 1000
    kin, others = np.sort(1 + rng.normal(size=20)), np.sort(rng.normal(size=30))
    value, of_kin, of_others = measure_dprime(kin, others)
    for row in range(20):
        more_kin = np.sort([*np.tile(kin, copies), *[kin[row]] * 10])
        more_others = np.sort([*np.tile(others, copies), *[others[row]] * 10])
        moved = [measure_dprime(more_kin, others)[0], measure_dprime(kin, more_others)[0]]
        expected = [of_kin[row], of_others[row]]
        assert (np.array(moved) - value) / (10 / copies) == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_an_audit_has_both_with_intervals_disparities_and_comparisons(draw_scored):
    pairs = draw_scored(6000, shift={"African": -1}, family_effect=0.1)
    audit = audit_fairness(pairs, 0.5, resamples=200)
    race = audit.groups[audit.groups["grouping"] == "race"].set_index("group")
    own = pairs[(pairs["race_a"] == "African") & (pairs["race_b"] == "African")]
    kin, others = (own.loc[own["kin"] == kind, "score"].to_numpy() for kind in (True, False))
    assert race["eer"]["African"] == pytest.approx(naive_eer(kin, others))
    assert race["dprime"]["African"] == pytest.approx(
        abs(kin.mean() - others.mean()) / ((kin.var() + others.var()) / 2) ** 0.5
    )
    for metric, gap in (("eer", "EER gap"), ("dprime", "d' gap")):
        compared, low, high = (
            race.loc[["African", "Asian", "Caucasian"], metric + end] for end in ("", "_low", "_high")
        )
        assert (low < compared).all() and (compared < high).all()
        of_race = audit.disparities["grouping"] == "race"
        row = audit.disparities[of_race & (audit.disparities["disparity"] == gap)].iloc[0]
        assert row["value"] == pytest.approx(compared.max() - compared.min())
        assert 0 < row["low"] <= row["value"] <= row["high"] and row["beyond_chance"]
        np.testing.assert_allclose(
            np.sqrt((audit.deviations[metric] ** 2).mean(axis=0)), np.sqrt(audit.covariance[metric].diagonal())
        )
        assert metric not in GAPS.values(), "the number of gaps, and so their corrected p-values, stays"
    better = audit_fairness(pairs.assign(score=pairs["score"] + pairs["kin"]), 1, resamples=200)
    table = compare_audits(better, audit).query("group == 'all pairs'").set_index("metric")
    assert table["high"]["eer"] < 0 < table["low"]["dprime"]
    # both kinds of pairs move by 1 against the other: d' by 1 over the spread that all pairs have
    spread = np.sqrt((pairs["score"][pairs["kin"]].var(ddof=0) + pairs["score"][~pairs["kin"]].var(ddof=0)) / 2)
    assert table["difference"]["dprime"] == pytest.approx(1 / spread)


def test_dprime_may_exceed_1_and_needs_a_spread(draw_scored):
    pairs = draw_scored(1200)
    far = audit_fairness(pairs.assign(score=pairs["score"] + 50 * pairs["kin"]), 25, resamples=50).groups.iloc[0]
    assert 1 < far["dprime_low"] < far["dprime"] < far["dprime_high"]
    assert (far["eer"], far["eer_low"]) == (0, 0) and 0 < far["eer_high"] < 0.2
    flat = audit_fairness(pairs.assign(score=pairs["kin"] * 0.1), 0.05, resamples=50)
    assert flat.groups[["dprime", "dprime_low", "dprime_high"]].isna().all(axis=None)
    names = flat.disparities.set_index(["grouping", "disparity"])["value"]
    assert np.isnan(names["race", "d' gap"]) and names["race", "EER gap"] == 0


def test_the_det_plot_names_the_eer_of_each_curve(draw_scored):
    audit = audit_fairness(draw_scored(3000), 0.5, resamples=20)
    labels = [text.get_text() for text in plot_det(audit, "race").legends[0].get_texts()]
    assert labels[0] == f"all pairs: EER {audit.groups['eer'][0]:.3f}"
