"""Intervals of what is measured on pairs of people, from influence values and the families that pairs share.

``measure`` gives the metrics of a group and the influence value of each pair on them; ``kinface.fairness.dyads`` makes
variances of these. Where all pairs are independent, that of the AUC is the one of DeLong, DeLong & Clarke-Pearson
(Biometrics 44(3), 1988).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, norm
from scipy.stats import t as student

from kinface.fairness.dyads import Dyads
from kinface.fairness.separation import measure_dprime, measure_eer

FARS = {"tar_at_1e-1": 1e-1, "tar_at_1e-2": 1e-2, "tar_at_1e-3": 1e-3}
SEPARATION = {"eer": measure_eer, "dprime": measure_dprime}
RATES = ("accuracy", "tpr", "fmr", "positive_rate", "auc", *FARS)  # FNMR is 1 - TPR
MEASURED = (*RATES, *SEPARATION)
UNBOUNDED = ("dprime",)  # all others lie between 0 and 1
FALSE_ACCEPTS = 10  # TAR at FAR is given if the non-kin pairs allow this many false accepts
FEWEST_FAMILIES = 5  # an interval from fewer families would be much too narrow
Z = float(norm.ppf(0.975))


def measure(score: np.ndarray, kin: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The verification metrics of one group of pairs, and the influence value of each pair on each of them.

    Of a rate it is (accepted_p - rate) / n over the n pairs that the rate is of; the share of kin pairs, on which
    accuracy and positive rate depend, is taken as given. Of the AUC it is (V10_p - AUC) / m for one of m kin pairs,
    with V10 the share of non-kin pairs that score lower, ties counted half, and likewise for a non-kin pair (DeLong).
    TAR at a FAR has a threshold that depends on the non-kin pairs; their values are -slope (accepted_p - FAR) / n,
    with the slope of the ROC curve there (chain rule). For EER and d' see ``kinface.fairness.separation``.

    A pair, of (pairs,) ``score`` and ``kin``, is accepted where ``score >= threshold``. Gives (metrics,) values, in the
    order of ``MEASURED``, NaN if the group lacks the pairs that a metric needs; and (pairs, metrics), 0 where a value
    is NaN.
    """
    kin, accepted = np.asarray(kin, bool), np.asarray(score) >= threshold
    values, influence = np.full(len(MEASURED), np.nan), np.zeros((len(MEASURED), len(kin))).T
    places = np.flatnonzero(kin), np.flatnonzero(~kin)
    for metric, right in (("accuracy", accepted == kin), ("positive_rate", accepted)):
        column = MEASURED.index(metric)
        values[column] = right.mean() if len(right) else np.nan
        for rows in filter(len, places):
            influence[rows, column] = (right[rows] - right[rows].mean()) / len(right)
    for metric, rows in (("tpr", places[0]), ("fmr", places[1])):
        if len(rows):
            column, rate = MEASURED.index(metric), accepted[rows].mean()
            values[column], influence[rows, column] = rate, (accepted[rows] - rate) / len(rows)
    m, n = map(len, places)
    if not m or not n:
        return values, influence
    kin_rows, other_rows = (rows[np.argsort(score[rows], kind="stable")] for rows in places)
    kin_score, other_score = score[kin_rows], score[other_rows]
    below, up_to = (np.searchsorted(other_score, kin_score, side) for side in ("left", "right"))
    column, placed = MEASURED.index("auc"), (below + up_to) / (2 * n)
    values[column] = area = (below + up_to).sum() / (2 * m * n)
    influence[kin_rows, column] = (placed - area) / m
    beaten = sum(np.searchsorted(kin_score, other_score, side) for side in ("left", "right")) / (2 * m)
    influence[other_rows, column] = (1 - beaten - area) / n
    rank = n - np.searchsorted(other_score, other_score, "left")  # non-kin pairs that score as high or higher
    for metric, far in FARS.items():
        if far * n >= FALSE_ACCEPTS:
            allowed, column = int(np.floor(far * n + 1e-9)), MEASURED.index(metric)
            kept, reach = below >= n - allowed, allowed // 2
            ends = [(below >= n - count).mean() for count in (allowed - reach, allowed + reach)]
            slope, through = (ends[1] - ends[0]) * n / (2 * reach), rank <= allowed
            values[column] = kept.mean()
            influence[kin_rows, column] = (kept - kept.mean()) / m
            influence[other_rows, column] = -slope * (through - through.mean()) / n
    for metric, measure_separation in SEPARATION.items():
        column = MEASURED.index(metric)
        values[column], of_kin, of_others = measure_separation(kin_score, other_score)
        influence[kin_rows, column], influence[other_rows, column] = of_kin, of_others
    return values, influence


def measure_by(
    score: np.ndarray, kin: np.ndarray, group: np.ndarray, groups: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """``measure`` in each of some groups: (groups, metrics) values and (pairs, metrics) influence values; ``group``,
    (pairs,), is -1 for none."""
    values, influence = np.full((groups, len(MEASURED)), np.nan), np.zeros((len(MEASURED), len(score))).T
    for number in range(groups):
        rows = np.flatnonzero(group == number)
        values[number], influence[rows] = measure(score[rows], kin[rows], threshold)
    return values, influence


def widen(units: np.ndarray) -> np.ndarray:
    """How much wider an interval from few units is: Student's quantile, n - 1 degrees of freedom, by the normal one.

    n is the effective number of units (Cameron & Miller, Journal of Human Resources 50(2), 2015, section VI). Not a
    number where it is 1 or unknown.
    """
    units = np.asarray(units, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(units > 1 + 1e-9, student.ppf(0.975, units - 1) / Z, np.nan)


def reach_of_jeffreys(units: np.ndarray) -> np.ndarray:
    """How far a rate may be from the 0 or 1 that was found: the quantile of Jeffreys' posterior.

    Influence values are all 0 there. The rule takes as many trials as there are units, none (or all) of them a success:
    there are at least that many independent ones (Brown, Cai & DasGupta, Statistical Science 16(2), 2001, 4.1.1).
    """
    return beta.ppf(0.975, 0.5, np.asarray(units) + 0.5)


def interval_of_rate(value: np.ndarray, error: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of rates, or of other values from 0 to 1, (...); on the logistic scale, so that it lies between
    these.

    ``error`` is (...), their widened standard errors, and ``units``, (...), the number that each comes from. Fewer than
    ``FEWEST_FAMILIES`` give no interval. See ``reach_of_jeffreys`` for values of exactly 0 or 1.
    """
    value, error, units = np.broadcast_arrays(*(np.asarray(it, float) for it in (value, error, units)))
    with np.errstate(divide="ignore", invalid="ignore"):
        half = Z * error / (value * (1 - value))
        low, high = expit(logit(value) - half), expit(logit(value) + half)
    reach = reach_of_jeffreys(units)
    low = np.where(value == 0, 0, np.where(value == 1, 1 - reach, low))
    high = np.where(value == 1, 1, np.where(value == 0, reach, high))
    known = np.isfinite(value) & (units >= FEWEST_FAMILIES)
    return np.where(known, np.minimum(low, value), np.nan), np.where(known, np.maximum(high, value), np.nan)


def standard_error(influence: np.ndarray, dyads: Dyads, rows: np.ndarray | slice = slice(None)) -> float:
    """The widened standard error of an estimate from its influence values, (pairs,); the units of ``rows`` count for
    the widening."""
    part, one = dyads[rows], np.zeros(len(influence), int)
    effective = part.count_effective(one[rows], 1, one[rows] > 0)
    factor = dyads.correct(one, one > 0, effective)
    variance = dyads.covariance(one, 1, influence[:, None], factor)[0, 0, 0]
    return float(np.sqrt(variance) * widen(effective["all"])[0])


def interval_of_mean(value: np.ndarray, dyads: Dyads) -> tuple[float, float, float]:
    """The mean of values from 0 to 1, (pairs,), and its 95% interval; NaN where there are none."""
    if not len(value):
        return np.nan, np.nan, np.nan
    mean, group = float(np.mean(value)), np.zeros(len(value), int)
    units = dyads.count(group, 1, group > 0)["all"][0]
    return mean, *map(float, interval_of_rate(mean, standard_error((value - mean) / len(value), dyads), units))


def compare(value: np.ndarray, covariance: np.ndarray, first: int, second: int) -> tuple[float, float, float]:
    """The difference of two groups, first minus second, and its 95% interval."""
    variance = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
    difference = float(value[first] - value[second])
    return difference, *map(float, interval_of_difference(difference, variance))


def interval_of_difference(value: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of differences from their widened variances."""
    half = Z * np.sqrt(np.maximum(variance, 0))
    return value - half, value + half


@dataclass(frozen=True)
class Estimates:
    """Metrics of groups of pairs, in the order of ``MEASURED``, and how they vary.

    Deviations are those of the multiplier bootstrap: how far a metric moves where units weigh more or less at random,
    scaled to the variances, which are widened for few units (``widen``).
    """

    value: np.ndarray  #: (metrics, groups)
    low: np.ndarray  #: (metrics, groups), the ends of 95% intervals; NaN where there is none
    high: np.ndarray
    covariance: np.ndarray  #: (metrics, groups, groups); NaN where a group has no interval
    deviations: np.ndarray  #: (resamples, metrics, groups)


def estimate(
    score: np.ndarray,
    kin: np.ndarray,
    group: np.ndarray,
    groups: int,
    threshold: float,
    dyads: Dyads,
    multipliers: np.ndarray | None = None,
    seed: int = 0,
) -> Estimates:
    """Measure each group of one grouping, by (pairs,) scores, kinship and groups, -1 for none.

    ``multipliers`` are (units or blocks, resamples), see ``Dyads.draw``; with None there are no deviations. The
    ``seed`` is that of the deviations of rates of 0 and 1. Intervals of rates are on the logistic scale
    (``interval_of_rate``), those of d' on its own, from 0.
    """
    value, influence = measure_by(score, kin, group, groups, threshold)
    value, effective = value.T.copy(), dyads.count_effective(group, groups, kin)
    wider, factor = find_widening(effective), dyads.correct(group, kin, effective)
    covariance = dyads.covariance(group, groups, influence, factor) * wider[:, :, None] * wider[:, None, :]
    counts = dyads.count(group, groups, kin)
    units = np.stack([np.min([counts[kind] for kind in KINDS_BEHIND[metric]], axis=0) for metric in MEASURED])
    unbounded = np.isin(MEASURED, UNBOUNDED)[:, None]
    variance = np.einsum("kgg->kg", covariance)  # a view
    lost = ~np.isfinite(value) | (units < FEWEST_FAMILIES) | (unbounded & (variance == 0))
    extreme = ~lost & ~unbounded & (np.isin(value, (0, 1)) | (variance == 0))  # no pair is told from another
    variance[extreme] = (reach_of_jeffreys(units[extreme]) / Z) ** 2
    error = np.sqrt(variance)
    deviations = dyads.draw(group, groups, influence, np.zeros((1, 0)) if multipliers is None else multipliers)
    own = np.random.default_rng((seed, zlib.crc32(np.append(np.sort(score), threshold).tobytes()), groups))
    kinds = (RATES, SEPARATION)  # one after the other: draws of rates are those of rates alone
    drawn = np.hstack([own.standard_normal((len(deviations), len(kind), groups)) for kind in kinds])
    deviations = np.where(extreme, drawn, deviations)
    spread = np.sqrt((deviations**2).mean(axis=0)) if len(deviations) else error
    deviations *= np.where(lost, np.nan, error / np.where(spread > 0, spread, 1))
    covariance[lost] = np.nan
    covariance.swapaxes(1, 2)[lost] = np.nan
    straight = interval_of_difference(value, variance)  # NaN where lost, as the covariance
    low, high = np.where(unbounded, np.maximum(straight, 0), interval_of_rate(value, error, units))
    return Estimates(value, low, high, covariance, deviations)


KINDS_BEHIND = {metric: ("kin", "non-kin") for metric in MEASURED} | {
    "accuracy": ("all",),  # defined without one of the two kinds
    "positive_rate": ("all",),
    "tpr": ("kin",),
    "fmr": ("non-kin",),
}


def find_widening(effective: dict[str, np.ndarray]) -> np.ndarray:
    """(metrics, groups) factors by which standard errors are widened for few units (``widen``).

    A metric rests on the effective number of units of its pairs; one of both kinds of pairs, on the smaller number.
    """
    return np.stack([widen(np.min([effective[it] for it in KINDS_BEHIND[metric]], axis=0)) for metric in MEASURED])


def move(rate: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Rates with random deviations, (draws, groups), on the logistic scale; a rate of 0 or 1 moves inwards alone."""
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = expit(logit(rate) + deviation / (rate * (1 - rate)))
    return np.where(np.isin(rate, (0, 1)), np.abs(rate - np.minimum(np.abs(deviation), 1)), moved)


def move_from(start: np.ndarray, rate: np.ndarray, deviation: np.ndarray, metric: str = "rate") -> np.ndarray:
    """The same for groups of other rates, ``start``, (groups,), and the spread that goes with these.

    A metric of ``UNBOUNDED`` moves by its deviations, and not below 0.
    """
    if metric in UNBOUNDED:
        return np.maximum(start + deviation, 0)
    own = rate * (1 - rate)
    scale = np.sqrt(np.where(own > 0, start * (1 - start) / np.where(own > 0, own, 1), 1))
    return move(start, deviation * scale)


def shrink(rate: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Rates, (groups,), drawn towards their mean until they differ by no more than chance leaves unexplained.

    Their variance is then that of the rates less what the deviations, (draws, groups), have between groups, or 0 (the
    positive-part rule of Efron & Morris, Journal of the American Statistical Association 68(341), 1973).
    """
    found, by_chance, mean = rate.var(), deviation.var(axis=-1).mean(), rate.mean()
    return mean + np.sqrt(max(0.0, 1 - by_chance / found) if found > 0 else 0.0) * (rate - mean)
