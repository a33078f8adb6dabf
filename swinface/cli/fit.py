"""``swinface fit``."""

from __future__ import annotations

from pathlib import Path

from swinface.data.streams import FaceData
from swinface.files import replacing_folder
from swinface.training.module import FaceTraining
from swinface.training.runs import RunCLI, configure, run_training


def fit(arguments: list[str]) -> None:
    """Train a SwinFace, from the last checkpoint if the run's folder holds one.

    Parameters
    ----------
    arguments
        Options: ``["--config=FILE", "--run=FOLDER"]``; ``swinface fit --help`` has all.

    Raises
    ------
    InputError
        Another process trains in the folder, it holds another experiment or one that is complete, or an input is bad.
    """
    run_training(configure(RunCLI, FaceTraining, FaceData, arguments, "swinface fit", "Train a SwinFace.", {}), _finish)


def _finish(run: Path, cli: RunCLI) -> None:
    with replacing_folder(run) as partial:
        cli.model.network.eval().save_pretrained(partial)
    print(f"{cli.trainer.global_step} steps; model written to {run}")
