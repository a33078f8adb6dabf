"""Age, gender, expression and attributes of every face in a photo."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from swinface.choices import Runtime
from swinface.data.align import ARCFACE, align, fit_similarity
from swinface.data.faces import fit_face, scale_pixels
from swinface.data.pose import ANGLES, measure_turn, turn
from swinface.files import InputError, one_line, replacing
from swinface.images import check_pixels, read_image, upright_rgb
from swinface.inference import check_ready, inference
from swinface.model import SwinFace
from swinface.photos.detect import detect
from swinface.runtimes import Runner
from swinface.tasks import TASKS

COLOUR = (255, 210, 0)


def predict(
    model: SwinFace,
    image: str | os.PathLike | Image.Image | np.ndarray,
    aligned: bool = False,
    name: str = "the image",
    runtime: Runtime | Runner = "auto",
) -> list[dict[str, Any]]:
    """Detect the faces of an image, and predict age, gender, expression and attributes of each.

    Parameters
    ----------
    model
        In evaluation mode.
    image
        A file; a Pillow image; or pixels, (H, W, 3) uint8 RGB, upright.
    aligned
        The image is one face, square and aligned to ArcFace's five points.
    name
        Name of an image that is not a file, for messages.
    runtime
        The library that runs the model, see ``swinface.runtimes.Runner``. For many images,
        ``Runner(model, method="read")`` opens it once.

    Returns
    -------
    list of dict
        The largest face first, each with ``box`` [left, top, right, bottom], ``landmarks`` (five of [x, y]) and
        ``score`` (not for an aligned face; places are in pixels of the image); ``age`` in years; ``gender`` and
        ``expression``, each with ``label``, its ``probability``, and the ``probabilities`` of all labels;
        ``attributes``, name to probability; for a model with head pose ``yaw``, ``pitch`` and ``roll`` in degrees, of
        the face in the image, see ``swinface.data.pose``. Tasks that the model is not trained on are left out.

    Raises
    ------
    InputError
        The image cannot be read or its pixels are not (H, W, 3) uint8; an aligned one is not square; no detector is
        installed.

    Examples
    --------
    >>> import swinface, numpy as np
    >>> model, grey = swinface.SwinFace.from_pretrained("shipped"), np.full((112, 112, 3), 128, dtype=np.uint8)
    >>> [sorted(face) for face in swinface.predict(model, grey, aligned=True)]
    [['age', 'attributes', 'expression', 'gender']]
    """
    if isinstance(image, str | os.PathLike):
        image, name = read_image(image), str(image)
    elif isinstance(image, Image.Image):
        try:
            image = upright_rgb(image)
        except ValueError as error:  # of a mode without a fixed range, or closed
            raise InputError(f"{name}: not a readable image ({one_line(error)}).") from error
    check_pixels(image, name)
    crops, found = cut_faces(image, aligned, name)
    faces = [place | answer for place, answer in zip(found, describe(model, crops, runtime=runtime), strict=True)]
    for face in faces:
        if "landmarks" in face and set(ANGLES) <= set(face):  # the model has seen the face as it lies in the crop
            lies = measure_turn(fit_similarity(ARCFACE, np.array(face["landmarks"])))
            pose = turn(np.array([face[angle] for angle in ANGLES]), lies)
            face |= dict(zip(ANGLES, pose.round(1).tolist(), strict=True))
    return faces


def cut_faces(image: np.ndarray, aligned: bool, name: str) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Faces of an image as (112, 112, 3) uint8 crops, and the place of each in the image; empty for an aligned face."""
    if aligned:
        return [fit_face(image, name)], [{}]
    faces = detect(image)
    places = [
        {
            "box": np.round(face.box, 1).tolist(),
            "landmarks": np.round(face.landmarks, 1).tolist(),
            "score": round(face.score, 4),
        }
        for face in faces
    ]
    return [align(image, face.landmarks, name) for face in faces], places


def describe(
    model: SwinFace, crops: Sequence[np.ndarray], batch: int = 64, runtime: Runtime | Runner = "auto"
) -> list[dict[str, Any]]:
    """The predictions of a model, as in ``predict``, for aligned faces, (112, 112, 3) uint8 RGB, ``batch`` of them at a
    time."""
    check_ready(model, SwinFace)
    runner = runtime
    if not isinstance(runner, Runner):
        runner = Runner(model, runtime=runtime, method="read", faces=len(crops))
    device, answers = runner.device, []
    for start in range(0, len(crops), batch):
        images = torch.from_numpy(np.stack(crops[start : start + batch])).permute(0, 3, 1, 2)
        with inference(device, "full"):
            read = model.answer(runner(scale_pixels(images.to(device))))
            outputs = {name: output.float().cpu() for name, output in read.items()}
        answers += [
            _read_outputs({name: output[row] for name, output in outputs.items()}) for row in range(len(images))
        ]
    return answers


def _read_outputs(outputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The outputs for one face in words: a regression's number, yes or no as an attribute, or else the best label."""
    answer: dict[str, Any] = {}
    attributes: dict[str, float] = {}
    for name, task in TASKS.items():
        if name not in outputs:
            continue
        if not task.labels:
            answer[name] = round(outputs[name].item(), 1)
            continue
        values = outputs[name].double().softmax(dim=0).numpy().round(4).tolist()
        shares = dict(zip(task.labels, values, strict=True))
        if task.labels == ("no", "yes"):
            attributes[name] = shares["yes"]
        else:
            best = max(shares, key=shares.get)
            answer[name] = {"label": best, "probability": shares[best], "probabilities": shares}
    return answer | {"attributes": attributes}


def summarise(face: dict[str, Any]) -> str:
    """One line about a face, with what is known: ``age 34, female 0.97, happiness 0.88``."""
    known = [f"age {max(0, face['age']):.0f}"] if "age" in face else []
    known += [
        f"{face[name]['label']} {face[name]['probability']:.2f}" for name in ("gender", "expression") if name in face
    ]
    return ", ".join(known)


Box = tuple[int, int, int, int]  # left, top, right, bottom


def draw_faces(image: np.ndarray, faces: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a photo with a box on every face, and beside it a number and some words.

    Words cover no face: those that have no room in the photo stand below it, with a line to their face.
    """
    photo = Image.fromarray(image)
    boxes = [_round_outwards(face.get("box", [0, 0, *photo.size])) for face in faces]
    labels, taken = [], list(boxes)
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True), start=1):
        text = f"{number}. {summarise(face)}".replace(", ", "\n")
        font = ImageFont.load_default(max(10, min((box[2] - box[0]) / 8, photo.height / 12)))
        _, _, width, height = ImageDraw.Draw(photo).multiline_textbbox((0, 0), text, font=font)
        place = place_label(box, (math.ceil(width), math.ceil(height)), taken, photo.size)
        labels.append((text, font, place))
        taken.append(place)
    width, height = np.max([photo.size, *(place[2:] for _, _, place in labels)], axis=0).tolist()
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(photo)
    pen = ImageDraw.Draw(picture)
    for (left, top, right, bottom), (text, font, place) in zip(boxes, labels, strict=True):
        thickness = max(1, round((right - left) / 60))
        if place[1] >= photo.height:
            pen.line([((left + right) // 2, bottom), place[:2]], fill=COLOUR, width=thickness)
        pen.rectangle((left, top, right - 1, bottom - 1), outline=COLOUR, width=thickness)
        pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=COLOUR)
        pen.multiline_text(place[:2], text, font=font, fill="black")
    with replacing(path) as partial:
        picture.save(partial, quality=95)


def place_label(box: Box, size: tuple[int, int], taken: Sequence[Box], photo: tuple[int, int]) -> Box:
    """Where a label of a width and height goes: below, above, right or left of a box in the photo, or else below the
    photo.

    ``taken`` is what it must not cover: boxes, and labels that are placed. ``photo`` is the width and height of the
    photo.
    """
    (left, top, right, bottom), (width, height) = box, size
    x, y = max(0, min(left, photo[0] - width)), max(0, min(top, photo[1] - height))
    beside = [(x, bottom), (x, top - height), (right, y), (left - width, y)]
    inside = [(i, j) for i, j in beside if 0 <= i <= photo[0] - width and 0 <= j <= photo[1] - height]
    below = ((x, photo[1] + line * height) for line in count())
    places = ((i, j, i + width, j + height) for i, j in chain(inside, below))
    return next(place for place in places if not any(_overlap(place, other) for other in taken))


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _round_outwards(box: Sequence[float]) -> Box:
    left, top, right, bottom = *np.floor(box[:2]), *np.ceil(box[2:])
    return int(left), int(top), int(max(right, left + 1)), int(max(bottom, top + 1))
