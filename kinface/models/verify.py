"""Photos of two people, or of father, mother and child: are they kin?"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from kinface.data.arrays import as_number
from kinface.data.cosines import mean_cosine
from kinface.data.vocabulary import TYPES
from swinface.choices import SHIPPED, Runtime
from swinface.files import InputError
from swinface.images import find_images, read_image
from swinface.photos.alignment import warn_unaligned_files
from swinface.photos.predict import cut_faces

if TYPE_CHECKING:
    import pandas as pd

# Correlation of the grey levels of two crops from which they are one picture. Copies in another size, brightness or
# quality have .99; of 400 pairs of different photos of one person in FIW, the most alike has .962.
ONE_PICTURE = 0.97
LARGEST_COSINE = 1.001  # of float32, and a little above it where a threshold lets no pair through
ERRORS = "errors.json"  # of a model: what it gets wrong at its threshold, on the pairs that chose it
SCORES = "scores.json"  # and how the scores of relatives and of strangers are distributed there
TRIPLETS = "scores_triplets.json"  # the same of father, mother and child, in triplets of the faces of these pairs
SAME_FILE = "Both photos are the same file: the score says nothing about kinship."
SAME_PICTURE = "Both are the same picture, or nearly: the score says nothing about kinship."
CAUTION = "The score measures how alike two faces are. It is often wrong, for some groups more than for others."


Photos = str | os.PathLike | Sequence[str | os.PathLike]  # of a person: one, several, or a folder of them


def check_verifier(model: nn.Module) -> None:
    """Raise ``InputError`` if the model cannot verify photos: it has no trunk, or no threshold."""
    if model.trunk is None:
        raise InputError("this model reads embeddings, not images; name one with a trunk.")
    if not torch.isfinite(model.threshold):
        raise InputError("this model has no threshold; `kinface fit` sets one from validation pairs.")


def cut_largest(photo: Path, aligned: bool) -> tuple[np.ndarray, int]:
    """The largest face of a photo, (112, 112, 3) uint8, and how many faces there are.

    Raises ``InputError`` if the photo cannot be read or has no face.
    """
    crops, _ = cut_faces(read_image(photo), aligned, str(photo))
    if not crops:
        raise InputError(f"{photo}: no face found.")
    return crops[0], len(crops)


def verify(
    model: nn.Module,
    a: Photos,
    b: Photos,
    child: Photos | None = None,
    *,
    threshold: float | None = None,
    aligned: bool = False,
    runtime: Runtime = "auto",
) -> dict[str, Any]:
    """What :meth:`kinface.KinFace.verify` gives of a model in evaluation mode; parameters and errors are its own."""
    check_verifier(model)
    photos = [_list_photos(person) for person in (a, b, *([] if child is None else [child]))]
    if aligned:
        warn_unaligned_files([photo for person in photos for photo in person])
    cut = [[cut_largest(photo, aligned) for photo in person] for person in photos]
    answer = compare(model, [np.stack([crop for crop, _ in person]) for person in cut], threshold, runtime)
    cautions = [CAUTION]
    if answer["same_picture"]:
        read = [{photo.read_bytes() for photo in person} for person in photos]
        cautions.insert(0, SAME_FILE if any(one & other for one, other in combinations(read, 2)) else SAME_PICTURE)
    faces = [[count for _, count in person] for person in cut]
    named = [[str(photo) for photo in person] for person in photos]
    return {"photos": named, "faces": faces, **answer, "caution": " ".join(cautions)}


def _list_photos(person: Photos) -> list[Path]:
    photos = [person] if isinstance(person, str | os.PathLike) or not isinstance(person, Iterable) else [*person]
    if not photos or not all(isinstance(photo, str | os.PathLike) for photo in photos):
        given = f"a {type(photos[0]).__name__}" if photos else "none"
        raise InputError(f"photos of a person are image files, or a folder of them; got {given}.")
    if not all(os.fspath(photo) for photo in photos):  # as a path it is the working folder
        raise InputError("a photo of a person has an empty name; name each, with no comma after the last.")
    files = find_images([Path(photo) for photo in photos])
    for folder in filter(Path.is_dir, map(Path, photos)):
        below = {file.relative_to(folder).parts[0] for file in files if folder in file.parents[1:]}
        if len(below) > 1:
            warnings.warn(
                f"{folder}: the photos in {len(below)} of its folders, such as {min(below)}, are taken for one "
                "person's; if they are of several people, name the folder of one.",
                stacklevel=3,
            )
    return files


def compare(
    network: nn.Module, people: Sequence[np.ndarray], threshold: float | None = None, runtime: Runtime = "auto"
) -> dict[str, Any]:
    """Score the faces of two people, or of father, mother and child, and decide whether they are kin.

    Parameters
    ----------
    people
        The faces of each person (N, 112, 112, 3), uint8, RGB.
    threshold
        By default the model's, which is for pairs of single photos.

    Returns
    -------
    dict
        ``score``, the mean cosine of the embeddings of two people's photos, without pairs of photos that are one
        picture; of three people the mean of father with child and mother with child, which are ``scores``;
        ``threshold``, ``kin``; ``same_picture``, whether all photos of two people are one picture, of which the score
        says nothing; for two people and a model with a type head also ``type``, the most likely type of kinship if they
        are kin, and ``type_probability``, its probability.
    """
    if threshold is not None and abs(as_number(threshold, "threshold")) > LARGEST_COSINE:
        raise InputError(f"threshold: {threshold} is not a cosine (-1 to 1); choose it on pairs scored by this model.")
    threshold = float(network.threshold if threshold is None else threshold)
    embedding = network.embed(np.concatenate(people), precision="full", runtime=runtime)
    *parents, child = np.split(embedding, np.cumsum([len(person) for person in people])[:-1])
    compared, same_picture = choose_compared(people)
    scores = [mean_cosine(parent, child, ~counts) for parent, counts in zip(parents, compared, strict=True)]
    score = float(np.mean(scores))
    answer: dict[str, Any] = {"score": score, "threshold": threshold, "kin": score >= threshold}
    if len(scores) > 1:
        answer["scores"] = scores
    answer["same_picture"] = same_picture
    if network.types is not None and len(scores) == 1:
        first, second = np.argwhere(compared[0]).T
        given = (torch.from_numpy(of).to(network.threshold.device) for of in (parents[0][first], child[second]))
        with torch.inference_mode():
            shares = network.types(*given).double()[:, : len(TYPES)]
        shares = shares.softmax(dim=1).mean(dim=0)
        best = int(shares.argmax())
        answer |= {"type": list(TYPES.values())[best].name, "type_probability": float(shares[best])}
    return answer


def choose_compared(people: Sequence[np.ndarray]) -> tuple[list[np.ndarray], bool]:
    """Which photos of each person are compared with which of the last, (N, M) bool, and whether all photos of two
    people are one picture.

    Photos that are one picture are not compared, unless all are. ``people`` are those of ``compare``.
    """
    shared = [show_one_picture(person, people[-1]) for person in people[:-1]]
    return [~one | one.all() for one in shared], any(one.all() for one in shared)


def measure_errors(pairs: pd.DataFrame, threshold: float) -> dict[str, float]:
    """Error rates of a model on scored pairs at a threshold.

    ``fmr`` is the share of the non-kin pairs that are called kin, ``fnmr`` that of the kin pairs that are not; ``kin``
    and ``non_kin`` say how many there are of each.
    """
    accepted, kin = (pairs["score"] >= threshold).to_numpy(), pairs["kin"].to_numpy(bool)
    rates = {"fmr": float(accepted[~kin].mean()), "fnmr": float(1 - accepted[kin].mean())}
    return rates | {"kin": int(kin.sum()), "non_kin": int((~kin).sum())}


def read_errors(model: Path, *, triplets: bool = False) -> dict[str, float] | None:
    """What ``measure_errors`` gave of a model on the pairs that chose its threshold, or on triplets of their faces;
    None if it keeps no record."""
    if not triplets:
        return read_record(model, ERRORS)
    rows = read_record(model, TRIPLETS)
    return {name: rows[0][name] for name in ("fmr", "fnmr", "kin", "non_kin")} if rows else None


def read_record(model: Path, name: str) -> Any:
    """What a JSON file beside a model says; None where there is none. The model may be one that ships."""
    first, _, variant = str(model).partition("-")
    if first == str(SHIPPED) and not model.exists():
        model = Path(str(files("kinface") / "weights")) / variant
    path = model / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def show_one_picture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M), whether each two of N and M faces, (N, 112, 112, 3) uint8, are one picture, perhaps in another size,
    brightness or quality."""

    def shrink(crops: np.ndarray) -> np.ndarray:
        small = [Image.fromarray(crop).convert("L").resize((16, 16), Image.Resampling.BOX) for crop in crops]
        grey = np.array([np.asarray(image, dtype=float).ravel() for image in small])
        return grey - grey.mean(axis=1, keepdims=True)

    a, b = shrink(a), shrink(b)
    return a @ b.T >= ONE_PICTURE * np.sqrt(np.outer(np.square(a).sum(axis=1), np.square(b).sum(axis=1)))
