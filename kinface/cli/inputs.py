"""What a model reads, as commands name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinface.models.inference import describe_faces, load_model
from kinface.models.kinface import KinFace
from swinface.data.embeddings import Embeddings
from swinface.files import InputError
from swinface.inference import Precision, Shards
from swinface.pretrained import SHIPPED


def describe_all(
    model: Path,
    faces: Sequence[str],
    *,
    root: Path,
    inputs: Path | None,
    out: Path,
    precision: Precision,
    devices: int,
    num_nodes: int,
) -> tuple[KinFace, dict[str, np.ndarray], Shards]:
    """A model, what ``kinface.models.inference.describe_faces`` gives of faces, and the processes that computed it.

    Parts are kept beside ``out`` until ``Shards.finish``.
    """
    shards = Shards.start(out.with_name(f"{out.name}.parts"), devices, num_nodes)
    network = load_model(model, shards.device)
    read = read_inputs(network, faces, inputs)
    return network, describe_faces(network, read, root=root, precision=precision, shards=shards), shards


def embed_listed(
    faces: Sequence[str],
    *,
    root: Path,
    model: Path | None,
    inputs: Path | None,
    embeddings: Path | None,
    out: Path,
    precision: Precision,
    devices: int,
    num_nodes: int,
) -> tuple[KinFace | None, np.ndarray, Shards]:
    """The model, by default the one that comes with the package, its embeddings of faces, and who computed them; or
    the embeddings in a table of another model's.

    Raises
    ------
    InputError
        Options contradict each other, or a file does not fit.
    """
    if model is not None and embeddings is not None:
        raise InputError("give one of --model and --embeddings.")
    if embeddings is not None and inputs is not None:
        raise InputError("--inputs are for a --model; leave them out with --embeddings.")
    if embeddings is not None:
        return None, Embeddings(embeddings)[faces], Shards()
    how = {"precision": precision, "devices": devices, "num_nodes": num_nodes}
    network, described, shards = describe_all(model or SHIPPED, faces, root=root, inputs=inputs, out=out, **how)
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
