"""The threshold: how it is chosen, and how far another sample of validation pairs would move it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.fairness.audit import audit_fairness
from kinface.fairness.threshold import choose_threshold, resample_threshold
from swinface.bootstrap import draw_clusters


def test_threshold_has_the_largest_youden_j(draw_scored):
    pairs = draw_scored(400, digits=1)
    kin, score = pairs["kin"], pairs["score"]
    best = max((round((score[kin] >= t).mean() - (score[~kin] >= t).mean(), 9), t) for t in score.unique())
    assert choose_threshold(pairs) == best[1]
    reversed_scores = pairs.assign(score=-pairs["score"])
    assert np.isfinite(choose_threshold(reversed_scores))


def test_of_equally_good_thresholds_the_highest_is_chosen():
    """Equal as fractions, where .9 - .2 is more than .7 of floating-point numbers."""
    for seed in range(300):
        rng = np.random.default_rng(seed)
        kin, score = rng.permutation(np.arange(40) < 20 + seed % 5), rng.integers(0, 12, 40) / 10
        best = max((_exact_j(kin, score >= t), t) for t in np.unique(score))
        assert choose_threshold(pd.DataFrame({"kin": kin, "score": score})) == best[1]


def _exact_j(kin: np.ndarray, accepted: np.ndarray) -> Fraction:
    rates = (Fraction(int((accepted & kind).sum()), int(kind.sum())) for kind in (kin, ~kin))
    return next(rates) - next(rates)


def test_the_range_over_thresholds_is_that_of_validation_families_drawn_again(draw_scored):
    """A naive bootstrap: a family that was drawn twice is there twice, a pair of two as often as both together."""
    validation, pairs = draw_scored(300, families=30, seed=1, digits=1, prefix="V"), draw_scored(900)
    audit = kinface.audit(pairs, validation, resamples=20, seed=5)
    first, second = validation["family_a"], validation["family_b"]
    families = pd.unique(pd.concat([first, second]))
    chosen = []
    for counts in draw_clusters(len(families), 300, 5):
        times = [side.map(dict(zip(families, counts, strict=True))) for side in (first, second)]
        both = times[0] * times[1].where(first != second, 1)
        chosen.append(choose_threshold(validation.loc[validation.index.repeat(both)]))
    assert resample_threshold(validation, seed=5).tolist() == chosen
    found = audit.threshold_range.set_index(["grouping", "group", "metric"])
    assert found.iloc[0].tolist() == [audit.threshold, *_find_ends(chosen)]
    african = audit.labels["race"] == "African"
    for name, rows in ((("overall", "all pairs"), african | True), (("race", "African"), african)):
        score, kin = pairs["score"][rows].to_numpy(), pairs["kin"][rows].to_numpy()
        accepted = score >= np.array(chosen)[:, None]
        rates = {"tpr": accepted[:, kin], "fmr": accepted[:, ~kin], "accuracy": accepted == kin}
        for metric, right in rates.items():
            ends = _find_ends(right.mean(axis=1))
            assert found.loc[(*name, metric), ["low", "high"]].tolist() == pytest.approx(ends)
            value = audit.groups.set_index(["grouping", "group"]).loc[name, metric]
            assert found.loc[(*name, metric), "value"] == pytest.approx(value)


def _find_ends(values: np.ndarray) -> list[float]:
    return [float(np.quantile(values, share, method=side)) for share, side in ((0.025, "lower"), (0.975, "higher"))]


def test_a_range_over_thresholds_needs_validation_pairs_but_no_families(draw_scored):
    pairs, validation = draw_scored(600), draw_scored(300, prefix="V")
    assert audit_fairness(pairs, 0.5, resamples=20).threshold_range is None
    unknown = validation.assign(family_a=None, family_b=None)
    assert np.nanstd(resample_threshold(unknown)) > 0
    drawn = resample_threshold(draw_scored(60, families=3))
    assert 0 < np.isnan(drawn).sum() < len(drawn)  # of one family there are no other pairs
