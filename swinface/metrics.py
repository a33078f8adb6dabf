"""Figures of verification: how well a score tells pairs of one kind from pairs of the other.

A pair is accepted (as two faces of one person, or of one family) if its score is at least a threshold. In all functions
``scores`` is (pairs,), and ``same``, (pairs,) bool, says which pairs are to be accepted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from swinface.files import InputError


def count_right(scores: np.ndarray, same: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many pairs are classified correctly at each threshold, (thresholds,) int.

    Thresholds are in any order.
    """
    genuine, impostors = np.sort(scores[same]), np.sort(scores[~same])
    return len(genuine) - np.searchsorted(genuine, thresholds) + np.searchsorted(impostors, thresholds)


def choose_accurate(scores: np.ndarray, same: np.ndarray) -> float:
    """The threshold of the highest accuracy among the scores themselves; of several that are equally good the highest.

    >>> choose_accurate(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]))
    0.9
    """
    thresholds = np.unique(scores)[::-1]
    return float(thresholds[count_right(scores, same, thresholds).argmax()])


def tar_at_far(scores: np.ndarray, same: np.ndarray, fars: Sequence[float]) -> dict[float, float]:
    """The largest true accept rate at which each false accept rate, 0 to 1, is not exceeded, on the exact ROC curve.

    As on scikit-learn's ``roc_curve``, pairs of equal score are accepted together, without points in between.
    (insightface takes the point whose false accept rate is nearest, which may be above the given one.) Raises
    ``InputError`` if all pairs are of one kind.

    >>> tar_at_far(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]), [0.0, 0.5])
    {0.0: 0.5, 0.5: 1.0}
    """
    genuine, impostors = scores[same], np.sort(scores[~same])
    if not len(genuine) or not len(impostors):
        raise InputError("true and false accept rates need pairs of both kinds.")
    tars = {}
    for far in fars:
        allowed = math.floor(far * len(impostors) + 1e-9)  # 1e-9 only undoes the rounding of a whole number
        bound = impostors[-1 - allowed] if allowed < len(impostors) else -np.inf
        tars[far] = float((genuine > bound).mean())
    return tars


def weighted_aucs(scores: np.ndarray, same: np.ndarray, weights: Iterable[np.ndarray]) -> np.ndarray:
    """The AUC under each of several weightings, (pairs,) each, such as those of resamples: (weightings,).

    It is the mean, over pairs to be accepted, of the weight of other pairs that score lower; equal scores count half.
    It is NaN if all pairs of either kind have the weight 0.
    """
    order = np.argsort(scores, kind="stable")
    one, two = order[same[order]], order[~same[order]]
    below, up_to = (np.searchsorted(scores[two], scores[one], side=side) for side in ("left", "right"))
    aucs = []
    for weight in weights:
        lower = np.concatenate([[0], np.cumsum(weight[two])])
        with np.errstate(invalid="ignore"):
            aucs.append(weight[one] @ (lower[below] + lower[up_to]) / (2 * weight[one].sum() * lower[-1]))
    return np.array(aucs)
