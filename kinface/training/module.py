"""The Lightning module of kinship training: batch -> losses -> log.

Its parts have modules of their own: the network and the labels that it needs (``network``), the losses (``losses``,
``kinface.debias``) and the metrics of an epoch (``validation``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightning
import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.data.labels import Name, encode_labels
from kinface.data.vocabulary import TYPES
from kinface.debias.adversaries import Hider
from kinface.debias.erasers import says
from kinface.debias.erasure import Erase, Erasure
from kinface.debias.heads import HIDERS, Head, Hide, attribute_loss, class_weights, reversal_warmup
from kinface.training.losses import LOSSES, Verification, pair_class, run_loss
from kinface.training.network import Network, build_hiders, build_network, collect_classes, freeze_trunk, name_hiders
from kinface.training.validation import measure_tune_pairs
from swinface.files import InputError, naming, running
from swinface.inference import digest_weights
from swinface.training.losses import distillation_loss
from swinface.training.schedule import rate_at

TRUNK = "network.trunk."  # where a checkpoint's names of the trunk's weights begin
READS = {"embedding": "embedding", "features": "features", "levels": "inputs"}  # place to output of the network
NOT_SETTLED = 0.0  # selection value of epochs that are not selected, below the AUC of any useful model


@dataclass(frozen=True)
class Optimizer:
    """AdamW with a linear warm-up, then a cosine to zero.

    Parameters
    ----------
    learning_rate, trunk_learning_rate
        Peak learning rates: of all parts but the trunk, and of the trunk.
    weight_decay
        Weight decay of AdamW.
    warmup
        Share of training in which the learning rate rises.
    """

    learning_rate: PositiveFloat = 1e-3
    trunk_learning_rate: NonNegativeFloat = 1e-4
    weight_decay: NonNegativeFloat = 0.05
    warmup: ClosedUnitInterval = 0.1


class KinshipTraining(lightning.LightningModule):
    """The model, a KinFace, and its training.

    Parameters
    ----------
    verification
        Loss on kin pairs, or null if type identification replaces verification.
    type_weight
        Weight of type identification in addition to verification; 0 leaves it out.
    distillation
        Weight of the cosine distance between the embedding, through a linear map, and that of ``data.teacher``.
    attributes
        Classes of attributes, columns of the people table: texts or numbers as they stand there. People of another
        class, or of none, are unknown. The options below name attributes of these.
    heads
        Attributes that are predicted from the features beside kinship.
    hide
        Attributes that the model learns to hide from an adversary or a penalty; null, as of an overlay, hides one no
        more.
    matched
        Only pairs that agree in all of these attributes are negatives of each other; pairs of two classes are a group
        of their own. People of unknown class are left out of verification.
    domains
        An attribute: a projection for each class, trained on the pairs of its people, see ``KinFace``.
    erase
        Steps of erasure of the features or of the embedding; each is fitted to the output of the step before.
    select
        Which tune pairs select the best epoch, by AUC: ``standard``, or ``matched`` by race, type and gender.
    network
        What the model reads and how large it is.
    optimizer
        Learning rates and weight decay.
    embedding_size, teacher_size
        Set from the data: numbers per embedding if the model reads embeddings, and per embedding of the teacher.
    """

    def __init__(
        self,
        verification: Verification | None = None,
        type_weight: NonNegativeFloat = 0.0,
        distillation: NonNegativeFloat = 0.0,
        attributes: dict[str, list[Name | None]] | None = None,
        heads: dict[str, Head] | None = None,
        hide: dict[str, Hide | None] | None = None,
        matched: list[str] | None = None,
        domains: str | None = None,
        erase: list[Erase] | None = None,
        select: Literal["standard", "matched"] = "standard",
        network: Network = Network(),  # noqa: B008  (it cannot be changed)
        optimizer: Optimizer = Optimizer(),
        embedding_size: int | None = None,
        teacher_size: int | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        if (distillation > 0) != (teacher_size is not None):
            raise InputError("model.distillation needs data.teacher, and data.teacher a model.distillation above 0.")
        if verification is None and not type_weight:
            raise InputError("nothing to train: give model.verification a loss, or model.type_weight a weight.")
        self.type_weight, self.distillation = type_weight, distillation
        self.map = nn.Linear(network.size, teacher_size, bias=False) if teacher_size is not None else None
        self.heads, self.matched, self.domain = heads or {}, matched or [], domains
        self.hide = {name: chosen for name, chosen in (hide or {}).items() if chosen is not None}
        self.erase, self.select = erase or [], select
        check_choices(verification, self.hide, self.erase, type_weight)
        self.attributes = collect_classes(
            attributes or {}, self.heads, self.hide, self.matched, self.domain, self.erase
        )
        self.network = build_network(
            network,
            embedding_size=embedding_size,
            attributes=self.attributes,
            heads=[*self.heads],
            types=type_weight > 0,
            domains=1 if domains is None else len(self.attributes[domains]),
            erase=self.erase,
        )
        self.hidden = name_hiders(self.hide)
        self.broken: dict[str, Tensor] = {}  # whether a loss was not finite, of embeddings that were
        self.hiders = build_hiders(self.hide, self.attributes, self.network, self.optimizer.learning_rate)
        self.verification = None
        if verification is not None:
            self.verification = LOSSES.create(verification.method, **verification.options)
            with running("model.verification"):
                self.verification.fit_to(network.width)
        self.frozen_trunk = freeze_trunk(self.network.trunk, network.trained_stages)
        self.given_trunk = self.frozen_trunk and (network.swinface or network.kinface) is not None

    def on_fit_start(self) -> None:
        """Compute class weights, and load the levels of a frozen trunk if there is a cache."""
        data = self.trainer.datamodule
        shares = data.batches.expect_faces()
        self.class_weights = {}
        for name, labels in data.labels(data.train_faces).items():
            classes = self.attributes[name]
            absent = [text for code, text in enumerate(classes) if not (labels == code).any()]
            if absent:
                there = ", ".join(encode_labels(data.families.people[name])[1]) or "of no known value"
                if len(absent) == len(classes):
                    raise InputError(f"{name}: no training face is any of {', '.join(classes)}; people are {there}.")
                warnings.warn(f"{name}: no training face is {' or '.join(absent)}; people are {there}.", stacklevel=1)
            if name in self.hide or (name in self.heads and self.heads[name].balanced):
                self.class_weights[name] = class_weights(labels, shares, len(classes)).to(self.device)
        if self.select not in data.tune_pairs:
            raise InputError("model.select: no tune pairs could be matched in this data; select by the standard ones.")
        if data.cache is not None:
            if not self.frozen_trunk:
                raise InputError("data.cache needs a frozen trunk: set model.network.trained_stages to 0.")
            if self.trainer.is_global_zero:
                data.cache_inputs(self.network.trunk)
            self.trainer.strategy.barrier()
            if not self.trainer.is_global_zero:
                data.cache_inputs(self.network.trunk)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out a frozen trunk that another model gives: only a digest of it is kept."""
        if self.given_trunk:
            weights = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: it for name, it in weights.items() if not name.startswith(TRUNK)}
            checkpoint["trunk"] = digest_weights(self.network.trunk)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the frozen trunk back. Raises ``InputError`` if that model is another one than when the run began."""
        if self.given_trunk:
            if checkpoint.get("trunk") != digest_weights(self.network.trunk):
                raise InputError("model.network: not the weights that the run began with; put those back.")
            trunk = self.network.trunk.state_dict()
            checkpoint["state_dict"] |= {f"{TRUNK}{name}": tensor for name, tensor in trunk.items()}

    @property
    def progress(self) -> float:
        """Share of training that is done, in [0, 1]."""
        return min(1.0, self.global_step / self.trainer.estimated_stepping_batches)

    @property
    def settled(self) -> bool:
        """Whether this epoch may be selected: not before half of training while lambda grows, if anything is hidden."""
        return not self.hidden or self.progress > 0.5

    def reversal(self) -> dict[str, float]:
        """Lambda of each attribute that is hidden, at this step."""
        ramp = {"warmup": reversal_warmup(self.progress), "constant": 1.0}
        return {name: chosen.strength * ramp[chosen.schedule] for name, chosen in self.hide.items()}

    def describe_epoch(self) -> dict[str, float]:
        """Columns of the run's table besides metrics."""
        return {f"lambda_{name}": value for name, value in self.reversal().items()}

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        """Sum the weighted losses of a batch, see ``KinBatches``.

        Dropout depends on the number of the batch, so a resumed run drops the same. Losses are computed in single
        precision, whatever the precision of the model, and on the batch of all processes.
        """
        entropy = [self.trainer.datamodule.seed, batch["step"], self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
        outputs = {name: value.float() for name, value in self.network(batch["faces"]).items()}
        outputs, batch = self._gather(outputs, batch)
        losses = {}
        with torch.autocast(self.device.type, enabled=False):
            if self.verification is not None:
                losses["verification"] = self._verification_loss(outputs, batch)
            if self.type_weight:
                a, b = outputs["embedding"].chunk(2)
                losses["type"] = self.type_weight * self._type_loss(a, b, batch["type"])
            if self.map is not None:
                mapped = self.map(outputs["embedding"])
                losses["distillation"] = self.distillation * distillation_loss(mapped, batch["teacher"])
            for name, head in self.heads.items():
                loss = attribute_loss(outputs[name], batch[name], self.class_weights.get(name))
                losses[name] = head.weight * loss
            for key, (name, place) in self.hidden.items():
                losses[key] = self._learn_and_hide(self.hiders[key], name, outputs[READS[place]], batch)
        broken = torch.stack([~loss.detach().isfinite() for loss in losses.values()])
        broken &= outputs["embedding"].isfinite().all()  # of embeddings that are not, no loss is finite
        self.broken = {name: self.broken.get(name, False) | it for name, it in zip(losses, broken, strict=True)}
        logged = {f"train_{name}": loss.detach() for name, loss in losses.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch["type"]), sync_dist=True)
        return torch.stack(list(losses.values())).sum()

    def _gather(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the losses read, of the faces of all processes, in the order that one process has them in.

        Each process then computes the loss of the whole batch, and the gradient of a face goes back to its process. So
        several processes give the loss and the gradients of one, but for batch norms and dropout of the network, which
        are those of each process.
        """
        if self.trainer.world_size == 1:
            return outputs, batch
        pairs = len(batch["type"])

        def gather(rows: Tensor) -> Tensor:
            of_all = self.all_gather(rows, sync_grads=True)  # pair i of process r is pair i * processes + r of all
            return of_all.unflatten(1, (-1, pairs)).movedim(0, 2).flatten(0, 2)

        read = {"features", "embedding", *self.network.heads, *(READS[place] for _, place in self.hidden.values())}
        labels = {name: gather(rows) for name, rows in batch.items() if name not in ("faces", "step")}
        torch.manual_seed(self.trainer.datamodule.seed + int(batch["step"]))  # hiders draw the same in all
        return {name: gather(outputs[name]) for name in sorted(read)}, labels | {"step": batch["step"]}

    def _verification_loss(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """Mean loss over pairs; if pairs are matched, each group of pairs is treated as a batch of its own."""
        embedding = outputs["embedding"]
        if self.domain is not None:
            a, b = batch[self.domain].chunk(2)
            embedding = self._keep_domain(embedding, torch.where(a == b, a, -1))
        sides = zip(outputs["features"].chunk(2), embedding.chunk(2), strict=True)
        a, b = ({"features": features, "embedding": embedded} for features, embedded in sides)
        if not self.matched:
            return run_loss("model.verification", self.verification, a, b)
        group = torch.stack([pair_class(batch[name]) for name in self.matched])
        total, pairs = embedding.sum() * 0.0, 0
        for code in group[:, (group >= 0).all(dim=0)].unique(dim=1).T:
            rows = (group == code[:, None]).all(dim=0).nonzero()[:, 0]
            if len(rows) > 1:  # one pair alone has no negative
                side_a, side_b = ({name: value[rows] for name, value in side.items()} for side in (a, b))
                loss = run_loss("model.verification", self.verification, side_a, side_b)
                total, pairs = total + len(rows) * loss, pairs + len(rows)
        return total / max(1, pairs)

    def _keep_domain(self, embedding: Tensor, domain: Tensor) -> Tensor:
        """Keep only the projection of a pair's domain; all projections if its people are of two domains: (2B, D)."""
        domains = self.network.domains
        kept = F.one_hot(domain.clamp(min=0), domains).bool() | (domain < 0)[:, None]
        parts = embedding.unflatten(1, (domains, -1)) * kept.repeat(2, 1)[:, :, None]
        return F.normalize(parts.flatten(1), dim=1)

    def _learn_and_hide(self, hider: Hider, name: str, read: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The adversary or penalty learns from the batch first; the loss is that of hiding from it then."""
        weights, what = self.class_weights.get(name), f"model.hide.{name}"
        with running(what):
            hider.learn(read, batch[name], weights, int(batch["step"]))
        return run_loss(what, hider.hide, read, batch[name], weights, self.reversal()[name])

    def _type_loss(self, a: Tensor, b: Tensor, kind: Tensor) -> Tensor:
        """Cross entropy over kin pairs and as many unrelated ones: first faces with second faces of other families."""
        unrelated = torch.full_like(kind, len(TYPES))
        log_probabilities = self.network.types(torch.cat([a, a]), torch.cat([b, b.roll(1, dims=0)]))
        return F.nll_loss(log_probabilities, torch.cat([kind, unrelated]))

    def on_validation_epoch_start(self) -> None:
        """Fit the erasures that are due to the current model, and start an empty list of outputs."""
        self._outputs: list[dict[str, Tensor]] = []
        if any(step.inside or self.settled for step in self.erase):
            self._fit_erasures()

    def _fit_erasures(self) -> None:
        """Fit each erasure on the training families, to the output of the erasures before it."""
        data = self.trainer.datamodule
        weight, families, labels, others = data.describe_known()
        features = torch.cat([self.network(faces.to(self.device))["neck"] for faces in data.train_inputs()]).float()

        def fit(erasure: Erasure, values: Tensor) -> Tensor:
            if erasure.step.inside or self.settled:
                erasure.fit(values, labels, weight, families, others)
            return erasure(values)

        for erasure in self.network.feature_erasures:
            features = fit(erasure, features)
        embedding = self.network.project(features)
        for erasure in self.network.erasures:
            embedding = self.network.to_unit_length(fit(erasure, embedding))

    def validation_step(self, faces: Tensor, step: int) -> None:
        """Store the embedding of each face of the tune pairs, and the output of each head."""
        outputs = self.network(faces)
        kept = {name: outputs[name] for name in ("embedding", *self.network.heads)}
        for key, (name, place) in self.hidden.items():
            with running(f"model.hide.{name}"):
                kept[key] = self.hiders[key](outputs[READS[place]].float())
                if kept[key].shape != (len(faces), len(self.attributes[name])):
                    given = tuple(kept[key].shape)
                    raise InputError(f"forward gives {given}; it must be (N, K), a column for each class.")
        self._outputs.append({name: value.float().cpu() for name, value in kept.items()})

    def on_validation_epoch_end(self) -> None:
        """Log the AUC of the tune pairs, overall and per race, the accuracy of each head, and the selection value."""
        outputs = {name: torch.cat([part[name] for part in self._outputs]) for name in self._outputs[0]}
        if not outputs["embedding"].isfinite().all():
            first = [f"train_{name}" for name, broken in self.broken.items() if broken]
            causes = f", after the loss {' and '.join(first)} was not" if first else ""
            advice = "fix it, or lower" if first else "lower"
            raise InputError(
                f"training has diverged: embeddings are not finite{causes}; {advice} model.optimizer.learning_rate."
            )
        attributes = {name: name for name in self.network.heads}
        attributes |= {key: name for key, (name, _) in self.hidden.items()}
        metrics = measure_tune_pairs(self.network, self.trainer.datamodule, outputs, attributes)
        selected = metrics["tune_auc_matched" if self.select == "matched" else "tune_auc"]
        metrics["selection"] = selected if self.settled else NOT_SETTLED
        self.log("tune_auc", metrics.pop("tune_auc"), prog_bar=True, sync_dist=True)
        self.log_dict(metrics, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with separate rates for the trunk and each head; per step a linear warm-up, then a cosine to zero."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self._rate_of(name), []).append(parameter)
        parameters = [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
        optimizer = torch.optim.AdamW(parameters, weight_decay=float(self.optimizer.weight_decay))

        def rate(step: int) -> float:
            return rate_at(step, lambda: self.trainer.estimated_stepping_batches, self.optimizer.warmup)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate_of(self, parameter: str) -> float:
        rate = self.optimizer.learning_rate
        match parameter.split("."):
            case ["network", "trunk", *_]:
                rate = self.optimizer.trunk_learning_rate
            case ["network", "heads", name, *_] if self.heads[name].learning_rate is not None:
                rate = self.heads[name].learning_rate
        return float(rate)  # of plain type, as the checkpoint has it


def check_choices(
    verification: Verification | None, hide: Mapping[str, Hide | None], erase: Sequence[Erase], type_weight: float
) -> None:
    """Check what a configuration chooses by name, and the options of each; make no model.

    Raises ``InputError`` if there is no such method, it does not take its options, or it does not go with the others.
    """
    if verification is not None:
        with naming("model.verification"):
            LOSSES.check(verification.method, **verification.options)
    for name, chosen in hide.items():
        if chosen is not None:
            with naming(f"model.hide.{name}"):
                HIDERS.check(chosen.method, **chosen.options)
    for place, step in enumerate(erase):
        with naming(f"model.erase[{place}]"):
            if not says(step.make(), "keeps_axes") and type_weight:
                raise InputError(f"{step.method} changes the meaning of dimensions; set model.type_weight to 0.")
