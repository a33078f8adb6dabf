"""``kinface runs``."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import swinface.cli.runs
from kinface.training.history import list_runs


@wraps(swinface.cli.runs.runs)  # whose options and help the command has
def runs(folder: Path) -> None:
    print(swinface.cli.runs.format_runs(list_runs(folder)))
