"""Counts and metrics of each group at one threshold, and which groups can be compared."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, selection_rate
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from kinface.fairness.groupings import OVERALL
from swinface.metrics import tar_at_far

COUNTED = ("families", "units")  # known families; units are what is resampled: clusters, and pairs of no known cluster


COUNTS = ("pairs", "kin", "non_kin", *(f"{kind}{what}" for what in COUNTED for kind in ("", "kin_", "non_kin_")))


FALSE_ACCEPTS = 10  # TAR at FAR is given if the group's non-kin pairs allow this many false accepts


FEWEST_FAMILIES = 5  # an interval from fewer families would be much too narrow


FEWEST_PAIRS = 30  # pairs of each kind that a group needs to be compared with others


TOO_FEW = "too few"  # the start of a reason that keeps a group out of some comparisons, not of all


def _true_positive_rate(kin: np.ndarray, accepted: np.ndarray, sample_weight: np.ndarray) -> float:
    return recall_score(kin, accepted, sample_weight=sample_weight, zero_division=np.nan)


def _false_match_rate(kin: np.ndarray, accepted: np.ndarray, sample_weight: np.ndarray) -> float:
    return recall_score(1 - kin, accepted, sample_weight=sample_weight, zero_division=np.nan)


def _area_under_curve(kin: np.ndarray, score: np.ndarray) -> float:
    return roc_auc_score(kin, score) if 0 < kin.mean() < 1 else np.nan


def _true_accept_rate(kin: np.ndarray, score: np.ndarray, far: float) -> float:
    """The largest of any threshold whose false accept rate is at most ``far``."""
    if not 0 < kin.mean() < 1 or far * (kin == 0).sum() < FALSE_ACCEPTS:
        return np.nan
    return tar_at_far(np.asarray(score), np.asarray(kin) == 1, [far])[far]


# Metrics by what they take besides the truth. They are NaN, not zero, if a group lacks the pairs that they need.
OF_DECISIONS = {
    "accuracy": accuracy_score,
    "tpr": _true_positive_rate,
    "fmr": _false_match_rate,
    "positive_rate": selection_rate,
}


FARS = {"tar_at_1e-1": 1e-1, "tar_at_1e-2": 1e-2, "tar_at_1e-3": 1e-3}


OF_SCORES = {"auc": _area_under_curve} | {name: partial(_true_accept_rate, far=far) for name, far in FARS.items()}


METRICS = ("accuracy", "tpr", "fmr", "fnmr", "positive_rate", "auc", *FARS)


def measure_groups(
    pairs: pd.DataFrame,
    labels: pd.DataFrame,
    threshold: float,
    units: tuple[pd.Series, pd.Series],
    mixed: dict[tuple[str, str], str],
) -> pd.DataFrame:
    """Count and measure every group.

    Parameters
    ----------
    pairs
        Scored pairs; a pair is accepted as kin where ``score >= threshold``.
    labels, mixed
        From ``groupings.label_groups``.
    units
        The two units of each pair, which are resampled (``bootstrap.find_units``).

    Returns
    -------
    pd.DataFrame
        One row per group: ``grouping``, ``group``, ``COUNTS``, ``METRICS`` and ``not_compared``, the reason
        why the group is left out of all comparisons or of those that need the pairs it lacks; missing if there is none.
    """
    groups = pd.concat([_measure(pairs, label, threshold, units) for _, label in labels.items()], ignore_index=True)
    groups["not_compared"] = [_reason_not_to_compare(group, mixed) for group in groups.itertuples()]
    return groups


def _measure(
    pairs: pd.DataFrame, label: pd.Series, threshold: float, units: tuple[pd.Series, pd.Series]
) -> pd.DataFrame:
    kin = pairs["kin"]
    counts = {
        "pairs": label.value_counts(),
        "kin": label[kin].value_counts(),
        "non_kin": label[~kin].value_counts(),
    }
    for what, sides in zip(COUNTED, ((pairs["family_a"], pairs["family_b"]), units), strict=True):
        for kind, rows in (("", slice(None)), ("kin_", kin), ("non_kin_", ~kin)):
            counts[kind + what] = _count_distinct([side[rows] for side in sides], label[rows])
    table = pd.DataFrame(counts, columns=COUNTS).reindex(label.cat.categories).fillna(0).astype(int)
    decisions = _measure_decisions(label, kin, pairs["score"] >= threshold)
    table = table.join([decisions, _measure_scores(label, kin, pairs["score"])])
    table["fnmr"] = 1 - table["tpr"]
    table = table[[*COUNTS, *METRICS]].rename_axis("group").reset_index()
    table.insert(0, "grouping", label.name)
    return table


def _measure_decisions(label: pd.Series, kin: pd.Series, accepted: pd.Series) -> pd.DataFrame:
    """Metrics of decisions; pairs of a group with the same outcome are one row, weighted by their number."""
    outcomes = pd.DataFrame({"group": label.astype("str"), "kin": kin, "accepted": accepted})
    outcomes = outcomes.value_counts().reset_index(name="number")  # leaves out pairs without a group
    return MetricFrame(
        metrics=OF_DECISIONS,
        y_true=outcomes["kin"].astype(int),
        y_pred=outcomes["accepted"].astype(int),
        sensitive_features=outcomes["group"],
        sample_params={name: {"sample_weight": outcomes["number"]} for name in OF_DECISIONS},
    ).by_group


def _measure_scores(label: pd.Series, kin: pd.Series, score: pd.Series) -> pd.DataFrame:
    """Metrics that do not depend on the threshold."""
    known = label.notna()
    return MetricFrame(
        metrics=OF_SCORES,
        y_true=kin[known].astype(int),
        y_pred=score[known],
        sensitive_features=label[known].astype(str).to_numpy(),
    ).by_group


def _count_distinct(sides: list[pd.Series], label: pd.Series) -> pd.Series:
    """Number of distinct families or units of each group; a pair of two counts for both."""
    return pd.concat(sides).groupby(pd.concat([label, label]), observed=True).nunique()


def _reason_not_to_compare(group: tuple, mixed: dict[tuple[str, str], str]) -> str | None:
    if group.grouping == OVERALL:
        return "all pairs"
    if (group.grouping, group.group) in mixed:
        return f"not one {mixed[group.grouping, group.group]}"
    lacking = []
    for kind, pairs, units in (
        ("kin", group.kin, group.kin_units),
        ("non-kin", group.non_kin, group.non_kin_units),
    ):
        if pairs < FEWEST_PAIRS:
            lacking.append(f"{pairs} {kind} pairs")
        elif units < FEWEST_FAMILIES:
            lacking.append(f"{kind} pairs of {units} families")
    return f"{TOO_FEW}: {', '.join(lacking)}" if lacking else None


def units_behind(groups: pd.DataFrame, metric: str) -> pd.Series:
    """How many units a metric rests on in each group."""
    kinds = _kinds_behind(metric)
    if metric in ("accuracy", "positive_rate"):  # defined without one of the two kinds
        return groups["units"]
    return groups[[f"{kind}_units" for kind in kinds]].min(axis="columns")


def has_enough(groups: pd.DataFrame, *metrics: str) -> np.ndarray:
    """Whether each group has the pairs without which no difference in these metrics is called significant, (groups,).

    They are ``FEWEST_PAIRS`` pairs from ``FEWEST_FAMILIES`` families of each kind, kin or non-kin, that a metric needs.
    """
    kinds = {kind for metric in metrics for kind in _kinds_behind(metric)}
    enough = [(groups[kind] >= FEWEST_PAIRS) & (groups[f"{kind}_units"] >= FEWEST_FAMILIES) for kind in kinds]
    return np.all(enough, axis=0)


def compared_groups(groups: pd.DataFrame, grouping: str, metrics: tuple[str, ...]) -> np.ndarray:
    """Rows of ``groups`` that can be compared with each other by some metrics.

    They have enough pairs (``has_enough``), and these are not of two values: cross-race is not compared with a race.
    """
    small = groups["not_compared"].fillna(TOO_FEW).str.startswith(TOO_FEW)  # what else keeps a group out does so always
    return np.flatnonzero((groups["grouping"] == grouping) & small & has_enough(groups, *metrics))


def _kinds_behind(metric: str) -> tuple[str, ...]:
    return {"tpr": ("kin",), "fnmr": ("kin",), "fmr": ("non_kin",)}.get(metric, ("kin", "non_kin"))
