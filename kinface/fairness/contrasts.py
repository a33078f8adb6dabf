"""Which differences between groups an audit shows, by stated rules."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.fairness.groups import compared_groups
from kinface.fairness.intervals import compare

GAPS = {"accuracy gap": "accuracy", "TPR gap": "tpr", "FMR gap": "fmr", "AUC gap": "auc"}
CONTRASTED = ("tpr", "fmr", "auc")
UNEQUAL_PREVALENCE = 0.05  # shares of kin pairs that differ by more make accuracies of groups hard to compare


def find_gaps(groups: pd.DataFrame, disparities: pd.DataFrame, covariance: dict[str, np.ndarray]) -> pd.DataFrame:
    """``FairnessAudit.gaps``, from its other attributes: the largest of each grouping in accuracy, TPR, FMR and AUC.

    A gap is ``comparable`` unless it is of accuracies of groups with clearly different shares of kin pairs. It is
    ``significant`` if it is comparable, its interval excludes 0 and it is larger than ``chance``, the gap that equal
    groups exceed in 5% of samples. The last condition is needed because the two groups are chosen after looking: they
    are the most distant ones.
    """
    unequal = find_unequal_prevalence(groups)
    rows = []
    for gap in disparities[disparities["disparity"].isin(GAPS)].itertuples():
        metric = GAPS[gap.disparity]
        compared = compared_groups(groups, gap.grouping, (metric,))
        values = groups[metric].to_numpy()[compared]
        lowest, *_, highest = compared[values.argsort(kind="stable")]  # two groups even where all are equal
        difference, low, high = compare(groups[metric], covariance[metric], highest, lowest)
        comparable = not (metric == "accuracy" and gap.grouping in unequal)
        significant = bool(comparable and low > 0 and gap.beyond_chance)
        named = (gap.grouping, metric, groups["group"][highest], groups["group"][lowest], values.max(), values.min())
        rows.append((*named, difference, low, high, gap.chance, comparable, significant))
    columns = ["grouping", "metric", "highest", "lowest", "highest_value", "lowest_value", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "chance", "comparable", "significant"])


def contrast_with_largest(groups: pd.DataFrame, covariance: dict[str, np.ndarray], gaps: pd.DataFrame) -> pd.DataFrame:
    """``FairnessAudit.contrasts``, from its other attributes: each group with the largest of its grouping.

    The reference is chosen by its size, not by its results, so each row is one planned comparison. It is
    ``significant`` if its interval excludes 0, and so is the largest gap of the grouping in this metric, as there are
    several rows (Fisher's protected comparisons).
    """
    significant = {(gap.grouping, gap.metric) for gap in gaps.itertuples() if gap.significant}
    pairs, rows = groups["pairs"].to_numpy(), []
    for grouping in groups["grouping"].unique():
        for metric in CONTRASTED:
            compared = compared_groups(groups, grouping, (metric,))
            if len(compared) < 2:
                continue
            values = groups[metric].to_numpy()
            largest = compared[pairs[compared].argmax()]
            for group in compared[compared != largest]:
                difference, low, high = compare(values, covariance[metric], group, largest)
                judged = (low > 0 or high < 0) and (grouping, metric) in significant
                named = (grouping, groups["group"][group], groups["group"][largest], metric)
                rows.append((*named, values[group], values[largest], difference, low, high, judged))
    columns = ["grouping", "group", "reference", "metric", "ours", "other", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "significant"])


def find_race_reward(contrasts: pd.DataFrame) -> dict[str, float | bool] | None:
    """Find how much more often non-kin pairs of one race are accepted than those of two.

    If they are, a model that recognises race does better on every list whose non-kin pairs cross races. Gives ``same``
    and ``cross``, the FMR within one race and between two, ``difference``, ``low``, ``high`` (its 95% interval) and
    ``significant`` (``contrast_with_largest``). None where there are too few pairs of either.
    """
    rows = contrasts[(contrasts["grouping"] == "race crossing") & (contrasts["metric"] == "fmr")]
    if rows.empty:
        return None
    row = rows.iloc[0]
    fmr = {row["group"]: row["ours"], row["reference"]: row["other"]}
    found = {"same": fmr["same-race"], "cross": fmr["cross-race"], **row[["difference", "low", "high"]]}
    if row["group"] == "cross-race":
        found |= {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    return found | {"significant": row["significant"]}


def find_unequal_prevalence(groups: pd.DataFrame) -> list[str]:
    """Find the groupings whose compared groups have clearly different shares of kin pairs."""
    prevalence = (groups["kin"] / groups["pairs"]).to_numpy()
    return [
        grouping
        for grouping in groups["grouping"].unique()
        if len(rows := compared_groups(groups, grouping, ("accuracy",))) > 1
        and np.ptp(prevalence[rows]) > UNEQUAL_PREVALENCE
    ]
