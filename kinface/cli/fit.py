"""``kinface fit``."""

from __future__ import annotations

import math

import pandas as pd

from kinface.data.vocabulary import in_words
from kinface.fairness.audit import audit_fairness
from kinface.fairness.threshold import choose_threshold
from kinface.training.fit import train
from kinface.training.history import TUNE_SCORES
from swinface.files import printable
from swinface.training.history import CURVES, METRICS

SHOWN = ("overall", "race", "gender pair")


def fit(arguments: list[str]) -> None:
    """Train a kinship model; print its best epoch, its folder, and its AUC on the tune pairs, overall and by group.

    Parameters
    ----------
    arguments
        See ``kinface.training.fit.train``.
    """
    done = train(arguments)
    if done is None:
        return
    print(f"best epoch {done.epoch} of {done.epochs} (counted from 0), chosen on the tune pairs. AUC on these pairs:")
    print(format_groups(done.pairs))
    kept = f"the model, its tune pairs ({TUNE_SCORES}), and its epochs ({METRICS}, {CURVES})"
    print(printable(f"{done.folder} has {kept}"))


def format_groups(pairs: pd.DataFrame) -> str:
    """The AUC of all pairs and of groups, with 95% intervals, as lines."""
    groups = audit_fairness(pairs, choose_threshold(pairs)).groups
    groups = groups[groups["grouping"].isin(SHOWN) & groups["auc"].notna()]
    names = [printable(in_words(row.group, row.grouping)) for row in groups.itertuples()]
    width, lines = max(map(len, names)), []
    for name, row in zip(names, groups.itertuples(), strict=True):
        known = math.isfinite(row.auc_low) and math.isfinite(row.auc_high)
        interval = f"[{row.auc_low:.3f}, {row.auc_high:.3f}]" if known else "(too few families for an interval)"
        lines.append(f"  {name:<{width}}  {row.auc:.3f} {interval}  {row.pairs:,} pairs of {row.families:,} families")
    return "\n".join(lines)
