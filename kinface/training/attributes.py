"""The attributes for which a configuration needs labels, and the classes of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kinface.data.labels import Name, name_classes
from kinface.debias.erasure import Erase
from kinface.debias.heads import Head
from swinface.files import InputError


def collect_classes(
    heads: Mapping[str, Head],
    matched: Mapping[str, list[Name]],
    domains: Mapping[str, list[Name]],
    erase: Sequence[Erase],
) -> dict[str, list[str]]:
    """Collect the classes, as text, of every attribute for which a configuration needs labels.

    Raises
    ------
    InputError
        Names the option: classes are fewer than two, repeated or stated differently elsewhere, there are several
        domains, or erasure steps are in the wrong order.
    """
    if len(domains) > 1:
        raise InputError(f"model.domains: one attribute, not {', '.join(domains)}.")
    for at in ("features", "embedding"):
        inside = [step.inside for step in erase if step.at == at]
        if inside == sorted(inside, reverse=True):
            continue
        raise InputError("model.erase: steps inside training come first, because the others are not applied there.")
    stated = [
        *((f"heads.{name}", name, head.classes) for name, head in heads.items()),
        *((f"matched.{name}", name, classes) for name, classes in matched.items()),
        *((f"domains.{name}", name, classes) for name, classes in domains.items()),
        *((f"erase.{name}", name, classes) for step in erase for name, classes in step.classes.items()),
    ]
    attributes: dict[str, list[str]] = {}
    for option, name, classes in stated:
        if len(classes) < 2:
            raise InputError(f"model.{option}: two classes or more; not {classes}.")
        classes = name_classes(classes, f"model.{option}")
        if attributes.setdefault(name, classes) != classes:
            raise InputError(f"model.{option}: {classes}, but elsewhere {name} is {attributes[name]}; name the same.")
    return attributes


def pair_class(labels: Tensor) -> Tensor:
    """Number the unordered pairs of classes.

    Parameters
    ----------
    labels
        (2B,), of the first faces of B pairs and then of the second ones; -1 where unknown.

    Returns
    -------
    Tensor
        (B,), the same number for the same two classes in either order; -1 where one is unknown.
    """
    a, b = labels.chunk(2)
    low, high = a.minimum(b), a.maximum(b)
    return torch.where(low < 0, -1, low + high * (high + 1) // 2)


def shared_class(labels: Tensor) -> Tensor:
    """(B,) the class of both faces of a pair, -1 where they differ or are unknown; labels as of ``pair_class``."""
    a, b = labels.chunk(2)
    return torch.where(a == b, a, -1)
