"""``kinface verify``: two photos, are these two kin?"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinface.model import KinFace
from kinface.pairs import TYPES
from kinface.score import load_model
from swinface.files import InputError, read_image
from swinface.predict import cut_faces
from swinface.pretrained import SHIPPED

CAUTION = "A likeness of two faces, wrong for many pairs and more often for some groups; it proves nothing of kinship."


def verify(a: Path, b: Path, *, model: Path = SHIPPED, aligned: bool = False, json: bool = False) -> None:
    """Compare the faces of two photos and say whether a model takes them for kin.

    Parameters
    ----------
    a, b
        Image files. Of several faces in one the largest is taken.
    model
        Folder of a trained model; by default the one that comes with the package.
    aligned
        The images are faces already, square and aligned to ArcFace's five points: none is sought in them.
    json
        Print one JSON object in place of text.
    """
    network = load_model(model)
    if network.trunk is None:
        raise InputError(f"{model}: this model reads embeddings, not images; name one with a trunk.")
    if not torch.isfinite(network.threshold):
        raise InputError(f"{model}: this model has no threshold; `kinface fit` sets one from validation pairs.")
    cut = [cut_largest(photo, aligned) for photo in (a, b)]
    answer = compare(network, np.stack([crop for crop, _ in cut]))
    answer = {"photos": [str(a), str(b)], "faces": [count for _, count in cut], **answer, "caution": CAUTION}
    if json:
        print(json_format.dumps(answer, indent=1))
        return
    for photo, (_, count) in zip((a, b), cut, strict=True):
        if count > 1:
            print(f"{photo}: {count} faces; the largest is taken.")
    print(f"{'kin' if answer['kin'] else 'not kin'}: score {answer['score']:.3f}, threshold {answer['threshold']:.3f}")
    if "type" in answer:
        print(f"likeliest type, if they are kin: {answer['type']}, {answer['type_probability']:.2f}")
    print(CAUTION)


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


def compare(network: KinFace, crops: np.ndarray) -> dict[str, Any]:
    """What a model says of two faces.

    Parameters
    ----------
    crops
        (2, 112, 112, 3), uint8, RGB.

    Returns
    -------
    dict
        ``score``, the cosine of their embeddings, ``threshold``, ``kin``; where the model tells types also ``type``,
        one of kinship, its likeliest given that they are kin, and ``type_probability`` of it.
    """
    with torch.inference_mode():
        faces = torch.from_numpy(crops).permute(0, 3, 1, 2).to(network.threshold.device)
        embedding = network(faces)["embedding"]
        score, threshold = float((embedding[0] * embedding[1]).sum()), float(network.threshold)
        answer: dict[str, Any] = {"score": score, "threshold": threshold, "kin": score >= threshold}
        if network.types is not None:
            shares = network.types(embedding[:1], embedding[1:])[0].double()[: len(TYPES)].softmax(dim=0)
            best = int(shares.argmax())
            answer |= {"type": list(TYPES.values())[best].name, "type_probability": float(shares[best])}
    return answer
