"""Train a kinship model. One configuration is one experiment.

The folder of a run holds its configuration, a table of its epochs and the checkpoints to resume from. When the run is
done it also holds the model, and the scored tune pairs that the model's threshold comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser
from sklearn.metrics import roc_auc_score

from kinface.data.pairs import write_pairs
from kinface.debias.erasure import Erase
from kinface.fairness.distributions import describe_scores
from kinface.fairness.threshold import choose_threshold
from kinface.models.kinface import KinFace
from kinface.models.trained import FAMILIES, digest_families
from kinface.models.verify import ERRORS, SCORES, TRIPLETS, measure_errors
from kinface.training.data import KinshipData
from kinface.training.history import PAIRS, TUNE_SCORES
from kinface.training.module import NOT_SETTLED, KinshipTraining, check_choices
from swinface.files import InputError, replacing_folder, to_plain, write_json
from swinface.training.history import CURVES, MODEL
from swinface.training.runs import RunCLI, RunFolder, configure, run_training

BEST = "best"


@dataclass(frozen=True)
class Fitted:
    """A run that is done."""

    folder: Path  #: the run's, which holds the model
    epoch: int  #: the one that was selected, counted from 0
    epochs: int  #: how many there were
    auc: float  #: on the tune pairs
    pairs: pd.DataFrame = field(repr=False)  #: the tune pairs, scored; epoch and threshold were chosen on them

    @property
    def model(self) -> KinFace:
        """The model, with its threshold, in evaluation mode."""
        return KinFace.from_pretrained(self.folder)


class KinshipCLI(RunCLI):
    """The options of ``kinface fit``."""

    program, about = "kinface fit", "Train a kinship model."
    module, data = KinshipTraining, KinshipData
    defaults: ClassVar = {"gradient_clip_val": 5.0}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.link_arguments("data.embedding_size", "model.embedding_size", apply_on="instantiate")
        parser.link_arguments("data.teacher_size", "model.teacher_size", apply_on="instantiate")

    def checkpoints(self, run: Path) -> list[ModelCheckpoint]:
        """The epoch that is best on the tune pairs."""
        return [ModelCheckpoint(run, BEST, monitor=PAIRS.best, mode="max", enable_version_counter=False)]


class _ReadingCLI(KinshipCLI):
    """Reads and checks options, and makes nothing of them."""

    def instantiate_classes(self) -> None:
        """Check what is chosen by name; leave everything unmade."""
        model = self.config.model
        erase = [Erase(**vars(step)) for step in model.erase or []]
        check_choices(model.verification, model.hide or {}, erase, model.type_weight)


def fit(*configurations: str | Path, run: str | Path, **settings: Any) -> Fitted | None:
    """Train a kinship model, from the last checkpoint if the run's folder holds one.

    Parameters
    ----------
    configurations
        YAML files, each laid over those before it, such as ``configs/kinface/base.yaml``.
    run
        Folder to train in.
    settings
        What is laid over the files, under the keys of these: ``data={"root": "tables"}``,
        ``trainer={"max_epochs": 2}``.

    Returns
    -------
    Fitted or None
        ``model`` is the model; None in every process but the first of a run on several devices.

    Raises
    ------
    InputError
        Another process trains in the folder, it holds another experiment or one that is complete, or a setting or an
        input is bad.

    Examples
    --------
    >>> import tempfile, kinface
    >>> from importlib.resources import files
    >>> from pathlib import Path
    >>> from kinface.synthetic.families import synthesize
    >>> folder, configs = Path(tempfile.mkdtemp()), files("kinface.configs")
    >>> _ = synthesize(folder / "families", families=24, photos=1)  # in the place of a copy of FIW
    >>> families = kinface.read_families(folder / "families").write(folder / "tables")  # as kinface prepare does
    >>> both = [configs / "kinface" / "base.yaml", configs / "smoke.yaml"]  # the second makes it small and short
    >>> quiet = {"enable_progress_bar": False, "accelerator": "cpu"}
    >>> done = kinface.fit(*both, run=folder / "run", data={"root": families.folder}, trainer=quiet)
    >>> 0 <= done.auc <= 1, bool(done.model.threshold.isfinite())
    (True, True)
    """
    words = [*(f"--config={path}" for path in configurations), f"--run={run}"]
    return run_training(configure(KinshipCLI, words, changes=to_plain(settings)), _finish)


def train(arguments: list[str]) -> Fitted | None:
    """What ``fit`` does, with the options of ``kinface fit`` as they are on a command line."""
    return run_training(configure(KinshipCLI, arguments), _finish)


def check_config(config: dict[str, Any], files: Sequence[Path] = ()) -> None:
    """Check that ``fit`` would accept a configuration; make no model and read no data.

    ``files`` are those that it was merged from, for messages. Raises ``InputError`` if ``fit`` would refuse it.
    """
    configure(_ReadingCLI, deepcopy(config) | {"run": "run"}, files)  # the parser changes what it reads


def _finish(run: Path, cli: KinshipCLI) -> Fitted:
    """Write the model of the best epoch with its threshold, the pairs that the threshold comes from, and the curves."""
    module, data = cli.model, cli.datamodule
    best = run / f"{BEST}.ckpt"
    checkpoint = torch.load(best, map_location="cpu", weights_only=True) if best.exists() else None
    if checkpoint is None or checkpoint["callbacks"][RunFolder.__qualname__]["rows"][-1]["selection"] == NOT_SETTLED:
        raise InputError(
            f"{run}: ended before its first epoch, or before half of its training where attributes are hidden, so no "
            "epoch was selected; run it for longer, in another folder."
        )
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])
    network = module.network.eval()
    with torch.inference_mode():
        faces = (part.to(module.device) for part in data.val_dataloader())
        embedding = torch.cat([network(part)["embedding"].cpu() for part in faces])
    pairs = data.score_tune_pairs(embedding)
    epochs = PAIRS.read(run)
    threshold = network.threshold.fill_(choose_threshold(pairs)).item()
    trained = data.families.faces[data.families.faces["split"] == "train"]
    records = {ERRORS: measure_errors(pairs, threshold), SCORES: describe_scores(pairs, threshold)}
    records[FAMILIES] = digest_families(trained)
    if (triplets := data.score_tune_triplets(embedding)) is not None:
        records[TRIPLETS] = describe_scores(triplets, threshold)
    write_pairs(pairs, run / TUNE_SCORES)
    with replacing_folder(run, last=MODEL) as partial:
        network.save_pretrained(partial)
        for name, record in records.items():
            write_json(partial / name, record)
        PAIRS.plot(epochs).savefig(partial / CURVES, dpi=120)
    auc = float(roc_auc_score(pairs["kin"], pairs["score"]))
    return Fitted(run, checkpoint["epoch"], len(epochs), auc, pairs)
