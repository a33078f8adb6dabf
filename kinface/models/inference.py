"""Embedding faces and scoring pairs: each face is read and embedded once, however many pairs name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from kinface.data.pairs import find_rows
from kinface.models.faces import BATCH, read_faces
from kinface.models.kinface import KinFace
from swinface.data.embeddings import Embeddings
from swinface.files import InputError
from swinface.pretrained import best_device


def predict_types(model: KinFace, pairs: pd.DataFrame, faces: Sequence[str], embedding: Tensor) -> Tensor:
    """The likeliest type of each pair.

    Parameters
    ----------
    model
        With a type head.
    faces, embedding
        (N,) paths and their (N, D) embeddings by the model; every face of the pairs is among them.

    Returns
    -------
    Tensor
        (pairs,) places in ``TYPES``; ``len(TYPES)`` stands for unrelated.
    """
    a, b = (embedding[torch.from_numpy(rows)].to(model.threshold.device) for rows in find_rows(pairs, faces))
    with torch.inference_mode():
        return model.types(a, b).argmax(dim=1).cpu()


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
        read = read_faces(root, batch) if inputs is None else torch.from_numpy(inputs[batch])
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


def load_model(folder: Path) -> KinFace:
    """Read a trained kinship model, onto a GPU if there is one.

    Raises
    ------
    InputError
        There is no such model, or its run is not complete.
    """
    if (folder / "last.ckpt").exists() and not (folder / "model.safetensors").exists():
        raise InputError(f"{folder}: this run is not complete; the same `kinface fit` goes on with it.")
    return KinFace.from_pretrained(folder).to(best_device())
