"""Several trainings that differ in a few settings, compared on the same benchmarks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd

from swinface.benchmarks.benchmark import Benchmark, Predictor, Result, choose_benchmarks, run_benchmarks
from swinface.bootstrap import percentile_interval
from swinface.files import InputError, replacing
from swinface.model import SwinFace
from swinface.pretrained import best_device
from swinface.settings import dump_yaml, lay_over, merge_settings, read_sections, read_settings
from swinface.training.runs import LAST

FIGURE = ("benchmark", "metric", "group")  # what names a figure; the group is empty for that of all faces
COLUMNS = (*FIGURE, "run", "ours", "low", "high", "difference", "difference_low", "difference_high", "n")
Figures = dict[tuple[str, str], Result]  # by benchmark and metric


@dataclass(frozen=True)
class Comparison:
    """What is trained.

    Raises ``InputError`` if there are fewer than two runs, a name is no name of a folder, or the reference is no run.
    """

    configs: list[Path]  #: configurations that every run has
    runs: dict[str, dict[str, Any]]  #: by name, what the run changes in them: ``{"model": {"tasks": ["age"]}}``
    reference: str  #: the run that the others are compared with

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise InputError("runs: a comparison needs two or more, each with its changes, such as `all: {}`.")
        for name in self.runs:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise InputError(f"runs: {name!r} is also the name of a folder; use only letters, digits, _ and -.")
        if self.reference not in self.runs:
            raise InputError(f"reference: {self.reference!r} is not a run; choose from {', '.join(self.runs)}.")

    def configure(self, run: str) -> dict[str, Any]:
        """The whole configuration of a run, whose changes are merged in depth."""
        return merge_settings(reduce(lay_over, map(read_sections, self.configs), {}), self.runs[run])


def train_runs(comparison: Comparison, out: Path) -> dict[str, Path]:
    """Train every run that is not complete, or resume it; return the folder of each run's model, by its name.

    Raises ``InputError`` if a run failed (its message is on standard error), or its folder holds a run of other
    settings.
    """
    folders = {name: out / "runs" / name for name in comparison.runs}
    for name, folder in folders.items():
        config = out / "runs" / f"{name}.yaml"
        text = dump_yaml(comparison.configure(name))
        if (folder / "model.safetensors").exists():
            if not config.exists() or config.read_text(encoding="utf-8") != text:
                raise InputError(f"{folder}: was run with other settings, see its config.yaml; choose another folder.")
            continue
        if not (folder / f"{LAST}.ckpt").exists():  # a run that goes on may be refused
            with replacing(config) as partial:  # already now: if this process is killed, the run ends by itself
                partial.write_text(text, encoding="utf-8")
        with replacing(config) as partial:  # kept when the run is complete
            partial.write_text(text, encoding="utf-8")
            command = [sys.executable, "-m", "swinface.training", f"--config={partial}", f"--run={folder}"]
            if subprocess.run(command, check=False).returncode:
                raise InputError(f"{folder}: the run failed, see above; the same command resumes from its checkpoint.")
    return folders


def measure_runs(folders: Mapping[str, Path], benchmarks: Mapping[str, Benchmark]) -> dict[str, Figures]:
    """The figures of each run on the benchmarks of what it is trained on.

    Raises ``InputError`` if data are missing or cannot be used.
    """
    figures = {}
    for name, folder in folders.items():
        model = SwinFace.from_pretrained(folder).to(best_device())
        config = read_settings(folder / "config.yaml")["model"]
        embeds = config.get("recognition") is not None or config.get("distillation", 0.0) > 0
        found = run_benchmarks(choose_benchmarks(benchmarks, model.trained, embeds), Predictor(model, runtime="torch"))
        found.require_all("benchmark ")
        figures[name] = found.results
    return figures


def tabulate(figures: Mapping[str, Figures], reference: str) -> pd.DataFrame:
    """Each run's figures, of all faces and of each group, and their differences from the reference's: a table
    of ``COLUMNS``.

    Intervals are 95%. Those of differences are paired: both models are tested on the same resamples of people or faces.
    The difference is missing for the reference and where it has no such figure.
    """
    of_runs = {run: _with_groups(results) for run, results in figures.items()}
    rows = []
    for name in dict.fromkeys(key for results in of_runs.values() for key in results):
        theirs = of_runs[reference].get(name)
        for run, results in of_runs.items():
            ours = results.get(name)
            if ours is None:
                continue
            row = dict(zip(COLUMNS, (*name, run, ours.ours, ours.low, ours.high), strict=False))
            if theirs is not None and run != reference:
                row["difference"] = ours.ours - theirs.ours
                if ours.draws is not None and theirs.draws is not None:
                    ends = percentile_interval(ours.draws - theirs.draws, interpolate=True)
                    row["difference_low"], row["difference_high"] = map(float, ends)
            rows.append(row | {"n": ours.n})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _with_groups(results: Figures) -> dict[tuple[str, str, str], Result]:
    """Figures by ``FIGURE``."""
    found = {}
    for (benchmark, metric), result in results.items():
        found[benchmark, metric, ""] = result
        found |= {(benchmark, metric, " ".join(group)): of_group for group, of_group in result.groups.items()}
    return found
