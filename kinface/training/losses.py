"""Losses on kin pairs, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jsonargparse.typing import PositiveFloat
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn
from torch.nn import functional as F

from swinface.files import InputError, running
from swinface.registry import Registry

LOSSES = Registry(
    "verification loss",
    {
        "supervised_contrastive": "kinface.training.losses.SupervisedContrastive",
        "fair_contrastive": "kinface.training.losses.FairContrastive",
    },
    base="kinface.training.losses.VerificationLoss",
)


@dataclass
class Verification:
    """The loss on kin pairs.

    Parameters
    ----------
    method
        A name of ``LOSSES``, or a custom ``package.module.Class``, a ``VerificationLoss``.
    options
        Options of the method.
    """

    method: str = "supervised_contrastive"
    options: dict[str, Any] = field(default_factory=dict)


def run_loss(what: str, loss: Callable[..., Tensor], *given: Any) -> Tensor:
    """What a loss, perhaps one of a user's, makes of what it is given.

    Raises ``InputError``, in which it is called ``what``, if it fails, or gives no single number, or one other than 0
    from which nothing is learned. What comes from a frozen trunk has no gradient to lose.
    """
    with running(what):
        found = loss(*given)
    if not isinstance(found, Tensor) or found.ndim:
        shape = f"{tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise InputError(f"{what}: its loss is {shape}; it must be one number, a tensor of shape ().")
    tensors = [tensor for it in given for tensor in (it.values() if isinstance(it, dict) else [it])]
    if any(getattr(it, "requires_grad", False) for it in tensors) and not found.requires_grad and found != 0:
        raise InputError(f"{what}: its loss has no gradient: nothing is learned; compute it without detach or numpy.")
    return found


class VerificationLoss(nn.Module, ABC):
    """A loss over B kin pairs of B different families."""

    def fit_to(self, width: int) -> None:
        """Build the layers that depend on the width W of the model; called once, before the first batch."""

    @abstractmethod
    def forward(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        """Scalar loss of the outputs for first and second faces: ``features`` (B, W) and unit ``embedding`` (B, D)."""


class SupervisedContrastive(VerificationLoss):
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020, eq. 2) with one positive per face.

    The ``temperature`` divides the cosines.
    """

    def __init__(self, temperature: PositiveFloat = 0.08) -> None:
        super().__init__()
        self.loss = SupConLoss(temperature=temperature)

    def forward(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        pair = torch.arange(len(a["embedding"]), device=a["embedding"].device).repeat(2)
        return self.loss(torch.cat([a["embedding"], b["embedding"]]), pair)


class FairContrastive(VerificationLoss):
    """KFC's fair contrastive loss (Peng, Chang & Lai, BMVC 2023): positive pairs have a margin.

    The margin is larger if D f_i (below) is longer than in the rest of the batch, so that no group is pulled together
    more easily than another.

    With f the features of the 2B faces and D a learned linear layer, face i's margin is

        m_i = mean_j [cos^2(D f_i, D f_ij) - cos^2(D f_j, D f_ij)],   f_ij = (f_i + f_j) / 2,

    and the loss of face i with its positive p, cosines c and t, the ``temperature``, is

        -log exp((c_ip - m_i) / t) / (exp((c_ip - m_i) / t) + sum_{j != i, p} exp(c_ij / t)).

    The margins of a batch sum to zero: some are above 0 and others below.
    """

    def __init__(self, temperature: PositiveFloat = 0.08) -> None:
        super().__init__()
        self.temperature = temperature

    def fit_to(self, width: int) -> None:
        self.debias = nn.Linear(width, width)

    def margins(self, features: Tensor) -> Tensor:
        """m_i for (N, W) features, as (N,)."""
        projected = self.debias(features)
        gram = projected @ projected.T  # D is affine: D f_ij = (D f_i + D f_j) / 2, so products suffice
        norm = gram.diagonal()
        product = (norm[:, None] + gram) / 2  # [i, j]: <D f_i, D f_ij>
        middle = (norm[:, None] + norm[None, :] + 2 * gram) / 4  # |D f_ij|^2
        squared = product**2 / (norm[:, None] * middle).clamp(min=1e-12)
        return (squared - squared.T).mean(dim=1)

    def forward(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        embedding = torch.cat([a["embedding"], b["embedding"]])
        count = len(embedding)
        positive = torch.arange(count, device=embedding.device).roll(count // 2)
        margin = self.margins(torch.cat([a["features"], b["features"]]))
        cosine = embedding @ embedding.T
        cosine = cosine - F.one_hot(positive, count) * margin[:, None]
        itself = torch.eye(count, dtype=torch.bool, device=embedding.device)
        return F.cross_entropy((cosine / self.temperature).masked_fill(itself, float("-inf")), positive)


def pair_class(labels: Tensor) -> Tensor:
    """Number the unordered pairs of classes: (B,), the same for two classes in either order, -1 where one is unknown.

    ``labels``, (2B,), are those of the first faces of B pairs and then of the second ones, -1 where unknown.
    """
    a, b = labels.chunk(2)
    low, high = a.minimum(b), a.maximum(b)
    return torch.where(low < 0, -1, low + high * (high + 1) // 2)
