"""Uncertainty where pairs share families: the family bootstrap, and the figures of a group under its weights.

Two pairs with a family in common are not independent, so what is drawn again is families, and rows only where
families are not known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.data.pairs import resampling_units


def draw_families(families: int, count: int, seed: int) -> np.ndarray:
    """How often each family is drawn when as many as there are are drawn with replacement: (families, count), float32.

    The same arguments give the same draws.
    """
    draws = np.random.default_rng(seed).multinomial(families, np.full(families, 1 / families), size=count)
    return np.ascontiguousarray(draws.T, dtype=np.float32)


class Resamples:
    """Draws of families with replacement, and the weight each draw gives to each pair.

    Pairs whose families are not known are drawn one by one beside the families, as if they were independent
    (``pairs.resampling_units``). They are not, as pairs share people: intervals are too narrow then.

    A family drawn m times gives its own pairs the weight m. A pair of two families belongs to both, so it weighs
    m_a * m_b: the pigeonhole bootstrap (Owen, Annals of Applied Statistics 1(2), 2007; for pairs within one set of
    units: Davezies, D'Haultfoeuille & Guyonvarch, Annals of Statistics 49(2), 2021). It covers dependence through
    either family. Where families matter little to pairs of two, its intervals are too wide rather than too narrow.

    Parameters
    ----------
    pairs
        Pairs table; ``family_a`` and ``family_b`` are read, and the faces where these are missing.
    count
        Number of resamples.
    seed
        Same units, count and seed: same resamples. Two models are compared on the same ones.

    Attributes
    ----------
    units
        Names of the families, and of the pairs that are drawn by themselves, sorted.
    multiplicities
        How often each unit was drawn: (units, count), float32.
    """

    def __init__(self, pairs: pd.DataFrame, count: int = 1000, seed: int = 0) -> None:
        both = np.concatenate([side.to_numpy(str) for side in resampling_units(pairs)])
        self.units, codes = np.unique(both, return_inverse=True)
        self._first, self._second = codes.reshape(2, -1)
        self.count = count
        self.multiplicities = draw_families(len(self.units), count, seed)

    def weights(self, part: slice = slice(None)) -> np.ndarray:
        """Weights of all pairs in some of the resamples: (pairs, resamples), float32 holding whole numbers."""
        drawn = self.multiplicities[:, part]
        weights = drawn[self._first]
        of_two = self._first != self._second
        weights[of_two] *= drawn[self._second[of_two]]
        return weights


def weighted_metrics(
    score: np.ndarray, kin: np.ndarray, weight: np.ndarray, threshold: float, fars: dict[str, float]
) -> dict[str, np.ndarray]:
    """Verification metrics of one group of pairs under many weightings at once.

    AUC and TAR at FAR both come from the placement value of a kin pair, the weighted share of non-kin pairs that
    score as high or higher (Pepe, The Statistical Evaluation of Medical Tests, 2003): TAR at FAR x is the share of
    kin pairs placed at x or below, the AUC is one minus their mean placement, ties counted half.

    Parameters
    ----------
    score, kin
        (pairs,), a pair is accepted as kin where ``score >= threshold``.
    weight
        (pairs, resamples), float32 holding whole numbers whose sums stay below 2^24, so that they are exact.
    fars
        Name of a TAR to the false accept rate it may reach.

    Returns
    -------
    dict
        Metric to (resamples,), float64; not a number where a resample lacks the class a metric rests on.
    """
    ascending = np.argsort(score, kind="stable")
    kin_rows, other_rows = ascending[kin[ascending]], ascending[~kin[ascending]]
    kin_score, other_score = score[kin_rows], score[other_rows]
    kin_weight, other_weight = weight[kin_rows], weight[other_rows]
    kin_total, other_total = kin_weight.sum(0, dtype=np.float64), other_weight.sum(0, dtype=np.float64)
    true_accepts = kin_weight[kin_score >= threshold].sum(0, dtype=np.float64)
    false_accepts = other_weight[other_score >= threshold].sum(0, dtype=np.float64)

    lower = np.zeros((len(other_rows) + 1, weight.shape[1]), dtype=np.float32)  # weight of the k lowest non-kin pairs
    np.cumsum(other_weight, axis=0, out=lower[1:])
    below = lower[np.searchsorted(other_score, kin_score, side="left")]  # (kin pairs, resamples)
    up_to = lower[np.searchsorted(other_score, kin_score, side="right")]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fmr = true_accepts / kin_total, false_accepts / other_total
        total = kin_total + other_total
        metrics = {
            "accuracy": (true_accepts + other_total - false_accepts) / total,
            "tpr": tpr,
            "fmr": fmr,
            "fnmr": 1 - tpr,
            "positive_rate": (true_accepts + false_accepts) / total,
            "auc": np.einsum("pr,pr->r", kin_weight, below + up_to, dtype=np.float64) / (2 * kin_total * other_total),
        }
        for name, far in fars.items():
            # Whole weights: 1e-9 only undoes the rounding of far * total where that is a whole number.
            needed = other_total - np.floor(far * other_total + 1e-9)
            accepted = np.einsum("pr,pr->r", kin_weight, below >= needed)
            metrics[name] = np.where(other_total > 0, accepted / kin_total, np.nan)
    return metrics


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis, leaving out what is not a number.

    Its ends are order statistics, taken outwards, so that infinite ratios stay in their place.

    Parameters
    ----------
    values
        (resamples, ...).

    Returns
    -------
    tuple
        Lower and upper end, each (...); not a number where no resample has a value.
    """
    ordered = np.sort(values, axis=0)  # not-a-number last
    last = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    tail = (1 - level) / 2
    low, high = np.floor(tail * last).astype(int), np.ceil((1 - tail) * last).astype(int)
    ends = [np.take_along_axis(ordered, index[None], axis=0)[0] for index in (low, high)]
    return ends[0], ends[1]


def interval_around(value: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of a value, extended to it where it lies outside.

    Parameters
    ----------
    value
        (...), computed once from all data.
    draws
        (resamples, ...), the same in each resample.
    """
    low, high = percentile_interval(draws)
    return np.minimum(low, value), np.maximum(high, value)


def symmetric_interval(value: float, draws: np.ndarray) -> tuple[float, float]:
    """95% symmetric bootstrap interval, value -+ the 95th percentile of |draw - value|.

    Hall, Journal of the Royal Statistical Society B 50(1), 1988. For how far apart groups lie, and what rests on it:
    resampled groups differ more than the groups they are drawn from, so that percentiles lie too far out, and the
    basic interval, which mirrors them, has no width where the groups are equal. None where the value is not finite.

    Parameters
    ----------
    draws
        (resamples,); may be infinite or not a number.
    """
    if not np.isfinite(value):
        return np.nan, np.nan
    reach = float(percentile_interval(np.abs(draws - value), level=0.9)[1])  # each end is passed by one in twenty
    return value - reach, value + reach
