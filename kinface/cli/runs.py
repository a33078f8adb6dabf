"""``kinface runs``."""

from __future__ import annotations

from pathlib import Path

from kinface.training.history import list_runs
from swinface.cli.runs import format_runs


def runs(folder: Path) -> None:
    """List the runs in a folder: in which settings they differ, and the figures of their best epochs.

    Parameters
    ----------
    folder
        A folder of runs, at any depth, such as that of a sweep.
    """
    print(format_runs(list_runs(folder)))
