"""The attributes for which a configuration needs labels, and the classes of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kinface.data.labels import Name, name_classes
from kinface.debias.erasure import Erase
from kinface.debias.heads import Head, Hide
from swinface.files import InputError


def collect_classes(
    attributes: Mapping[str, list[Name | None]],
    heads: Mapping[str, Head],
    hide: Mapping[str, Hide],
    matched: Sequence[str],
    domains: str | None,
    erase: Sequence[Erase],
) -> dict[str, list[str]]:
    """Collect the classes, as text, of every attribute that a configuration uses.

    Raises ``InputError`` that names the option: an attribute has no classes, fewer than two, one twice, or null; is
    both predicted and hidden; or erasure steps are in the wrong order.
    """
    for at in ("features", "embedding"):
        inside = [step.inside for step in erase if step.at == at]
        if inside != sorted(inside, reverse=True):
            raise InputError("model.erase: steps inside training come first, because the others are not applied there.")
    for name in heads:
        if name in hide:
            raise InputError(f"model.hide.{name}: model.heads predicts it; leave it out of one of them.")
    used = [*heads, *hide, *matched, *([] if domains is None else [domains])]
    found = {}
    for name in [*used, *(name for step in erase for name in step.attributes)]:
        if name not in attributes:
            stated = ", ".join(attributes) or "none"
            raise InputError(f"model.attributes: state the classes of {name!r}; it has those of {stated}.")
        if None in attributes[name]:  # the type admits it, because else the parser puts another text in its place
            raise InputError(f"model.attributes.{name}: null is no class; text goes into quotes: 'null'.")
        if len(attributes[name]) < 2:
            raise InputError(f"model.attributes.{name}: two classes or more; not {attributes[name]}.")
        found[name] = name_classes(attributes[name], f"model.attributes.{name}")
    return found


def pair_class(labels: Tensor) -> Tensor:
    """Number the unordered pairs of classes: (B,), the same for two classes in either order, -1 where one is unknown.

    ``labels``, (2B,), are those of the first faces of B pairs and then of the second ones, -1 where unknown.
    """
    a, b = labels.chunk(2)
    low, high = a.minimum(b), a.maximum(b)
    return torch.where(low < 0, -1, low + high * (high + 1) // 2)
