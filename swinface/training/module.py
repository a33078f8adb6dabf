"""The module for training SwinFace, for both stages of the paper: recognition pretraining has one stream and no tasks,
multi-task training has all.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from swinface.benchmarks.benchmark import choose_benchmarks
from swinface.files import InputError
from swinface.recognition.margin import MarginSoftmax, gather_shares, ignored_by_ddp, take_shares
from swinface.recognition.optimiser import SampledAdamW
from swinface.tasks import TASKS, check_tasks
from swinface.training.losses import distillation_loss, log_prior, relation_loss, task_losses
from swinface.training.pseudo import PseudoLabels
from swinface.training.schedule import rate_at
from swinface.training.start import freeze_all_but, keep_half_to_linear, start_network
from swinface.training.validation import COLLAPSED, validate_together

REFERENCE_BATCH = 512  # learning rates are given for this many faces per step, as in the authors' code
MOST_SKIPPED = 20  # steps in a row that may be skipped before training has failed


@dataclass
class Recognition:
    """Identity classification with a margin softmax, see ``swinface.recognition.margin.MarginSoftmax``.

    Parameters
    ----------
    kind, margin, scale
        See ``MarginSoftmax``.
    rate
        Share of the identities that each step samples for the softmax, always with those of the batch.
    weight
        Weight of this loss.
    """

    kind: Literal["cosface", "arcface"] = "cosface"
    margin: NonNegativeFloat = 0.4
    scale: PositiveFloat = 64.0
    rate: float = 1.0
    weight: PositiveFloat = 1.0


@dataclass(frozen=True)
class Optimizer:
    """AdamW; rates rise linearly, then follow a cosine over all steps, as in the authors' code.

    Parameters
    ----------
    learning_rate
        The peak rate. All rates are for 512 faces per step and are scaled by the number of faces.
    warmup_rate
        The rate of the first step.
    final_rate
        The rate at the end.
    trunk_rate
        The peak rate of trunk and embedding, as a share of the learning rate. At 0 they stay bit-identical.
    trunk_clip
        Largest norm of the gradient of trunk and embedding; null does not clip.
    weight_decay
        AdamW's weight decay.
    warmup
        Share of training in which rates rise.
    """

    learning_rate: NonNegativeFloat = 5e-4
    warmup_rate: NonNegativeFloat = 5e-7
    final_rate: NonNegativeFloat = 5e-6
    trunk_rate: NonNegativeFloat = 1.0
    trunk_clip: PositiveFloat | None = 5.0
    weight_decay: NonNegativeFloat = 0.05
    warmup: ClosedUnitInterval = 0.1


class FaceTraining(lightning.LightningModule):
    """The model, a SwinFace, and its training.

    A step whose gradient is not finite is skipped: the model stays as it was before.

    Parameters
    ----------
    swinface
        Constructor arguments of ``SwinFace``; empty is the published size. ``weights`` in its ``trunk`` is a file of
        weights to start from, see ``swinface.trunk.Trunk.take_weights``.
    start
        Folder of a SwinFace whose trunk and embedding to start from, such as a run of recognition pretraining.
    start_whole
        Whether to take over its subnets and heads too, to fine-tune a model on one of its tasks. If
        ``optimizer.trunk_rate`` is 0, the tasks that are not trained stay in the model with unchanged heads. But if
        such a task shares a subnet with a trained one, as young does with age, its predictions change: train both.
    tasks
        The tasks of ``swinface.tasks.TASKS`` to train; by default all with labels in a stream.
    recognition
        Identity classification; null for none.
    distillation
        Weight of the cosine distance between linearly mapped embeddings and teachers' embeddings.
    relation
        Weight of the squared difference between the model's and the teachers' cosines of pairs of faces, see
        ``swinface.training.losses.relation_loss``.
    loss_weights
        Weights of tasks; 1 for every task that is not named.
    balance
        Strength of logit adjustment by task: at 1, rare classes count as much as frequent ones; at 0, the default,
        each face counts the same. See ``swinface.training.losses.log_prior``.
    optimizer
        Rates, clipping and weight decay.
    half
        What is computed in the half precision of ``trainer.precision``, if it is mixed: ``all`` that the engine
        chooses, or ``linear`` layers of the trunk's blocks and the margin softmax alone, as in the authors' code, see
        ``swinface.training.start``. With ``32-true`` everything is in single precision.
    compile
        Whether to compile the network (``torch.compile``), which needs a compiler: slow to start, then faster.
    """

    def __init__(
        self,
        swinface: dict[str, Any] | None = None,
        start: Path | None = None,
        start_whole: bool = False,
        tasks: list[str] | None = None,
        recognition: Recognition | None = None,
        distillation: NonNegativeFloat = 0.0,
        relation: NonNegativeFloat = 0.0,
        loss_weights: dict[str, NonNegativeFloat] | None = None,
        balance: dict[str, NonNegativeFloat] | None = None,
        optimizer: Optimizer = Optimizer(),
        half: Literal["all", "linear"] = "all",
        compile: bool = False,
    ) -> None:
        super().__init__()
        for option, names in (("tasks", tasks), ("loss_weights", loss_weights), ("balance", balance)):
            check_tasks(names or [], f"model.{option}")
        for name in balance or {}:
            if TASKS[name].loss != "cross_entropy":
                raise InputError(f"model.balance: {name} has no classes to balance; remove it.")
        self.tasks = list(TASKS) if tasks is None else tasks
        self.recognition, self.distillation, self.relation = recognition, distillation, relation
        self.loss_weights, self.balance = loss_weights or {}, balance or {}
        self.optimizer, self.half, self.compiled = optimizer, half, compile
        self.swinface, self.start, self.start_whole = swinface or {}, start, start_whole
        self.skipped, self.skipped_in_a_row = 0, 0
        self._of_step: list[Tensor] = []  # the losses of each batch of a step that is not done
        self.margin: MarginSoftmax | None = None
        self.map: nn.Linear | None = None
        self.pseudo: PseudoLabels | None = None

    def setup(self, stage: str) -> None:
        """Make the parts that depend on the data: the network, the teacher of pseudo-labels, identity centres, and the
        map to teachers' embeddings."""
        self.learned = self.trainer.datamodule.batches.tasks
        uses = {"recognition": self.recognition, "distillation": self.distillation, "relation": self.relation}
        self.embeds = [name for name, used in uses.items() if used]
        self._check_labels()
        benchmarks = self.trainer.datamodule.validation
        self.validation = choose_benchmarks(benchmarks, self.learned, bool(self.embeds))
        if benchmarks and not self.validation:
            raise InputError(f"data.validation: none of {', '.join(benchmarks)} tests what is trained; set it to null.")
        # A teacher is a copy of the network: as it starts, with what is frozen, and before it is compiled.
        self.network = start_network(self.swinface, self.learned, self.start, self.start_whole, self.frozen)
        if self.frozen:
            freeze_all_but(self.network, self.learned)
        if not self.embeds:  # neither the embedding nor what it alone reads gets a gradient
            self.network.embedding.requires_grad_(False)
            self.network.trunk.freeze_unread(self.network.subnets["age"].attention.levels)
        if self.half_linear:
            keep_half_to_linear(self.network)
        self._make_teacher()
        if self.compiled:
            self.network.compile()
        self._make_recognition()
        self.losses = [*self.embeds, *self.learned]
        self.columns = [*self.losses, *(f"answered_{name}" for name in (self.pseudo.tasks if self.pseudo else ()))]
        # In the checkpoint, so that the means of an epoch that was resumed are those of all its steps.
        self.register_buffer("loss_sums", torch.zeros(len(self.columns) + 1))

    def _check_labels(self) -> None:
        """Refuse losses for which the data have nothing, and a training without any."""
        batches = self.trainer.datamodule.batches
        missing = [] if self.tasks == list(TASKS) else [task for task in self.tasks if task not in self.learned]
        if missing:
            raise InputError(f"model.tasks: no stream has labels of {', '.join(missing)}; remove them.")
        if self.recognition is not None and not batches.identities:
            raise InputError("model.recognition: no source of data.streams.recognition has identities; set it to null.")
        for option in ("distillation", "relation"):
            if option in self.embeds and not batches.teacher_size:
                raise InputError(f"model.{option}: no source has a teacher; give one, or a weight of 0.")
        if not self.learned and (self.frozen or not self.embeds):
            why = "model.optimizer.trunk_rate is 0" if self.frozen else "recognition and distillation are off"
            raise InputError(f"nothing to train: no task has labels, and {why}.")

    def _make_teacher(self) -> None:
        """Make the teacher, if a stream has pseudo-labels."""
        data = self.trainer.datamodule
        streams = {
            name: (data.rows(name), stream.pseudo_labels)
            for name, stream in data.streams.items()
            if stream.pseudo_labels is not None
        }
        if streams:
            self.pseudo = PseudoLabels(self.network, self.learned, streams, data.batches.class_shares)

    def _make_recognition(self) -> None:
        """Make the identity centres, and the map to teachers' embeddings, where they are trained."""
        data, size = self.trainer.datamodule, self.network.embedding[-1].num_features
        if self.recognition is not None:
            it, seed = self.recognition, data.seed
            self.margin = MarginSoftmax(
                size, data.batches.identities, it.margin, it.scale, it.kind, it.rate, seed, self.half_linear
            )
            self._ddp_params_and_buffers_to_ignore = ignored_by_ddp(self)
        if self.distillation:
            self.map = nn.Linear(size, data.batches.teacher_size, bias=False)

    def on_fit_start(self) -> None:
        """Compute what logit adjustment adds for each class."""
        batches = self.trainer.datamodule.batches
        self.log_priors = {
            name: log_prior(batches.class_shares(name), strength).to(self.device)
            for name, strength in self.balance.items()
            if name in self.learned
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put all processes' identity centres into the checkpoint."""
        gather_shares(self, checkpoint, self.trainer.optimizers)
        checkpoint["skipped"] = [self.skipped, self.skipped_in_a_row]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's identity centres from it."""
        take_shares(self, checkpoint)
        self.skipped, self.skipped_in_a_row = checkpoint["skipped"]

    @property
    def frozen(self) -> bool:
        """Whether trunk and embedding stay as they are."""
        return self.optimizer.trunk_rate == 0

    @property
    def half_linear(self) -> bool:
        """Whether linear layers alone are in half precision."""
        return self.half == "linear" and self.trainer.precision.endswith("-mixed")

    @property
    def progress(self) -> float:
        """Share of training that is done, in [0, 1]."""
        return min(1.0, self.global_step / self.trainer.estimated_stepping_batches)

    def describe_epoch(self) -> dict[str, float]:
        """Further columns of the run's table: mean losses of the steps that were not skipped, the learning rate, and
        the number of steps skipped so far."""
        sums = self.trainer.strategy.reduce(self.loss_sums.clone(), reduce_op="sum")
        self.loss_sums.zero_()
        names = [f"train_{name}" for name in self.columns]
        means = dict(zip(names, (sums[:-1] / sums[-1]).tolist(), strict=True))  # nan if every step was skipped
        rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
        return {**means, "learning_rate": rate, "skipped_steps": self.skipped}

    def on_train_batch_start(self, batch: dict, number: int) -> None:
        """Note the batch norms' statistics before a step, to restore them if it is skipped."""
        if not self._of_step:
            self._statistics = [(it, it.clone()) for it in self.network.buffers() if it.is_floating_point()]

    def training_step(self, batch: dict, number: int) -> Tensor:
        """Sum the weighted losses of a batch, see ``swinface.data.streams.Batches``.

        Dropout depends on the batch's number, so a resumed run drops the same. Losses are computed in single precision
        for any model.
        """
        entropy = np.random.SeedSequence([self.trainer.datamodule.seed, batch["step"], self.global_rank])
        torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
        with torch.autocast(self.device.type, enabled=False) if self.half_linear else nullcontext():
            outputs = self.network(batch["images"])
        losses = {}
        with torch.autocast(self.device.type, enabled=False):
            outputs = {name: value.float() for name, value in outputs.items()}
            if self.margin is not None:
                people = self.trainer.datamodule.rows("recognition")
                losses["recognition"] = self.recognition.weight * self.margin(
                    outputs["embedding"][people], batch["identity"][people], batch["step"]
                )
            if self.map is not None:
                losses["distillation"] = self.distillation * distillation_loss(
                    self.map(outputs["embedding"]), batch["teacher"]
                )
            if self.relation:
                losses["relation"] = self.relation * relation_loss(outputs["embedding"], batch["teacher"])
            if self.learned:
                each = task_losses(self.learned, outputs, batch["labels"], self.progress, self.log_priors)
                if self.pseudo is not None:
                    extra, answered = self.pseudo.teach(outputs, batch["images"], batch["labels"], self.progress)
                    each = each + extra
                losses |= {
                    name: self.loss_weights.get(name, 1.0) * loss for name, loss in zip(self.learned, each, strict=True)
                }
        each = torch.stack([losses[name] for name in self.losses])
        columns = [each.detach()] if self.pseudo is None else [each.detach(), answered]
        self._of_step.append(torch.cat([*columns, each.new_ones(1)]))
        return each.sum()

    def on_train_batch_end(self, *_: Any) -> None:
        """Update the teacher."""
        if self.pseudo is not None:
            self.pseudo.update(self.network)

    def validation_step(self, batch: int, number: int) -> None:
        """Run the benchmarks on data set aside, and log their figures and mean error."""
        with torch.autocast(self.device.type, enabled=False):
            figures = validate_together(self.validation, self.network)
        if self.trainer.sanity_checking:
            return
        errors = [value for name, value in figures.items() if name.startswith("error_")]
        self.log_dict(figures, batch_size=1)
        self.log("error", sum(errors) / len(errors), prog_bar=True, batch_size=1)
        for name, value in figures.items():
            if name.endswith("_AUC") and value < COLLAPSED:
                rank_zero_warn(f"{name} is {value:.3f}, near chance level: training may have collapsed.")

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradient of trunk and embedding alone, as the paper does, and count the step's losses; skip the step
        if any gradient is not finite.

        All processes decide alike: their gradients are the same, but for those of identity centres, which are not
        finite only if the trunk's are not.
        """
        losses, self._of_step = self._of_step, []
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        if not bool(nn.utils.get_total_norm(gradients).isfinite()):
            self._skip(optimizer)
            return
        self.skipped_in_a_row = 0
        self.loss_sums += torch.stack(losses).sum(dim=0)
        if self.optimizer.trunk_clip is not None:
            nn.utils.clip_grad_norm_(self._backbone(), self.optimizer.trunk_clip)

    def _skip(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the model as it was before the step: a parameter without a gradient is not changed."""
        optimizer.zero_grad(set_to_none=True)
        for buffer, before in self._statistics:
            buffer.copy_(before)
        self.skipped, self.skipped_in_a_row = self.skipped + 1, self.skipped_in_a_row + 1
        if self.skipped_in_a_row == MOST_SKIPPED:
            raise InputError(
                f"training has failed: from step {self.global_step - MOST_SKIPPED + 1} on, no gradient was finite. "
                "Give model.optimizer a lower learning_rate or a trunk_clip, or set trainer.precision to 32-true."
            )

    def _backbone(self) -> list[nn.Parameter]:
        parameters = [*self.network.trunk.parameters(), *self.network.embedding.parameters()]
        return [parameter for parameter in parameters if parameter.requires_grad]

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW, the trunk at its own rate; warm-up, then a cosine, per step.

        The authors' loop sets the rate by the number of the last step, counted from 0. So the first two steps have the
        first rate, and all later rates come one step late. This is copied.
        """
        backbone = {id(parameter) for parameter in self._backbone()}
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        rest = [parameter for parameter in learning if id(parameter) not in backbone]
        data, trainer, options = self.trainer.datamodule, self.trainer, self.optimizer
        scale = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches / REFERENCE_BATCH
        groups = [(options.learning_rate * options.trunk_rate, self._backbone()), (options.learning_rate, rest)]
        peaks = [peak for peak, parameters in groups if parameters]
        optimizer = SampledAdamW(
            [{"params": parameters} for _, parameters in groups if parameters],
            lr=scale,
            weight_decay=float(options.weight_decay),  # the parser's own type would be in checkpoints
        )

        def rate(step: int, peak: float) -> float:
            rates = {"start": options.warmup_rate, "peak": peak, "final": options.final_rate, "cosine_from_start": True}
            return rate_at(step - 1, lambda: trainer.estimated_stepping_batches, options.warmup, **rates)

        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, [lambda step, peak=peak: rate(step, peak) for peak in peaks]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
