"""``kinface fit``: train a kinship model. One configuration file is one experiment.

A run's folder holds its configuration, a table of its epochs, the checkpoints to resume from, and when it is done
the model (``kinface score --model RUN``) and the scored tune pairs that its threshold comes from.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from sklearn.metrics import roc_auc_score

from kinface.data import KinshipData
from kinface.fairness import choose_threshold
from kinface.pairs import write_pairs
from kinface.train import NOT_SETTLED, KinshipTraining
from swinface.files import InputError, replacing, replacing_folder


class RunFolder(Callback):
    """Writes ``config.yaml`` once training has begun and a row of ``metrics.csv`` per epoch.

    The rows are kept in the checkpoint, so a resumed run continues the table it had.
    """

    def __init__(self, run: Path, config: str) -> None:
        self.run, self.config, self.rows = run, config, []

    def on_train_start(self, trainer: lightning.Trainer, module: KinshipTraining) -> None:
        if trainer.is_global_zero:
            with replacing(self.run / CONFIG) as partial:
                partial.write_text(self.config)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: KinshipTraining) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        strengths = {f"lambda_{name}": value for name, value in module.reversal().items()}
        self.rows.append({"epoch": trainer.current_epoch, **metrics, **strengths})
        if trainer.is_global_zero:
            with replacing(self.run / "metrics.csv") as partial:
                pd.DataFrame(self.rows).to_csv(partial, index=False)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class KinshipCLI(LightningCLI):
    """The options of ``kinface fit``: those of the run, the trainer, the model and the data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=Path, required=True, help="Folder to train in, resumed if it is there.")
        parser.link_arguments("run", "trainer.default_root_dir", compute_fn=str)
        parser.link_arguments("seed_everything", "data.seed")
        parser.link_arguments("data.embedding_size", "model.embedding_size", apply_on="instantiate")

    def instantiate_trainer(self, **options: Any) -> lightning.Trainer:
        """Add what writes the run's folder to the callbacks of the configuration."""
        if self.config["trainer"]["fast_dev_run"]:
            raise InputError("trainer.fast_dev_run leaves no model; for a quick try add --config configs/smoke.yaml.")
        if self.config["trainer"]["max_epochs"] in (None, -1) and self.config["trainer"]["max_steps"] == -1:
            raise InputError("give trainer.max_epochs or trainer.max_steps: schedules need an end.")
        run = Path(self.config["run"])
        callbacks = [
            *(self.config_init["trainer"].get("callbacks") or []),
            RunFolder(run, self.parser.dump(self.config, skip_link_targets=True)),
            ModelCheckpoint(run, BEST, monitor="selection", mode="max", enable_version_counter=False),
            ModelCheckpoint(run, LAST, enable_version_counter=False),
        ]
        return super().instantiate_trainer(callbacks=callbacks, **options)


CONFIG, BEST, LAST = "config.yaml", "best", "last"  # what a run keeps: its configuration and two checkpoints
SETTLED_WARNINGS = [
    ".*does not have many workers.*",  # decoded faces need none
    ".*in eval mode at the start of training.*",  # a frozen trunk is
    ".*args parameter is intended to run from within Python.*",  # which is what we do
    ".*Checkpoint directory .* exists and is not empty.*",  # a folder to resume from is not
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # the engine's, not ours
]
TRAINER = {
    "logger": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # KinBatches shares its batches out itself
    "gradient_clip_val": 5.0,
    "deterministic": "warn",
}


def fit(arguments: list[str]) -> None:
    """Train as the arguments say, from the last finished epoch if the run's folder holds one.

    Raises
    ------
    InputError
        The folder holds another experiment or one that is complete, or an input is bad.
    """
    for talkative in ("pytorch.utilities.rank_zero", "fabric.utilities.seed"):
        logging.getLogger(f"lightning.{talkative}").setLevel(logging.WARNING)
    for message in SETTLED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    cli = KinshipCLI(
        KinshipTraining,
        KinshipData,
        args=arguments,
        run=False,
        seed_everything_default=0,
        trainer_defaults=TRAINER,
        save_config_callback=None,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        parser_kwargs={
            "prog": "kinface fit",
            "description": "Train a kinship model.",
            "exit_on_error": False,
            "allow_abbrev": False,
        },
    )
    run = Path(cli.config["run"])
    last = _find_last(run, cli.parser.dump(cli.config, skip_link_targets=True))
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=last, weights_only=True)
    except SystemExit:  # how the engine ends when interrupted
        raise KeyboardInterrupt("the same command goes on from the last finished epoch") from None
    if cli.trainer.is_global_zero:
        _finish(run, cli.model, cli.datamodule)


fit.parses_arguments = True


def _find_last(run: Path, config: str) -> Path | None:
    """The checkpoint to go on from, of a run that was interrupted and is of the same configuration."""
    recorded, last = run / CONFIG, run / f"{LAST}.ckpt"
    if (run / "model.safetensors").exists():
        raise InputError(f"--run {run}: this run is complete; choose another folder, or delete this one.")
    if not last.exists():
        return None
    if not recorded.exists() or recorded.read_text() != config:
        raise InputError(f"--run {run}: holds an unfinished run of another configuration, see {recorded}.")
    return last


def _finish(run: Path, module: KinshipTraining, data: KinshipData) -> None:
    """Write the model of the best epoch with its threshold, and the pairs the threshold comes from."""
    checkpoint = torch.load(run / f"{BEST}.ckpt", map_location="cpu", weights_only=True)
    if checkpoint["callbacks"][RunFolder.__qualname__]["rows"][-1]["selection"] == NOT_SETTLED:
        raise InputError(f"--run {run}: ended before half of its training, so no epoch was selected; run it again.")
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
