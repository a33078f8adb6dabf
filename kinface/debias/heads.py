"""Attribute heads, adversaries and penalties: their options and losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from swinface.registry import Registry

Place = Literal["embedding", "features", "levels"]

HIDERS = Registry(
    "adversary or penalty",
    {
        "mlp": "kinface.debias.adversaries.Adversary",
        "kernel": "kinface.debias.adversaries.KernelAdversary",
        "mmd": "kinface.debias.adversaries.MeanDiscrepancy",
    },
    base="kinface.debias.adversaries.Hider",
)


@dataclass
class Head:
    """Options of a head that predicts an attribute beside kinship.

    Parameters
    ----------
    weight
        Weight of its loss.
    balanced
        Weigh classes by the inverse of their frequency among the faces that training draws.
    learning_rate
        Learning rate of the head; that of the model if left out.
    """

    weight: NonNegativeFloat = 1.0
    balanced: bool = True
    learning_rate: PositiveFloat | None = None


@dataclass
class Hide:
    """Options of hiding an attribute: the model learns against an adversary or a penalty.

    Parameters
    ----------
    method
        A name of ``HIDERS``, or a custom ``package.module.Class``, see ``kinface.debias.adversaries.Hider``: ``mlp``,
        an adversary that learns step by step together with the model; ``kernel``, one that is solved at each step and
        so never lags; or ``mmd``, a penalty on the distance between the classes.
    options
        Options of the method.
    strength
        Lambda, the factor of its gradient to the model at the end of its schedule.
    schedule
        How lambda grows over training: ``warmup`` as 2 / (1 + exp(-10 p)) - 1, or ``constant``.
    reads
        Where the attribute is hidden: in the ``embedding``, the ``features`` of the neck (with a trunk, of the kinship
        MLCA), or the ``levels`` of the trunk, which an MLP reads through an MLCA of its own, and the other methods as
        their mean over places. With a list there is one for each, and their losses are added.
    """

    method: str = "mlp"
    options: dict[str, Any] = field(default_factory=dict)
    strength: NonNegativeFloat = 1.0
    schedule: Literal["warmup", "constant"] = "warmup"
    reads: Place | list[Place] = "features"

    @property
    def places(self) -> list[Place]:
        """What it reads, as a list."""
        return [self.reads] if isinstance(self.reads, str) else self.reads


def reversal_warmup(progress: float) -> float:
    """Share of the full strength at ``progress`` in [0, 1] of training: 2 / (1 + exp(-10 p)) - 1.

    So the adversary learns first, from features that do not change because of it yet (Ganin & Lempitsky, ICML 2015, eq.
    14).
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


def build_mlp(size: int, classes: int) -> nn.Sequential:
    """An MLP with two hidden layers as wide as its input: (B, size) to (B, classes) logits."""
    return nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, classes))


def attribute_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross entropy of (N, K) logits over the known labels (not below 0), by class weighted as in torch; 0 if none is
    known."""
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0  # in every process each parameter must get a gradient
    return F.cross_entropy(logits[known], labels[known], class_weights)


def class_weights(labels: Tensor, shares: Tensor, classes: int) -> Tensor:
    """(classes,) weights in inverse proportion to how often a class is drawn; 0 for a class that is never drawn.

    They are scaled so that the drawn faces of known class have a mean weight of 1. ``labels``, (N,), are below 0 where
    unknown, and ``shares``, (N,), say how often each face is drawn.
    """
    known = labels >= 0
    drawn = torch.bincount(labels[known], weights=shares[known], minlength=classes)
    inverse = torch.where(drawn > 0, drawn.sum() / drawn, 0.0)
    return (inverse / (drawn > 0).sum()).float()
