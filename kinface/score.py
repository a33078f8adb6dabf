"""``kinface embed`` and ``kinface score``: every face is read and embedded once, however many pairs name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kinface.faces import BATCH, read_faces
from kinface.fiw import read_any_list, read_families, read_known_families
from kinface.model import KinFace, predict_types
from kinface.pairs import PAIRS_ENDINGS, TYPES, score_pairs, write_pairs
from swinface.embeddings import Embeddings, write_embeddings
from swinface.files import InputError, check_ending
from swinface.pretrained import SHIPPED


def embed_faces(model: KinFace, root: Path, faces: Sequence[str], inputs: Embeddings | None = None) -> np.ndarray:
    """Embed faces in batches: (N, D), float32, of unit length. Parameters and errors as of :func:`describe_faces`."""
    return describe_faces(model, root, faces, inputs)["embedding"]


def embed_tensor(model: KinFace, read: Tensor) -> np.ndarray:
    """Embed what the model reads of N faces: (N, D), float32, of unit length."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        return np.concatenate([model(part.to(device))["embedding"].cpu().numpy() for part in read.split(BATCH)])


def describe_faces(
    model: KinFace, root: Path, faces: Sequence[str], inputs: Embeddings | None = None
) -> dict[str, np.ndarray]:
    """Embed faces in batches, and keep what the embedding is made of.

    Parameters
    ----------
    model
        In evaluation mode.
    root
        The folder that the paths in ``faces`` start from.
    inputs
        The embeddings a model without trunk reads.

    Returns
    -------
    dict
        Float32 arrays of N rows: ``embedding`` (N, D) of unit length; ``features`` (N, W) of the neck; with a trunk
        also the parts of the features that the kinship MLCA takes from each level, ``FM1``, ``FM2``, ...

    Raises
    ------
    InputError
        The model and ``inputs`` do not fit each other, or a face cannot be read.
    """
    if (model.trunk is None) != (inputs is not None):
        needed = "reads embeddings: add --inputs FILE.npz" if model.trunk is None else "sees images: drop --inputs"
        raise InputError(f"this model {needed}.")
    if inputs is not None and inputs.size != model.embedding_size:
        raise InputError(f"{inputs.path}: {inputs.size} numbers per face; this model reads {model.embedding_size}.")
    device = next(model.parameters()).device
    parts: dict[str, list[np.ndarray]] = {}
    for start in tqdm(range(0, len(faces), BATCH), desc="embed", unit="batch", leave=False, disable=None):
        batch = faces[start : start + BATCH]
        read = read_faces(root, batch) if inputs is None else inputs[batch]
        with torch.inference_mode():
            outputs = model(read.to(device))
        for name in ("embedding", "features"):
            parts.setdefault(name, []).append(outputs[name].float().cpu().numpy())
    described = {name: np.concatenate(part) for name, part in parts.items()}
    if model.trunk is not None:
        ends = np.cumsum(model.neck.shares)[:-1]
        levels = np.split(described["features"], ends, axis=1)
        described |= {f"FM{level}": part for level, part in zip(model.neck.levels, levels, strict=True)}
    return described


def embed(*, root: Path, out: Path, model: Path = SHIPPED, inputs: Path | None = None, features: bool = False) -> None:
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
        each level: ``kinface audit`` then says where in the model an attribute can be read.
    """
    check_ending(out, [".npz"], "a table of embeddings")
    families = read_families(root)
    faces = list(families.faces["face"])
    described = describe_faces(load_model(model), families.root, faces, None if inputs is None else Embeddings(inputs))
    embedding = described.pop("embedding")
    write_embeddings(out, faces, embedding, described if features else None)
    print(f"{len(faces)} faces, {embedding.shape[1]} numbers each: {out}")


def score(
    *,
    root: Path,
    list: Path,
    out: Path,
    model: Path | None = None,
    inputs: Path | None = None,
    embeddings: Path | None = None,
    swap_grandparents: bool = False,
) -> None:
    """Score a list of pairs by the cosine of their faces' embeddings.

    Parameters
    ----------
    root
        A FIW folder, the folder ``kinface prepare`` made of it, or any other folder that the list's paths start from.
        Persons and families of faces outside of FIW's family folders are not known, and missing in the table.
    list
        Pairs in RFIW's form (index path1 path2 type kin) or KFC's (path1 path2 type kin race); a pairs table (.parquet
        or .csv), such as ``kinface pairs`` writes; or the name of a list of the prepared folder, such as tune.
    out
        The pairs table to write, .parquet or .csv, a row per line of the list, in its order; with
        ``type_predicted`` where the model was trained on types.
    model
        Folder of a trained model; by default the one that comes with the package.
    inputs
        Table of the embeddings that a model without trunk reads.
    embeddings
        Score these embeddings, of any other model, in place of a model.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    if model is not None and embeddings is not None:
        raise InputError("score with one of --model and --embeddings.")
    if embeddings is not None and inputs is not None:
        raise InputError("--inputs are for a --model; leave them out with --embeddings.")
    check_ending(out, PAIRS_ENDINGS, "a pairs table")
    families = read_known_families(root)
    pairs = read_any_list(list, root, families, swap_grandparents=swap_grandparents)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    network = load_model(model or SHIPPED) if embeddings is None else None
    if network is None:
        embedding = Embeddings(embeddings)[faces].numpy()
    else:
        embedding = embed_faces(network, families.root, faces, None if inputs is None else Embeddings(inputs))
    pairs = score_pairs(pairs, faces, embedding)
    if network is not None and network.types is not None:
        predicted = predict_types(network, pairs, faces, torch.from_numpy(embedding))
        pairs["type_predicted"] = np.array([*TYPES, "unrelated"])[predicted]
    write_pairs(pairs, out)
    print(f"{len(pairs)} pairs, {len(faces)} faces: {out}")


def load_model(folder: Path) -> KinFace:
    """Read a trained kinship model, onto a GPU if there is one.

    Raises
    ------
    InputError
        There is no such model, or its run is not complete.
    """
    if (folder / "last.ckpt").exists() and not (folder / "model.safetensors").exists():
        raise InputError(f"{folder}: this run is not complete; the same `kinface fit` goes on with it.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return KinFace.from_pretrained(folder).to(device)
