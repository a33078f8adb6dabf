"""The family bootstrap, and the metrics of a group with its weights.

Two pairs with a family in common are not independent. Families are therefore resampled, and single pairs only if their
families are unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.dyads import FAMILIES, find_units
from kinface.fairness.groups import METRICS
from kinface.fairness.intervals import FARS
from swinface.bootstrap import draw_clusters, weigh_pairs

WEIGHTS_AT_ONCE = 4_000_000  # bounds memory: an audit holds about six arrays of this many float32


def draw_families(families: int, count: int, seed: int) -> np.ndarray:
    """Draw families with replacement, as many as there are: (families, count), float32, how often each was drawn.

    The same arguments give the same draws.
    """
    return np.stack([drawn.astype(np.float32) for drawn in draw_clusters(families, count, seed)], axis=1)


class Resamples:
    """Draws of clusters, such as families, with replacement, and the weight that each draw gives to each pair.

    Pairs whose clusters are unknown are drawn one by one, as if they were independent (``pairs.resampling_units``). If
    such pairs share people, they are not independent and the intervals are too narrow.

    The weights are those of ``swinface.bootstrap.weigh_pairs``, which allow for dependence through either cluster. If
    families matter little to pairs of two families, the intervals are too wide.

    ``pairs`` is a pairs table, of which the columns ``clusters`` (``find_units``) are read, and the faces where these
    are missing. The same units, ``count`` of resamples and seed give the same resamples: two models are compared on the
    same ones. ``units`` are the sorted names of the clusters, and of the pairs that are drawn one by one;
    ``multiplicities``, (units, count), float32, how often each was drawn.
    """

    def __init__(
        self, pairs: pd.DataFrame, count: int = 1000, seed: int = 0, clusters: Sequence[str] | None = FAMILIES
    ) -> None:
        both = np.concatenate([side.to_numpy(str) for side in find_units(pairs, clusters)])
        self.units, codes = np.unique(both, return_inverse=True)
        self._first, self._second = codes.reshape(2, -1)
        self.count = count
        self.multiplicities = draw_families(len(self.units), count, seed)

    def deviate(self) -> np.ndarray:
        """(units, count) how much more often than once each unit was drawn, in the order of ``Dyads.keys``."""
        return self.multiplicities[np.argsort(pd.util.hash_array(self.units.astype(object)))] - 1

    def blocks(self, pairs: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Some resamples at a time, as memory allows, and the weights of the first ``pairs`` pairs in them."""
        step = max(1, WEIGHTS_AT_ONCE // pairs)
        for start in range(0, self.count, step):
            part = slice(start, min(start + step, self.count))
            yield part, self.weights(part)[:pairs]

    def weights(self, part: slice = slice(None)) -> np.ndarray:
        """Weights of all pairs in some of the resamples: (pairs, resamples), float32 holding whole numbers."""
        return weigh_pairs(self.multiplicities[:, part], self._first, self._second)


def weighted_metrics(
    score: np.ndarray, kin: np.ndarray, weight: np.ndarray, threshold: float, fars: dict[str, float]
) -> dict[str, np.ndarray]:
    """Compute the verification metrics of one group of pairs with many sets of weights at once.

    AUC and TAR at FAR both come from the placement value of a kin pair, the weighted share of non-kin pairs that score
    as high or higher (Pepe, The Statistical Evaluation of Medical Tests, 2003): TAR at FAR x is the share of kin pairs
    placed at x or below, the AUC is one minus their mean placement, ties counted half.

    A pair, of (pairs,) ``score`` and ``kin``, is accepted where ``score >= threshold``. Weights are (pairs, resamples),
    float32 holding whole numbers whose sums stay below 2^24, so that they are exact; ``fars`` are from the name of a
    TAR to the false accept rate it may reach. Gives metric to (resamples,), float64; NaN if a resample lacks the pairs
    that a metric needs.
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
            "eer": _weighted_eer(score[ascending], kin[ascending], weight[ascending]),
            "dprime": _weighted_dprime((kin_score, kin_weight, kin_total), (other_score, other_weight, other_total)),
        }
        for name, far in fars.items():
            # Whole weights: 1e-9 only undoes the rounding of far * total where that is a whole number.
            needed = other_total - np.floor(far * other_total + 1e-9)
            accepted = np.einsum("pr,pr->r", kin_weight, below >= needed)
            metrics[name] = np.where(other_total > 0, accepted / kin_total, np.nan)
    return metrics


def _weighted_eer(score: np.ndarray, kin: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(resamples,) equal error rates of pairs in ascending order of score (``separation.measure_eer``)."""
    last, none = np.flatnonzero(np.diff(score, append=np.inf)), np.zeros_like(weight[:1])  # equal scores go together
    missed, rejected = (np.concatenate([none, np.cumsum(weight * of[:, None], axis=0)[last]]) for of in (kin, ~kin))
    accepted, kin_total, other_total = (
        rejected[-1] - rejected,
        *(it[-1].astype(np.float64) for it in (missed, rejected)),
    )
    after = np.argmax(missed * other_total >= accepted * kin_total, axis=0)  # the point where FNMR has reached FMR
    points = np.maximum([after - 1, after], 0)
    (low, up), (more, less) = (np.take_along_axis(it, points, axis=0).astype(np.float64) for it in (missed, accepted))
    return (up * more - low * less) / ((up - low) * other_total + (more - less) * kin_total)


def _weighted_dprime(*kinds: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """(resamples,) d' of kin and of non-kin pairs, each with scores, weights and sums of these."""
    moments = []
    for score, weight, total in kinds:
        middle = np.median(score) if len(score) else 0.0  # for a variance without loss of digits
        away = score - middle
        mean = away @ weight / total
        moments.append((middle + mean, away**2 @ weight / total - mean**2))
    (kin_mean, kin_variance), (mean, variance) = moments
    return np.abs(kin_mean - mean) / np.sqrt((kin_variance + variance) / 2)


def resample_groups(audit: FairnessAudit, resamples: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    """Each metric of each group where clusters are drawn with replacement: (resamples, groups), as in ``audit.groups``.

    For your own figures that are no smooth function of the pairs, and so have no influence values. Where families
    matter little to pairs of two families, such draws spread too far: by 1.85 times for the FMR of FIW's families.
    """
    score, kin = audit.pairs["score"].to_numpy(), audit.pairs["kin"].to_numpy()
    draws = Resamples(audit.pairs, resamples, seed, audit.clusters)
    found = {metric: np.full((resamples, len(audit.groups)), np.nan) for metric in METRICS}
    for part, weight in draws.blocks(len(audit.pairs)):
        for group in audit.groups.itertuples():
            rows = (audit.labels[group.grouping] == group.group).to_numpy()
            fars = {name: far for name, far in FARS.items() if pd.notna(audit.groups.loc[group.Index, name])}
            for metric, value in weighted_metrics(score[rows], kin[rows], weight[rows], audit.threshold, fars).items():
                found[metric][part, group.Index] = value
    return found
