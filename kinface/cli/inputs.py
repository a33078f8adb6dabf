"""What a model reads and how it computes, as commands name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cyclopts import Parameter

from kinface.cli.source import Source
from kinface.models.inference import describe_faces, load_model
from kinface.models.kinface import KinFace
from swinface.data.embeddings import Embeddings
from swinface.files import InputError
from swinface.inference import Precision, Shards
from swinface.pretrained import SHIPPED


@Parameter(name="*")
@dataclass(frozen=True)
class Computing:
    """How a model computes.

    Parameters
    ----------
    precision
        ``fast``: the trunk in bfloat16 where the device multiplies in it natively; ``full``: float32.
    devices
        Devices of each machine. What is done is kept in ``OUT.parts``, and an interrupted command goes on from it.
    num_nodes
        Machines that share the folder of ``out``; start the same command on each.
    """

    precision: Precision = "fast"
    devices: int = 1
    num_nodes: int = 1


HERE = Computing()  # on one device, in the fast precision


def start_shards(out: Path, computing: Computing) -> Shards:
    """Start the processes that compute; they keep their parts beside ``out`` until ``Shards.finish``."""
    return Shards.start(out.with_name(f"{out.name}.parts"), computing.devices, computing.num_nodes)


def describe_all(
    model: Path, faces: Sequence[str], *, root: Path, inputs: Path | None, out: Path, computing: Computing
) -> tuple[KinFace, dict[str, np.ndarray], Shards]:
    """A model, what ``kinface.models.inference.describe_faces`` gives of faces, and the processes that computed it.

    Parts are kept beside ``out`` until ``Shards.finish``.
    """
    shards = start_shards(out, computing)
    network = load_model(model, shards.device)
    read = read_inputs(network, faces, inputs)
    return network, describe_faces(network, read, root=root, precision=computing.precision, shards=shards), shards


def embed_all(
    faces: Sequence[str], *, root: Path, out: Path, source: Source, computing: Computing
) -> tuple[KinFace | None, np.ndarray, Shards]:
    """The model, its embeddings of faces, and the processes that computed them; or None and those of a table.

    Raises
    ------
    InputError
        Options contradict each other, or a file does not fit.
    """
    source.check()
    if source.embeddings is not None:
        return None, Embeddings(source.embeddings)[faces], Shards()
    network, described, shards = describe_all(
        source.model or SHIPPED, faces, root=root, inputs=source.inputs, out=out, computing=computing
    )
    return network, described["embedding"], shards


def read_inputs(model: KinFace, faces: Sequence[str], inputs: Path | None) -> Sequence[str] | np.ndarray:
    """Faces as ``kinface.embed`` takes them: their paths, or their embeddings in the table ``--inputs``.

    Raises
    ------
    InputError
        The model needs a table of embeddings and there is none, or the other way round, or the table does not fit.
    """
    if model.trunk is not None:
        if inputs is not None:
            raise InputError("this model sees images: drop --inputs.")
        return faces
    if inputs is None:
        raise InputError("this model reads embeddings: add --inputs FILE.npz.")
    table = Embeddings(inputs)
    if table.size != model.embedding_size:
        raise InputError(f"{inputs}: {table.size} numbers per face; this model reads {model.embedding_size}.")
    return table[faces]
