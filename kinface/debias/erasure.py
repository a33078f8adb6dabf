"""Erasure as part of the model: a map of the features or of the embedding that removes an attribute.

The maps are fitted (``closed_form``, ``transport``, ``learned``) on training people only. They are part of the model
from then on, so everything that scores, embeds or exports the model erases too. A map of the embedding acts on unit
length, and its result is brought to unit length again. This restores a little of what was removed; ``kinface probe``
measures how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kinface.data.labels import Name
from kinface.debias.erasers import ERASERS
from kinface.debias.learned import Igbp, Kram, Leopard, Mute, Obliviator
from kinface.debias.maps import ErasingMap, LearnedMap
from kinface.debias.transport import Transport
from swinface.files import InputError

LEARNED = {"leopard": Leopard, "igbp": Igbp, "kram": Kram, "mute": Mute, "obliviator": Obliviator}
METHODS = ("leace", "splince", "inlp", "transport", *LEARNED)
ONE_ATTRIBUTE = tuple(name for name in METHODS if not ERASERS.find(name).several)  # which erase one in a step
OTHER_AXES = tuple(name for name in METHODS if not ERASERS.find(name).keeps_axes)

Kind = int | list  # of a map: pieces of an affine one, or [method, classes] of a learned one


@dataclass
class Erase:
    """Options of one step of erasure: attributes that a map removes from the embedding.

    Parameters
    ----------
    classes
        Values of each attribute, by its column of the people table. ``leace``, ``splince`` and ``inlp`` erase them at
        once; the other methods take one.
    method
        In closed form ``leace``, ``splince``, which keeps the directions that tell families apart best, ``inlp`` or
        ``transport``; learned (``kinface.debias.learned``) ``leopard``, ``igbp``, ``kram``, ``mute`` or ``obliviator``,
        of which the last three act on embeddings that only cosines are computed from.
    inside
        Whether the map is applied in training too, so that adversaries see what it leaves. The map is then the one from
        the end of the previous epoch. It is always fitted on training families only.
    at
        What it acts on: the ``embedding``, or the ``features`` of the neck, from which the embedding is computed.
    """

    classes: dict[str, list[Name]]
    method: Literal["leace", "splince", "inlp", "transport", "leopard", "igbp", "kram", "mute", "obliviator"] = "leace"
    inside: bool = False
    at: Literal["embedding", "features"] = "embedding"

    def __post_init__(self) -> None:
        if self.method in ONE_ATTRIBUTE and len(self.classes) != 1:
            raise InputError(
                f"model.erase: {self.method} takes one attribute, not {len(self.classes)}; give each a step of its own."
            )
        if self.method in OTHER_AXES and self.at == "features":
            raise InputError(
                f"model.erase: {self.method} gives the numbers another meaning, which the layers after the features do "
                "not know; erase the embedding by it, or the features by another method."
            )

    @property
    def kind(self) -> Kind:
        """What ``build_erasure`` makes its map from."""
        count = len(next(iter(self.classes.values())))
        if self.method in LEARNED:
            return [self.method, count]
        return count if self.method == "transport" else 1


class Erasure(ErasingMap):
    """x -> A_k x + b_k, where k is the largest entry of the gate G x + g; the identity until it is fitted.

    Parameters
    ----------
    size
        D, numbers per embedding.
    pieces
        K, maps that the gate chooses from.
    inside
        Whether it erases in training too; otherwise it is the identity in training.
    """

    def __init__(self, size: int, pieces: int = 1, inside: bool = False) -> None:
        super().__init__(inside)
        self.register_buffer("maps", torch.eye(size).repeat(pieces, 1, 1))
        self.register_buffer("shifts", torch.zeros(pieces, size))
        self.register_buffer("gate", torch.zeros(pieces, size))
        self.register_buffer("gate_bias", torch.zeros(pieces))

    def _move(self, embedding: Tensor) -> Tensor:
        pieces = len(self.maps)
        chosen = F.one_hot((embedding @ self.gate.T + self.gate_bias).argmax(dim=1), pieces).to(embedding)
        moved = torch.stack([embedding @ self.maps[k].T + self.shifts[k] for k in range(pieces)], dim=1)
        return (moved * chosen[:, :, None]).sum(dim=1)

    def fit(
        self,
        embedding: Tensor,
        labels: Mapping[str, Tensor],
        weight: Tensor,
        method: str,
        families: Tensor | None = None,
    ) -> None:
        """Fit the maps on faces of training people.

        Parameters
        ----------
        embedding
            (N, D), in the form that the maps will be applied to.
        labels
            Attribute to (N,) class indices, below 0 where unknown; all of them are erased at once.
        weight
            (N,), how much a face counts. A face of weight 0, such as that of a person without relatives, is ignored.
        method
            A method in closed form, as in ``Erase``.
        families
            (N,) family of each face as a number, below 0 where it has none; for ``splince``.
        """
        x, counts = embedding.cpu().double().numpy(), weight.cpu().double().numpy()
        y = np.stack([given.cpu().numpy() for given in labels.values()], axis=1)
        if method == "transport":
            fitted = Transport(range(len(self.maps))).fit(x, y, sample_weight=counts)
            self.gate[:], self.gate_bias[:] = torch.from_numpy(fitted.gate_), torch.from_numpy(fitted.gate_bias_)
            self.maps[:], self.shifts[:] = torch.from_numpy(fitted.maps_), torch.from_numpy(fitted.shifts_)
        else:
            eraser, target = ERASERS.create(method), None
            if eraser.needs_target:
                target = families.cpu().numpy()
            fitted = eraser.fit(x, y, sample_weight=counts, target=target)
            self.maps[0] = torch.from_numpy(np.eye(len(fitted.mean_)) - fitted.projection_)
            self.shifts[0] = torch.from_numpy(fitted.projection_ @ fitted.mean_)


def build_erasure(size: int, kind: Kind, inside: bool = False) -> Erasure | LearnedMap:
    """The map of (B, size) numbers that ``Erase.kind`` describes, not yet fitted.

    Raises
    ------
    InputError
        There is no such kind.
    """
    match kind:
        case int():
            return Erasure(size, kind, inside)
        case [str(method), int(classes)] if method in LEARNED:
            return LEARNED[method](size, classes, inside)
    raise InputError(f"erasures: {kind!r} is no kind of map; give pieces of an affine one, or [METHOD, CLASSES].")


def fit_erasure(
    erasure: Erasure | LearnedMap,
    method: str,
    embedding: Tensor,
    labels: Mapping[str, Tensor],
    weight: Tensor,
    families: Tensor | None = None,
) -> None:
    """Fit a map of ``build_erasure`` on faces of training people; parameters as of ``Erasure.fit``.

    Raises
    ------
    InputError
        An attribute has fewer than two classes.
    """
    for name, given in labels.items():
        if len(given[(given >= 0) & (weight > 0)].unique()) < 2:
            raise InputError(f"model.erase: {name}: fewer than two of its classes occur among the training people.")
    if isinstance(erasure, LearnedMap):
        (codes,) = labels.values()
        erasure.fit(embedding, codes, weight)
    else:
        erasure.fit(embedding, labels, weight, method, families)


def join_labels(labels: dict[str, Tensor], others: dict[str, Tensor], count: int, method: str) -> dict[str, Tensor]:
    """The labels of training faces followed by those of other people, as ``Erasure.fit`` takes them.

    LEACE and INLP take the classes of the others for an attribute of its own, because faces of another set may differ
    by race in other ways; methods of one attribute, such as transport, take them for the same.

    Parameters
    ----------
    labels
        Attribute to (N,) class indices of the training faces.
    others
        Attribute to (M,) class indices of the others; it may lack some.
    count
        N + M.
    """
    joined = {}
    for name, codes in labels.items():
        more, missing = others.get(name), count - len(codes)
        unknown = torch.full((missing,), -1)
        if more is None or method not in ONE_ATTRIBUTE:
            joined[name] = torch.cat([codes, unknown])
        if more is not None:
            both = method in ONE_ATTRIBUTE
            first = codes if both else torch.full_like(codes, -1)
            joined[name if both else f"{name} of others"] = torch.cat([first, more])
    return joined
