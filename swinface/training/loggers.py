"""Loggers that a run asks for by name; they write to the run's folder."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from swinface.files import InputError

LoggerName = Literal["csv", "tensorboard", "mlflow", "trackio"]


class TrackioLogger(Logger):
    """Logs with trackio, for which the engine has no logger; a resumed run continues its log.

    The dashboard is ``TRACKIO_DIR=FOLDER trackio show``. Data are kept in ``folder``, unless ``TRACKIO_DIR`` names
    another one. A process has one such folder: its later runs are logged there too.
    """

    def __init__(self, folder: Path, project: str = "training", name: str = "run") -> None:
        super().__init__()
        os.environ.setdefault("TRACKIO_DIR", str(folder))  # trackio reads it once, when it is imported
        import trackio

        self._trackio, self._project, self._name, self._run = trackio, project, name, None

    @property
    def name(self) -> str:
        return self._project

    @property
    def version(self) -> str:
        return self._name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        config = params if isinstance(params, Mapping) else vars(params)
        self._run = self._trackio.init(self._project, self._name, config=dict(config), resume="allow")

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if self._run is None:
            self.log_hyperparams({})
        self._run.log(metrics, step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._run is not None:
            self._trackio.finish()
            self._run = None


def make_logger(name: LoggerName, run: Path) -> Logger:
    """Make a logger that writes to the run's folder. Raises ``InputError`` if its package is not installed."""
    made = {
        "csv": (CSVLogger, {"save_dir": run / name}),
        "tensorboard": (TensorBoardLogger, {"save_dir": run / name}),
        "mlflow": (MLFlowLogger, {"tracking_uri": f"sqlite:///{run / 'mlflow.db'}"}),  # it refuses folders now
        "trackio": (TrackioLogger, {"folder": run / name, "name": run.resolve().name}),
    }
    logger, options = made[name]
    try:
        return logger(**options)
    except ModuleNotFoundError as error:
        raise InputError(f"--logger {name}: no package {error.name or name}; run `pip install {name}`.") from None
