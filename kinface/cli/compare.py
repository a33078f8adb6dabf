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

    Both are measured on the tune pairs on which their epochs and thresholds were chosen. Use this only to choose
    between runs; report results on other families, with ``kinface score`` and ``kinface report --compare``.

    Parameters
    ----------
    run
        Folder of a finished run.
    other
        Folder of another finished run on the same data.
    by
        Grouping to compare by besides race, as for ``kinface report``; repeat the option for several.
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
    print(f"on {len(ours.pairs):,} tune pairs of {families:,} families, on which the epochs and thresholds were chosen")


def _audit(file: Path, by: list[str] | None) -> FairnessAudit:
    from kinface.fairness.audit import audit_fairness
    from kinface.fairness.threshold import choose_threshold

    if not file.parent.is_dir():
        raise InputError(
            f"{file.parent} is no folder of a run of `kinface fit`; for scores, use `kinface report --compare`."
        )
    if not file.exists():
        raise InputError(f"{file.parent}: no {file.name}; finish the run with `kinface fit` first.")
    pairs = read_pairs(file, scored=True)
    return audit_fairness(pairs, choose_threshold(pairs), groupings=by or ())
