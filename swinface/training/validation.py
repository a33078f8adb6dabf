"""Validation in training: benchmarks on data set aside, and one error by which the best epoch is chosen."""

from __future__ import annotations

from collections.abc import Mapping

from torch import distributed

from swinface.benchmarks.benchmark import Benchmark, Predictor, run_benchmarks
from swinface.inference import work_together
from swinface.model import SwinFace

WRONG = 10.0  # years of an age, or degrees of a pose; an error of as much counts as a wrong answer
COLLAPSED = 0.55  # AUC of a verification below which embeddings hardly differ from random ones, which have 0.5


def validate(benchmarks: Mapping[str, Benchmark], model: SwinFace) -> dict[str, float]:
    """Run benchmarks on a model, in evaluation mode.

    Gives each figure by its benchmark and name, such as ``val_fiw_AUC``, and for each benchmark the error of its first
    figure, such as ``error_fiw``; see ``find_error``. Raises ``InputError`` if the data of a benchmark are missing or
    cannot be used, or the model is not trained on its task.
    """
    found = run_benchmarks(benchmarks, Predictor(model, runtime="torch"))
    found.require_all("data.validation.")
    figures: dict[str, float] = {}
    for row in found.rows:
        figures[f"val_{row['benchmark']}_{row['metric']}".replace(" ", "_")] = float(row["ours"])
        figures.setdefault(f"error_{row['benchmark']}", find_error(row["metric"], row["ours"]))
    return figures


def validate_together(benchmarks: Mapping[str, Benchmark], model: SwinFace) -> dict[str, float]:
    """``validate``, divided among the processes of a run. If one fails, all raise an error, so that none waits."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return validate(benchmarks, model)
    rank, processes = distributed.get_rank(), distributed.get_world_size()
    own = {name: benchmarks[name] for name in list(benchmarks)[rank::processes]}
    return {name: it for part in work_together(lambda: validate(own, model), processes) for name, it in part.items()}


def find_error(metric: str, value: float) -> float:
    """The error that a figure stands for, 0 if all is right.

    It is 1 - AUC, the share of wrong answers, or of answers that change (``Stability``), for figures in per cent, or
    the mean error of ages in tens of years, of poses in tens of degrees.
    """
    if metric == "AUC":
        return 1 - value
    if "changes" in metric:
        return value / 100
    if "%" in metric:
        return 1 - value / 100
    return value / WRONG
