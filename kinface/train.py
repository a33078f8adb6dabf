"""Training of a kinship model as the engine sees it: batch -> losses -> log. All mathematics is in the model's and
the losses' own modules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.losses import VerificationLoss, reversal_warmup
from kinface.model import KinFace, predict_types
from kinface.pairs import TYPES, race_group
from swinface.files import InputError
from swinface.losses import distillation_loss
from swinface.model import SwinFace

NOT_SETTLED = 0.0  # what selects a checkpoint before half of training: less than any AUC that is worth a model


@dataclass
class Head:
    """An attribute head, as data.

    Parameters
    ----------
    classes
        Values of the people table's column of the head's name, in the order of its outputs. People with any other
        value, or none, do not count in its loss.
    weight
        Of its loss.
    adversarial
        Whether it sits behind gradient reversal.
    strength
        Lambda, what the reversed gradient is multiplied by at the end of its schedule.
    schedule
        How lambda grows over training: ``warmup`` as 2 / (1 + exp(-10 p)) - 1, or ``constant``.
    learning_rate
        Its own; that of the model if left out.
    balanced
        Weigh classes by the inverse of their frequency among the faces that training draws.
    """

    classes: list[str]
    weight: float = 1.0
    adversarial: bool = False
    strength: float = 1.0
    schedule: Literal["warmup", "constant"] = "warmup"
    learning_rate: float | None = None
    balanced: bool = True


class KinshipTraining(lightning.LightningModule):
    """Batch -> loss -> log; the model is :class:`kinface.model.KinFace`.

    Parameters
    ----------
    verification
        Loss on kin pairs, or null where type identification replaces verification.
    type_weight
        Weight of type identification beside verification; 0 leaves it out.
    distillation
        Weight of the cosine distance between the embedding, through a linear map, and that of ``data.teacher``.
    heads
        Attribute heads by the people table's column that they predict.
    swinface
        Folder of a SwinFace (see ``swinface convert``) whose trunk to start from; ``shipped`` is what comes
        with the package.
    trunk
        Constructor arguments of ``swinface.model.Trunk``, to start from random weights. Not used where ``swinface``
        or ``data.embeddings`` is given.
    trained_stages
        How many of the trunk's stages learn, counted from the last: 0 freezes it, null trains all of it.
    width, size
        Of the features and of the embedding.
    learning_rate, trunk_learning_rate
        At their peak, for AdamW.
    weight_decay
        Of AdamW.
    warmup
        Share of training in which the learning rate rises linearly; then it falls as a cosine to zero.
    embedding_size, teacher_size
        Set from the data: numbers per embedding where no image is seen, and of the teacher's.
    """

    def __init__(
        self,
        verification: VerificationLoss | None = None,
        type_weight: float = 0.0,
        distillation: float = 0.0,
        heads: dict[str, Head] | None = None,
        swinface: Path | None = None,
        trunk: dict[str, Any] | None = None,
        trained_stages: int | None = 0,
        width: int = 512,
        size: int = 256,
        learning_rate: float = 1e-3,
        trunk_learning_rate: float = 1e-4,
        weight_decay: float = 0.05,
        warmup: float = 0.1,
        embedding_size: int | None = None,
        teacher_size: int | None = None,
    ) -> None:
        super().__init__()
        if (distillation > 0) != (teacher_size is not None):
            raise InputError("model.distillation needs data.teacher, and data.teacher a model.distillation above 0.")
        if verification is None and not type_weight:
            raise InputError("nothing to train: give model.verification a loss, or model.type_weight a weight.")
        if embedding_size is not None and swinface is not None:
            raise InputError("data.embeddings takes the place of a trunk: give it or model.swinface, not both.")
        if embedding_size is None and swinface is None and trunk is None:
            raise InputError("the model needs an input: give model.trunk, model.swinface or data.embeddings.")
        for name, head in (heads or {}).items():
            if len(head.classes) < 2 or len(set(head.classes)) < len(head.classes):
                raise InputError(f"model.heads.{name}: two classes or more, each named once; not {head.classes}.")
        self.verification, self.type_weight, self.distillation = verification, type_weight, distillation
        self.map = nn.Linear(size, teacher_size, bias=False) if teacher_size is not None else None
        self.heads = heads or {}
        self.learning_rate, self.trunk_learning_rate = learning_rate, trunk_learning_rate
        self.weight_decay, self.warmup = weight_decay, warmup
        start = None if swinface is None else SwinFace.from_pretrained(swinface).trunk
        if embedding_size is not None:
            trunk = None
        elif start is not None:
            trunk = start.arguments
        classes = {name: head.classes for name, head in self.heads.items()}
        self.network = KinFace(trunk, embedding_size, width, size, classes, types=type_weight > 0)
        if verification is not None:
            verification.fit_to(width)
        if start is not None:
            self.network.trunk.load_state_dict(start.state_dict())
        self._freeze(trained_stages)

    def _freeze(self, trained_stages: int | None) -> None:
        """Keep what does not learn out of the gradient and in evaluation mode, in which the engine leaves it."""
        self.frozen_trunk = False
        trunk = self.network.trunk
        if trunk is None:
            return
        trunk.swin.norm.requires_grad_(False)  # a face's summary reads it, the levels do not
        if trained_stages is None:
            return
        stages = list(trunk.swin.layers)
        if not 0 <= trained_stages <= len(stages):
            raise InputError(f"model.trained_stages {trained_stages}: the trunk has {len(stages)} stages; null is all.")
        for frozen in (trunk.swin.patch_embed, *stages[: len(stages) - trained_stages]):
            frozen.requires_grad_(False).eval()
        self.frozen_trunk = trained_stages == 0

    def on_fit_start(self) -> None:
        """Weigh classes as training will meet them, and read a frozen trunk's levels from the cache if there is one."""
        data = self.trainer.datamodule
        shares = data.batches.expect_faces()
        self.class_weights = {}
        for name, labels in data.labels(data.train_faces).items():
            classes = self.heads[name].classes
            if (labels < 0).all():
                raise InputError(f"model.heads.{name}: no training face is any of {', '.join(classes)}.")
            self.class_weights[name] = class_weights(labels, shares, len(classes)).to(self.device)
        if data.cache is not None:
            if not self.frozen_trunk:
                raise InputError("data.cache keeps the levels of a frozen trunk; it needs model.trained_stages: 0.")
            if self.trainer.is_global_zero:
                data.cache_inputs(self.network.trunk)
            self.trainer.strategy.barrier()
            if not self.trainer.is_global_zero:
                data.cache_inputs(self.network.trunk)

    @property
    def progress(self) -> float:
        """Share of training that is done, in [0, 1]."""
        return min(1.0, self.global_step / self.trainer.estimated_stepping_batches)

    def reversal(self) -> dict[str, float]:
        """Lambda of each adversarial head at this step."""
        ramp = {"warmup": reversal_warmup(self.progress), "constant": 1.0}
        return {name: head.strength * ramp[head.schedule] for name, head in self.heads.items() if head.adversarial}

    def settings(self) -> dict[str, float]:
        """What a row of the run's table says besides metrics."""
        return {f"lambda_{name}": value for name, value in self.reversal().items()}

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        """Sum the weighted losses of a batch, see ``KinBatches``.

        What is dropped at random depends on the batch's number, so that a resumed run drops the same. Losses are
        computed in single precision whatever the model is.
        """
        entropy = [self.trainer.datamodule.seed, batch["step"], self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
        outputs = {name: value.float() for name, value in self.network(batch["faces"], self.reversal()).items()}
        half = len(batch["type"])
        a = {name: value[:half] for name, value in outputs.items()}
        b = {name: value[half:] for name, value in outputs.items()}
        losses = {}
        with torch.autocast(self.device.type, enabled=False):
            if self.verification is not None:
                losses["verification"] = self.verification(a, b)
            if self.type_weight:
                losses["type"] = self.type_weight * self._type_loss(a["embedding"], b["embedding"], batch["type"])
            if self.map is not None:
                mapped = self.map(outputs["embedding"])
                losses["distillation"] = self.distillation * distillation_loss(mapped, batch["teacher"])
            for name, head in self.heads.items():
                weights = self.class_weights[name] if head.balanced else None
                losses[name] = head.weight * attribute_loss(outputs[name], batch[name], weights)
        logged = {f"train_{name}": loss.detach() for name, loss in losses.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=half, sync_dist=True)
        return torch.stack(list(losses.values())).sum()

    def _type_loss(self, a: Tensor, b: Tensor, kind: Tensor) -> Tensor:
        """Cross entropy over the kin pairs and as many unrelated ones: each face with the next family's."""
        unrelated = torch.full_like(kind, len(TYPES))
        log_probabilities = self.network.types(torch.cat([a, a]), torch.cat([b, b.roll(1, dims=0)]))
        return F.nll_loss(log_probabilities, torch.cat([kind, unrelated]))

    def on_validation_epoch_start(self) -> None:
        """Start an empty list of outputs."""
        self._outputs: list[dict[str, Tensor]] = []

    def validation_step(self, faces: Tensor, step: int) -> None:
        """Keep the outputs of each face of the tune pairs."""
        self._outputs.append({name: value.float().cpu() for name, value in self.network(faces).items()})

    def on_validation_epoch_end(self) -> None:
        """Log the AUC of the tune pairs, overall and per race, each head's accuracy, and what selects a checkpoint."""
        data = self.trainer.datamodule
        outputs = {name: torch.cat([part[name] for part in self._outputs]) for name in self._outputs[0]}
        pairs = data.score_tune_pairs(outputs["embedding"])
        metrics = {"val_auc": roc_auc_score(pairs["kin"], pairs["score"])}
        for race, group in pairs.groupby(race_group(pairs)):
            if group["kin"].nunique() == 2:
                metrics[f"val_auc_{race}"] = roc_auc_score(group["kin"], group["score"])
        for name, labels in data.labels(data.tune_faces).items():
            known = labels >= 0
            if known.any():
                predicted = outputs[name].argmax(dim=1)
                metrics[f"val_{name}_balanced_accuracy"] = _balanced_accuracy(labels[known], predicted[known])
        if self.network.types is not None:
            kind = torch.from_numpy(np.where(pairs["kin"], pd.Index(TYPES).get_indexer(pairs["type"]), len(TYPES)))
            predicted = predict_types(self.network, pairs, data.tune_faces["face"], outputs["embedding"])
            metrics["val_type_balanced_accuracy"] = _balanced_accuracy(kind, predicted)
        # Before half of training the reversal is not at its full strength: such an epoch is not yet the experiment.
        metrics["selection"] = metrics["val_auc"] if self.progress > 0.5 else NOT_SETTLED
        self.log("val_auc", metrics.pop("val_auc"), prog_bar=True, sync_dist=True)
        self.log_dict(metrics, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with a rate of its own for the trunk and for each head; warm-up, then a cosine to zero, per step."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self._rate_of(name), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for rate, parameters in groups.items()], weight_decay=self.weight_decay
        )

        def factor(step: int) -> float:
            if step == 0:  # asked for before a run is restored, when the engine does not yet know its steps
                return 0.0
            steps = self.trainer.estimated_stepping_batches
            rising = max(1, round(self.warmup * steps))
            if step < rising:
                return step / rising
            return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_of(self, parameter: str) -> float:
        match parameter.split("."):
            case ["network", "trunk", *_]:
                return self.trunk_learning_rate
            case ["network", "heads", name, *_] if self.heads[name].learning_rate is not None:
                return self.heads[name].learning_rate
        return self.learning_rate


def attribute_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross entropy of (N, K) logits over the labels that are known (not below 0); 0 where none is.

    With class weights the mean is over the weights, as in ``torch.nn.functional.cross_entropy``.
    """
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0  # every process must reach every parameter
    return F.cross_entropy(logits[known], labels[known], class_weights)


def class_weights(labels: Tensor, shares: Tensor, classes: int) -> Tensor:
    """(classes,) weights in inverse proportion to how often a class is drawn; 0 for one that is not.

    They are scaled so that the faces of known class that are drawn weigh 1 on average.

    Parameters
    ----------
    labels
        (N,) class of each face, below 0 where unknown.
    shares
        (N,) how often each face is drawn.
    """
    known = labels >= 0
    drawn = torch.bincount(labels[known], weights=shares[known], minlength=classes)
    inverse = torch.where(drawn > 0, drawn.sum() / drawn, 0.0)
    return (inverse / (drawn > 0).sum()).float()


def _balanced_accuracy(labels: Tensor, predicted: Tensor) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(predicted[labels == label] == label).float().mean() for label in labels.unique()]))
