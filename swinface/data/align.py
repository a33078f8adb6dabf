"""From a photo to the aligned crop of 112x112 pixels: five landmarks are moved to ArcFace's template."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from swinface.files import InputError
from swinface.images import check_pixels

IMAGE_SIZE = 112  # pixels, of a face aligned to ArcFace's five points
MOST_MISSED = 0.6  # share of the template's variance; profiles of CFP miss up to .38, eyes that are exchanged .73
LARGEST = 1e9  # pixels; farther from the corner is no place in an image

# A face's five landmarks in ArcFace (Deng et al., CVPR 2019) and its published crops, in pixels of 112x112, the centre
# of the first pixel at (0, 0): the eye on the image's left, the one on its right, tip of the nose, corner
# of the mouth on the image's left, the one on its right.
ARCFACE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])


def align(image: np.ndarray, landmarks: np.ndarray, name: str = "the image") -> np.ndarray:
    """Crop a face from a photo, rotated and scaled so that its landmarks are as near as possible to ``ARCFACE``.

    Distances are measured in the crop, as in insightface. Distances in the photo would give a narrower crop if the
    landmarks do not fit the template well.

    Parts outside the photo are black. If the photo has more pixels than the crop, they are averaged, not skipped.

    Parameters
    ----------
    image
        (H, W, 3), uint8.
    landmarks
        (5, 2), x and y in pixels of ``image``, in the order of ``ARCFACE``.
    name
        Name of the image, for messages.

    Returns
    -------
    np.ndarray
        (112, 112, 3), uint8.

    Raises
    ------
    InputError
        The image is not (H, W, 3) uint8, or the landmarks are not within it or not in this order.

    Examples
    --------
    Landmarks three times as far apart as the template's: the crop is the photo's part at a third of its size.

    >>> import swinface, numpy as np
    >>> from swinface.data.align import ARCFACE
    >>> photo = np.full((400, 400, 3), 7, dtype=np.uint8)
    >>> face = swinface.align(photo, 3 * ARCFACE)
    >>> face.shape, int(face[56, 56, 0])
    ((112, 112, 3), 7)
    """
    check_pixels(image, name)
    landmarks = np.asarray(landmarks, dtype=float)
    to_crop = _fit_face(landmarks, image.shape[1::-1], name)
    matrix = np.linalg.inv(to_crop[:, :2])  # from crop to photo, as a warp needs it
    shift = -matrix @ to_crop[:, 2]
    corners = IMAGE_SIZE * np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) @ matrix.T + shift
    height, width = image.shape[:2]
    # Photo pixels per pixel of the crop.
    factor = max(1, math.floor(min(math.hypot(*matrix[:, 0]), max(height, width))))
    left, top = np.clip(np.floor(corners.min(axis=0)) - 2 * factor, 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 2 * factor, (left + 1, top + 1), (width, height)).astype(int)
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right])).reduce(factor)
    # Pillow has the centre of the first pixel at (0.5, 0.5), in the photo and in the crop.
    shift = (shift + 0.5 - matrix @ (0.5, 0.5) - (left, top)) / factor
    coefficients = np.column_stack([matrix / factor, shift]).ravel().tolist()
    size = IMAGE_SIZE, IMAGE_SIZE
    return np.asarray(part.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def _fit_face(landmarks: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """``fit_similarity`` of a face's landmarks to the template; ``size`` is the photo's width and height.

    Raises ``InputError`` too if they are no five points, not in pixels of the photo, or in another order.
    """
    if landmarks.shape != ARCFACE.shape:
        raise InputError(f"{name}: landmarks are x and y of five points, (5, 2), not {landmarks.shape}.")
    fitted = fit_similarity(landmarks, ARCFACE, name)
    outside = ((landmarks < 0) | (landmarks > size)).any(axis=1)
    if outside.all() or np.ptp(landmarks, axis=0).max() <= 1:
        raise InputError(f"{name}: the landmarks are not in pixels of this photo of {size[0]}x{size[1]}.")
    missed = ARCFACE - landmarks @ fitted[:, :2].T - fitted[:, 2]
    if np.square(missed).mean() > MOST_MISSED * ARCFACE.var(axis=0).mean():
        raise InputError(
            f"{name}: the landmarks are not in the order of a face: eyes, nose, mouth, each from the left."
        )
    return fitted


def fit_similarity(source: np.ndarray, target: np.ndarray, name: str = "the image") -> np.ndarray:
    """The rotation, scale and shift that bring (N, 2) points nearest to others in least squares, without mirroring.

    They are (2, 3), so that ``target`` is about ``source @ result[:, :2].T + result[:, 2]`` (Umeyama, "Least-squares
    estimation of transformation parameters between two point patterns", IEEE TPAMI 1991, equations 40 to 43). ``name``
    is that of the image that has these landmarks, for messages.

    Raises ``InputError`` if the points of either coincide or are no places in an image, or if they are mirrored so that
    no turn brings them near.
    """
    both = np.stack([source, target])
    if not (np.abs(both) < LARGEST).all() or np.ptp(both, axis=1).max(axis=1).min() < 1e-6:
        raise InputError(f"{name}: the landmarks coincide, or are no places in an image; give five different points.")
    centred, goal = both - both.mean(axis=1, keepdims=True)
    u, strengths, vt = np.linalg.svd(goal.T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    strength = (strengths * signs).sum()
    if strength < 1e-6 * strengths.sum():
        raise InputError(
            f"{name}: the landmarks are mirrored; give eyes, nose and mouth from the image's left to right."
        )
    matrix = strength / centred.var(axis=0).sum() * (u * signs) @ vt
    return np.column_stack([matrix, target.mean(axis=0) - matrix @ source.mean(axis=0)])
