"""Intervals of what is measured on pairs of people: dyadic cluster-robust variance from influence values.

A pair of two families depends on every pair that has either of them. Up to terms that vanish, each metric is a sum over
pairs: estimate - truth = sum_p phi_p, with phi_p the influence value of pair p. With S_f, the sum of phi over the pairs
of family f, and D_d, the sum over the pairs of one dyad {f, g} of two families,

    variance = sum_f S_f^2 - sum_d D_d^2

(Fafchamps & Gubert, Journal of Development Economics 83(2), 2007; Aronow, Samii & Assenova, Political Analysis 23(4),
2015). Products of two metrics' sums give their covariance. Pairs that are each a unit of their own are independent:
their variance is sum_p phi_p^2, which for the AUC is that of DeLong, DeLong & Clarke-Pearson (Biometrics 44(3), 1988).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import expit, logit
from scipy.stats import beta, norm
from scipy.stats import t as student

from kinface.data.pairs import resampling_units
from swinface.files import InputError

FAMILIES = ("family_a", "family_b")


FARS = {"tar_at_1e-1": 1e-1, "tar_at_1e-2": 1e-2, "tar_at_1e-3": 1e-3}


MEASURED = ("accuracy", "tpr", "fmr", "positive_rate", "auc", *FARS)  # FNMR is 1 - TPR


FALSE_ACCEPTS = 10  # TAR at FAR is given if the non-kin pairs allow this many false accepts


FEWEST_FAMILIES = 5  # an interval from fewer families would be much too narrow


BLOCKS = 2000  # units are drawn in at most so many blocks


Z = float(norm.ppf(0.975))


def find_units(pairs: pd.DataFrame, clusters: Sequence[str] | None = FAMILIES) -> tuple[pd.Series, pd.Series]:
    """The two units of each pair: its two clusters, such as families, or the pair itself where no cluster is known.

    Parameters
    ----------
    clusters
        One or two columns. Pairs that have a value of them in common depend on each other. None: no pairs do.

    Raises
    ------
    InputError
        A column is missing.
    """
    if clusters is None:
        return resampling_units(pairs.assign(family_a=None, family_b=None))
    columns = [clusters] if isinstance(clusters, str) else list(clusters)
    missing = [column for column in columns if column not in pairs]
    if missing or len(columns) not in (1, 2):
        raise InputError(
            f"clusters: {', '.join(map(str, missing or columns)) or 'nothing'} given; name one or two of the columns "
            f"{', '.join(map(str, pairs.columns))}, or None for independent pairs."
        )
    sides = {"family_a": pairs[columns[0]], "family_b": pairs[columns[-1]]}
    return resampling_units(pairs.assign(**sides))


def measure(score: np.ndarray, kin: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The verification metrics of one group of pairs, and the influence value of each pair on each of them.

    Of a rate it is (accepted_p - rate) / n over the n pairs that the rate is of; the share of kin pairs, on which
    accuracy and positive rate depend, is taken as given. Of the AUC it is (V10_p - AUC) / m for one of m kin pairs,
    with V10 the share of non-kin pairs that score lower, ties counted half, and likewise for a non-kin pair (DeLong).
    TAR at a FAR has a threshold that depends on the non-kin pairs; their values are -slope (accepted_p - FAR) / n,
    with the slope of the ROC curve there (chain rule).

    Parameters
    ----------
    score, kin
        (pairs,), a pair is accepted as kin where ``score >= threshold``.

    Returns
    -------
    tuple
        (metrics,) values, in the order of ``MEASURED``, NaN if the group lacks the pairs that a metric needs; and
        (pairs, metrics), 0 where a value is NaN.
    """
    kin, accepted = np.asarray(kin, bool), np.asarray(score) >= threshold
    values, influence = np.full(len(MEASURED), np.nan), np.zeros((len(kin), len(MEASURED)))
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
    (kin_rows, kin_score), (other_rows, other_score) = (_ascending(score, rows) for rows in places)
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
    return values, influence


def _ascending(score: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(score[rows], kind="stable")
    return rows[order], score[rows[order]]


def measure_by(
    score: np.ndarray, kin: np.ndarray, group: np.ndarray, groups: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """``measure`` in each of some groups: (groups, metrics) values and (pairs, metrics) influence values.

    Parameters
    ----------
    group
        (pairs,), the group of each pair, -1 for none.
    """
    values, influence = np.full((groups, len(MEASURED)), np.nan), np.zeros((len(score), len(MEASURED)))
    for number in range(groups):
        rows = np.flatnonzero(group == number)
        values[number], influence[rows] = measure(score[rows], kin[rows], threshold)
    return values, influence


@dataclass(frozen=True)
class Dyads:
    """The units, such as families, that pairs have in common, and what follows for variances.

    Attributes
    ----------
    first, second
        (pairs,), the units of each pair; the same where the pair lies in one. ``first <= second``.
    keys
        (units,), a number by which each unit is known in other tables; ascending.
    """

    first: np.ndarray
    second: np.ndarray
    keys: np.ndarray

    @classmethod
    def of_pairs(cls, pairs: pd.DataFrame, clusters: Sequence[str] | None = FAMILIES) -> Dyads:
        """The units of a pairs table (``find_units``)."""
        hashed = [pd.util.hash_array(side.to_numpy(object)) for side in find_units(pairs, clusters)]
        keys, codes = np.unique(np.concatenate(hashed), return_inverse=True)
        return cls(*np.sort(codes.reshape(2, -1), axis=0), keys)

    @cached_property
    def _two(self) -> np.ndarray:
        return np.flatnonzero(self.first != self.second)

    def __getitem__(self, rows: slice | np.ndarray) -> Dyads:
        """Some of the pairs, with the same units."""
        return Dyads(self.first[rows], self.second[rows], self.keys)

    def count(self, group: np.ndarray, groups: int, kin: np.ndarray) -> dict[str, np.ndarray]:
        """(groups,) how many units the ``kin``, ``non-kin`` and ``all`` pairs of each group come from.

        A pair of two units counts for both; a unit below 0 is unknown.
        """
        seen = np.zeros((2, groups + 1, len(self.keys) + 1), bool)  # the last for what is unknown
        kind = np.asarray(kin, int)
        for side in (self.first, self.second):
            seen[kind, group, side] = True
        found = dict(zip(("non-kin", "kin", "all"), (*seen, seen.any(axis=0)), strict=True))
        return {kind: table[:groups, :-1].sum(axis=1) for kind, table in found.items()}

    def count_effective(self, group: np.ndarray, groups: int, kin: np.ndarray) -> dict[str, np.ndarray]:
        """(groups,) Kish's effective number of units, (sum of pairs)^2 / sum of squares (Survey Sampling, 1965).

        Of ``kin``, ``non-kin`` and ``all`` pairs, and of those ``within`` one unit and ``between`` two apart.
        """
        within = self.first == self.second
        kinds = np.stack([kin & within, ~kin & within, ~within, kin & ~within], axis=1).astype(float)
        _, of_cell, sums = self._sum_units(group, groups, kinds)
        of_kin, others, between, kin_between = sums.T
        parts = {
            "kin": of_kin + kin_between,
            "non-kin": others + between - kin_between,
            "all": of_kin + others + between,
        }
        parts |= {"kin within": of_kin, "non-kin within": others, "between": between}
        with np.errstate(invalid="ignore"):
            return {
                kind: np.bincount(of_cell, part, groups) ** 2 / np.bincount(of_cell, part**2, groups)
                for kind, part in parts.items()
            }

    def correct(self, group: np.ndarray, kin: np.ndarray, effective: dict[str, np.ndarray]) -> np.ndarray:
        """(pairs,) factors of influence values that undo how much few units understate a variance.

        They are the roots of n / (n - 1) for pairs within one of n units, and of n / (n - 4) for pairs of two. A sum of
        the latter holds both units' effects, less twice the mean of all; of a complete graph with effects of units, or
        without, the expected variance is (n - 4) / n of the true one. n is the effective number in the pair's group, of
        kin and of non-kin pairs apart; the factors are at most 2.

        Parameters
        ----------
        effective
            From ``count_effective``.
        """
        within = self.first == self.second
        factor = np.ones(len(group))
        for kind, rows, lost in (
            ("kin within", kin & within, 1),
            ("non-kin within", ~kin & within, 1),
            ("between", ~within, 4),
        ):
            units = effective[kind]
            of_group = np.sqrt(units / np.maximum(units - lost, units / 4))
            factor[rows] = np.where(group[rows] >= 0, of_group[group[rows]], 1)
        return factor

    def covariance(
        self, group: np.ndarray, groups: int, influence: np.ndarray, factor: np.ndarray | None = None
    ) -> np.ndarray:
        """Covariances of each metric between groups: (metrics, groups, groups).

        The variance of a group, and that of the difference of two, is at least that of dyads which are independent of
        each other: an estimate below it, or below 0, is owed to chance, as pairs of a family are alike if anything.

        Parameters
        ----------
        group
            (pairs,), -1 for none.
        influence
            (pairs, metrics).
        factor
            (pairs,), from ``correct``; 1 by default. Dyads that are independent of each other need none.
        """
        plain = np.ones(groups)
        if factor is not None:
            influence = influence * factor[:, None]
            rows = self._two[group[self._two] >= 0]
            plain[group[rows]] = factor[rows]
        found = _multiply(self._sum_units(group, groups, influence), groups)
        if not len(self._two):
            return found
        own = np.ones(len(group), bool)
        own[self._two] = False
        dyad = self.first[self._two] * len(self.keys) + self.second[self._two]
        of_two = _multiply(_sum_cells(dyad, group[self._two], groups, influence[self._two]), groups)
        of_one = _multiply(_sum_cells(self.first[own], group[own], groups, influence[own]), groups)
        found -= of_two
        least = of_two / (plain[:, None] * plain) + of_one
        variance, lowest = (np.einsum("kgg->kg", table) for table in (found, least))
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.where(variance < lowest, np.sqrt(lowest / np.maximum(variance, 0)), 1)
        scale[~np.isfinite(scale)] = 0  # correlations are then unknown
        found *= scale[:, :, None] * scale[:, None, :]
        variance[:] = np.maximum(variance, lowest)
        spare = variance - lowest
        return np.minimum(found, (spare[:, :, None] + spare[:, None, :]) / 2 + least)

    def draw(self, group: np.ndarray, groups: int, influence: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Deviations of each metric of each group where units weigh more or less: (resamples, metrics, groups).

        Parameters
        ----------
        multipliers
            (units, resamples), of mean 0 and variance 1, or fewer rows: then units are drawn in so many blocks.
        """
        blocks = len(multipliers)
        block = np.arange(blocks) if blocks == len(self.keys) else (self.keys % np.uint64(blocks)).astype(np.int64)
        sums = np.zeros((influence.shape[1], multipliers.shape[0] * groups))
        for side, rows in ((self.first, np.flatnonzero(group >= 0)), (self.second, self._two[group[self._two] >= 0])):
            cell = block[side[rows]] * groups + group[rows]
            for metric, column in enumerate(influence.T):
                sums[metric] += np.bincount(cell, column[rows], sums.shape[1])
        return np.einsum("kbg,br->rkg", sums.reshape(len(sums), -1, groups), multipliers, optimize=True)

    def draw_multipliers(self, resamples: int, seed: int) -> np.ndarray:
        """(units or ``BLOCKS``, resamples), standard normal; the same units, number and seed give the same."""
        return np.random.default_rng(seed).standard_normal((min(len(self.keys), BLOCKS), resamples))

    def _sum_units(self, group: np.ndarray, groups: int, values: np.ndarray) -> tuple[np.ndarray, ...]:
        unit = np.concatenate([self.first, self.second[self._two]])
        return _sum_cells(
            unit, np.concatenate([group, group[self._two]]), groups, values, np.r_[np.arange(len(group)), self._two]
        )


def _sum_cells(
    unit: np.ndarray, group: np.ndarray, groups: int, values: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of values over the pairs of one unit and one group: units, ascending, groups and (cells, metrics) sums."""
    rows = np.arange(len(unit)) if rows is None else rows
    known = np.flatnonzero(group >= 0)
    cell = unit[known].astype(np.int64) * groups + group[known]
    size = int(cell.max(initial=-1)) + 1
    if size <= len(cell):  # few cells, as of families
        found = np.flatnonzero(np.bincount(cell, minlength=size))
        sums = [np.bincount(cell, column[rows[known]], size)[found] for column in values.T]
        return found // groups, found % groups, np.stack(sums, axis=1)
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]]) if len(cell) else cell
    sums = np.add.reduceat(values[rows[known[order]]], starts) if len(cell) else values[:0]
    return cell[starts] // groups, cell[starts] % groups, sums


def _multiply(cells: tuple[np.ndarray, np.ndarray, np.ndarray], groups: int) -> np.ndarray:
    """(metrics, groups, groups) sums over units of products of two groups' sums."""
    unit, group, sums = cells
    if not len(unit):
        return np.zeros((sums.shape[1], groups, groups))
    again = unit[1:] == unit[:-1]
    several = np.r_[again, False] | np.r_[False, again]  # units of several groups
    row = np.cumsum(np.r_[True, ~again])[several] - 1
    found = np.zeros((sums.shape[1], groups, groups))
    for metric, column in enumerate(sums.T):
        np.fill_diagonal(found[metric], np.bincount(group[~several], column[~several] ** 2, groups))
        if several.any():
            table = csr_array((column[several], (row, group[several])), shape=(row[-1] + 1, groups))
            found[metric] += (table.T @ table).toarray()
    return found


def widen(units: np.ndarray) -> np.ndarray:
    """How much wider an interval from few units is: Student's quantile, n - 1 degrees of freedom, by the normal one.

    n is the effective number of units (Cameron & Miller, Journal of Human Resources 50(2), 2015, section VI). Not a
    number where it is 1 or unknown.
    """
    units = np.asarray(units, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(units > 1 + 1e-9, student.ppf(0.975, units - 1) / Z, np.nan)


def reach_of_jeffreys(units: np.ndarray, level: float = 0.975) -> np.ndarray:
    """How far a rate may be from the 0 or 1 that was found: the quantile of Jeffreys' posterior.

    Influence values are all 0 there. The rule takes as many trials as there are units, none (or all) of them a success:
    there are at least that many independent ones (Brown, Cai & DasGupta, Statistical Science 16(2), 2001, 4.1.1).
    """
    return beta.ppf(level, 0.5, np.asarray(units) + 0.5)


def interval_of_rate(value: np.ndarray, error: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of rates, or of other values from 0 to 1; on the logistic scale, so that it lies between these.

    Parameters
    ----------
    value, error
        (...), estimates and their widened standard errors.
    units
        (...), the number that each comes from. Fewer than ``FEWEST_FAMILIES`` give no interval. See
        ``reach_of_jeffreys`` for values of exactly 0 or 1.
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
    """The widened standard error of an estimate from its influence values, (pairs,).

    Parameters
    ----------
    rows
        The pairs whose units count for the widening.
    """
    group, one = np.full(len(influence), -1), np.zeros(len(influence), int)
    group[rows] = 0
    effective = dyads.count_effective(group, 1, one > 0)
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
    """Metrics of groups of pairs, and how they vary.

    Attributes
    ----------
    value, low, high
        (metrics, groups), in the order of ``MEASURED``, and the ends of 95% intervals; NaN where there is none.
    covariance
        (metrics, groups, groups), widened for few units (``widen``); NaN where a group has no interval.
    deviations
        (resamples, metrics, groups), of the multiplier bootstrap: how far a metric moves where units weigh more or less
        at random, scaled to these variances.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    covariance: np.ndarray
    deviations: np.ndarray


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
    """Measure each group of one grouping.

    Parameters
    ----------
    score, kin, group
        (pairs,); the group is -1 for none.
    multipliers
        (units or blocks, resamples), see ``Dyads.draw``. None: there are no deviations.
    seed
        Seed of the deviations of rates of 0 and 1.
    """
    value, influence = measure_by(score, kin, group, groups, threshold)
    value, effective = value.T.copy(), dyads.count_effective(group, groups, kin)
    wider, factor = find_widening(effective), dyads.correct(group, kin, effective)
    covariance = dyads.covariance(group, groups, influence, factor) * wider[:, :, None] * wider[:, None, :]
    counts = dyads.count(group, groups, kin)
    units = np.stack([np.min([counts[kind] for kind in KINDS_BEHIND[metric]], axis=0) for metric in MEASURED])
    lost = ~np.isfinite(value) | (units < FEWEST_FAMILIES)
    variance = np.einsum("kgg->kg", covariance)  # a view
    extreme = ~lost & (np.isin(value, (0, 1)) | (variance == 0))  # no pair is told from another
    variance[extreme] = (reach_of_jeffreys(units[extreme]) / Z) ** 2
    error = np.sqrt(variance)
    deviations = dyads.draw(group, groups, influence, np.zeros((1, 0)) if multipliers is None else multipliers)
    own = np.random.default_rng((seed, zlib.crc32(np.append(score, threshold).tobytes()), groups))
    deviations = np.where(extreme, own.standard_normal(deviations.shape), deviations)
    spread = np.sqrt((deviations**2).mean(axis=0)) if len(deviations) else error
    deviations *= np.where(lost, np.nan, error / np.where(spread > 0, spread, 1))
    covariance[lost] = np.nan
    covariance.swapaxes(1, 2)[lost] = np.nan
    return Estimates(value, *interval_of_rate(value, error, units), covariance, deviations)


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


def move_alike(rate: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The same for groups that all have the mean rate, and the spread that goes with it."""
    mean, own = rate.mean(), rate * (1 - rate)
    scale = np.sqrt(np.where(own > 0, mean * (1 - mean) / np.where(own > 0, own, 1), 1))
    return move(np.full_like(rate, mean), deviation * scale)
