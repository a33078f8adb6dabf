"""``kinface compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kinface.data.pairs import list_known, read_pairs
from swinface.files import InputError, naming

if TYPE_CHECKING:
    from kinface.fairness.audit import FairnessAudit


def compare(run: Path, other: Path, *, by: list[str] | None = None) -> None:
    """Say which of two runs of ``fit`` is better, by how much and for whom, with paired intervals.

    Both are measured on the tune pairs that chose their epochs and thresholds. That is for choosing between runs: what
    you report comes from other families, by ``kinface score`` and ``kinface report --compare``.

    Parameters
    ----------
    run
        Folder of a run that is done.
    other
        Folder of another, of the same data.
    by
        Grouping to compare them by beside race, as of ``kinface report``; repeat the option for several.
    """
    from kinface.report.html import render_comparison
    from kinface.report.verdict import name_models
    from kinface.training.history import TUNE_SCORES

    files = [folder / TUNE_SCORES for folder in (run, other)]
    models = name_models(*map(str, files))
    ours, theirs = (_audit(file, by) for file in files)
    with naming(f"{other} cannot be compared with {run}"):
        lines = render_comparison(ours, theirs, models, by or ())
    print("\n".join(lines))
    families = len(list_known(ours.pairs, "family"))
    print(f"on {len(ours.pairs):,} tune pairs of {families:,} families, which also chose the epochs and thresholds")


def _audit(file: Path, by: list[str] | None) -> FairnessAudit:
    from kinface.fairness.audit import audit_fairness
    from kinface.fairness.threshold import choose_threshold

    if not file.parent.is_dir():
        raise InputError(
            f"{file.parent} is no run, a folder of `kinface fit`; for scores, use `kinface report --compare`."
        )
    if not file.exists():
        raise InputError(f"{file.parent}: no {file.name}; it is there when a run of `kinface fit` is done.")
    pairs = read_pairs(file, scored=True)
    return audit_fairness(pairs, choose_threshold(pairs), groupings=by or ())
