"""Pairs that depend on each other through what they have in common, such as families: dyadic cluster-robust variance.

A pair of two families depends on every pair that has either of them. Up to terms that vanish, each metric is a sum over
pairs: estimate - truth = sum_p phi_p, with phi_p the influence value of pair p (``kinface.fairness.intervals``). With
S_f, the sum of phi over the pairs of family f, and D_d, the sum over the pairs of one dyad {f, g} of two families,

    variance = sum_f S_f^2 - sum_d D_d^2

(Fafchamps & Gubert, Journal of Development Economics 83(2), 2007; Aronow, Samii & Assenova, Political Analysis 23(4),
2015). Products of two metrics' sums give their covariance. Pairs that are each a unit of their own are independent:
their variance is sum_p phi_p^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from kinface.data.pairs import resampling_units
from swinface.files import InputError

FAMILIES = ("family_a", "family_b")
MOST_EMPTY = 16  # cells of a unit and a group for each pair, in a table of all
BLOCKS = 2000  # in which units are drawn, at most
# Degrees of freedom that n units lose. Effects of n units, less their mean, have n - 1 (Cameron & Miller, Journal of
# Human Resources 50(2), 2015, section VI). A sum over pairs of two holds both units' effects, less twice the mean of
# all; of a complete graph, with effects of units or without, the expected variance is (n - 4) / n of the true one.
LOST = {"kin within": 1, "non-kin within": 1, "between": 4}
LARGEST_CORRECTION = 4  # of a variance: n - 4 is 0 or less for up to four units, and unstable for a few more
ROUNDING = 1e-9  # share of the least variance below which one is 0


def find_units(pairs: pd.DataFrame, clusters: Sequence[str] | None = FAMILIES) -> tuple[pd.Series, pd.Series]:
    """The two units of each pair: its two clusters, such as families, or the pair itself where no cluster is known.

    Pairs that have a value of ``clusters``, one or two columns, in common depend on each other; with None no pairs do.
    Raises ``InputError`` if a column is missing.
    """
    if clusters is None:
        return resampling_units(pairs.assign(family_a=None, family_b=None))
    columns = [clusters] if isinstance(clusters, str) else list(clusters)
    missing = [column for column in columns if column not in pairs]
    if missing or len(columns) not in (1, 2):
        given = [*map(str, missing or columns)] if len(columns) <= 2 else [f"{len(columns)} values"]
        raise InputError(
            f"clusters: {', '.join(given) or 'nothing'} given; name one or two of the columns "
            f"{', '.join(map(str, pairs.columns))}, or None for independent pairs."
        )
    sides = {"family_a": pairs[columns[0]], "family_b": pairs[columns[-1]]}
    return resampling_units(pairs.assign(**sides))


@dataclass(frozen=True)
class Dyads:
    """The units, such as families, that pairs have in common, and what follows for variances."""

    first: np.ndarray  #: (pairs,), a unit of each pair, and the other; the same where it lies in one: first <= second
    second: np.ndarray
    keys: np.ndarray  #: (units,), a number by which each unit is known in other tables; ascending

    @classmethod
    def of_pairs(cls, pairs: pd.DataFrame, clusters: Sequence[str] | None = FAMILIES) -> Dyads:
        """The units of a pairs table (``find_units``)."""
        units, names = pd.factorize(np.concatenate(find_units(pairs, clusters)))
        keys, place = np.unique(pd.util.hash_array(names), return_inverse=True)
        return cls(*np.sort(place[units].reshape(2, -1), axis=0), keys)

    @cached_property
    def _two(self) -> np.ndarray:
        return np.flatnonzero(self.first != self.second)

    @cached_property
    def _dyad(self) -> np.ndarray:
        """(pairs,) the number of each pair's dyad."""
        return pd.factorize(self.first.astype(np.int64) * len(self.keys) + self.second)[0]

    def __getitem__(self, rows: slice | np.ndarray) -> Dyads:
        """Some of the pairs, with the same units."""
        part = Dyads(self.first[rows], self.second[rows], self.keys)
        vars(part)["_dyad"] = self._dyad[rows]  # numbered once for all parts
        return part

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
        kind = 2 * (self.first != self.second) + np.asarray(kin, bool)
        unit, of_kind, pairs = self._sum_units(
            np.where(group < 0, -1, 4 * group.astype(int) + kind), 4 * groups, np.ones((len(kind), 1))
        )
        of_kinds = pairs * (of_kind[:, None] % 4 == np.arange(4))
        _, of_cell, sums = _sum_cells(unit, of_kind // 4, groups, of_kinds)
        others, of_kin, others_between, kin_between = sums.T
        parts = {"kin": of_kin + kin_between, "non-kin": others + others_between, "all": sums.sum(axis=1)}
        parts |= {"kin within": of_kin, "non-kin within": others, "between": others_between + kin_between}
        with np.errstate(invalid="ignore"):
            return {
                kind: np.bincount(of_cell, part, groups) ** 2 / np.bincount(of_cell, part**2, groups)
                for kind, part in parts.items()
            }

    def correct(self, group: np.ndarray, kin: np.ndarray, effective: dict[str, np.ndarray]) -> np.ndarray:
        """(pairs,) factors of influence values that undo how much few units understate a variance.

        They are the roots of n / (n - lost) (``LOST``), with n the effective number of units in the pair's group, of
        kin and of non-kin pairs apart (``count_effective``), and at most the root of ``LARGEST_CORRECTION``.
        """
        factors = []
        for kind, lost in LOST.items():
            units = effective[kind]
            left = np.maximum(units - lost, units / LARGEST_CORRECTION)
            factors.append(np.append(np.sqrt(units / left), 1))  # the last for no group
        kind = np.where(self.first != self.second, 2, np.where(kin, 0, 1))  # in the order of LOST
        return np.array(factors)[kind, group]

    def covariance(
        self, group: np.ndarray, groups: int, influence: np.ndarray, factor: np.ndarray | None = None
    ) -> np.ndarray:
        """Covariances of each metric between groups: (metrics, groups, groups).

        The variance of a group, and that of the difference of two, is at least that of dyads which are independent of
        each other: an estimate below it, or below 0, is owed to chance, as pairs of a family are alike if anything.

        ``group`` is (pairs,), -1 for none, ``influence`` (pairs, metrics), and ``factor`` (pairs,), from ``correct``; 1
        by default. Dyads that are independent of each other need none.
        """
        plain = np.ones(groups)
        if factor is not None:
            influence = influence * factor[:, None]
            rows = self._two[group[self._two] >= 0]
            plain[group[rows]] = factor[rows]
        found = _multiply(self._sum_units(group, groups, influence), groups)  # sum_f S_f^2
        if not len(self._two):
            return found  # units are independent dyads, so this is the least there is; 0 only if all units are alike
        of_two, of_one = self._multiply_dyads(group, groups, influence)
        found -= of_two  # - sum_d D_d^2
        least = of_two / (plain[:, None] * plain) + of_one  # independent dyads, without the factors of pairs of two
        raise_variances(found, least)
        return limit_covariances(found, least)

    def _multiply_dyads(self, group: np.ndarray, groups: int, influence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(metrics, groups, groups) sums of D_d^2 over dyads of two units, and over those within one."""
        dyad, *sums = _sum_cells(self._dyad, group, groups, influence)
        apart = np.zeros(self._dyad.max() + 1, bool)
        apart[self._dyad[self._two]] = True
        return tuple(_multiply(tuple(it[rows] for it in (dyad, *sums)), groups) for rows in (apart[dyad], ~apart[dyad]))

    def draw(self, group: np.ndarray, groups: int, influence: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Deviations of each metric of each group where units weigh more or less: (resamples, metrics, groups).

        ``multipliers`` is (units, resamples), of mean 0 and variance 1; with fewer rows units are drawn in that
        many blocks.
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
        unit, rows = np.r_[self.first, self.second[self._two]], np.r_[np.arange(len(group)), self._two]
        return _sum_cells(unit, group[rows], groups, values, rows)


def _sum_cells(
    unit: np.ndarray, group: np.ndarray, groups: int, values: np.ndarray, rows: np.ndarray | slice = slice(None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of values over the pairs of one unit and one group: units, ascending, groups and (cells, metrics) sums."""
    wide = groups + 1  # the last is of no group
    cell = unit.astype(np.int64) * wide + np.where(group < 0, groups, group)
    size = int(cell.max(initial=-1)) + 1
    if size <= MOST_EMPTY * len(cell):
        found = np.flatnonzero(np.bincount(cell, minlength=size))
        sums = [np.bincount(cell, column[rows], size)[found] for column in values.T]
    else:
        place, found = pd.factorize(cell, sort=True)
        sums = [np.bincount(place, column[rows], len(found)) for column in values.T]
    of_unit, of_group = np.divmod(found, wide)
    known = of_group < groups
    return of_unit[known], of_group[known], np.stack(sums, axis=1)[known]


def raise_variances(covariance: np.ndarray, least: np.ndarray) -> None:
    """Raise variances, in place, to at least those of ``least``; both are (metrics, groups, groups).

    Covariances are scaled alike, so that correlations stay. Where a variance was 0 or less, or is nothing but rounding,
    which the order of the pairs changes, there is none: covariances become 0.
    """
    variance, lowest = (np.einsum("kgg->kg", table) for table in (covariance, least))  # views of the diagonals
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(variance < lowest, np.sqrt(lowest / np.maximum(variance, 0)), 1)
    scale[~(variance > ROUNDING * lowest)] = 0
    covariance *= scale[:, :, None] * scale[:, None, :]
    variance[:] = np.maximum(variance, lowest)


def limit_covariances(covariance: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Lower covariances until the variance of no difference of two groups is below that of ``least``.

    V_gg + V_hh - 2 V_gh >= L_gg + L_hh - 2 L_gh, which is V_gh <= ((V_gg - L_gg) + (V_hh - L_hh)) / 2 + L_gh.
    """
    spare = np.einsum("kgg->kg", covariance) - np.einsum("kgg->kg", least)
    return np.minimum(covariance, (spare[:, :, None] + spare[:, None, :]) / 2 + least)


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
