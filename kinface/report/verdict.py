"""What matters most in the record of a report, as plain data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.fairness.contrasts import GAPS
from kinface.fairness.groupings import OVERALL, intersects
from kinface.fairness.groups import TOO_FEW, compared_groups, has_enough

RATES = {"TPR gap": "tpr", "FMR gap": "fmr"}  # the gaps that say which of two models treats groups more alike


def find_verdict(record: dict) -> dict:
    """For whom a model fails most, and which of two models is better.

    Gives ``examined`` (number of gaps tested) and ``significant`` (those that are); of these the largest in which
    relatives are ``missed`` and strangers ``accepted``; ``small`` (groups of race and custom ones that lack pairs,
    with what they are ``lacking`` and the metrics that are ``missing`` from comparisons); ``comparison``, empty without
    another model.
    """
    examined = [gap for gap in record["gaps"] if gap["comparable"]]
    significant = [gap for gap in examined if gap["significant"]]
    chosen, groups = ("race", *record["own_groupings"]), pd.DataFrame(record["groups"])
    enough = {metric: has_enough(groups, metric) for metric in GAPS.values()}
    return {
        "examined": len(examined),
        "significant": significant,
        "missed": _find_largest(significant, "tpr"),
        "accepted": _find_largest(significant, "fmr"),
        "small": [
            row
            | {
                "lacking": reason.removeprefix(f"{TOO_FEW}: "),
                "missing": [it for it in enough if not enough[it][place]],
            }
            for place, row in enumerate(record["groups"])
            if row["grouping"] in chosen and (reason := row["not_compared"] or "").startswith(TOO_FEW)
        ],
        "comparison": judge_models(record) if record["compared_with"] else {},
    }


def _find_largest(gaps: list[dict], metric: str) -> dict | None:
    """Groups of one thing come before those of several; that strangers of one race are accepted is said elsewhere."""
    gaps = [gap for gap in gaps if gap["metric"] == metric and gap["grouping"] != "race crossing"]
    return max(gaps, key=lambda gap: (not intersects(gap["grouping"]), gap["difference"]), default=None)


def judge_models(record: dict) -> dict:
    """Which of two models is better: over all pairs, for which groups, and in how alike it treats groups.

    Of the record of a report, ``models``, ``differences``, ``groups`` and ``own_groupings`` are enough. Gives ``auc``,
    the difference over all pairs, and the ``better`` model by it, or None; ``groups``, model to the groups with a
    significantly larger AUC; ``changed``, significant changes of TPR and FMR of groups, largest first; ``fairness``,
    for each grouping its gaps in TPR and in FMR (with the ``fairer`` model, or None), which can move against each
    other, and the groups ``left_out`` of each gap.
    """
    models, groups = record["models"], pd.DataFrame(record["groups"])
    chosen = [name for name in ("race", *record["own_groupings"]) if name in set(groups["grouping"])]
    mixed = {(row.grouping, row.group) for row in groups[~_lack_at_most_pairs(groups)].itertuples()}
    overall = _pick(record, "auc", OVERALL)[0]
    significant = {
        metric: [
            row
            for name in chosen
            for row in _pick(record, metric, name)
            if (name, row["group"]) not in mixed and is_significant(row)
        ]
        for metric in ("auc", *RATES.values())
    }
    return {
        "auc": overall,
        "better": models[overall["difference"] < 0] if is_significant(overall) else None,
        "groups": {
            name: [row for row in significant["auc"] if row["difference"] * side > 0]
            for name, side in zip(models, (1, -1), strict=True)
        },
        "changed": sorted(
            (row for metric in RATES.values() for row in significant[metric]), key=lambda row: -abs(row["difference"])
        ),
        "fairness": [found for name in chosen if (found := _judge_gaps(record, groups, name))["gaps"]],
    }


def _judge_gaps(record: dict, groups: pd.DataFrame, grouping: str) -> dict:
    gaps, left_out = [], {}
    for name, metric in RATES.items():
        for row in _pick(record, name, grouping):
            fairer = record["models"][row["difference"] > 0] if is_significant(row) else None
            gaps.append(row | {"rate": metric, "fairer": fairer})
        small = (groups["grouping"] == grouping) & _lack_at_most_pairs(groups)
        small.iloc[compared_groups(groups, grouping, (metric,))] = False
        for group in groups["group"][small]:
            left_out.setdefault(group, []).append(metric)
    return {"grouping": grouping, "gaps": gaps, "left_out": left_out}


def _pick(record: dict, metric: str, grouping: str) -> list[dict]:
    return [row for row in record["differences"] if (row["metric"], row["grouping"]) == (metric, grouping)]


def _lack_at_most_pairs(groups: pd.DataFrame) -> pd.Series:
    """Whether nothing but too few pairs keeps a group out of comparisons: cross-race, for one, is no race."""
    return groups["not_compared"].fillna(TOO_FEW).str.startswith(TOO_FEW)


def is_significant(row: dict) -> bool:
    """Whether the interval of a difference excludes 0, or what a stricter rule says; without an interval it is not."""
    if "significant" in row:
        return row["significant"]
    ends = row["low"], row["high"]
    return all(isinstance(end, float | int) for end in ends) and (ends[0] > 0 or ends[1] < 0)


def name_models(ours: str | None, other: str | None) -> list[str]:
    """What two models are called: the last part in which the paths of their scores differ.

    >>> name_models("runs/baseline/scores.parquet", "runs/debiased/scores.parquet"), name_models("a.csv", "b.csv")
    (['baseline', 'debiased'], ['a', 'b'])
    """
    parts = [Path(path).with_suffix("").parts[::-1] for path in (ours, other) if path]
    differing = [pair for pair in zip(*parts, strict=False) if len(set(pair)) == 2]
    return list(differing[0]) if differing else ["this model", "the other model"]
