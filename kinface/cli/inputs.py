"""Whose embeddings a command uses, and how a model computes them; torch is imported when a model is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cyclopts import Parameter

from kinface.data.fiw import read_people
from swinface.choices import SHIPPED, Precision, Runtime
from swinface.data.embeddings import Embeddings
from swinface.files import InputError

if TYPE_CHECKING:
    import pandas as pd

    from kinface.models.kinface import KinFace
    from swinface.inference import Shards


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """Which model or table gives the embeddings.

    Parameters
    ----------
    model
        Folder of a trained model; by default the one that comes with the package.
    inputs
        Table of the embeddings that a model without trunk reads.
    embeddings
        Table of embeddings, of any other model, to use in place of a model.
    whiten
        A folder of ``kinface prepare``: the embeddings of --embeddings are first whitened by how photos of one person
        differ, over its people of the split train. A fairer baseline than the plain cosine, which uses no identities.
    """

    model: Path | None = None
    inputs: Path | None = None
    embeddings: Path | None = None
    whiten: Path | None = None

    def check(self) -> None:
        """Raise ``InputError`` if the options contradict each other."""
        if self.model is not None and self.embeddings is not None:
            raise InputError("give one of --model and --embeddings.")
        if self.embeddings is not None and self.inputs is not None:
            raise InputError("--inputs is for a --model; leave them out with --embeddings.")
        if self.whiten is not None and self.embeddings is None:
            raise InputError("--whiten is for --embeddings; leave it out with a model.")

    def warn_of_trained(self, *lists: pd.DataFrame, faces: pd.DataFrame) -> None:
        """Warn of pairs or triplets whose families the model was trained on; ``faces`` are those of all families."""
        if self.embeddings is None:
            from kinface.models.trained import warn_of_trained

            for listed in lists:
                warn_of_trained(listed, faces, self.model or SHIPPED)


OURS = Source()  # the model that comes with the package


@Parameter(name="*")
@dataclass(frozen=True)
class Computing:
    """How a model computes.

    Parameters
    ----------
    precision
        ``fast``: the trunk in bfloat16 where the device supports it natively; ``full``: float32.
    runtime
        What the trunk runs on. ``auto``: OpenVINO on a CPU where the extra ``fast`` is installed, if its
        results agree with those of torch; else torch. With ``full`` and fewer than 256 faces it is torch too.
    devices
        Devices of each machine. Finished parts are kept in ``OUT.parts``; an interrupted command continues from them.
    num_nodes
        Number of machines that share the folder of ``out``; start the same command on each.
    """

    precision: Precision = "fast"
    runtime: Runtime = "auto"
    devices: int = 1
    num_nodes: int = 1


HERE = Computing()  # on one device, in the fast precision


def check_kept(out: Path, names: Sequence[str], *inputs: Path | None) -> None:
    """Raise ``InputError`` if a file that is read would be written over in the folder ``out``, and its scores lost."""
    for written in filter(Path.exists, (out / name for name in names)):
        if any(given is not None and given.exists() and given.samefile(written) for given in inputs):
            raise InputError(f"--out {out}: the command reads {written}; write to another folder.")


def start_shards(out: Path, computing: Computing) -> Shards:
    """Start the processes that compute; they keep their parts beside ``out`` until ``Shards.finish``."""
    from swinface.inference import Shards

    return Shards.start(out.with_name(f"{out.name}.parts"), computing.devices, computing.num_nodes)


def describe_all(
    model: Path, faces: Sequence[str], *, root: Path | None, inputs: Path | None, out: Path, computing: Computing
) -> tuple[KinFace, dict[str, np.ndarray], Shards]:
    """A model, what ``kinface.models.inference.describe_faces`` gives of faces, and the processes that computed it.

    Parts are kept beside ``out`` until ``Shards.finish``.
    """
    from kinface.models.inference import describe_faces
    from kinface.models.kinface import load_model

    shards = start_shards(out, computing)
    network = load_model(model, shards.device)
    read = read_inputs(network, faces, inputs)
    computed = {"precision": computing.precision, "runtime": computing.runtime, "shards": shards}
    return network, describe_faces(network, read, root=root, **computed), shards


def embed_all(
    faces: Sequence[str], *, root: Path, out: Path, source: Source, computing: Computing
) -> tuple[KinFace | None, np.ndarray, Shards]:
    """The model, its embeddings of faces, and the processes that computed them; or None and those of a table.

    Raises ``InputError`` if options contradict each other, or a file does not fit.
    """
    from swinface.inference import Shards

    source.check()
    if source.embeddings is not None:
        return None, read_embeddings(source, faces), Shards()
    network, described, shards = describe_all(
        source.model or SHIPPED, faces, root=root, inputs=source.inputs, out=out, computing=computing
    )
    return network, described["embedding"], shards


def read_embeddings(source: Source, faces: Sequence[str]) -> np.ndarray:
    """Those of a table, whitened if asked for."""
    table = Embeddings(source.embeddings)
    if source.whiten is None:
        return table[faces]
    from sklearn.preprocessing import normalize

    from kinface.debias.whitening import Whitened

    people = read_people(source.whiten)
    fitted = people[people["split"].eq("train") & people["face"].isin(table.rows)] if "split" in people else people[:0]
    try:
        whitened = Whitened().fit(normalize(table[[*fitted["face"]]]), persons=fitted["person"])
    except ValueError:
        raise InputError(
            f"--whiten {source.whiten}: {source.embeddings} has no two photos of one person of its split train; "
            "leave --whiten out."
        ) from None
    return whitened.transform(normalize(table[faces]))


def read_inputs(model: KinFace, faces: Sequence[str], inputs: Path | None) -> Sequence[str] | np.ndarray:
    """Faces as ``KinFace.embed`` takes them: their paths, or their embeddings in the table ``--inputs``.

    Raises ``InputError`` if the model needs such a table and there is none, or the other way round, or it does not fit.
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
