"""``swinface runs``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from swinface.files import printable
from swinface.training.history import list_runs


def runs(folder: Path) -> None:
    """List the runs in a folder, with the settings that differ and the figures of their best epochs.

    Parameters
    ----------
    folder
        A folder of runs, at any depth.
    """
    print(format_runs(list_runs(folder)))


def format_runs(table: pd.DataFrame) -> str:
    """A table of runs for a terminal: settings by the last words of their keys that tell them apart."""
    cells = {name: table[name].map(_format) for name in table}
    return pd.DataFrame(cells).set_axis(_shorten([*cells]), axis=1).to_string(index=False, max_colwidth=50)


def _format(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return "yes" if value is True else "no" if value is False else "null" if value is None else printable(str(value))


def _shorten(keys: list[str]) -> list[str]:
    """Each name without the first parts of its path, as far as no other ends in the same.

    >>> _shorten(["run", "model.hide.race.method", "model.hide.gender.method", "data.batch_size"])
    ['run', 'race.method', 'gender.method', 'batch_size']
    """
    shown = []
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[place:]) for place in reversed(range(len(parts)))]
        alone = (end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1)
        shown.append(printable(next(alone, key)))
    return shown
