"""A check that faces are aligned: on other faces, a model's predictions are wrong without any sign of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swinface.data.align import ARCFACE, fit_similarity
from swinface.data.faces import read_face
from swinface.files import InputError, printable
from swinface.photos.detect import detect

CHECKED = 16  # faces of a set; 20 milliseconds each

# Pixels of 112. Half of the faces of FIW, and of those that `align` cuts, are within 2; half of the faces of UTKFace,
# CK+, RAF-DB and KinFaceW, each in its own square crop, are beyond 6, of LFW's photos beyond 15.
FARTHEST = 6.0
SURE = 0.72  # score from which landmarks count; nine of ten photos of faces are above .76, of drawn faces below .73


def warn_unaligned(read: Callable[[Any], np.ndarray], items: Sequence, where: object) -> None:
    """Check a few faces, and warn if most of them are not aligned to the template that the models expect.

    ``read`` gives of an item a face, (112, 112, 3) uint8, as a model is to see it; up to ``CHECKED`` items, evenly
    spaced, are read. ``where`` says what they are. There is no warning if the detector is not installed (the extra
    ``photos``) or finds no certain face.
    """
    rows = np.unique(np.linspace(0, len(items) - 1, CHECKED).round().astype(int)).tolist() if len(items) else []
    elsewhere = []
    for row in rows:
        try:
            found = [face for face in detect(read(items[row]))[:1] if face.score >= SURE]
        except InputError:  # who needs this face will say so
            continue
        elsewhere.append(any(measure_misalignment(face.landmarks) > FARTHEST for face in found))
    if sum(elsewhere) > len(elsewhere) / 2:
        warnings.warn(
            f"{printable(str(where))}: faces are not aligned as the models expect, so predictions will be poor; "
            "align them with `swinface align`.",
            stacklevel=2,
        )


def warn_unaligned_files(files: Sequence[Path]) -> None:
    """``warn_unaligned`` for image files, one face each."""
    if files:
        warn_unaligned(read_face, files, f"{files[0]} and others" if len(files) > 1 else files[0])


def measure_misalignment(landmarks: np.ndarray) -> float:
    """How far, in pixels, ``align`` would move a crop's face: the root mean square over the template's five points.

    Turned heads do not count, as they are aligned too though their landmarks are not on the template.

    >>> round(measure_misalignment(ARCFACE + [3, 4]), 1)
    5.0
    """
    to_crop = fit_similarity(landmarks, ARCFACE)
    moved = ARCFACE @ to_crop[:, :2].T + to_crop[:, 2]
    return float(np.sqrt(np.square(moved - ARCFACE).sum(axis=1).mean()))
