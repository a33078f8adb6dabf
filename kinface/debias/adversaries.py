"""Adversaries, which learn to predict the attributes that the model hides, and a penalty that replaces them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.heads import Place, attribute_loss, build_mlp
from swinface.mlca import MultiLevelChannelAttention


@dataclass(frozen=True)
class Reading:
    """What is read of a model, and which attribute it must hide."""

    place: Place
    size: int  #: D, numbers per face of embeddings and features; for levels the width of the features
    classes: int  #: K, of the attribute
    channels: Sequence[int] | None = None  #: of each of the trunk's levels, where levels are read
    learning_rate: float = 1e-3  #: of the model

    @property
    def pooled(self) -> int:
        """Numbers per face if levels are read as their mean over places."""
        return self.size if self.channels is None else sum(self.channels)


class Hider(nn.Module, ABC):
    """What the model hides an attribute from.

    Its constructor takes a :class:`Reading` and options of its own. Inputs are what it reads of N faces: (N, D), or
    (N, C, 7, 7) of levels, with the channels of all levels one after the other.
    """

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K), the larger the more a face is taken for one of a class; validation logs how often it is right."""

    def learn(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, step: int) -> None:
        """Learn from a batch, before the model learns against it.

        Parameters
        ----------
        inputs
            What it reads of N faces; they get no gradient.
        labels
            (N,) class indices, below 0 where unknown.
        class_weights
            (K,).
        step
            Number of the batch within the run.
        """

    @abstractmethod
    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """The loss that the rest of the model minimises, and lambda times its gradient; else as of :meth:`learn`."""


class Adversary(Hider):
    """Predicts an attribute from the model's features or embedding, with an optimiser of its own.

    In each step it first learns to predict, without any gradient to the model; then the model learns against it while
    it is fixed. It sees the batch of all processes, and learns the same in each. The state of its optimiser is a part
    of its own, so a resumed run continues exactly.

    Parameters
    ----------
    reading
        What it reads; levels through an MLCA of its own.
    objective
        How the model hides: ``reversal`` makes the adversary's loss grow, by a reversed gradient (Ganin & Lempitsky,
        ICML 2015); ``confusion`` pulls its predictions to the uniform distribution (Tzeng et al., ICCV 2015, eq. 3).
    learning_rate
        Learning rate of its optimiser; that of the model if left out.
    balanced
        Weigh classes by the inverse of their frequency among the faces that training draws.
    updates
        Steps of its own optimiser for each step of the model.
    members
        Size of an ensemble, whose members differ by their first weights.
    restart
        Steps after which the next member starts again from new weights; never if left out.
    """

    def __init__(
        self,
        reading: Reading,
        objective: Literal["reversal", "confusion"] = "reversal",
        learning_rate: PositiveFloat | None = None,
        balanced: bool = True,
        updates: PositiveInt = 1,
        members: PositiveInt = 1,
        restart: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.reading, self.objective, self.balanced = reading, objective, balanced
        self.updates, self.restart = updates, restart
        size = reading.size
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Identity() if reading.channels is None else MultiLevelChannelAttention(reading.channels, size),
                build_mlp(size, reading.classes),
            )
            for _ in range(members)
        )
        self.optimiser = torch.optim.AdamW(self.members.parameters(), float(learning_rate or reading.learning_rate))
        self.seed = int(torch.randint(2**31, ()))  # for new weights; the same in every process of a run
        self.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K), the mean of its members' log probabilities."""
        return self._answer(inputs).mean(dim=0)

    def _answer(self, inputs: Tensor) -> Tensor:
        """(members, N, K) log probabilities."""
        if self.reading.place == "embedding":
            inputs = inputs * math.sqrt(self.reading.size)  # the numbers of a unit vector are small
        return torch.stack([member(inputs) for member in self.members]).log_softmax(dim=2)

    def learn(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, step: int) -> Tensor:
        """Take ``updates`` steps on a batch, and return the loss of the last one."""
        if self.restart and step and step % self.restart == 0:
            self._restart(step)
        self._follow_device()
        self.requires_grad_(True)
        for _ in range(self.updates):
            loss = self._read_loss(self._answer(inputs.detach()), labels, class_weights)
            parameters = list(self.members.parameters())
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            self.optimiser.step()
        self.optimiser.zero_grad()
        self.requires_grad_(False)
        return loss.detach()

    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """The loss of its objective; the weights of the adversary get no gradient from it."""
        if self.objective == "reversal":
            return self._read_loss(self._answer(reverse_gradient(inputs, strength)), labels, class_weights)
        answers = self._answer(inputs)
        uniform = torch.full_like(answers, 1 / answers.shape[2])
        divergence = (uniform * (uniform.log() - answers)).sum(dim=2).mean(dim=0)
        return strength * _weighted_mean(divergence, labels, class_weights if self.balanced else None)

    def _read_loss(self, answers: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        weights = class_weights if self.balanced else None
        return torch.stack([attribute_loss(member, labels, weights) for member in answers]).mean()

    def _follow_device(self) -> None:
        """Move the optimiser's state to the device of the weights: a run is restored before the model is moved."""
        for parameter, state in self.optimiser.state.items():
            for name, value in state.items():
                if name != "step":  # the step count stays on the CPU
                    state[name] = value.to(parameter.device)

    def _restart(self, step: int) -> None:
        """Give new weights to the next member in turn."""
        member = self.members[(step // self.restart - 1) % len(self.members)]
        devices = {parameter.device for parameter in member.parameters() if parameter.is_cuda}
        with torch.random.fork_rng(devices=list(devices)):
            torch.manual_seed(self.seed + step)
            for module in member.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        for parameter in member.parameters():
            self.optimiser.state.pop(parameter, None)

    def get_extra_state(self) -> dict:
        return self.optimiser.state_dict()

    def set_extra_state(self, state: dict) -> None:
        self.optimiser.load_state_dict(state)


class _Remembering(Hider):
    """Without weights of its own; it knows the faces of the last steps, and a subclass what each face tells."""

    MEMORY = 2048  # faces
    SCALE = 10.0  # factor that brings useful strengths near 1

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.classes = reading.classes
        self.register_buffer("faces", torch.zeros(self.MEMORY, reading.pooled))
        self.register_buffer("labels", torch.full((self.MEMORY,), -1))

    def learn(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, step: int) -> None:
        """Store the faces of a batch in place of the oldest ones."""
        self.faces.copy_(torch.cat([self.faces, _pool(inputs).detach()])[-self.MEMORY :])
        self.labels.copy_(torch.cat([self.labels, labels])[-self.MEMORY :])

    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """Lambda times the weighted mean of what faces tell; 0 while no face of known class is remembered."""
        if not (self.labels >= 0).any():
            return inputs.sum() * 0.0
        return strength * self.SCALE * _weighted_mean(self._tell(self(inputs), labels), labels, class_weights)

    @abstractmethod
    def _tell(self, answers: Tensor, labels: Tensor) -> Tensor:
        """(N,) what the model minimises, of (N, K) answers of ``forward``."""

    def _recall(self) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of known class, their classes as one-hot vectors, and the median distance between faces."""
        known = self.labels >= 0
        faces, classes = self.faces[known], F.one_hot(self.labels[known], self.classes).to(self.faces)
        some = faces[torch.linspace(0, len(faces) - 1, 256, device=faces.device).long()]
        return faces, classes, torch.pdist(some).median().clamp(min=1e-6)


class KernelAdversary(_Remembering):
    """The optimal adversary of its kind at every step: kernel ridge regression of the classes, in closed form.

    An adversary that is trained together with the model lags some steps behind it, and an MLP soon memorises the few
    training families, so that the model hides only what these families show. This adversary is not trained but solved,
    on the faces of the last steps (cf. Sadeghi, Yu & Boddeti, "On the Global Optima of Kernelized Adversarial
    Representation Learning", ICCV 2019, where the model has a closed form too). It has a new random basis at each step,
    which the model cannot learn to evade. With the random features z of a Gaussian kernel (Rahimi & Recht, NeurIPS
    2007), their mean m, and weights w that balance the classes, both over the memory, it predicts

        p(x) = (z(x) - m)^T (sum_i w_i (z_i - m)(z_i - m)^T + r I)^(-1) sum_i w_i (z_i - m)(y_i - 1/K)^T

    with y the classes as one-hot vectors, and the model minimises lambda times the mean of ``|p(x)|^2``, weighted in
    the same way. It does not fall to 0 even if the embedding holds nothing of the attribute, because with this few
    faces the answers are partly chance. The gradient of that part has no lasting direction, as basis and faces change.
    """

    BASIS, RIDGE = 512, 1e-3  # random features, r
    BANDWIDTH = 0.5  # of the kernel, as a share of the median distance between faces

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K) predictions p, with a newly drawn basis."""
        faces, classes, distance = self._recall()
        directions = torch.randn(faces.shape[1], self.BASIS, device=faces.device) / (self.BANDWIDTH * distance)
        phases = 2 * math.pi * torch.rand(self.BASIS, device=faces.device)

        def basis(x: Tensor) -> Tensor:
            return math.sqrt(2 / self.BASIS) * torch.cos(x @ directions + phases)

        weight = (classes / classes.sum(dim=0).clamp(min=1)).sum(dim=1)
        weight = weight / weight.sum()
        z = basis(faces)
        mean = weight @ z
        weighted = (z - mean) * weight[:, None]
        moments = weighted.T @ (z - mean) + self.RIDGE * torch.eye(self.BASIS, device=faces.device)
        solution = torch.linalg.solve(moments, weighted.T @ (classes - 1 / classes.shape[1]))
        return (basis(_pool(inputs)) - mean) @ solution

    def _tell(self, answers: Tensor, labels: Tensor) -> Tensor:
        return answers.square().sum(dim=1)


class MeanDiscrepancy(_Remembering):
    """A penalty, not an adversary: the maximum mean discrepancy between the classes.

    With the sum k of Gaussian kernels (Gretton et al., JMLR 13, 2012, eq. 3) and K classes, the model minimises lambda
    times the mean over classes of MMD^2 between a class and all classes in equal parts. The Hilbert-Schmidt
    independence criterion of balanced classes, with a kernel of labels that is 1 for the same class and 0 otherwise, is
    this up to a factor. One side of each product is the batch, which gets the gradient, and the other the memory, so
    that rare classes count on hundreds of faces.
    """

    BANDWIDTHS = (0.1, 0.3, 1.0)  # as shares of the median distance between faces

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, K), how much more alike each face is to a class than to the mean class."""
        faces, classes, distance = self._recall()
        squared = torch.cdist(_pool(inputs), faces).square() / distance**2
        alike = sum(torch.exp(squared / (-2 * width**2)) for width in self.BANDWIDTHS)
        to_classes = alike @ (classes / classes.sum(dim=0).clamp(min=1))
        present = (classes.sum(dim=0) > 0).to(faces)
        mean = (to_classes * present).sum(dim=1, keepdim=True) / present.sum()
        return (to_classes - mean) * present

    def _tell(self, answers: Tensor, labels: Tensor) -> Tensor:
        return answers.gather(1, labels.clamp(min=0)[:, None])[:, 0]


def _pool(inputs: Tensor) -> Tensor:
    """Levels (B, C, 7, 7) as their mean over places; anything else as it is."""
    return inputs.mean(dim=(2, 3)) if inputs.ndim == 4 else inputs


def _weighted_mean(values: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean of (N,) values over faces of known class, weighted by class; 0 if no class is known."""
    weight = torch.ones_like(values) if class_weights is None else class_weights[labels.clamp(min=0)]
    weight = weight * (labels >= 0)
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(inputs: Tensor, strength: float) -> Tensor:
    """Identity in the forward pass; in the backward pass the gradient is multiplied by ``-strength``.

    The head after it learns its task, while the layers before it learn to remove what the head needs
    (Ganin & Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, eq. 4 to 9).
    """
    return _Reversal.apply(inputs, strength)
