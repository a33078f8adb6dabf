"""Benchmarks: a model's figures on every data set that is present, with the paper's.

This module defines a benchmark; the protocols are in ``swinface.benchmarks.protocols``. The file
``configs/swinface/evaluate.yaml`` names the benchmarks to run and their data.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from swinface.bootstrap import percentile_interval, resample_totals
from swinface.choices import Precision, Runtime
from swinface.data.faces import scale_pixels, stack_faces
from swinface.data.source import Source
from swinface.files import InputError
from swinface.inference import Shards, digest_weights, inference, join_parts
from swinface.model import SwinFace
from swinface.photos.alignment import warn_unaligned
from swinface.runtimes import Runner
from swinface.tasks import TASKS

AGE_BANDS = (0, 13, 20, 30, 40, 50, 65)  # years at which the age groups begin; the last has no end
COLUMNS = ("benchmark", "metric", "ours", "low", "high", "paper", "difference", "n")


@dataclass(frozen=True)
class Result:
    """One figure of a benchmark.

    ``draws``, (resamples,), are the figure of each resample of people or faces. Resamples are the same for every model,
    so the differences of two models' draws are paired. Draws and interval are None if the protocol has no interval.
    """

    metric: str  #: name of the figure, with its unit
    ours: float  #: the model's figure
    n: int  #: number of faces, or of pairs, that it was computed from
    low: float | None = None  #: lower end of the 95% interval
    high: float | None = None  #: upper end
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  #: those behind it, by name; the index names the rows
    groups: dict[tuple[str, str], Result] = field(default_factory=dict)  #: by grouping and group: ("race", "asian")
    draws: np.ndarray | None = field(default=None, repr=False, compare=False)

    @classmethod
    def drawn(
        cls,
        metric: str,
        ours: float,
        draws: np.ndarray,
        n: int,
        tables: dict[str, pd.DataFrame] | None = None,
        groups: dict[tuple[str, str], Result] | None = None,
    ) -> Result:
        """A figure with the 95% interval of its draws."""
        low, high = percentile_interval(draws, interpolate=True)
        return cls(metric, float(ours), n, float(low), float(high), tables or {}, groups or {}, draws)

    def tabulate_groups(self) -> pd.DataFrame:
        """By ``grouping`` and ``group`` the figure, its 95% interval ``low`` and ``high``, and the faces ``n``."""
        index = pd.MultiIndex.from_tuples(self.groups, names=["grouping", "group"])
        rows = [(result.ours, result.low, result.high, result.n) for result in self.groups.values()]
        return pd.DataFrame(rows, index=index, columns=[self.metric, "low", "high", "n"])


def count_digits(metric: str) -> int:
    """Digits after the point with which a figure of this name is printed: 2 of per cent or years, 3 of all others.

    >>> count_digits("MAE years"), count_digits("AUC")
    (2, 3)
    """
    return 2 if "%" in metric or "years" in metric else 3


class Benchmark(ABC):
    """A protocol on a data set.

    Parameters
    ----------
    paper
        The paper's figures on the same faces, by metric.
    requires
        A file or folder that exists if the data are present, or one for each layout that they may have; by default the
        one that the benchmark reads.
    """

    metrics: Sequence[str] = ()  #: names of the figures that it may give
    tasks: Sequence[str] = ()  #: outputs that it evaluates; at least one must be trained
    location: Path  #: the file or folder that it reads

    def __init__(self, *, paper: dict[str, float] | None = None, requires: Path | list[Path] | None = None) -> None:
        self.paper = paper or {}
        self.requires = [Path(path) for path in (requires if isinstance(requires, list) else [requires]) if path]
        for metric in self.paper:
            if metric not in self.metrics:
                raise InputError(f"paper: no metric {metric!r}; choose from {', '.join(self.metrics)}.")

    def find_obstacle(self, trained: Collection[str]) -> str | None:
        """Why it cannot be run on a model that is trained on these tasks; None if it can."""
        places = self.requires or [self.location]
        if not any(path.exists() for path in places):
            return f"no {' or '.join(map(str, places))}"
        if self.tasks and not set(self.tasks) & set(trained):
            return f"the model is not trained on {self.tasks[0] if len(self.tasks) == 1 else 'any of its tasks'}"
        return None

    @abstractmethod
    def run(self, model: Predictor) -> list[Result]:
        """Evaluate a model. The first figure is the main one, by which the best epoch is chosen.

        Raises ``InputError`` if the data cannot be used.
        """


class Predictor:
    """A model's predictions. Those for a source are computed once and shared by all benchmarks.

    Parameters
    ----------
    model
        In evaluation mode; faces are moved to its device.
    batch
        Faces that go through the model at once.
    precision
        See ``swinface.inference.inference``.
    runtime
        See ``swinface.runtimes.Runner``.
    shards
        How the work is divided, and where parts are kept until all is done.
    """

    def __init__(
        self,
        model: SwinFace,
        batch: int = 128,
        precision: Precision = "fast",
        runtime: Runtime = "auto",
        shards: Shards | None = None,
    ) -> None:
        self.model, self.device, self.batch = model, next(model.parameters()).device, batch
        self.trained, self.shards = list(model.trained), shards or Shards()
        self.precision, self.runtime = precision, runtime
        self._answers: dict[str, dict[str, np.ndarray]] = {}

    @cached_property
    def _trunk(self) -> Runner:
        return Runner(self.model.trunk, self.precision, self.runtime)

    @cached_property
    def _reader(self) -> Runner:
        return Runner(self.model, self.precision, self.runtime, "read")

    def embed(self, faces: Tensor) -> np.ndarray:
        """Embed faces, (N, 3, 112, 112) uint8, without the subnets: (N, D) float32."""
        _, summary = self._trunk(scale_pixels(faces.to(self.device)))
        with inference(self.device, "full"):  # costs nothing, and rounds no cosine
            return self.model.embedding(summary.float()).cpu().numpy()

    def answer_faces(self, faces: Tensor) -> dict[str, np.ndarray]:
        """All outputs, (N, numbers) float32, for faces, (N, 3, 112, 112) uint8."""
        with inference(self.device, "full"):
            read = (self._reader(scale_pixels(part.to(self.device))) for part in faces.split(self.batch))
            parts = [self.model.answer(part).items() for part in read]
            return join_parts([{name: value.float().cpu().numpy() for name, value in part} for part in parts])

    def compute(
        self,
        kind: str,
        about: Sequence[str],
        count: int,
        compute: Callable[[range], dict[str, np.ndarray]],
        batch: int,
        runner: Runner | None = None,
    ) -> dict[str, np.ndarray]:
        """``swinface.inference.Shards.compute`` of a ``kind``, in a word, on what ``about`` names, such as files.

        ``runner`` is what computes; by default the one of ``embed``.
        """
        if self.shards.folder is None:
            return self.shards.compute(kind, None, count, compute, batch)
        runner = runner or self._trunk
        name = f"{kind}-{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]}"
        # Not the word auto, which may be another runtime next time.
        made_by = [digest_weights(self.model), self.precision, runner.runtime]
        return self.shards.compute(name, made_by, count, compute, batch)

    def answer(self, source: Source) -> dict[str, np.ndarray]:
        """Logits, (N, classes) float32, of every trained task for the faces of a source's table."""
        key = source.digest()
        if key not in self._answers:
            if self.shards.first:
                warn_unaligned(source.read, range(len(source)), source.root)

            def answer(rows: range) -> dict[str, np.ndarray]:
                answers = self.answer_faces(stack_faces(source.read, rows))
                del answers["embedding"]
                return answers

            kind = type(source).__name__
            self._answers[key] = self.compute(kind, [key], len(source), answer, self.batch, self._reader)
        return self._answers[key]


def estimate(
    values: np.ndarray, table: pd.DataFrame, statistic: Callable[[np.ndarray], np.ndarray], draws: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Figures that are computed from totals over faces, and the same where groups of faces are resampled.

    ``values``, (N, k), are summed over the faces of a table. People are drawn with replacement, with all their faces;
    single faces, if people are not known. ``statistic`` is from totals, (..., k), to figures, (..., figures); NaN if
    a draw has no such face. Gives figures, (figures,), and those of each draw, (draws, figures).
    """
    _, group = np.unique(table["identity"] if "identity" in table else range(len(table)), return_inverse=True)
    totals = resample_totals(values, group, draws, seed=0)
    with np.errstate(invalid="ignore"):
        return tuple(map(statistic, totals))


def ratio(totals: np.ndarray) -> np.ndarray:
    """Figures from totals, (..., 2 figures): the first half divided by the second."""
    above, below = np.split(totals, 2, axis=-1)
    return above / below


def divide(
    metric: str, values: np.ndarray, table: pd.DataFrame, groups: dict[tuple[str, str], Result] | None = None
) -> Result:
    """The sum of the first column of ``values``, (N, 2), divided by that of the second, of the faces of a table."""
    (ours,), draws = estimate(values, table, ratio)
    return Result.drawn(metric, ours, draws[:, 0], len(values), groups=groups)


def by_group(table: pd.DataFrame, metric: str, values: np.ndarray) -> dict[tuple[str, str], Result]:
    """A figure for each race, gender, age band, and for young or not, as far as a source's table has them.

    A group's figure is that of ``divide``, on its faces alone. Faces whose second number is 0 are left out, and so are,
    of each grouping, those of an unknown group. The result is as ``Result.groups`` has it.
    """
    found = {}
    for grouping, groups in _read_groups(table).items():
        for code, group in enumerate(groups.categories):
            chosen = (groups.codes == code) & (values[:, 1] > 0)
            if chosen.any():
                found[grouping, group] = divide(metric, values[chosen], table[chosen])
    return found


def _read_groups(table: pd.DataFrame) -> dict[str, pd.Categorical]:
    """Each face's group, for every grouping that the table has."""
    groups = {"race": table["race"]} if "race" in table else {}
    for name in ("gender", "young"):
        if name in table:
            groups[name] = table[name].map(dict(enumerate(TASKS[name].labels)))
    if "age" in table:
        bands = [*(f"{start}-{end - 1}" for start, end in pairwise(AGE_BANDS)), f"{AGE_BANDS[-1]}+"]
        groups["age"] = pd.cut(table["age"], [*AGE_BANDS, np.inf], right=False, labels=bands)
    return {name: pd.Categorical(column) for name, column in groups.items()}


@dataclass(frozen=True)
class Evaluation:
    """Results of benchmarks."""

    rows: list[dict] = field(default_factory=list)  #: a dict with ``COLUMNS`` for each figure
    results: dict[tuple[str, str], Result] = field(default_factory=dict)  #: the figures by benchmark and metric
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  #: the tables behind the figures, by name
    skipped: dict[str, str] = field(default_factory=dict)  #: by benchmark, why it was not run
    failed: dict[str, str] = field(default_factory=dict)  #: by benchmark, what is wrong with its data

    def require_all(self, where: str) -> None:
        """Raise ``InputError`` if a benchmark was not run; ``where`` comes before its name."""
        for name, problem in (*self.skipped.items(), *self.failed.items()):
            raise InputError(f"{where}{name}: {problem.removesuffix('.')}.")


def choose_benchmarks(
    benchmarks: Mapping[str, Benchmark], trained: Collection[str], embeds: bool
) -> dict[str, Benchmark]:
    """The benchmarks of what a model is trained on: these tasks, and ``embeds`` for those of the embedding."""
    return {
        name: benchmark
        for name, benchmark in benchmarks.items()
        if (set(benchmark.tasks) & set(trained) if benchmark.tasks else embeds)
    }


def run_benchmarks(benchmarks: Mapping[str, Benchmark], model: Predictor) -> Evaluation:
    """Run all benchmarks whose data are there and whose tasks the model is trained on, by name."""
    found = Evaluation()
    for name, benchmark in benchmarks.items():
        obstacle = benchmark.find_obstacle(model.trained)
        if obstacle:
            found.skipped[name] = obstacle
            continue
        try:
            results = benchmark.run(model)
        except InputError as error:  # the others' figures may have taken hours
            found.failed[name] = str(error)
            continue
        for result in results:
            paper = benchmark.paper.get(result.metric)
            difference = None if paper is None else result.ours - paper
            row = (name, result.metric, result.ours, result.low, result.high, paper, difference, result.n)
            found.rows.append(dict(zip(COLUMNS, row, strict=True)))
            found.results[name, result.metric] = result
            found.tables.update({f"{name}_{kind}": table for kind, table in result.tables.items()})
            if result.groups:
                found.tables[f"{name}_groups"] = result.tabulate_groups()
    return found
