"""Builds the network of a configuration, its adversaries and penalties, and freezes what does not learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveInt

from kinface.data.labels import Name, name_classes
from kinface.debias.adversaries import Reading
from kinface.debias.erasure import Erase
from kinface.debias.heads import HIDERS, Head, Hide, Place
from kinface.models.kinface import KinFace, Named
from swinface.files import InputError, naming
from swinface.model import SwinFace
from swinface.trunk import Trunk, split_weights


@dataclass(frozen=True)
class Network:
    """What a kinship network reads and how large it is.

    Parameters
    ----------
    swinface
        Folder of a SwinFace (see ``swinface convert``) whose trunk to start from; ``shipped`` is the one that comes
        with the package.
    kinface
        Folder of a kinship model to start from: its trunk, and where ``width`` and ``size`` below are its own, its neck
        and projection; ``shipped`` is the one that comes with the package.
    trunk
        Arguments of ``swinface.trunk.create_trunk``, to start from random weights: a Swin Transformer, or, as ``kind``
        says, ``timm/MODEL`` or a custom ``package.module.Class``. ``weights`` among them is a file of weights to start
        from in their place, see ``swinface.trunk.Trunk.take_weights``. Not used if ``swinface``, ``kinface`` or
        ``data.embeddings`` is given.
    trained_stages
        How many of the trunk's stages learn, counted from the last: 0 freezes it, null trains all of it.
    width, size
        Numbers per face of the features and of the embedding.
    """

    swinface: Path | None = None
    kinface: Path | None = None
    trunk: dict[str, Any] | None = None
    trained_stages: int | None = 0
    width: PositiveInt = 512
    size: PositiveInt = 256


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


def build_network(
    options: Network,
    *,
    embedding_size: int | None,
    attributes: Mapping[str, list[str]],
    heads: Sequence[str],
    types: bool,
    domains: int,
    erase: Sequence[Erase],
) -> KinFace:
    """Build the network on one of three inputs: a SwinFace's trunk, a new trunk, or embeddings of ``embedding_size``
    numbers.

    ``heads`` names those of the attributes that it predicts; ``types`` and ``domains`` are as in ``KinFace``. Raises
    ``InputError`` if there is no input, or two.
    """
    if embedding_size is not None and options.swinface is not None:
        raise InputError("data.embeddings takes the place of a trunk: give it or model.network.swinface, not both.")
    if options.swinface is not None and options.kinface is not None:
        raise InputError("give one of model.network.swinface and model.network.kinface.")
    earlier = None if options.kinface is None else KinFace.from_pretrained(options.kinface)
    start = None if options.swinface is None else SwinFace.from_pretrained(options.swinface).trunk
    if earlier is not None:
        if earlier.embedding_size != embedding_size:
            reads = "images" if earlier.trunk is not None else f"embeddings of {earlier.embedding_size} numbers"
            raise InputError(f"model.network.kinface: it reads {reads}; give data that fits.")
        start = earlier.trunk
    if embedding_size is None and start is None and options.trunk is None:
        raise InputError("the model needs an input: model.network.trunk, model.network.swinface or data.embeddings.")
    trunk, weights = split_weights(options.trunk) if start is None else (start.arguments, None)
    network = KinFace(
        None if embedding_size is not None else trunk,
        embedding_size,
        options.width,
        options.size,
        {name: attributes[name] for name in heads},
        types=types,
        domains=domains,
        erase=[asdict(step) | {"attributes": {name: attributes[name] for name in step.attributes}} for step in erase],
    )
    if weights is not None and network.trunk is not None:
        network.trunk.take_weights(weights)
    if start is not None:
        network.trunk.load_state_dict(start.state_dict())
    if earlier is not None and (earlier.projection.weight.shape == network.projection.weight.shape):
        network.neck.load_state_dict(earlier.neck.state_dict())
        network.projection.load_state_dict(earlier.projection.state_dict())
    return network


def name_hiders(hide: Mapping[str, Hide]) -> dict[str, tuple[str, Place]]:
    """Name to attribute and place of each adversary or penalty: ATTRIBUTE, or ATTRIBUTE_PLACE if it reads several."""
    return {
        name if len(chosen.places) == 1 else f"{name}_{place}": (name, place)
        for name, chosen in hide.items()
        for place in chosen.places
    }


def build_hiders(
    hide: Mapping[str, Hide], attributes: Mapping[str, list[str]], network: KinFace, learning_rate: float
) -> Named:
    """The adversaries and penalties of ``name_hiders``.

    Raises ``InputError`` if there is no such method, it does not take its options, or reads what the network does not
    have.
    """
    for name, chosen in hide.items():
        if not chosen.places or len({*chosen.places}) < len(chosen.places):
            raise InputError(f"model.hide.{name}.reads: one place or several different ones; not {chosen.reads}.")
    trunk, projection, hiders = network.trunk, network.projection, Named()
    for key, (name, place) in name_hiders(hide).items():
        if place == "levels" and trunk is None:
            raise InputError(f"model.hide.{name}.reads: levels need a trunk, and this model reads embeddings.")
        size = projection.out_features if place == "embedding" else projection.in_features
        channels = trunk.channels if place == "levels" else None
        reading = Reading(place, size, len(attributes[name]), channels, learning_rate)
        with naming(f"model.hide.{name}"):
            hiders[key] = HIDERS.create(hide[name].method, reading=reading, **hide[name].options)
    return hiders


def freeze_trunk(trunk: Trunk | None, trained_stages: int | None) -> bool:
    """Freeze all but the last ``trained_stages``, None for none, in evaluation mode; return whether all of the trunk is
    frozen.

    Raises ``InputError`` if the trunk has fewer stages.
    """
    if trunk is None:
        return False
    trunk.freeze_unread()  # only the summary of a face needs it, and KinFace does not use that
    if trained_stages is not None:
        try:
            trunk.freeze(trained_stages)
        except InputError as error:
            raise InputError(f"model.network.{error}") from None
    return trained_stages == 0
