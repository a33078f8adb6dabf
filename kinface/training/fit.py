"""``kinface fit``: train a kinship model. One configuration file is one experiment.

A run's folder holds its configuration, a table of its epochs, the checkpoints to resume from, and when it is done
the model (``kinface score --model RUN``) and the scored tune pairs that its threshold comes from.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser
from sklearn.metrics import roc_auc_score

from kinface.data.pairs import write_pairs
from kinface.fairness.threshold import choose_threshold
from kinface.training.data import KinshipData
from kinface.training.module import NOT_SETTLED, KinshipTraining
from swinface.files import InputError, replacing_folder
from swinface.training.runs import RunCLI, RunFolder, configure, run_training

BEST = "best"


class _Read(Exception):
    """A configuration was read."""


class KinshipCLI(RunCLI):
    """The options of ``kinface fit``."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.link_arguments("data.embedding_size", "model.embedding_size", apply_on="instantiate")
        parser.link_arguments("data.teacher_size", "model.teacher_size", apply_on="instantiate")

    def checkpoints(self, run: Path) -> list[ModelCheckpoint]:
        """The epoch that is best on the tune pairs."""
        return [ModelCheckpoint(run, BEST, monitor="selection", mode="max", enable_version_counter=False)]


class _ReadingCLI(KinshipCLI):
    def before_instantiate_classes(self) -> None:
        raise _Read


def fit(arguments: list[str]) -> None:
    """Train as the arguments say, from the last finished epoch if the run's folder holds one.

    Raises
    ------
    InputError
        Another process trains in the folder, it holds another experiment or one that is complete, or an input is bad.
    """
    run_training(_configure(KinshipCLI, arguments), _finish)


fit.parses_arguments = True


def check_config(config: dict[str, Any]) -> None:
    """Check a configuration as ``fit`` would, and make nothing of it.

    Raises
    ------
    InputError or ArgumentError
        ``fit`` would refuse it.
    """
    with suppress(_Read):
        _configure(_ReadingCLI, [f"--config={yaml.safe_dump(config)}", "--run=run"])


def _configure(cli_class: type[KinshipCLI], arguments: list[str]) -> KinshipCLI:
    clipped = {"gradient_clip_val": 5.0}
    return configure(
        cli_class, KinshipTraining, KinshipData, arguments, "kinface fit", "Train a kinship model.", clipped
    )


def _finish(run: Path, cli: KinshipCLI) -> None:
    """Write the model of the best epoch with its threshold, and the pairs the threshold comes from."""
    module, data = cli.model, cli.datamodule
    checkpoint = torch.load(run / f"{BEST}.ckpt", map_location="cpu", weights_only=True)
    if checkpoint["callbacks"][RunFolder.__qualname__]["rows"][-1]["selection"] == NOT_SETTLED:
        raise InputError(f"{run}: ended before half of its training, so no epoch was selected; run it again.")
    module.load_state_dict(checkpoint["state_dict"])
    network = module.network.eval()
    with torch.inference_mode():
        faces = (part.to(module.device) for part in data.val_dataloader())
        embedding = torch.cat([network(part)["embedding"].cpu() for part in faces])
    pairs = data.score_tune_pairs(embedding)
    network.threshold.fill_(choose_threshold(pairs))
    write_pairs(pairs, run / "tune_scores.parquet")
    with replacing_folder(run) as partial:
        network.save_pretrained(partial)
    auc = roc_auc_score(pairs["kin"], pairs["score"])
    print(f"best epoch {checkpoint['epoch']}: AUC {auc:.3f} on {len(pairs)} tune pairs; model written to {run}")
