"""What matters most in the record of a report, as plain data."""

from __future__ import annotations

from pathlib import Path

from kinface.fairness.groupings import OVERALL, intersects
from kinface.fairness.groups import TOO_FEW


def judge(record: dict) -> dict:
    """For whom a model fails most, and which of two models is better.

    Returns
    -------
    dict
        ``examined`` (number of gaps tested) and ``significant`` (those that are); of these the largest in which
        relatives are ``missed`` and strangers ``accepted``; ``small`` (groups of race and of one's own that lack pairs,
        with what they are ``lacking``); ``comparison``, empty without another model.
    """
    examined = [gap for gap in record["gaps"] if gap["comparable"]]
    significant = [gap for gap in examined if gap["significant"]]
    chosen = ("race", *record["own_groupings"])
    lacking = [(row, row["not_compared"] or "") for row in record["groups"] if row["grouping"] in chosen]
    return {
        "examined": len(examined),
        "significant": significant,
        "missed": _find_largest(significant, "tpr"),
        "accepted": _find_largest(significant, "fmr"),
        "small": [
            row | {"lacking": reason.removeprefix(f"{TOO_FEW}: ")}
            for row, reason in lacking
            if reason.startswith(TOO_FEW)
        ],
        "comparison": judge_models(record) if record["compared_with"] else {},
    }


def _find_largest(gaps: list[dict], metric: str) -> dict | None:
    """Groups of one thing come before those of several; that strangers of one race are accepted is said elsewhere."""
    gaps = [gap for gap in gaps if gap["metric"] == metric and gap["grouping"] != "race crossing"]
    return max(gaps, key=lambda gap: (not intersects(gap["grouping"]), gap["difference"]), default=None)


def judge_models(record: dict) -> dict:
    """Which model has the significantly larger AUC over all pairs and by group, and the smaller gap between groups.

    Of the record of a report, ``models``, ``differences`` and ``own_groupings`` are enough.
    """
    models, rows = record["models"], record["differences"]
    chosen = ("race", *record["own_groupings"])
    overall = next(row for row in rows if row["metric"] == "auc" and row["grouping"] == OVERALL)
    groups = {
        name: [
            row
            for row in rows
            if row["metric"] == "auc"
            and row["grouping"] in chosen
            and is_significant(row)
            and row["difference"] * side > 0
        ]
        for name, side in zip(models, (1, -1), strict=True)
    }
    fairness = [
        row | {"fairer": models[row["difference"] > 0] if is_significant(row) else None}
        for row in rows
        if row["metric"] == "equalized odds difference" and row["grouping"] in chosen
    ]
    better = models[overall["difference"] < 0] if is_significant(overall) else None
    return {"auc": overall, "better": better, "groups": groups, "fairness": fairness}


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
