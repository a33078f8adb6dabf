"""``kinface verify``."""

from __future__ import annotations

import json as json_format
from pathlib import Path

from kinface.models.inference import load_model
from kinface.models.verify import check_verifier
from kinface.models.verify import verify as compare_photos
from swinface.files import InputError
from swinface.pretrained import SHIPPED


def verify(a: Path, b: Path, *, model: Path = SHIPPED, aligned: bool = False, json: bool = False) -> None:
    """Compare the faces of two photos and decide whether they are kin.

    Parameters
    ----------
    a
        The first photo. The largest face in it counts.
    b
        The second photo, likewise.
    model
        Folder of a trained model; by default the one that comes with the package.
    aligned
        The images are faces already, square and aligned to ArcFace's five points.
    json
        Print one JSON object in place of text.
    """
    network = load_model(model)
    try:
        check_verifier(network)
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    answer = compare_photos(network, a, b, aligned=aligned)
    if json:
        print(json_format.dumps(answer, indent=1))
        return
    for photo, count in zip((a, b), answer["faces"], strict=True):
        if count > 1:
            print(f"{photo}: {count} faces; the largest is taken.")
    print(f"{'kin' if answer['kin'] else 'not kin'}: score {answer['score']:.3f}, threshold {answer['threshold']:.3f}")
    if "type" in answer:
        print(f"most likely type, if they are kin: {answer['type']}, {answer['type_probability']:.2f}")
    print(answer["caution"])
