"""Embedding faces and scoring pairs: each face is read and embedded once, however many pairs name it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from kinface.data.arrays import list_in_order
from kinface.models.faces import BATCH, read_faces, warn_of_unaligned
from swinface.choices import Precision, Runtime
from swinface.data.cache import digest_files
from swinface.data.faces import IMAGE_SIZE, scale_pixels
from swinface.files import InputError
from swinface.inference import Shards, check_ready, digest_weights, inference
from swinface.runtimes import Runner
from swinface.trunk import GRID

if TYPE_CHECKING:
    import pandas as pd


def predict_types(model: nn.Module, pairs: pd.DataFrame, faces: Sequence[str], embedding: Tensor) -> Tensor:
    """The type of each pair by a model with a type head: (pairs,) places in ``PREDICTED_TYPES``.

    A pair is unrelated if that is at least as likely as all types together, and else of the most likely type. A single
    type need not be more likely than unrelated: with 11 to choose from it rarely is, even of a pair that is surely kin.

    The ``embedding``, (N, D), is the model's of ``faces``, among which are all of the pairs.
    """
    from kinface.data.pairs import find_rows  # embedding needs no tables of pairs, which take long to import

    a, b = (embedding[torch.from_numpy(rows)].to(model.threshold.device) for rows in find_rows(pairs, faces))
    with torch.inference_mode():
        log_probabilities = model.types(a, b)
        types, unrelated = log_probabilities[:, :-1], log_probabilities[:, -1]
        return torch.where(unrelated < math.log(0.5), types.argmax(dim=1), types.shape[1]).cpu()


def describe_faces(
    model: nn.Module,
    faces: Sequence[str | Path] | np.ndarray | Tensor,
    *,
    root: Path | None = None,
    batch: int = BATCH,
    precision: Precision = "fast",
    runtime: Runtime = "auto",
    shards: Shards | None = None,
) -> dict[str, np.ndarray]:
    """Embed faces in batches, each face once, and return also what the embedding is computed from.

    Parameters
    ----------
    faces
        What the model reads of N faces: paths of aligned images; aligned images, (N, 112, 112, 3) uint8, RGB; or, for a
        model that reads the embeddings of another one, these embeddings (N, E). A tensor is read as it is: images
        (N, 3, 112, 112) uint8, or the levels that a frozen trunk makes of them.
    root
        The folder that paths start from, and below which they lie; by default they are paths of any kind.
    batch
        Faces that go through the model at once.
    precision
        Precision of the trunk, see ``swinface.inference.inference``. All behind it is computed in float32: a rounded
        erasure would let through a little of what it removes.
    runtime
        What the trunk runs on, see ``swinface.runtimes.Runner``. All behind it runs on torch.
    shards
        Which processes compute, and where they keep what they have.

    Returns
    -------
    dict
        Float32 arrays of N rows: ``embedding`` (N, D) of unit length; ``features`` (N, W), what it is computed from;
        ``neck`` (N, W), the features before their erasures if there are any; for a model with a trunk also the parts of
        these that come from each level, ``FM1``, ``FM2``, ..., and ``levels``, the trunk's levels, mean over places;
        and ``runtime``, a text alone: what the trunk ran on, and the type in which it multiplied.

    Raises
    ------
    InputError
        The model cannot read such faces or is in training mode, or an image is missing, unreadable or not square.
    """
    check_ready(model)
    faces = _take_faces(model, faces)
    device = next(model.parameters()).device
    names = [
        "embedding",
        "features",
        *["neck"] * (len(model.feature_erasures) > 0),
        *["levels"] * (model.trunk is not None),
    ]

    def describe(rows: range) -> dict[str, np.ndarray]:
        read = _read_batch(faces[rows.start : rows.stop], root).to(device)
        if read.dtype == torch.uint8:
            read, _ = trunk(scale_pixels(read))
        with inference(device, "full"):
            outputs = model(read.float())
        if model.trunk is not None:
            outputs["levels"] = outputs["inputs"].mean(dim=(2, 3))
        return {name: outputs[name].cpu().numpy() for name in names}

    # Runtimes differ in bfloat16, and a face must not have another embedding among few faces than among many.
    count = len(faces) if precision == "full" else None
    trunk = None if model.trunk is None else Runner(model.trunk, precision, runtime, faces=count)
    shards, about = shards or Shards(), None
    if isinstance(faces, list) and shards.first:
        warn_of_unaligned(root, faces)
    if shards.folder is not None:
        made_by = [] if trunk is None else [trunk.runtime]
        about = [digest_weights(model), precision, *made_by, str(root), *_name_faces(faces, root)]
    described = shards.compute("embed", about, len(faces), describe, batch)
    if model.trunk is not None:
        ends = np.cumsum(model.neck.shares)[:-1]
        levels = np.split(described.get("neck", described["features"]), ends, axis=1)
        described |= {f"FM{level}": part for level, part in zip(model.neck.levels, levels, strict=True)}
        described["runtime"] = np.array(trunk.about)
    return described


def _take_faces(model: nn.Module, faces: Sequence[str | Path] | np.ndarray | Tensor) -> list[str] | np.ndarray | Tensor:
    """Faces as a list of paths, or as the array or tensor that they are; refuses what the model cannot read."""
    if isinstance(faces, str | os.PathLike):
        raise InputError(f"{faces}: one path; give a list of the paths of faces, also of one.")
    named = not isinstance(faces, Tensor) and getattr(faces, "dtype", np.dtype(object)).kind in "OSTU"
    if named or not isinstance(faces, Tensor | np.ndarray):
        named, faces = True, list_in_order(faces, "faces")
    if not len(faces):
        raise InputError("there are no faces to embed.")
    if named:
        for face in faces:
            if not isinstance(face, str | os.PathLike):
                raise InputError(f"a face is a {type(face).__name__}; give paths, or one array of all faces.")
    shape = None if named else tuple(faces.shape[1:])
    kind = "a tensor" if isinstance(faces, Tensor) else "an array"
    given = "paths" if named else f"{kind} of {faces.dtype} {tuple(faces.shape)}"
    if model.trunk is None:
        if shape != (model.embedding_size,):
            raise InputError(f"this model reads embeddings, (N, {model.embedding_size}); got {given}.")
    elif isinstance(faces, Tensor):
        pixels, levels = (3, IMAGE_SIZE, IMAGE_SIZE), (sum(model.trunk.channels), GRID, GRID)
        if shape != (pixels if faces.dtype == torch.uint8 else levels):
            raise InputError(
                f"this model reads tensors of images, (N, {str(pixels)[1:]} uint8, RGB, or of the levels of its trunk, "
                f"(N, {str(levels)[1:]}; got {given}."
            )
    elif not named and (faces.dtype != np.uint8 or shape != (IMAGE_SIZE, IMAGE_SIZE, 3)):
        raise InputError(f"this model reads images, (N, {IMAGE_SIZE}, {IMAGE_SIZE}, 3) uint8, or paths; got {given}.")
    return [str(face) for face in faces] if named else faces


def _name_faces(faces: list[str] | np.ndarray | Tensor, root: Path | None) -> list[str]:
    """What tells these faces from others: their paths and a digest of their files' states, or one of their numbers."""
    if isinstance(faces, np.ndarray | Tensor):
        return [hashlib.sha256(np.ascontiguousarray(faces)).hexdigest()]
    return [digest_files(Path(root or "", face) for face in faces), *faces]


def _read_batch(faces: list[str] | np.ndarray | Tensor, root: Path | None) -> Tensor:
    """The input of the model for some faces."""
    if isinstance(faces, Tensor):
        return faces
    if not isinstance(faces, np.ndarray):
        return read_faces(root, faces)
    read = torch.from_numpy(faces.copy())  # images that are read may not be written to, and colours be a reversed view
    return read.permute(0, 3, 1, 2) if read.ndim == 4 else read
