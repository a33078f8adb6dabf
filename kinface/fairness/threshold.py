"""The threshold at which a pair is accepted as kin."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.data.pairs import check_kinds
from kinface.data.tables import to_numbers, truth
from swinface.files import InputError


def choose_threshold(pairs: pd.DataFrame) -> float:
    """Choose the score that maximises Youden's J = TPR - FMR (Cancer 3(1), 1950); of equally good ones the highest.

    A pair is accepted as kin where its score is at least this. Take validation pairs, never the pairs that are then
    audited: that would make the model look better than it is. Raises ``InputError`` if the table has no kin pairs, no
    non-kin pairs, or a score that is no finite number.

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


def scores_and_kin(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) scores, float64, and whether the pairs are kin, bool, of whatever types their columns are.

    Raises ``InputError`` if a score is no finite number, or ``kin`` is neither 1 nor 0.
    """
    score = to_numbers(pairs["score"]).to_numpy()
    if not np.isfinite(score).all():
        raise InputError("some pairs have no finite score; score all of them.")
    kin = truth(pairs["kin"], "column kin")
    if kin.isna().any():
        raise InputError("column kin: it is 1 or 0 in every row.")
    return score, kin.to_numpy(bool)
