"""``kinface embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kinface.cli.inputs import HERE, Computing, describe_all, start_shards
from kinface.data.fiw import is_families, read_families
from kinface.models.recogniser import INSIGHTFACE, Pixels, Recogniser
from swinface.choices import SHIPPED
from swinface.data.embeddings import read_arrays, write_embeddings
from swinface.files import InputError, check_ending
from swinface.images import take_images


def embed(
    *,
    out: Path,
    root: Path | None = None,
    model: Path | None = None,
    inputs: Path | None = None,
    features: bool = False,
    recogniser: str | None = None,
    pixels: Annotated[Pixels, Parameter(name="*")] = INSIGHTFACE,
    computing: Computing = HERE,
) -> None:
    """Embed every face of a copy of FIW, or of a folder, with a kinship model or any face recogniser.

    Parameters
    ----------
    model
        Folder of a trained model; by default the one that comes with the package.
    root
        A FIW folder, the folder ``kinface prepare`` made of it, or any folder of aligned faces. Not needed with
        ``--inputs``: then every face of the table is embedded.
    out
        File to write, .npz with ``face`` (N,) and ``embedding`` (N, D); for a model with a trunk also ``runtime``, what
        it ran on and in which number type.
    inputs
        Table of the embeddings that a model without trunk reads.
    features
        Write the features of the neck too, and for a model with a trunk, what the kinship MLCA takes of them from each
        level. ``kinface probe`` then shows where in the model an attribute can be read.
    recogniser
        In place of a model: an ONNX file like ArcFace's, or your own ``package.module.function``, which takes faces
        (B, size, size, 3) uint8 and returns embeddings (B, D).
    """
    check_ending(out, [".npz"], "a table of embeddings")
    root, faces = _list_faces(root, inputs)
    if recogniser is None:
        if pixels != INSIGHTFACE:
            raise InputError("--size, --channels, --mean, --scale and --output are for a --recogniser; leave them out.")
        _, described, shards = describe_all(
            model or SHIPPED, faces, root=root, inputs=inputs, out=out, computing=computing
        )
        embedding, runtime = described.pop("embedding"), described.pop("runtime", None)
    else:
        if model is not None or inputs is not None or features:
            raise InputError("--model, --inputs and --features are for a kinship model; leave them out.")
        opened, shards = Recogniser(recogniser, pixels), start_shards(out, computing)
        embedding, runtime, described = opened.embed(faces, root, shards), None, {}
    if shards.first:
        write_embeddings(out, faces, embedding, described if features else None, runtime)
        print(f"{len(faces)} faces, {embedding.shape[1]} numbers each: {out}")
    shards.finish()


def _list_faces(root: Path | None, inputs: Path | None) -> tuple[Path | None, list[str]]:
    """The folder that the faces' paths start from, if there is one, and these paths."""
    if root is None:
        if inputs is None:
            raise InputError("--root is missing; name FIW's folder, or a folder of aligned faces.")
        return None, read_arrays(inputs, [])[0]
    if not is_families(root):
        images = take_images(root)
        if not images:
            raise InputError(f"{root}: no images; name FIW's folder, or a folder of aligned faces.")
        return root, images
    families = read_families(root)
    return families.root, list(families.faces["face"])
