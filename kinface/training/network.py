"""Builds the kinship network of a configuration and its adversaries, and freezes the parts that do not learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kinface.debias.adversaries import Adversary, KernelAdversary
from kinface.debias.erasure import Erase
from kinface.debias.heads import Head
from kinface.models.kinface import KinFace
from swinface.files import InputError
from swinface.model import SwinFace, Trunk

MLP_OPTIONS = ("objective", "learning_rate", "updates", "members", "restart", "balanced")  # not used by a kernel


def build_network(
    *,
    swinface: Path | None,
    trunk: dict[str, Any] | None,
    embedding_size: int | None,
    width: int,
    size: int,
    heads: dict[str, list[str]],
    types: bool,
    domains: int,
    erase: Sequence[Erase],
) -> KinFace:
    """Build the network on one of three inputs: a SwinFace's trunk, a new trunk, or embeddings.

    Parameters
    ----------
    swinface
        Folder of a SwinFace whose trunk is used, with its weights.
    trunk
        Arguments of a new trunk, if there is neither ``swinface`` nor ``embedding_size``.
    embedding_size
        Numbers per embedding, if the network reads embeddings.
    width, size, heads, types, domains
        Of ``KinFace``.
    erase
        The erasure steps of its embedding.

    Raises
    ------
    InputError
        There is no input, or two.
    """
    if embedding_size is not None and swinface is not None:
        raise InputError("data.embeddings takes the place of a trunk: give it or model.swinface, not both.")
    if embedding_size is None and swinface is None and trunk is None:
        raise InputError("the model needs an input: give model.trunk, model.swinface or data.embeddings.")
    start = None if swinface is None else SwinFace.from_pretrained(swinface).trunk
    if embedding_size is not None:
        trunk = None
    elif start is not None:
        trunk = start.arguments
    network = KinFace(
        trunk,
        embedding_size,
        width,
        size,
        heads,
        types=types,
        domains=domains,
        erasures=[step.pieces for step in erase],
        erasures_inside=sum(step.inside for step in erase),
    )
    if start is not None:
        network.trunk.load_state_dict(start.state_dict())
    return network


def build_adversaries(heads: Mapping[str, Head], network: KinFace, learning_rate: float) -> nn.ModuleDict:
    """The adversary of each adversarial head, by attribute."""
    adversarial = {name: head for name, head in heads.items() if head.adversarial}
    return nn.ModuleDict(
        {name: _build_adversary(name, head, network, learning_rate) for name, head in adversarial.items()}
    )


def _build_adversary(name: str, head: Head, network: KinFace, learning_rate: float) -> Adversary | KernelAdversary:
    trunk, projection = network.trunk, network.projection
    if head.reads == "levels" and (trunk is None or head.kind == "kernel"):
        reason = "this model reads embeddings" if trunk is None else "a kernel reads the embedding or the features"
        raise InputError(f"model.heads.{name}.reads: levels need a trunk and an mlp; {reason}.")
    read = projection.out_features if head.reads == "embedding" else projection.in_features
    if head.kind == "kernel":
        plain = Head(head.classes)
        for option in MLP_OPTIONS:
            if getattr(head, option) != getattr(plain, option):
                raise InputError(f"model.heads.{name}.{option}: only kind mlp has this option; leave it out.")
        return KernelAdversary(head, read)
    return Adversary(head, read, trunk.channels if head.reads == "levels" else None, learning_rate)


def freeze_trunk(trunk: Trunk | None, trained_stages: int | None) -> bool:
    """Freeze the stages that do not learn, in evaluation mode; return whether the whole trunk is frozen.

    Parameters
    ----------
    trained_stages
        How many stages learn, counted from the last; None is all.

    Raises
    ------
    InputError
        The trunk has fewer stages.
    """
    if trunk is None:
        return False
    trunk.swin.norm.requires_grad_(False)  # only the summary of a face needs it, and KinFace does not use that
    if trained_stages is None:
        return False
    stages = list(trunk.swin.layers)
    if not 0 <= trained_stages <= len(stages):
        raise InputError(f"model.trained_stages {trained_stages}: the trunk has {len(stages)} stages; null is all.")
    for frozen in (trunk.swin.patch_embed, *stages[: len(stages) - trained_stages]):
        frozen.requires_grad_(False).eval()
    return trained_stages == 0
