"""Train a SwinFace. One configuration is one experiment; ``swinface.training.runs`` describes a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from swinface.files import replacing_folder
from swinface.training.data import FaceData
from swinface.training.history import CURVES, FACES, MODEL
from swinface.training.module import FaceTraining
from swinface.training.runs import RunCLI, configure, run_training

BEST = "best"  # a checkpoint


@dataclass(frozen=True)
class Fitted:
    """A run that is done."""

    folder: Path  #: the run's, which holds the model
    steps: int
    epoch: int  #: the one kept, counted from 0: the best on the validation data, or without these the last
    figures: dict[str, float]  #: its figures on the validation data, by name; empty without these


class FaceCLI(RunCLI):
    """The options of ``swinface fit``."""

    program, about = "swinface fit", "Train a SwinFace."
    module, data = FaceTraining, FaceData
    # Before training, the benchmarks are run once: what is wrong with their data is said at once, not after an epoch.
    defaults: ClassVar = {"num_sanity_val_steps": 1}

    def checkpoints(self, run: Path) -> list[ModelCheckpoint]:
        """The epoch with the lowest error, if there are validation data."""
        if not self.config["data"]["validation"]:
            return []
        options = {"save_weights_only": True, "enable_version_counter": False}
        return [ModelCheckpoint(run, BEST, monitor=FACES.best, mode="min", **options)]


def fit(arguments: list[str]) -> Fitted | None:
    """Train a SwinFace, from the last checkpoint if the run's folder holds one.

    ``arguments`` are options of ``swinface fit``, such as ``["--config=FILE", "--run=FOLDER"]``. Gives None in every
    process but the first of a run on several devices. Raises ``InputError`` if another process trains in the folder, it
    holds another experiment or one that is complete, or an option or an input is bad.
    """
    return run_training(configure(FaceCLI, arguments), _finish)


def _finish(run: Path, cli: FaceCLI) -> Fitted:
    """Write the model of the best epoch, or of the last, and the curves of the run."""
    module, epochs = cli.model, FACES.read(run)
    kept = FACES.find_best(epochs)
    if cli.datamodule.validation:
        best = torch.load(run / f"{BEST}.ckpt", map_location="cpu", weights_only=True)["state_dict"]
        weights = {name.partition(".")[::2]: tensor for name, tensor in best.items()}
        module.network.load_state_dict({name: tensor for (part, name), tensor in weights.items() if part == "network"})
    with replacing_folder(run, last=MODEL) as partial:
        module.network.eval().save_pretrained(partial)
        FACES.plot(epochs).savefig(partial / CURVES, dpi=120)
    return Fitted(run, cli.trainer.global_step, int(kept["epoch"]), FACES.pick_figures(kept).to_dict())
