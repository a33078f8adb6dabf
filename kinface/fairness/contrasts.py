"""What an audit shows and what it does not, read from its numbers by stated rules."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.groups import FEWEST_FAMILIES, compared_groups, units_behind
from swinface.bootstrap import interval_around

GAPS = {"accuracy gap": "accuracy", "TPR gap": "tpr", "FMR gap": "fmr", "AUC gap": "auc"}


CONTRASTED = ("tpr", "fmr", "auc")


UNEQUAL_PREVALENCE = 0.05  # shares of kin pairs that differ by more make accuracies of groups hard to compare


def find_gaps(audit: FairnessAudit) -> pd.DataFrame:
    """The largest gap between two groups of each grouping in accuracy, TPR, FMR and AUC.

    Returns
    -------
    pd.DataFrame
        ``grouping``, ``metric``, ``highest``, ``lowest`` (groups), ``highest_value``, ``lowest_value``,
        ``difference``, ``low``, ``high`` (its 95% interval), ``chance``; ``comparable``, false for accuracies of
        groups with clearly different shares of kin pairs; ``shown``: the interval excludes 0 and the gap is beyond
        what chance gives the most distant two of equal groups. Without the second condition the choice of the two
        most distant groups would itself make a finding.
    """
    unequal = find_unequal_prevalence(audit)
    gaps = audit.disparities[audit.disparities["disparity"].isin(GAPS)]
    rows = []
    for gap in gaps.itertuples():
        metric = GAPS[gap.disparity]
        compared = compared_groups(audit.groups, gap.grouping, (metric,))
        values = audit.groups[metric].to_numpy()[compared]
        lowest, *_, highest = compared[values.argsort(kind="stable")]  # two groups even where all are equal
        drawn = audit.resampled[metric]
        low, high = interval_around(gap.value, drawn[:, highest] - drawn[:, lowest])
        rows.append(
            {
                "grouping": gap.grouping,
                "metric": metric,
                "highest": audit.groups["group"][highest],
                "lowest": audit.groups["group"][lowest],
                "highest_value": values.max(),
                "lowest_value": values.min(),
                "difference": gap.value,
                "low": float(low),
                "high": float(high),
                "chance": gap.chance,
                "comparable": not (metric == "accuracy" and gap.grouping in unequal),
                "shown": bool(low > 0 and gap.beyond_chance),
            }
        )
    return pd.DataFrame(rows)


def find_race_reward(audit: FairnessAudit) -> dict[str, float] | None:
    """How much more often non-kin pairs of one race are accepted than those of two, with its 95% interval.

    A model that knows race gains by it wherever non-kin pairs cross races. None where one kind is lacking or rests on
    too few families for an interval.
    """
    enough = units_behind(audit.groups, "fmr") >= FEWEST_FAMILIES
    crossing = audit.groups[(audit.groups["grouping"] == "race crossing") & enough]
    rows = crossing.reset_index().set_index("group")["index"]
    if len(rows) < 2:
        return None
    same, cross = rows["same-race"], rows["cross-race"]
    fmr, drawn = audit.groups["fmr"], audit.resampled["fmr"]
    difference = fmr[same] - fmr[cross]
    low, high = interval_around(difference, drawn[:, same] - drawn[:, cross])
    return {
        "same": fmr[same],
        "cross": fmr[cross],
        "difference": difference,
        "low": float(low),
        "high": float(high),
    }


def contrast_with_largest(audit: FairnessAudit) -> pd.DataFrame:
    """Each group against the largest of its grouping, in TPR, FMR and AUC.

    The reference is chosen by its size, not by its figures, so each row is one comparison: it can show what the gap
    between the two most distant groups, which must beat the luck of the draw among all, cannot.

    Returns
    -------
    pd.DataFrame
        ``grouping``, ``group``, ``reference``, ``metric``, ``ours`` and ``other`` (values of group and reference),
        ``difference``, ``low``, ``high`` (its 95% interval).
    """
    pairs, rows = audit.groups["pairs"].to_numpy(), []
    for grouping in audit.groups["grouping"].unique():
        for metric in CONTRASTED:
            compared = compared_groups(audit.groups, grouping, (metric,))
            if len(compared) < 2:
                continue
            values, drawn = audit.groups[metric].to_numpy(), audit.resampled[metric]
            largest = compared[pairs[compared].argmax()]
            for group in compared[compared != largest]:
                difference = values[group] - values[largest]
                low, high = interval_around(difference, drawn[:, group] - drawn[:, largest])
                names = {"group": audit.groups["group"][group], "reference": audit.groups["group"][largest]}
                figures = {"ours": values[group], "other": values[largest], "difference": difference}
                rows.append(
                    {"grouping": grouping, **names, "metric": metric, **figures, "low": float(low), "high": float(high)}
                )
    columns = ["grouping", "group", "reference", "metric", "ours", "other", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def find_unequal_prevalence(audit: FairnessAudit) -> list[str]:
    """Groupings whose compared groups hold clearly different shares of kin pairs."""
    prevalence = (audit.groups["kin"] / audit.groups["pairs"]).to_numpy()
    return [
        grouping
        for grouping in audit.groups["grouping"].unique()
        if len(rows := compared_groups(audit.groups, grouping, ("accuracy",))) > 1
        and np.ptp(prevalence[rows]) > UNEQUAL_PREVALENCE
    ]
