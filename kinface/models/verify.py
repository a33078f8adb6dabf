"""Two photos: are the two people kin?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from kinface.data.vocabulary import TYPES
from kinface.models.kinface import KinFace
from swinface.files import InputError
from swinface.images import read_image
from swinface.photos.alignment import warn_unaligned_files
from swinface.photos.predict import cut_faces

# Correlation of the grey levels of two crops from which they are one picture. Copies in another size, brightness or
# quality have .99; of 400 pairs of different photos of one person in FIW, the most alike has .962.
ONE_PICTURE = 0.97


SAME_PICTURE = "Both are the same picture, or nearly: this says nothing of kinship."
CAUTION = "The score measures how alike two faces are. It is often wrong, for some groups more than for others."


def check_verifier(model: KinFace) -> None:
    """Raise ``InputError`` if the model cannot verify photos: it has no trunk, or no threshold."""
    if model.trunk is None:
        raise InputError("this model reads embeddings, not images; name one with a trunk.")
    if not torch.isfinite(model.threshold):
        raise InputError("this model has no threshold; `kinface fit` sets one from validation pairs.")


def cut_largest(photo: Path, aligned: bool) -> tuple[np.ndarray, int]:
    """The largest face of a photo, (112, 112, 3) uint8, and how many faces there are.

    Raises
    ------
    InputError
        The photo cannot be read or has no face.
    """
    crops, _ = cut_faces(read_image(photo), aligned, str(photo))
    if not crops:
        raise InputError(f"{photo}: no face found.")
    return crops[0], len(crops)


def verify(model: KinFace, a: str | os.PathLike, b: str | os.PathLike, *, aligned: bool = False) -> dict[str, Any]:
    """Compare the largest faces of two photos.

    Parameters
    ----------
    model
        With a trunk and a threshold, in evaluation mode.
    a, b
        Image files.
    aligned
        The images are faces already, square and aligned to ArcFace's five points.

    Returns
    -------
    dict
        ``photos``, ``faces`` (how many each photo has), what ``compare`` returns, and ``caution``, some sentences.

    Raises
    ------
    InputError
        The model has no trunk or no threshold, a photo cannot be read or has no face.
    """
    check_verifier(model)
    if aligned:
        warn_unaligned_files([Path(a), Path(b)])
    cut = [cut_largest(Path(photo), aligned) for photo in (a, b)]
    answer = compare(model, np.stack([crop for crop, _ in cut]))
    caution = f"{SAME_PICTURE} {CAUTION}" if answer["same_picture"] else CAUTION
    return {"photos": [str(a), str(b)], "faces": [count for _, count in cut], **answer, "caution": caution}


def compare(network: KinFace, crops: np.ndarray) -> dict[str, Any]:
    """Score two faces and decide whether they are kin.

    Parameters
    ----------
    crops
        (2, 112, 112, 3), uint8, RGB.

    Returns
    -------
    dict
        ``score``, the cosine of their embeddings, ``threshold``, ``kin``, ``same_picture``, whether both are one
        picture, of which the score says nothing; for a model with a type head also ``type``, the most likely type of
        kinship if they are kin, and ``type_probability``, its probability.
    """
    with torch.inference_mode():
        faces = torch.from_numpy(crops).permute(0, 3, 1, 2).to(network.threshold.device)
        embedding = network(faces)["embedding"]
        score, threshold = float((embedding[0] * embedding[1]).sum()), float(network.threshold)
        answer: dict[str, Any] = {"score": score, "threshold": threshold, "kin": score >= threshold}
        answer |= {"same_picture": show_one_picture(crops)}
        if network.types is not None:
            shares = network.types(embedding[:1], embedding[1:])[0].double()[: len(TYPES)].softmax(dim=0)
            best = int(shares.argmax())
            answer |= {"type": list(TYPES.values())[best].name, "type_probability": float(shares[best])}
    return answer


def show_one_picture(crops: np.ndarray) -> bool:
    """Whether two faces, (2, 112, 112, 3) uint8, are one picture, perhaps in another size, brightness or quality."""
    a, b = (np.asarray(Image.fromarray(crop).convert("L").resize((16, 16), Image.Resampling.BOX)) for crop in crops)
    a, b = (part - part.mean() for part in (a.astype(float), b.astype(float)))
    return bool((a * b).sum() >= ONE_PICTURE * np.sqrt(np.square(a).sum() * np.square(b).sum()))
