"""Which differences between groups an audit shows, by stated rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from kinface.fairness.groups import compared_groups
from kinface.fairness.intervals import Z, compare

GAPS = {"accuracy gap": "accuracy", "TPR gap": "tpr", "FMR gap": "fmr", "AUC gap": "auc"}
CONTRASTED = ("tpr", "fmr", "auc")
LEVEL = 0.05  # p-values below it, corrected for their number, are significant
DRAWS = 10_000  # of equal groups: p-values down to .0001, which are below 5% if corrected for up to 500 tests
ROUNDING = 1e-12  # of two variances: a smaller variance of their difference is 0
UNEQUAL_PREVALENCE = 0.05  # shares of kin pairs that differ by more make accuracies of groups hard to compare


def find_gaps(groups: pd.DataFrame, disparities: pd.DataFrame, covariance: dict[str, np.ndarray]) -> pd.DataFrame:
    """``FairnessAudit.gaps``, from its other attributes: the largest of each grouping in accuracy, TPR, FMR and AUC.

    A gap is ``comparable`` unless it is of accuracies of groups with clearly different shares of kin pairs. Its ``p``
    is the larger of two: that some groups of the grouping differ so clearly by chance (``judge_gap``), which allows for
    their choice after looking, and that of its interval. ``p_adjusted`` is corrected for all comparable gaps
    (``correct_holm``); a gap is ``significant`` if that is below 5%. If no groups differ, about 5% of audits have one.
    Gaps in EER and d' are disparities alone: they say much of what the AUC says, and each more test costs power.
    """
    unequal = find_unequal_prevalence(groups)
    rows = []
    for gap in disparities[disparities["disparity"].isin(GAPS)].itertuples():
        metric = GAPS[gap.disparity]
        compared = compared_groups(groups, gap.grouping, (metric,))
        values = groups[metric].to_numpy()[compared]
        lowest, *_, highest = compared[values.argsort(kind="stable")]  # two groups even where all are equal
        difference, low, high = compare(groups[metric], covariance[metric], highest, lowest)
        by_chance = judge_gap(values, covariance[metric][np.ix_(compared, compared)])
        named = (gap.grouping, metric, groups["group"][highest], groups["group"][lowest], values.max(), values.min())
        p = max(by_chance, _judge_interval(difference, low, high))
        comparable = not (metric == "accuracy" and gap.grouping in unequal)
        rows.append((*named, difference, low, high, gap.chance, comparable, p))
    columns = ["grouping", "metric", "highest", "lowest", "highest_value", "lowest_value", "difference", "low", "high"]
    gaps = pd.DataFrame(rows, columns=[*columns, "chance", "comparable", "p"]).astype({"comparable": bool, "p": float})
    gaps["p_adjusted"] = correct_holm(gaps["p"].where(gaps["comparable"]))
    return gaps.assign(significant=gaps["p_adjusted"] < LEVEL)


def contrast_with_largest(groups: pd.DataFrame, covariance: dict[str, np.ndarray]) -> pd.DataFrame:
    """``FairnessAudit.contrasts``, from its other attributes: each group with the largest of its grouping.

    The reference is chosen by its size, not by its results, so each row is one planned comparison. Its ``p_adjusted``
    is corrected for the rows of one grouping and metric (``correct_holm``); it is ``significant`` if that is below 5%.
    """
    pairs, rows = groups["pairs"].to_numpy(), []
    for grouping in groups["grouping"].unique():
        for metric in CONTRASTED:
            compared = compared_groups(groups, grouping, (metric,))
            if len(compared) < 2:
                continue
            values = groups[metric].to_numpy()
            largest = compared[pairs[compared].argmax()]
            others = compared[compared != largest]
            found = [compare(values, covariance[metric], group, largest) for group in others]
            adjusted = correct_holm([_judge_interval(*it) for it in found])
            for group, interval, p in zip(others, found, adjusted, strict=True):
                named = (grouping, groups["group"][group], groups["group"][largest], metric)
                rows.append((*named, values[group], values[largest], *interval, p, bool(p < LEVEL)))
    columns = ["grouping", "group", "reference", "metric", "ours", "other", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "p_adjusted", "significant"])


def correct_holm(p: Sequence[float]) -> np.ndarray:
    """p-values that are corrected for their number (Holm, Scandinavian Journal of Statistics 6(2), 1979).

    If those below 5% are called significant, one that should not be is among them in at most 5% of samples, however
    they depend on each other. Missing values stay missing, and do not count.

    >>> correct_holm([0.01, 0.04, np.nan, 0.03])
    array([0.03, 0.06,  nan, 0.06])
    """
    adjusted = np.array(p, float)
    order = np.argsort(adjusted)[: np.isfinite(adjusted).sum()]  # missing ones come last
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def judge_gap(rate: np.ndarray, covariance: np.ndarray) -> float:
    """How often any two of equal groups differ by chance as clearly as any two of these: the p-value of a gap.

    From the rates, (groups,), and their covariance, (groups, groups). How clearly two groups differ is their difference
    in its standard errors; the largest of all pairs is compared with that of normal draws (max-t; Hothorn, Bretz &
    Westfall, Biometrical Journal 50(3), 2008). The largest difference itself would mostly be that of the smallest
    groups, and would miss others. Where every unit has the same difference of two groups, this has no error: chance
    gives none, and any other difference is beyond it. Always the same draws, for p-values are corrected and must be
    small.
    """
    first, second = np.triu_indices(len(rate), 1)
    of_each = np.diag(covariance)
    both = of_each[first] + of_each[second]
    variance = both - 2 * covariance[first, second]
    error = np.sqrt(np.where(variance > ROUNDING * both, variance, 0))
    zero = np.zeros(len(rate))
    drawn = np.random.default_rng(0).multivariate_normal(zero, covariance, DRAWS, check_valid="ignore", method="eigh")
    drawn, apart = (np.abs(it[..., first] - it[..., second]) for it in (drawn, rate))
    by_chance = np.divide(drawn, error, out=np.zeros_like(drawn), where=error > 0).max(axis=-1)
    found = np.divide(apart, error, out=np.where(apart > 0, np.inf, 0), where=error > 0).max()
    return float((1 + (by_chance >= found).sum()) / (1 + DRAWS))


def _judge_interval(difference: float, low: float, high: float) -> float:
    """The p-value of a difference, which is below 5% where its 95% interval excludes 0.

    Where the interval has no width, as every unit has the same difference, it is 0 if there is a difference, and 1 if
    there is none.
    """
    if not difference or high == low:
        return float(not difference)
    return float(2 * norm.sf(2 * Z * abs(difference) / (high - low)))


def find_race_reward(gaps: pd.DataFrame) -> dict[str, float | bool] | None:
    """Find how much more often non-kin pairs of one race are accepted than those of two.

    If they are, a model that recognises race does better on every list whose non-kin pairs cross races. Gives ``same``
    and ``cross``, the FMR within one race and between two, ``difference``, ``low``, ``high`` (its 95% interval) and
    ``significant`` (``find_gaps``). None where there are too few pairs of either.
    """
    rows = gaps[(gaps["grouping"] == "race crossing") & (gaps["metric"] == "fmr")]
    if rows.empty:
        return None
    row = rows.iloc[0]
    fmr = {row["highest"]: row["highest_value"], row["lowest"]: row["lowest_value"]}
    found = {"same": fmr["same-race"], "cross": fmr["cross-race"], **row[["difference", "low", "high"]]}
    if row["highest"] == "cross-race":
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
