"""``swinface compare``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from swinface.benchmarks.benchmark import Benchmark, count_digits
from swinface.files import replacing, working_alone
from swinface.training.comparison import FIGURE, Comparison, measure_runs, tabulate, train_runs


def compare(
    *,
    configs: list[Path],
    runs: dict[str, dict],  # not of Any: jsonargparse would make objects of what names a class
    reference: str,
    benchmarks: dict[str, Benchmark],
    out: Path,
) -> None:
    """Train models that differ in a few settings, and compare them on the same benchmarks.

    ``out`` then holds the runs and ``comparison.csv``: figures with 95% intervals, also by group, and their paired
    differences from the reference. After an interruption, the same command resumes.

    Parameters
    ----------
    configs
        Configurations of ``swinface fit`` that all runs share.
    runs
        The settings that each run changes in them, by its name.
    reference
        The run that the others are compared with.
    benchmarks
        Benchmarks by name, as for ``swinface evaluate``; each run has those that test what it is trained on.
    out
        Folder to write to.
    """
    comparison = Comparison(configs, runs, reference)
    with working_alone(out):
        table = tabulate(measure_runs(train_runs(comparison, out), benchmarks), reference)
        with replacing(out / "comparison.csv") as partial:
            table.to_csv(partial, index=False)
    print(_describe(table, reference))
    print(f"wrote {out / 'comparison.csv'}")


def _describe(table: pd.DataFrame, reference: str) -> str:
    """A block for each figure, with a line for each run."""
    lines = []
    for names, rows in table.groupby(list(FIGURE), sort=False):
        metric = names[1]
        lines.append(f"{', '.join(filter(None, names))}, n = {rows['n'].iloc[0]:,}")
        digits = count_digits(metric)
        for row in rows.itertuples():
            interval = f" [{row.low:.{digits}f}, {row.high:.{digits}f}]" if pd.notna(row.low) else ""
            text = f"  {row.run:24} {row.ours:.{digits}f}{interval}"
            if pd.notna(row.difference):
                text += f"   to {reference}: {row.difference:+.{digits}f}"
                if pd.notna(row.difference_low):
                    text += f" [{row.difference_low:+.{digits}f}, {row.difference_high:+.{digits}f}]"
            lines.append(text)
    return "\n".join(lines)
