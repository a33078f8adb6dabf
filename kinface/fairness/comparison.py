"""Two audits beside each other: two models on one list, or one model on two lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.disparities import DISPARITIES
from kinface.fairness.groups import METRICS, compared_groups
from swinface.bootstrap import interval_around, symmetric_interval
from swinface.files import InputError

LISTS_DIFFER_IN = ("auc", "accuracy", "tpr", "fmr")


LISTS_DISPARATE_IN = ("equalized odds difference", "GARBE")


def compare_audits(ours: FairnessAudit, other: FairnessAudit) -> pd.DataFrame:
    """Differences between two models on the same pairs and the same resamples, each model at its own threshold.

    Parameters
    ----------
    ours, other
        Audits of one list of pairs with the same number of resamples and seed.

    Returns
    -------
    pd.DataFrame
        One row per metric of a group and per disparity of a grouping (``group`` missing): ``grouping``, ``group``,
        ``metric``, ``ours``, ``other``, ``difference`` (ours - other), ``low``, ``high`` of its 95% interval.

    Raises
    ------
    InputError
        The two differ in pairs, labels or resamples; names the first row and column.
    """
    _check_same_pairs(ours.pairs, other.pairs)
    _check_same_resamples(ours, other)
    tables = []
    for metric in METRICS:
        difference = ours.groups[metric] - other.groups[metric]
        low, high = interval_around(difference, ours.resampled[metric] - other.resampled[metric])
        table = ours.groups[["grouping", "group"]].assign(metric=metric, ours=ours.groups[metric])
        tables.append(table.assign(other=other.groups[metric], low=low, high=high))
    table = ours.disparities[["grouping"]].assign(group=None, metric=ours.disparities["disparity"])
    table = table.assign(ours=ours.disparities["value"], other=other.disparities["value"])
    ends = [_disparity_difference(ours, other, row) for row in table.itertuples()]
    table[["low", "high"]] = np.reshape(ends, (-1, 2))
    table = pd.concat([*tables, table], ignore_index=True)
    table.insert(5, "difference", table["ours"] - table["other"])
    return table


def _disparity_difference(ours: FairnessAudit, other: FairnessAudit, row: tuple) -> tuple[float, float]:
    rows = compared_groups(ours.groups, row.grouping, DISPARITIES[row.metric].rates)
    drawn = [_disparity_of(audit, row.metric, rows)[1] for audit in (ours, other)]
    with np.errstate(invalid="ignore"):  # infinite less infinite
        return symmetric_interval(row.ours - row.other, drawn[0] - drawn[1])


def compare_lists(matched: FairnessAudit, standard: FairnessAudit) -> pd.DataFrame:
    """What becomes of one model's figures when strangers are matched: the matched list minus the standard one.

    Parameters
    ----------
    matched, standard
        Audits of the two lists at one threshold, each with the other's pairs ``beside`` it.

    Returns
    -------
    pd.DataFrame
        As from ``compare_audits``, ``ours`` of the matched list: one row per metric of ``LISTS_DIFFER_IN`` of all pairs
        and of each race of both lists, and one per disparity of ``LISTS_DISPARATE_IN`` between the races for which both
        lists suffice (``group`` missing).

    Raises
    ------
    InputError
        The two differ in resamples.
    """
    _check_same_resamples(matched, standard)
    places = [audit.groups[["grouping", "group"]].reset_index() for audit in (matched, standard)]
    both = places[0].merge(places[1], on=["grouping", "group"], suffixes=("_ours", "_other"))
    both = both[both["grouping"].isin(["overall", "race"])]
    tables = []
    for metric in LISTS_DIFFER_IN:
        ours, other = both["index_ours"], both["index_other"]
        drawn = matched.resampled[metric][:, ours] - standard.resampled[metric][:, other]
        values = {"ours": matched.groups[metric][ours], "other": standard.groups[metric][other]}
        values = {side: value.to_numpy() for side, value in values.items()}
        low, high = interval_around(values["ours"] - values["other"], drawn)
        tables.append(both[["grouping", "group"]].assign(metric=metric, **values, low=low, high=high))
    for name in LISTS_DISPARATE_IN:
        rates = DISPARITIES[name].rates
        enough = both["index_ours"].isin(compared_groups(matched.groups, "race", rates))
        races = both[enough & both["index_other"].isin(compared_groups(standard.groups, "race", rates))]
        if len(races) > 1:
            ours, ours_drawn = _disparity_of(matched, name, races["index_ours"])
            other, other_drawn = _disparity_of(standard, name, races["index_other"])
            low, high = symmetric_interval(ours - other, ours_drawn - other_drawn)
            row = {"grouping": "race", "group": None, "metric": name}
            tables.append(pd.DataFrame([row | {"ours": ours, "other": other, "low": low, "high": high}]))
    table = pd.concat(tables, ignore_index=True)
    table.insert(5, "difference", table["ours"] - table["other"])
    return table


def _disparity_of(audit: FairnessAudit, name: str, rows: Sequence[int]) -> tuple[float, np.ndarray]:
    """A disparity between some groups, and in each resample."""
    disparity = DISPARITIES[name]
    value = disparity.function(*(audit.groups[rate].to_numpy()[rows] for rate in disparity.rates))
    return float(value), disparity.function(*(audit.resampled[rate][:, rows] for rate in disparity.rates))


def _check_same_resamples(ours: FairnessAudit, other: FairnessAudit) -> None:
    drawn = [(len(audit.resampled["auc"]), audit.seed, *audit.units) for audit in (ours, other)]
    if drawn[0] != drawn[1]:
        raise InputError("the two audits use different resamples; give both the same number, seed and families.")


def _check_same_pairs(ours: pd.DataFrame, other: pd.DataFrame) -> None:
    if len(ours) != len(other):
        raise InputError(f"{len(other):,} pairs against {len(ours):,}; score the same list with both models.")
    for column in (
        "face_a",
        "face_b",
        "family_a",
        "family_b",
        "kin",
        "type",
        "race_a",
        "race_b",
        "gender_a",
        "gender_b",
    ):
        here, there = other[column].fillna("").to_numpy(), ours[column].fillna("").to_numpy()
        if (here != there).any():
            row = int((here != there).argmax())
            raise InputError(
                f"row {row + 1}: {column} is {here[row]!r} here and {there[row]!r} there; "
                "score the same list with both models."
            )
