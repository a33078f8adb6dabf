"""Adversaries: heads that learn to predict an attribute while the rest of the model learns to hide it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.heads import Head, Place, attribute_loss, build_mlp
from kinface.debias.reversal import reverse_gradient
from swinface.mlca import MultiLevelChannelAttention


class Adversary(nn.Module):
    """Predicts an attribute from the model's features or embedding, with an optimiser of its own.

    In each step it first learns to predict, without any gradient to the model; then the model learns against it while
    it is fixed. It sees the batch of all processes, and learns the same in each. The state of its optimiser is a part
    of its own, so a resumed run continues exactly.

    Parameters
    ----------
    head
        Its options.
    reads
        The place of the model that it reads.
    size
        D, numbers per face that it reads; the width of its own MLCA if it reads levels.
    channels
        Channels of the trunk's levels if it reads levels.
    learning_rate
        Of its optimiser, if the head states none.
    """

    def __init__(
        self, head: Head, reads: Place, size: int, channels: Sequence[int] | None, learning_rate: float
    ) -> None:
        super().__init__()
        self.head, self.reads, self.size = head, reads, size
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Identity() if channels is None else MultiLevelChannelAttention(channels, size),
                build_mlp(size, len(head.classes)),
            )
            for _ in range(head.members)
        )
        self.optimiser = torch.optim.AdamW(self.members.parameters(), float(head.learning_rate or learning_rate))
        self.seed = int(torch.randint(2**31, ()))  # for new weights; the same in every process of a run
        self.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(members, B, classes) log probabilities of (B, D) embeddings or features, or of levels."""
        if self.reads == "embedding":
            inputs = inputs * math.sqrt(self.size)  # the numbers of a unit vector are small
        return torch.stack([member(inputs) for member in self.members]).log_softmax(dim=2)

    def learn(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, step: int) -> Tensor:
        """Take ``updates`` steps on a batch, and return the loss of the last one.

        Parameters
        ----------
        inputs
            What it reads of N faces; they get no gradient.
        labels
            (N,) class indices, below 0 where unknown.
        class_weights
            (classes,).
        step
            Number of the batch within the run.
        """
        if self.head.restart and step and step % self.head.restart == 0:
            self._restart(step)
        self._follow_device()
        self.requires_grad_(True)
        for _ in range(self.head.updates):
            loss = self._read_loss(self(inputs.detach()), labels, class_weights)
            parameters = list(self.members.parameters())
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            self.optimiser.step()
        self.optimiser.zero_grad()
        self.requires_grad_(False)
        return loss.detach()

    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """The loss that the rest of the model minimises; parameters as of :meth:`learn`, and lambda.

        The weights of the adversary get no gradient from it.
        """
        if self.head.objective == "reversal":
            return self._read_loss(self(reverse_gradient(inputs, strength)), labels, class_weights)
        answers = self(inputs)
        uniform = torch.full_like(answers, 1 / answers.shape[2])
        divergence = (uniform * (uniform.log() - answers)).sum(dim=2).mean(dim=0)
        return strength * _weighted_mean(divergence, labels, class_weights)

    def _read_loss(self, answers: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        return torch.stack([attribute_loss(member, labels, class_weights) for member in answers]).mean()

    def _follow_device(self) -> None:
        """Move the optimiser's state to the device of the weights: a run is restored before the model is moved."""
        for parameter, state in self.optimiser.state.items():
            for name, value in state.items():
                if name != "step":  # the step count stays on the CPU
                    state[name] = value.to(parameter.device)

    def _restart(self, step: int) -> None:
        """Give new weights to the next member in turn."""
        member = self.members[(step // self.head.restart - 1) % len(self.members)]
        devices = {parameter.device for parameter in member.parameters() if parameter.is_cuda}
        with torch.random.fork_rng(devices=list(devices)):
            torch.manual_seed(self.seed + step)
            for module in member.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        for parameter in member.parameters():
            self.optimiser.state.pop(parameter, None)

    def get_extra_state(self) -> dict:
        """The optimiser's state."""
        return self.optimiser.state_dict()

    def set_extra_state(self, state: dict) -> None:
        self.optimiser.load_state_dict(state)


class _Remembering(nn.Module):
    """An adversary without weights, which knows the faces of the last steps.

    Parameters
    ----------
    head
        Its options.
    size
        D, numbers per face that it reads.
    """

    MEMORY = 2048  # faces

    def __init__(self, head: Head, size: int) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("faces", torch.zeros(self.MEMORY, size))
        self.register_buffer("labels", torch.full((self.MEMORY,), -1))

    def learn(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, step: int) -> None:
        """Store the faces of a batch in place of the oldest ones; parameters as of ``Adversary.learn``."""
        self.faces.copy_(torch.cat([self.faces, _pool(inputs).detach()])[-self.MEMORY :])
        self.labels.copy_(torch.cat([self.labels, labels])[-self.MEMORY :])

    def _recall(self) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of known class, their classes as one-hot vectors, and the median distance between faces."""
        known = self.labels >= 0
        faces, classes = self.faces[known], F.one_hot(self.labels[known], len(self.head.classes)).to(self.faces)
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
    SCALE = 10.0  # factor of |p|^2 that brings useful strengths near 1

    def forward(self, inputs: Tensor) -> Tensor:
        """(1, B, classes) predictions p for what it reads of B faces, with a newly drawn basis."""
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
        return ((basis(_pool(inputs)) - mean) @ solution)[None]

    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """The loss that the rest of the model minimises; parameters as of ``Adversary.hide``."""
        if not (self.labels >= 0).any():
            return inputs.sum() * 0.0
        certainty = self(inputs).square().sum(dim=2)[0]
        return strength * self.SCALE * _weighted_mean(certainty, labels, class_weights)


class MeanDiscrepancy(_Remembering):
    """A penalty in place of an adversary: the maximum mean discrepancy between the classes.

    With the sum k of Gaussian kernels (Gretton et al., JMLR 13, 2012, eq. 3) and K classes, the model minimises lambda
    times the mean over classes of MMD^2 between a class and all classes in equal parts. The Hilbert-Schmidt
    independence criterion of balanced classes, with a kernel of labels that is 1 for the same class and 0 otherwise, is
    this up to a factor. One side of each product is the batch, which gets the gradient, and the other the memory, so
    that rare classes count on hundreds of faces.
    """

    BANDWIDTHS = (0.1, 0.3, 1.0)  # as shares of the median distance between faces
    SCALE = 10.0  # factor that brings useful strengths near 1

    def forward(self, inputs: Tensor) -> Tensor:
        """(1, B, classes), how much more alike what it reads of B faces is to each class than to the mean class."""
        faces, classes, distance = self._recall()
        squared = torch.cdist(_pool(inputs), faces).square() / distance**2
        alike = sum(torch.exp(squared / (-2 * width**2)) for width in self.BANDWIDTHS)
        to_classes = alike @ (classes / classes.sum(dim=0).clamp(min=1))
        present = (classes.sum(dim=0) > 0).to(faces)
        mean = (to_classes * present).sum(dim=1, keepdim=True) / present.sum()
        return ((to_classes - mean) * present)[None]

    def hide(self, inputs: Tensor, labels: Tensor, class_weights: Tensor | None, strength: float) -> Tensor:
        """The loss that the rest of the model minimises; parameters as of ``Adversary.hide``."""
        if not (self.labels >= 0).any():
            return inputs.sum() * 0.0
        own = self(inputs)[0].gather(1, labels.clamp(min=0)[:, None])[:, 0]
        return strength * self.SCALE * _weighted_mean(own, labels, class_weights)


def _pool(inputs: Tensor) -> Tensor:
    """Levels (B, C, 7, 7) as their mean over places; anything else as it is."""
    return inputs.mean(dim=(2, 3)) if inputs.ndim == 4 else inputs


def _weighted_mean(values: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean of (N,) values over faces of known class, weighted by class; 0 if no class is known."""
    weight = torch.ones_like(values) if class_weights is None else class_weights[labels.clamp(min=0)]
    weight = weight * (labels >= 0)
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)
