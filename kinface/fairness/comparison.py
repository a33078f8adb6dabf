"""Comparison of two audits: two models on one list, or one model on two lists."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.disparities import find_disparity
from kinface.fairness.dyads import Dyads
from kinface.fairness.groupings import DEFAULT_GROUPINGS, OVERALL
from kinface.fairness.groups import METRICS, compared_groups, has_enough
from kinface.fairness.intervals import MEASURED, UNBOUNDED, find_widening, interval_of_difference, measure
from swinface.bootstrap import symmetric_interval
from swinface.files import InputError

LISTS_DIFFER_IN = ("auc", "accuracy", "tpr", "fmr")
LISTS_DISPARATE_IN = ("equalized odds difference", "GARBE")
# Of two tables of scores that can be compared.
SAME_COLUMNS = (*(f"{what}_{side}" for what in ("face", "family", "race", "gender") for side in "ab"), "kin", "type")


def compare_audits(ours: FairnessAudit, other: FairnessAudit) -> pd.DataFrame:
    """Compare two models on the same pairs, each model at its own threshold.

    Both are audits of one list of pairs, with the same groupings, clusters, number of resamples and seed. Gives a row
    per metric of a group and per disparity of a grouping (``group`` missing): ``grouping``, ``group``, ``metric``,
    ``ours``, ``other``, ``difference`` (ours - other), ``low``, ``high`` of its 95% interval; a group with too few
    pairs (``groups.has_enough``) has none. Raises ``InputError`` if the two differ in pairs, groups or resamples; the
    message names the first row and column.
    """
    _check_same_pairs(ours, other)
    _check_same_resamples(ours, other)
    tables, variance = [], _compare_models(ours, other)
    for metric in METRICS:
        difference = ours.groups[metric] - other.groups[metric]
        low, high = interval_of_difference(difference, variance[metric])
        low, high = np.where(has_enough(ours.groups, metric), (low, high), np.nan)
        table = ours.groups[["grouping", "group"]].assign(metric=metric, ours=ours.groups[metric])
        tables.append(table.assign(other=other.groups[metric], low=low, high=high))
    table = ours.disparities[["grouping"]].assign(group=None, metric=ours.disparities["disparity"])
    table = table.assign(ours=ours.disparities["value"], other=other.disparities["value"])
    ends = [_disparity_difference(ours, other, row) for row in table.itertuples()]
    table[["low", "high"]] = np.reshape(ends, (-1, 2))
    table = pd.concat([part for part in (*tables, table) if len(part)], ignore_index=True)
    table.insert(5, "difference", table["ours"] - table["other"])
    return table


def _compare_models(ours: FairnessAudit, other: FairnessAudit) -> dict[str, np.ndarray]:
    """Metric to (groups,) variances of the differences of two models on one list."""
    same = ours.threshold == other.threshold and (ours.pairs["score"] == other.pairs["score"]).all()
    parts, kin = [], ours.pairs["kin"].to_numpy()
    for grouping in ours.labels:
        (group, first), (_, second) = (audit.influence(grouping) for audit in (ours, other))
        count = len(ours.labels[grouping].cat.categories)
        effective = ours.dyads.count_effective(group, count, kin)
        factor = ours.dyads.correct(group, kin, effective)
        variance = np.einsum("kgg->kg", ours.dyads.covariance(group, count, first - second, factor))
        parts.append(variance * find_widening(effective) ** 2)
    found = dict(zip(MEASURED, np.hstack(parts), strict=True))
    for metric, audit in product(found, () if same else (ours, other)):
        found[metric] = found[metric] + _variance_of_extremes(audit, metric)
    return found | {"fnmr": found["tpr"]}


def _variance_of_extremes(audit: FairnessAudit, metric: str) -> np.ndarray:
    """(groups,) the variance of a rate that is exactly 0 or 1, whose influence values are all 0; 0 for others."""
    extreme = audit.groups[metric].isin((0, 1)) & (metric not in UNBOUNDED)
    return np.where(extreme, audit.covariance[metric].diagonal(), 0)


def _disparity_difference(ours: FairnessAudit, other: FairnessAudit, row: tuple) -> tuple[float, float]:
    rows = compared_groups(ours.groups, row.grouping, find_disparity(row.metric).rates)
    drawn = [audit.disparity(row.metric, rows)[1] for audit in (ours, other)]
    with np.errstate(invalid="ignore"):  # infinite less infinite
        return symmetric_interval(row.ours - row.other, drawn[0] - drawn[1])


def compare_lists(matched: FairnessAudit, standard: FairnessAudit) -> pd.DataFrame:
    """Compare one model on two lists: the list with matched non-kin pairs minus the standard one.

    The audits are at one threshold, each with the other's pairs as ``beside``. Gives a table as ``compare_audits``,
    ``ours`` of the matched list: one row per metric of ``LISTS_DIFFER_IN`` of all pairs, of each race and of each group
    of custom groupings, where both lists have the group, without an interval where one of them has too few pairs of
    it; one row per disparity of ``LISTS_DISPARATE_IN`` between the groups that both lists have enough pairs of
    (``group`` missing). Raises ``InputError`` if the two differ in resamples.
    """
    _check_same_resamples(matched, standard)
    places = [audit.groups[["grouping", "group"]].reset_index() for audit in (matched, standard)]
    both = places[0].merge(places[1], on=["grouping", "group"], suffixes=("_ours", "_other"))
    groupings = ["race", *find_own_groupings(matched)]
    both = both[both["grouping"].isin([OVERALL, *groupings])]
    tables = [_compare_metric(matched, standard, both, metric) for metric in LISTS_DIFFER_IN]
    tables += [
        _compare_disparity(matched, standard, both, grouping, name)
        for grouping in groupings
        for name in LISTS_DISPARATE_IN
    ]
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    table.insert(5, "difference", table["ours"] - table["other"])
    return table


def find_own_groupings(audit: FairnessAudit) -> list[str]:
    """Groupings of an audit that are not default ones."""
    return [name for name in audit.labels if name not in (OVERALL, *(known.name for known in DEFAULT_GROUPINGS))]


def _compare_metric(matched: FairnessAudit, standard: FairnessAudit, both: pd.DataFrame, metric: str) -> pd.DataFrame:
    ours, other = both["index_ours"], both["index_other"]
    values = {"ours": matched.groups[metric][ours], "other": standard.groups[metric][other]}
    values = {side: value.to_numpy() for side, value in values.items()}
    variance = [_compare_lists(matched, standard, row, metric) for row in both.itertuples()]
    low, high = interval_of_difference(values["ours"] - values["other"], np.array(variance))
    enough = has_enough(matched.groups, metric)[ours] & has_enough(standard.groups, metric)[other]
    low, high = np.where(enough, (low, high), np.nan)
    return both[["grouping", "group"]].assign(metric=metric, **values, low=low, high=high)


def _compare_lists(matched: FairnessAudit, standard: FairnessAudit, group: tuple, metric: str) -> float:
    """The variance of the difference of one group's metric between two lists that have families in common."""
    dyads, influences, factors, column = [], [], [], MEASURED.index(metric)
    for audit, sign in ((matched, 1), (standard, -1)):
        rows = (audit.labels[group.grouping] == group.group).to_numpy()
        kin, one = audit.pairs["kin"].to_numpy()[rows], np.zeros(rows.sum(), int)
        dyads.append(own := audit.dyads[rows])
        influences.append(sign * measure(audit.pairs["score"].to_numpy()[rows], kin, audit.threshold)[1][:, column])
        effective = own.count_effective(one, 1, kin)
        factors.append(own.correct(one, kin, effective) * find_widening(effective)[column])
    joined, factor = np.concatenate(influences)[:, None], np.concatenate(factors)
    sides = (np.concatenate([getattr(it, side) for it in dyads]) for side in ("first", "second"))
    both = Dyads(*sides, matched.dyads.keys)
    variance = both.covariance(np.zeros(len(joined), int), 1, joined * factor[:, None])[0, 0, 0]
    extreme = [(matched, group.index_ours), (standard, group.index_other)]
    return variance + sum(_variance_of_extremes(audit, metric)[row] for audit, row in extreme)


def _compare_disparity(
    matched: FairnessAudit, standard: FairnessAudit, both: pd.DataFrame, grouping: str, name: str
) -> pd.DataFrame:
    """One row; none where fewer than two groups can be compared on both lists."""
    rates = find_disparity(name).rates
    enough = both["index_ours"].isin(compared_groups(matched.groups, grouping, rates))
    groups = both[enough & both["index_other"].isin(compared_groups(standard.groups, grouping, rates))]
    if len(groups) < 2:
        return pd.DataFrame()
    ours, ours_drawn = matched.disparity(name, groups["index_ours"])
    other, other_drawn = standard.disparity(name, groups["index_other"])
    low, high = symmetric_interval(ours - other, ours_drawn - other_drawn)
    row = {"grouping": grouping, "group": None, "metric": name}
    return pd.DataFrame([row | {"ours": ours, "other": other, "low": low, "high": high}])


def _check_same_resamples(ours: FairnessAudit, other: FairnessAudit) -> None:
    how = [(audit.resamples, audit.seed, audit.clusters) for audit in (ours, other)]
    if how[0] != how[1] or not np.array_equal(ours.dyads.keys, other.dyads.keys):
        raise InputError("the two audits use different resamples; give both the same number, seed and clusters.")


def _check_same_pairs(ours: FairnessAudit, other: FairnessAudit) -> None:
    if len(ours.pairs) != len(other.pairs):
        raise InputError(
            f"{len(other.pairs):,} pairs against {len(ours.pairs):,}; score the same list with both models."
        )
    for column in SAME_COLUMNS:
        here, there = other.pairs[column].fillna("").to_numpy(), ours.pairs[column].fillna("").to_numpy()
        if (here != there).any():
            row = int((here != there).argmax())
            do = "score the same list with both models"
            if "" in (here[row], there[row]):
                do = "give both tables this column, or neither"
            elif column.startswith("face") and _list_pairs(ours.pairs) == _list_pairs(other.pairs):
                do = "both have the same pairs; sort their rows alike, and give each pair the same first face"
            raise InputError(f"row {row + 1}: {column} is {here[row]!r} here and {there[row]!r} there; {do}.")
    if not ours.labels.equals(other.labels):
        raise InputError("the two audits group pairs differently; give both the same groupings and labels.")
    if set(ours.disparities["disparity"]) != set(other.disparities["disparity"]):
        raise InputError("the two audits measure different disparities; give both the same.")


def _list_pairs(pairs: pd.DataFrame) -> list[list[str]]:
    """The two faces of each pair, whatever the order of either."""
    return sorted(map(sorted, pairs[["face_a", "face_b"]].to_numpy().tolist()))
