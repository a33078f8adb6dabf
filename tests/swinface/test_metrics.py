"""Thresholds and true accept rates against counts by hand and scikit-learn's curve."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

from swinface.files import InputError
from swinface.metrics import choose_accurate, count_right, tar_at_far, weighted_aucs


def test_right_decisions_are_counted_at_every_threshold():
    rng = np.random.default_rng(0)
    scores, same = rng.integers(0, 8, 40) / 8, rng.random(40) < 0.4
    thresholds = np.linspace(1.1, -0.1, 25)
    expected = [accuracy_score(same, scores >= threshold, normalize=False) for threshold in thresholds]
    assert count_right(scores, same, thresholds).tolist() == expected


def test_the_most_accurate_threshold_is_the_highest_of_the_best():
    generator = np.random.default_rng(0)
    for _ in range(50):
        score, same = generator.integers(0, 8, 15) / 8, generator.random(15) < 0.4
        best = max(score, key=lambda t: (((score >= t) == same).mean(), t))
        assert choose_accurate(score, same) == best


def test_tar_by_hand():
    impostors = np.array([0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    genuine = np.array([0.95, 0.85, 0.8, 0.45, 0.4])
    scores = np.concatenate([impostors, genuine])
    same = np.arange(15) >= 10
    # None allowed: above .9. One: above .8. Five: above .4, at which two would come together. Six: above .4 as well.
    expected = {0.01: 0.2, 0.1: 0.4, 0.5: 0.8, 0.6: 0.8, 0.7: 1.0, 1.0: 1.0}
    assert tar_at_far(scores, same, list(expected)) == expected


@pytest.mark.parametrize("decimals", [2, 7])
def test_tar_is_the_best_point_of_scikit_learns_curve(decimals):
    rng = np.random.default_rng(1)
    same = rng.random(20_000) < 0.1
    scores = np.round(rng.normal(size=20_000) + 2 * same, decimals).astype(np.float32)
    fpr, tpr, _ = roc_curve(same, scores, drop_intermediate=False)
    negatives = int((~same).sum())
    for far in (1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1, *(np.arange(1, 100) / negatives)):
        assert tar_at_far(scores, same, [far])[far] == tpr[fpr <= far].max()


@pytest.mark.parametrize("same", [True, False])
def test_tar_needs_pairs_of_both_kinds(same):
    with pytest.raises(InputError, match="need pairs of both kinds"):
        tar_at_far(np.zeros(3), np.full(3, same), [0.1])


def test_aucs_under_weights_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    scores, same = random.integers(0, 6, 40).astype(float), random.random(40) < 0.4
    weights = random.integers(0, 3, (5, 40)).astype(float)
    expected = [roc_auc_score(same, scores, sample_weight=weight) for weight in weights]
    assert weighted_aucs(scores, same, weights) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(weighted_aucs(scores, same, [np.where(same, 1.0, 0.0)])).all()
