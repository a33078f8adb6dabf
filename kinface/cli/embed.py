"""``kinface embed``."""

from __future__ import annotations

from pathlib import Path

from kinface.cli.inputs import HERE, Computing, describe_all
from kinface.data.fiw import read_families
from swinface.data.embeddings import write_embeddings
from swinface.files import check_ending
from swinface.pretrained import SHIPPED


def embed(
    *,
    root: Path,
    out: Path,
    model: Path = SHIPPED,
    inputs: Path | None = None,
    features: bool = False,
    computing: Computing = HERE,
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
    computing
        How a model computes.
    """
    check_ending(out, [".npz"], "a table of embeddings")
    families = read_families(root)
    faces = list(families.faces["face"])
    _, described, shards = describe_all(model, faces, root=families.root, inputs=inputs, out=out, computing=computing)
    if shards.first:
        embedding = described.pop("embedding")
        write_embeddings(out, faces, embedding, described if features else None)
        print(f"{len(faces)} faces, {embedding.shape[1]} numbers each: {out}")
    shards.finish()
