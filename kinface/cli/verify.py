"""``kinface verify``."""

from __future__ import annotations

import json as json_format
from pathlib import Path

import numpy as np
import torch

from kinface.models.inference import load_model
from kinface.models.verify import CAUTION, compare, cut_largest
from swinface.files import InputError
from swinface.pretrained import SHIPPED


def verify(a: Path, b: Path, *, model: Path = SHIPPED, aligned: bool = False, json: bool = False) -> None:
    """Compare the faces of two photos and say whether a model takes them for kin.

    Parameters
    ----------
    a
        The first photo. The largest face in it counts.
    b
        The second photo, likewise.
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
