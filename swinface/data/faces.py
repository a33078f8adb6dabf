"""Faces as pixels: decoded on all cores and resized to 112x112."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from swinface.cores import count_cores
from swinface.data.align import IMAGE_SIZE
from swinface.files import InputError
from swinface.images import read_image

Crop = tuple[float, float, float, float]


def scale_pixels(images: Tensor) -> Tensor:
    """Scale pixels as in training, (B, 3, 112, 112) uint8 to float32 in [-1, 1]: mean and deviation 0.5 of the range 0
    to 1."""
    if images.dtype != torch.uint8:
        raise TypeError(f"scale_pixels takes uint8 pixels, not {images.dtype}.")
    return images.float() / 127.5 - 1


def check_scaled(images: Tensor) -> None:
    """Raise ``InputError`` unless this is a tensor of finite pixels that do not reach 255; warn if they lie between 0
    and 1, or have another mean and deviation, such as ImageNet's."""
    if not isinstance(images, Tensor):
        raise InputError(f"images: a {type(images).__name__}; give a tensor, (B, 3, {IMAGE_SIZE}, {IMAGE_SIZE}).")
    if not len(images):
        return
    low, high = images.aminmax()
    if not high <= 10:
        raise InputError(f"images: their pixels reach {high:g}; give uint8 from 0 to 255, or float from -1 to 1.")
    if 0 <= low < high <= 1 or max(-low, high) > 1.1:
        warnings.warn(
            f"images: pixels lie between {low:.3g} and {high:.3g}; models take them from -1 to 1 (2 x - 1 of 0 to 1).",
            stacklevel=4,
        )


def crop_face(pixels: np.ndarray, crop: Crop, size: int = IMAGE_SIZE) -> np.ndarray:
    """Cut a region out of an image, (height, width, 3) uint8, and resize it, antialiased: (size, size, 3) uint8.

    ``crop`` is left, top, right and bottom as fractions of width and height. Outside the image, its edges are repeated:
    a black bar would tell a model which data set a face is from.
    """
    height, width = pixels.shape[:2]
    left, top, right, bottom = crop[0] * width, crop[1] * height, crop[2] * width, crop[3] * height
    first, above = math.floor(left), math.floor(top)
    columns = np.arange(first, math.ceil(right)).clip(0, width - 1)
    rows = np.arange(above, math.ceil(bottom)).clip(0, height - 1)
    whole = Image.fromarray(pixels[rows[:, None], columns])
    box = (left - first, top - above, right - first, bottom - above)  # resize takes fractions of a pixel, crop does not
    return np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR, box=box))


def covered(crop: Crop | None) -> tuple[float, float, float, float]:
    """The part of a crop that the image covers: left, top, right and bottom as shares of the crop's sides.

    >>> covered((-0.25, 0.0, 0.75, 1.0))
    (0.25, 0.0, 1.0, 1.0)
    """
    left, top, right, bottom = crop or (0.0, 0.0, 1.0, 1.0)
    across, down = right - left, bottom - top
    sides = ((0 - left) / across, (0 - top) / down, (1 - left) / across, (1 - top) / down)
    return tuple(min(max(side, 0.0), 1.0) for side in sides)


def fit_face(pixels: np.ndarray, where: str, crop: Crop | None = None, size: int = IMAGE_SIZE) -> np.ndarray:
    """Resize a face for the models: the region ``crop`` of an image, or the whole image, which must then be square.

    Raises ``InputError``, in which the image is called ``where``, if it is not square and therefore not aligned.
    """
    height, width = pixels.shape[:2]
    if crop is None and height != width:
        raise InputError(f"{where}: {width}x{height} pixels; faces must be aligned and square.")
    return crop_face(pixels, crop or (0, 0, 1, 1), size)


def read_face(path: Path, size: int = IMAGE_SIZE) -> np.ndarray:
    """Read an aligned face from a file, (size, size, 3) uint8; raises as ``read_image`` and ``fit_face`` do."""
    return fit_face(read_image(path), str(path), size=size)


def stack_faces(read: Callable[[Any], np.ndarray], items: Sequence, size: int = IMAGE_SIZE) -> Tensor:
    """Read faces on all cores: (N, 3, size, size), uint8, from what ``read`` gives of each item, (size, size, 3)."""
    faces = np.empty((len(items), 3, size, size), dtype=np.uint8)
    with ThreadPoolExecutor(count_cores()) as pool:  # decoding runs outside Python's lock
        for row, face in enumerate(pool.map(read, items)):
            faces[row] = face.transpose(2, 0, 1)
    return torch.from_numpy(faces)
