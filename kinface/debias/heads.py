"""Attribute heads: their options and their loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.data.labels import Name
from swinface.files import InputError

Place = Literal["embedding", "features", "levels"]


# Options that no other head has: an adversarial one, and an adversary of kind mlp.
ADVERSARIAL = ("strength", "schedule", "reads", "kind", "objective", "updates", "members", "restart")
MLP = ("objective", "learning_rate", "updates", "members", "restart", "balanced")


@dataclass
class Head:
    """Options of an attribute head.

    Parameters
    ----------
    classes
        Values of the column of the people table that has the name of the head, in the order of its outputs; numbers are
        the texts that they have there. People with another value, or with none, are not part of its loss.
    weight
        Of the loss of a head that is not adversarial.
    balanced
        Weigh classes by the inverse of their frequency among the faces that training draws.
    learning_rate
        Learning rate of the head; that of the model if left out.
    adversarial
        Whether the rest of the model learns to hide the attribute from it. All options below are for such a head only.
    strength
        Lambda, the factor of its gradient to the rest of the model at the end of its schedule.
    schedule
        How lambda grows over training: ``warmup`` as 2 / (1 + exp(-10 p)) - 1, or ``constant``.
    reads
        Input of the head: the ``embedding``, the ``features`` of the neck (with a trunk, of the kinship MLCA), or the
        ``levels`` of the trunk, which an MLP reads through an MLCA of its own, and the other kinds as their mean over
        places. With a list there is an adversary for each, and their losses are added.
    kind
        ``mlp``, which learns step by step together with the model (``Adversary``); ``kernel``, which is solved at each
        step and so never lags (``KernelAdversary``); or ``mmd``, the distance between the classes, a penalty without
        an adversary (``MeanDiscrepancy``). All options below are for an MLP only.
    objective
        How the model hides: ``reversal`` makes the adversary's loss grow, by a reversed gradient (Ganin & Lempitsky,
        ICML 2015); ``confusion`` pulls its predictions to the uniform distribution (Tzeng et al., ICCV 2015, eq. 3).
    updates
        Steps of its own optimiser for each step of the model.
    members
        Size of an ensemble, whose members differ by their first weights.
    restart
        Steps after which the next member starts again from new weights; never if left out.
    """

    classes: list[Name]
    weight: NonNegativeFloat = 1.0
    balanced: bool = True
    learning_rate: PositiveFloat | None = None
    adversarial: bool = False
    strength: NonNegativeFloat = 1.0
    schedule: Literal["warmup", "constant"] = "warmup"
    reads: Place | list[Place] = "features"
    kind: Literal["mlp", "kernel", "mmd"] = "mlp"
    objective: Literal["reversal", "confusion"] = "reversal"
    updates: PositiveInt = 1
    members: PositiveInt = 1
    restart: PositiveInt | None = None

    @property
    def places(self) -> list[Place]:
        """What it reads, as a list."""
        return [self.reads] if isinstance(self.reads, str) else self.reads

    def check_options(self, option: str) -> None:
        """Refuse options that change nothing, as they are for another kind of head.

        Parameters
        ----------
        option
            Where the head stands in the configuration, for messages.

        Raises
        ------
        InputError
            Names the option.
        """
        if not self.places or len({*self.places}) < len(self.places):
            raise InputError(f"{option}.reads: one place or several different ones; not {self.reads}.")
        only = dict.fromkeys(ADVERSARIAL, "an adversarial head")
        if self.adversarial:
            only = {"weight": "a head that is not adversarial"}
            only |= dict.fromkeys(MLP if self.kind != "mlp" else (), "an adversary of kind mlp")
        plain = Head(self.classes)
        for name, kind in only.items():
            if getattr(self, name) != getattr(plain, name):
                raise InputError(f"{option}.{name}: only {kind} has this option; leave it out.")


def build_mlp(size: int, classes: int) -> nn.Sequential:
    """An MLP with two hidden layers as wide as its input: (B, size) to (B, classes) logits."""
    return nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU(), nn.Linear(size, classes))


def attribute_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross entropy of (N, K) logits over the known labels (not below 0); 0 if no label is known.

    With class weights it is the weighted mean, as in ``torch.nn.functional.cross_entropy``.
    """
    known = labels >= 0
    if not known.any():
        return logits.sum() * 0.0  # in every process each parameter must get a gradient
    return F.cross_entropy(logits[known], labels[known], class_weights)


def class_weights(labels: Tensor, shares: Tensor, classes: int) -> Tensor:
    """(classes,) weights in inverse proportion to how often a class is drawn; 0 for a class that is never drawn.

    They are scaled so that the drawn faces of known class have a mean weight of 1.

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
