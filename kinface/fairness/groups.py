"""What each group has, and which groups can be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.fairness.dyads import Dyads
from kinface.fairness.groupings import OVERALL
from kinface.fairness.intervals import FARS, FEWEST_FAMILIES

# Known families, and units, which intervals rest on: clusters, and pairs of no known cluster.
COUNTED = ("families", "units")
COUNTS = ("pairs", "kin", "non_kin", *(f"{kind}{what}" for what in COUNTED for kind in ("", "kin_", "non_kin_")))
FEWEST_PAIRS = 30  # pairs of each kind that a group needs to be compared with others
TOO_FEW = "too few"  # the start of a reason that keeps a group out of some comparisons, not of all
METRICS = ("accuracy", "tpr", "fmr", "fnmr", "positive_rate", "auc", "eer", "dprime", *FARS)  # the order of the columns


def count_groups(
    pairs: pd.DataFrame, labels: pd.DataFrame, dyads: Dyads, mixed: dict[tuple[str, str], str]
) -> pd.DataFrame:
    """Count what every group of ``groupings.label_groups`` has.

    Gives a row per group: ``grouping``, ``group``, ``COUNTS`` and ``not_compared``, the reason why the group is left
    out of all comparisons or of those that need the pairs it lacks; missing if there is none.
    """
    kin = pairs["kin"].to_numpy()
    names = pd.concat([pairs["family_a"], pairs["family_b"]])
    families = Dyads(*pd.factorize(names)[0].reshape(2, -1), pd.unique(names.dropna()))
    tables = []
    for grouping, label in labels.items():
        code, groups = label.cat.codes.to_numpy(), label.cat.categories
        table = {"grouping": grouping, "group": groups}
        for kind, rows in (("pairs", kin | True), ("kin", kin), ("non_kin", ~kin)):
            table[kind] = np.bincount(code[rows & (code >= 0)], minlength=len(groups))
        for what, units in zip(COUNTED, (families, dyads), strict=True):
            counts = units.count(code, len(groups), kin)
            for kind, of_kind in (("", "all"), ("kin_", "kin"), ("non_kin_", "non-kin")):
                table[kind + what] = counts[of_kind]
        tables.append(pd.DataFrame(table))
    table = pd.concat(tables, ignore_index=True)[["grouping", "group", *COUNTS]]
    table["not_compared"] = [_reason_not_to_compare(group, mixed) for group in table.itertuples()]
    return table


def _reason_not_to_compare(group: tuple, mixed: dict[tuple[str, str], str]) -> str | None:
    if group.grouping == OVERALL:
        return "all pairs"
    if (group.grouping, group.group) in mixed:
        return f"two values of {mixed[group.grouping, group.group]}"
    lacking = []
    for kind, pairs, units in (("kin", group.kin, group.kin_units), ("non-kin", group.non_kin, group.non_kin_units)):
        if pairs < FEWEST_PAIRS:
            lacking.append(f"{pairs} {kind} pairs")
        elif units < FEWEST_FAMILIES:
            lacking.append(f"{kind} pairs of {units} families")
    return f"{TOO_FEW}: {', '.join(lacking)}" if lacking else None


def has_enough(groups: pd.DataFrame, *metrics: str) -> np.ndarray:
    """Whether each group has the pairs without which no difference in these metrics is called significant, (groups,).

    They are ``FEWEST_PAIRS`` pairs from ``FEWEST_FAMILIES`` families of each kind, kin or non-kin, that a metric needs.
    """
    behind = {"tpr": ("kin",), "fnmr": ("kin",), "fmr": ("non_kin",)}
    kinds = {kind for metric in metrics for kind in behind.get(metric, ("kin", "non_kin"))}
    least = {
        name: fewest for kind in kinds for name, fewest in ((kind, FEWEST_PAIRS), (f"{kind}_units", FEWEST_FAMILIES))
    }
    return np.all([groups[name].to_numpy() >= fewest for name, fewest in least.items()], axis=0)


def compared_groups(groups: pd.DataFrame, grouping: str, metrics: tuple[str, ...]) -> np.ndarray:
    """Rows of ``groups`` that can be compared with each other by some metrics.

    They have enough pairs (``has_enough``), and these are not of two values: cross-race is not compared with a race.
    """
    # What else than too few pairs keeps a group out does so always.
    small = [not isinstance(it, str) or it.startswith(TOO_FEW) for it in groups["not_compared"].to_numpy()]
    return np.flatnonzero((groups["grouping"].to_numpy() == grouping) & small & has_enough(groups, *metrics))
