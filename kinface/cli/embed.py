"""``kinface embed``."""

from __future__ import annotations

from pathlib import Path

from kinface.cli.inputs import describe_all
from kinface.data.fiw import read_families
from swinface.data.embeddings import write_embeddings
from swinface.files import check_ending
from swinface.inference import Precision
from swinface.pretrained import SHIPPED


def embed(
    *,
    root: Path,
    out: Path,
    model: Path = SHIPPED,
    inputs: Path | None = None,
    features: bool = False,
    precision: Precision = "fast",
    devices: int = 1,
    num_nodes: int = 1,
) -> None:
    """Embed every face of a copy of FIW.

    Parameters
    ----------
    model
        Folder of a trained model; by default the one that comes with the package.
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    out
        File to write, .npz with ``face`` (N,) and ``embedding`` (N, D).
    inputs
        Table of the embeddings that a model without trunk reads.
    features
        Write the features of the neck as well, and of a model with a trunk what of them the kinship MLCA takes from
        each level: ``kinface probe`` then says where in the model an attribute can be read.
    precision
        ``fast``: the trunk in bfloat16 where the device multiplies in it natively; ``full``: float32.
    devices
        Devices of each machine. What is done is kept in ``OUT.parts``, and an interrupted command goes on from it.
    num_nodes
        Machines that share the folder of ``out``; start the same command on each.
    """
    check_ending(out, [".npz"], "a table of embeddings")
    families = read_families(root)
    faces = list(families.faces["face"])
    how = {"precision": precision, "devices": devices, "num_nodes": num_nodes}
    _, described, shards = describe_all(model, faces, root=families.root, inputs=inputs, out=out, **how)
    if shards.first:
        embedding = described.pop("embedding")
        write_embeddings(out, faces, embedding, described if features else None)
        print(f"{len(faces)} faces, {embedding.shape[1]} numbers each: {out}")
    shards.finish()
