"""The threshold at which a pair is accepted as kin."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.data.pairs import check_kinds
from kinface.data.tables import to_numbers, truth
from kinface.fairness.dyads import find_units
from swinface.bootstrap import draw_clusters, percentile_interval, weigh_pairs
from swinface.files import InputError

RESAMPLES = 300  # of validation pairs: enough for a range


def choose_threshold(pairs: pd.DataFrame) -> float:
    """Choose the score that maximises Youden's J = TPR - FMR (Cancer 3(1), 1950); of equally good ones the highest.

    A pair is accepted as kin where its score is at least this. Take validation pairs, never the pairs that are then
    audited: that would make the model look better than it is. Raises ``InputError`` if the table has no kin pairs, no
    non-kin pairs, or a score that is not a finite number.

    >>> choose_threshold(pd.DataFrame({"kin": [True, False, True, False], "score": [0.9, 0.2, 0.6, 0.4]}))
    0.6
    """
    score, kin = scores_and_kin(pairs)
    check_kinds(kin, "pairs to choose a threshold on")
    descending = np.argsort(-score, kind="stable")
    return _choose(score[descending], kin[descending], np.ones(len(kin), np.int64))


def _choose(score: np.ndarray, kin: np.ndarray, weight: np.ndarray) -> float:
    """The same of pairs in descending order of score, (pairs,), with whole weights; NaN where one kind has none.

    J times the kin and the other pairs is a whole number, so that equally good scores are exactly equal.
    """
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # of equal scores: they are accepted together
    found, accepted = (weight * kin).cumsum()[last], weight.cumsum()[last]
    others = accepted - found
    if not found[-1] or not others[-1]:
        return np.nan
    return float(score[last][np.argmax(found * others[-1] - others * found[-1])])


def resample_threshold(pairs: pd.DataFrame, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """The thresholds that other validation pairs might have chosen, (resamples,): ``choose_threshold`` on draws.

    Families are drawn with replacement, or pairs where families are unknown (``swinface.bootstrap.weigh_pairs``). NaN
    where a draw has pairs of one kind. In simulations the TPR at these thresholds ranges 1.1 to 1.3 times as far as at
    those of new validation families (``benchmarks/coverage.py``).
    """
    score, kin = scores_and_kin(pairs)
    descending = np.argsort(-score, kind="stable")
    score, kin = score[descending], kin[descending]
    units, names = pd.factorize(np.concatenate(find_units(pairs)))
    first, second = units.reshape(2, -1)[:, descending]
    drawn = draw_clusters(len(names), resamples, seed)
    return np.array([_choose(score, kin, weigh_pairs(counts, first, second)) for counts in drawn])


def range_over_thresholds(
    pairs: pd.DataFrame, labels: pd.DataFrame, threshold: float, others: np.ndarray
) -> pd.DataFrame:
    """The middle 95% of other thresholds, and of what groups have at them.

    Parameters
    ----------
    pairs, labels
        Scored pairs, and the group of each, a column per grouping.
    threshold, others
        The threshold, and the others, (resamples,), as of ``resample_threshold``.

    Returns
    -------
    pd.DataFrame
        Columns ``grouping``, ``group``, ``metric``, ``value`` (at the threshold), ``low`` and ``high``. The first row
        is of the threshold; the others are of ``tpr``, ``fmr`` and ``accuracy``, missing without pairs of a kind.
    """
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    ascending = np.argsort(score, kind="stable")
    tried, rows = np.append(threshold, others[np.isfinite(others)]), []
    for grouping, label in labels.items():
        code = label.cat.codes.to_numpy()[ascending]
        for number, group in enumerate(label.cat.categories):
            own = ascending[code == number]
            of_kin, of_others = score[own[kin[own]]], score[own[~kin[own]]]
            found, accepted = (len(it) - np.searchsorted(it, tried) for it in (of_kin, of_others))
            with np.errstate(invalid="ignore"):
                rates = found / len(of_kin), accepted / len(of_others), (found + len(of_others) - accepted) / len(own)
            named = {"threshold": tried} if not rows else {}
            for metric, values in (named | dict(zip(("tpr", "fmr", "accuracy"), rates, strict=True))).items():
                rows.append((grouping, group, metric, values[0], *percentile_interval(values[1:])))
    return pd.DataFrame(rows, columns=["grouping", "group", "metric", "value", "low", "high"])


def scores_and_kin(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) scores, float64, and whether the pairs are kin, bool, of whatever types their columns are.

    Raises ``InputError`` if a score is not a finite number, or ``kin`` is neither 1 nor 0.
    """
    score = to_numbers(pairs["score"]).to_numpy()
    if not np.isfinite(score).all():
        raise InputError("some pairs have no finite score; score all of them.")
    kin = truth(pairs["kin"], "column kin")
    if kin.isna().any():
        raise InputError("column kin: it is 1 or 0 in every row.")
    return score, kin.to_numpy(bool)
