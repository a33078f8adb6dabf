"""The family bootstrap: its weights, the figures under them, and that its intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score, roc_curve

from kinface.fairness import bootstrap
from kinface.fairness.bootstrap import Resamples, weighted_metrics
from swinface.bootstrap import percentile_interval
from swinface.metrics import tar_at_far

FARS = {"tar_at_1e-1": 0.1, "tar_at_1e-2": 0.01}


def test_a_pair_weighs_as_often_as_its_families_were_drawn():
    pairs = pd.DataFrame({"family_a": ["x", "x", "y", "z"], "family_b": ["x", "y", "x", "z"]})
    draws = Resamples(pairs, count=50, seed=3)
    assert draws.multiplicities.sum(axis=0).tolist() == [3.0] * 50
    times = dict(zip(draws.units, draws.multiplicities, strict=True))
    weights = draws.weights()
    for row, (a, b) in enumerate(zip(pairs["family_a"], pairs["family_b"], strict=True)):
        np.testing.assert_array_equal(weights[row], times[a] if a == b else times[a] * times[b])
    np.testing.assert_array_equal(draws.weights(slice(10, 20)), weights[:, 10:20])


def test_pairs_without_a_known_family_are_drawn_one_by_one():
    pairs = pd.DataFrame({"family_a": ["x", None, None, "y"], "family_b": ["x", None, None, None]})
    pairs = pairs.assign(face_a=["a", "b", "c", "d"], face_b=["e", "f", "g", "h"])
    draws = Resamples(pairs, count=50, seed=3)
    assert draws.units.tolist() == ["b and f", "c and g", "x", "y"]
    np.testing.assert_array_equal(draws.weights(), draws.multiplicities[[2, 0, 1, 3]])


def test_resamples_follow_from_families_and_seed(draw_scored):
    pairs = draw_scored(300)
    first, again, other = (Resamples(pairs, 20, seed).weights() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_more_weights_are_held_at_once_than_memory_allows(draw_scored, monkeypatch):
    pairs = draw_scored(30)
    draws = Resamples(pairs, count=25, seed=1)
    for most, step in ((300, 10), (329, 10), (330, 11), (29, 1), (10**6, 25)):
        monkeypatch.setattr(bootstrap, "WEIGHTS_AT_ONCE", most)
        parts, weights = zip(*draws.blocks(len(pairs)), strict=True)
        assert [part.stop - part.start for part in parts] == [*[step] * (25 // step), *[25 % step] * (25 % step > 0)]
        np.testing.assert_array_equal(np.concatenate(weights, axis=1), draws.weights())


def find_dprime(score: np.ndarray, kin: np.ndarray, weight: np.ndarray) -> float:
    (kin_mean, kin_var), (mean, var) = (
        (np.average(score[of], weights=weight[of]), np.cov(score[of], aweights=weight[of], ddof=0))
        for of in (kin, ~kin)
    )
    return abs(kin_mean - mean) / ((kin_var + var) / 2) ** 0.5


@pytest.mark.parametrize("digits", [6, 1, 0])
def test_weighted_metrics_equal_scikit_learn(draw_scored, digits):
    pairs = draw_scored(800, digits=digits)
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    weight = np.column_stack([np.ones(len(pairs), dtype=np.float32), Resamples(pairs, 5).weights()])
    found = weighted_metrics(score, kin, weight, 0.5, FARS)
    for column in range(weight.shape[1]):
        w = weight[:, column].astype(float)
        accepted = score >= 0.5
        fmr, tpr, _ = roc_curve(kin, score, sample_weight=w, drop_intermediate=False)
        expected = {
            "accuracy": accuracy_score(kin, accepted, sample_weight=w),
            "tpr": recall_score(kin, accepted, sample_weight=w),
            "fmr": recall_score(~kin, accepted, sample_weight=w),
            "fnmr": 1 - recall_score(kin, accepted, sample_weight=w),
            "positive_rate": np.average(accepted, weights=w),
            "auc": roc_auc_score(kin, score, sample_weight=w),
            "eer": brentq(lambda rate, fmr=fmr, tpr=tpr: 1 - np.interp(rate, fmr, tpr) - rate, 0, 1),
            "dprime": find_dprime(score, kin, w),
            **{name: tpr[fmr <= far + 1e-12].max() for name, far in FARS.items()},
        }
        assert {name: value[column] for name, value in found.items()} == pytest.approx(expected, abs=1e-9)


def test_a_lost_class_is_not_a_number():
    score, kin = np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True])
    weight = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=np.float32)
    found = weighted_metrics(score, kin, weight, 0.5, FARS)
    assert found["accuracy"][:2].tolist() == [0.5, 0.5]
    assert np.isnan(found["accuracy"][2])
    for metric in ("fmr", "auc", "eer", "dprime", *FARS):
        assert np.isnan(found[metric]).tolist() == [False, True, True]
    assert np.isnan(found["tpr"]).tolist() == [False, False, True]


def test_where_all_weigh_one_accept_rates_are_the_plain_ones():
    rng = np.random.default_rng(0)
    for _ in range(30):
        kin = rng.permutation(np.arange(60) < rng.integers(1, 59))
        score = rng.normal(size=60).round(1)
        found = weighted_metrics(score, kin, np.ones((60, 1), np.float32), 0.5, FARS)
        plain = tar_at_far(score, kin, list(FARS.values()))
        assert [found[name][0] for name in FARS] == [plain[far] for far in FARS.values()]


def test_families_give_the_coverage_that_rows_lose():
    """Kin pairs of one family share an effect: intervals from rows miss the true TPR far too often."""
    families, each, repeats, threshold = 40, 10, 80, 0.0
    family = np.repeat(np.arange(families), each)
    pairs = pd.DataFrame({"family_a": family, "family_b": family})
    rows = pd.DataFrame({"family_a": np.arange(len(family)), "family_b": np.arange(len(family))})
    kin = np.ones(len(pairs), dtype=bool)
    held = {"families": 0, "rows": 0}
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        score = rng.normal(0, 1, families)[family] + rng.normal(0, 1, len(family))  # true TPR: 0.5
        for name, table in (("families", pairs), ("rows", rows)):
            weight = Resamples(table, 200, seed=repeat).weights()
            low, high = percentile_interval(weighted_metrics(score, kin, weight, threshold, {})["tpr"])
            held[name] += bool(low <= 0.5 <= high)
    assert held["families"] >= 0.88 * repeats
    assert held["rows"] <= 0.8 * repeats
