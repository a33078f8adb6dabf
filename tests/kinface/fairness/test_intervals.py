"""Intervals of pairs: influence values, variance against naive loops, and whether intervals hold what they say."""

from __future__ import annotations

import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from kinface.data.pairs import check_pairs
from kinface.fairness.audit import audit_fairness
from kinface.fairness.bootstrap import resample_groups
from kinface.fairness.comparison import compare_audits
from kinface.fairness.dyads import Dyads, raise_variances
from kinface.fairness.intervals import (
    FARS,
    MEASURED,
    RATES,
    estimate,
    interval_of_mean,
    interval_of_rate,
    measure,
    measure_by,
    widen,
)
from swinface.metrics import tar_at_far

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module", params=["families", "mixed", "unknown"])
def families(request) -> pd.DataFrame:
    """Pairs within and across few families; some or all of them unknown."""
    rng, count = np.random.default_rng(5), 90
    kin = np.arange(count) % 3 == 0
    a = rng.integers(6, size=count)
    pairs = pd.DataFrame({"family_a": a, "family_b": np.where(kin, a, rng.integers(6, size=count)), "kin": kin})
    pairs = pairs.assign(score=(kin + rng.normal(size=count)).round(1), group=rng.choice(["x", "y", "z"], count))
    pairs = pairs.assign(face_a=[f"a{i}" for i in range(count)], face_b=[f"b{i}" for i in range(count)])
    unknown = {"families": 0, "mixed": 30, "unknown": count}[request.param]
    pairs[["family_a", "family_b"]] = pairs[["family_a", "family_b"]].astype(object)
    pairs.loc[: unknown - 1, ["family_a", "family_b"]] = None
    return check_pairs(pairs, "made up", scored=True)


@pytest.mark.parametrize("digits", [6, 1])
def test_metrics_are_those_of_scikit_learn(draw_scored, digits):
    pairs = draw_scored(1200, digits=digits)
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    accepted, found = score >= 0.5, dict(zip(MEASURED, measure(score, kin, 0.5)[0], strict=True))
    expected = {
        "accuracy": accuracy_score(kin, accepted),
        "tpr": recall_score(kin, accepted),
        "fmr": recall_score(~kin, accepted),
        "positive_rate": accepted.mean(),
        "auc": roc_auc_score(kin, score),
    }
    tar = tar_at_far(score, kin, [0.1])
    assert {metric: found[metric] for metric in RATES} == pytest.approx(
        expected | {"tar_at_1e-1": tar[0.1], "tar_at_1e-2": np.nan, "tar_at_1e-3": np.nan}, nan_ok=True
    )


def test_influence_values_are_derivatives(draw_scored):
    """Of each metric by the weight of a pair, computed by repeating the pair among a thousand copies of all."""
    pairs = draw_scored(40)
    score, kin, copies = pairs["score"].to_numpy(), pairs["kin"].to_numpy(), 1000
    value, influence = measure(score, kin, 0.5)
    for row in range(0, 40, 3):
        repeated = np.r_[np.tile(np.arange(40), copies), [row] * 10]
        moved, _ = measure(score[repeated], kin[repeated], 0.5)
        derivative = (moved - value) / (10 / copies)
        for metric in ("tpr", "fmr", "auc"):
            column = MEASURED.index(metric)
            assert influence[row, column] == pytest.approx(derivative[column], rel=0.03, abs=2e-4)
    tpr, fmr, accuracy, positive = (
        influence[:, MEASURED.index(it)] for it in ("tpr", "fmr", "accuracy", "positive_rate")
    )
    share = kin.mean()
    np.testing.assert_allclose(accuracy, share * tpr - (1 - share) * fmr, atol=1e-15)
    np.testing.assert_allclose(positive, share * tpr + (1 - share) * fmr, atol=1e-15)
    np.testing.assert_allclose(influence.sum(axis=0), 0, atol=1e-12)


def test_influence_of_a_threshold_from_a_quantile_is_its_spread(draw_scored):
    """The standard error of TAR at FAR 10% is what independent tables of the same kind show."""
    column, values, errors = MEASURED.index("tar_at_1e-1"), [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        kin = np.arange(600) < 300
        value, influence = measure(kin + rng.normal(size=600), kin, 0.5)
        values.append(value[column])
        errors.append(np.sqrt((influence[:, column] ** 2).sum()))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_variance_is_that_of_a_loop_over_pairs_of_pairs(families):
    dyads, group = Dyads.of_pairs(families), families["group"].astype("category").cat.codes.to_numpy()
    score, kin = families["score"].to_numpy(), families["kin"].to_numpy()
    _, influence = measure_by(score, kin, group, 3, 0.5)
    factor = dyads.correct(group, kin, dyads.count_effective(group, 3, kin))
    covariance = dyads.covariance(group, 3, influence, factor)
    plain = np.where(dyads.first == dyads.second, factor, 1)[:, None] * influence
    influence = factor[:, None] * influence
    sides = list(zip(dyads.first, dyads.second, strict=True))
    of_all = np.zeros_like(covariance)
    of_dyads = np.zeros_like(covariance)
    for p, q in product(range(len(families)), repeat=2):
        cell = np.s_[:, group[p], group[q]]
        of_all[cell] += influence[p] * influence[q] * bool({*sides[p]} & {*sides[q]})
        of_dyads[cell] += plain[p] * plain[q] * (sides[p] == sides[q])
    variance, least = (np.einsum("kgg->kg", table) for table in (of_all, of_dyads))
    np.testing.assert_allclose(np.einsum("kgg->kg", covariance), np.maximum(variance, least), atol=1e-15)
    for metric, (g, h) in product(range(len(MEASURED)), ((0, 1), (0, 2), (1, 2))):
        if (variance[metric, [g, h]] >= least[metric, [g, h]]).all():
            spare = (variance - least)[metric, [g, h]].mean()  # what is left above independent dyads
            expected = min(of_all[metric, g, h], spare + of_dyads[metric, g, h])
            assert covariance[metric, g, h] == pytest.approx(expected, abs=1e-15)


def test_independent_pairs_have_the_variance_of_delong():
    rng, kin = np.random.default_rng(1), np.arange(300) < 120
    score = kin + rng.normal(size=300).round(1)
    pairs = pd.DataFrame({"face_a": [f"a{i}" for i in range(300)], "face_b": "b", "family_a": None, "family_b": None})
    _, influence = measure(score, kin, 0.5)
    dyads, group = Dyads.of_pairs(pairs), np.zeros(300, int)
    factor = dyads.correct(group, kin, dyads.count_effective(group, 1, kin))
    found = dyads.covariance(group, 1, influence, factor)[MEASURED.index("auc"), 0, 0]
    wins = (score[kin][:, None] > score[~kin]) + 0.5 * (score[kin][:, None] == score[~kin])
    expected = wins.mean(axis=1).var(ddof=1) / 120 + wins.mean(axis=0).var(ddof=1) / 180
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.5, -9])  # all rates are then 1, whose deviations are drawn apart
def test_neither_the_order_of_rows_nor_of_faces_matters(draw_scored, threshold):
    pairs = draw_scored(900)
    swap = np.random.default_rng(0).random(900) < 0.5
    other = pairs.copy()
    for name in ("face", "person", "family", "race"):
        for side, of_other in ("ab", "ba"):
            other.loc[swap, f"{name}_{side}"] = pairs.loc[swap, f"{name}_{of_other}"]
    other = other.sample(frac=1, random_state=1)
    first, second = (audit_fairness(table.assign(type=None), threshold, resamples=50) for table in (pairs, other))
    for name in ("groups", "gaps", "contrasts"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), obj=name)
    kept = ["grouping", "disparity", "value", "low", "high", "chance"]
    pd.testing.assert_frame_equal(first.disparities[kept], second.disparities[kept])


def test_a_variance_of_rounding_alone_has_no_correlations():
    covariance, least = np.array([[[1e-17, 0.1], [0.1, 1.0]]]), np.array([[[0.5, 0.0], [0.0, 0.5]]])
    raise_variances(covariance, least)
    assert covariance.tolist() == [[[0.5, 0.0], [0.0, 1.0]]]


def test_deviations_have_the_variances_and_follow_families(draw_scored):
    pairs = draw_scored(1500)
    audit = audit_fairness(pairs, 0.5, resamples=2000)
    for metric in ("tpr", "fmr", "auc"):
        spread = np.sqrt((audit.deviations[metric] ** 2).mean(axis=0))
        np.testing.assert_allclose(spread, np.sqrt(audit.covariance[metric].diagonal()))
    overall, same = audit.groups.index[audit.groups["group"].isin(["all pairs", "same-race"])]
    assert np.corrcoef(audit.deviations["tpr"][:, [overall, same]].T)[0, 1] == pytest.approx(1)  # all kin pairs


def test_paired_models_have_the_variance_of_their_differences(draw_scored):
    pairs = draw_scored(800)
    moved = pairs.assign(score=pairs["score"] + np.random.default_rng(0).normal(0, 0.3, len(pairs)))
    ours, other = (audit_fairness(table, 0.5, resamples=20) for table in (pairs, moved))
    found = compare_audits(ours, other).query("grouping == 'overall' and metric == 'tpr'").iloc[0]
    kin = pairs["kin"].to_numpy()
    accepted = [(table["score"] >= 0.5).to_numpy(float) for table in (pairs, moved)]
    sums = pd.Series((accepted[0] - accepted[1])[kin] - found["difference"]).groupby(pairs["family_a"][kin].to_numpy())
    sizes = sums.size()
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    error = np.sqrt((sums.sum() ** 2).sum() * effective / (effective - 1)) / kin.sum() * widen(effective)
    assert found["high"] - found["difference"] == pytest.approx(1.959964 * error, rel=1e-5)


def test_few_units_widen_and_very_few_give_no_interval():
    assert widen(np.array([5.0]))[0] == pytest.approx(2.776445 / 1.959964)
    assert np.isnan(widen(np.array([1.0, 0.0, np.nan]))).all()
    assert widen(np.array([1e9]))[0] == pytest.approx(1)
    low, high = interval_of_rate(np.full(2, 0.3), np.full(2, 0.1), np.array([4, 5]))
    assert np.isnan([low[0], high[0]]).all() and 0 < low[1] < 0.3 < high[1] < 1


def test_the_interval_of_a_rate_of_0_or_1_is_that_of_jeffreys():
    units = np.arange(20)
    dyads = Dyads(units, units, units)
    reach = beta.ppf(0.975, 0.5, 20.5)
    assert interval_of_mean(np.zeros(20), dyads) == pytest.approx((0, 0, reach))
    assert interval_of_mean(np.ones(20), dyads) == pytest.approx((1, 1 - reach, 1))
    assert np.isnan(interval_of_mean(np.ones(0), dyads[:0])).all()


def test_many_independent_pairs_need_no_draw_of_each():
    count, rng = 20_000, np.random.default_rng(0)
    kin, group = np.arange(count) % 2 == 0, rng.integers(2, size=count)
    units = np.arange(count)
    dyads = Dyads(units, units, units.astype(np.uint64))
    multipliers = dyads.draw_multipliers(300, 0)
    assert len(multipliers) < count / 5
    found = estimate(kin + rng.normal(size=count), kin, group, 2, 0.5, dyads, multipliers)
    assert abs(np.corrcoef(found.deviations[:, MEASURED.index("tpr")].T)[0, 1]) < 0.2


def test_a_bootstrap_of_groups_is_there_for_what_has_no_influence_values(draw_scored):
    audit = audit_fairness(draw_scored(600), 0.5, resamples=20)
    drawn = resample_groups(audit, 200)
    assert set(FARS) < set(drawn) and drawn["tpr"].shape == (200, len(audit.groups))
    overall = audit.groups.iloc[0]
    assert np.median(drawn["auc"][:, 0]) == pytest.approx(overall["auc"], abs=0.02)
    assert np.ptp(np.quantile(drawn["tpr"][:, 0], [0.025, 0.975])) == pytest.approx(
        overall["tpr_high"] - overall["tpr_low"], rel=0.35
    )


def test_intervals_cover_and_equal_groups_are_seldom_significant():
    """The benchmark's simulation, in small: families matter much, and the smallest region has ten."""
    benchmark = runpy.run_path(str(BENCHMARK))
    table = benchmark["simulate"](10, "large", "none", 60).set_index("figure")
    rates = table.loc[[f"{metric} of {region}" for metric, region in product(("tpr", "fmr", "auc"), "ABC")]]
    assert rates["coverage"].mean() > 0.9 and rates["coverage"].min() > 0.83
    assert table["significant"]["any gap"] < 0.1
    assert benchmark["simulate"](20, "small", "kin", 20).set_index("figure")["significant"]["gap in tpr"] > 0.6
