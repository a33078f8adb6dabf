"""The similarity is that of least squares, and the crop is what a naive bilinear look-up gives."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from swinface.data.align import ARCFACE, align, fit_similarity
from swinface.files import InputError


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def least_squares(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity [[a, -b, c], [b, a, d]] as a linear system, two rows per point."""
    rows = [row for x, y in source for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    a, b, c, d = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


def smooth_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)))


def naive_warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Every crop pixel looked up bilinearly in the photo, pixel centres at whole numbers, black outside."""
    result = np.zeros((112, 112, 3))
    for y in range(112):
        for x in range(112):
            u, v = move(np.array([x, y]), matrix)
            left, top = int(np.floor(u)), int(np.floor(v))
            if left >= 0 and left + 1 < image.shape[1] and top >= 0 and top + 1 < image.shape[0]:
                s, t = u - left, v - top
                upper = (1 - s) * image[top, left] + s * image[top, left + 1]
                lower = (1 - s) * image[top + 1, left] + s * image[top + 1, left + 1]
                result[y, x] = (1 - t) * upper + t * lower
    return result


@pytest.mark.parametrize("seed", range(5))
def test_the_similarity_is_that_of_least_squares(seed):
    generator = np.random.default_rng(seed)
    target = move(ARCFACE, similarity(2.5, 40 * seed, (30, -12))) + generator.normal(scale=6, size=(5, 2))
    assert np.allclose(fit_similarity(ARCFACE, target), least_squares(ARCFACE, target))


def test_a_mirrored_face_is_not_mirrored_back():
    mirrored = ARCFACE * [-1, 1] + [112, 0]
    fitted = fit_similarity(ARCFACE, mirrored)
    assert np.linalg.det(fitted[:, :2]) > 0
    assert np.allclose(fitted, least_squares(ARCFACE, mirrored))


def test_landmarks_on_the_template_leave_the_crop_as_it_is():
    photo = smooth_photo(112, 112)
    assert np.abs(align(photo, ARCFACE).astype(int) - photo).max() <= 1


@pytest.mark.parametrize(("scale", "degrees"), [(1.4, 25), (0.6, -70), (1.9, 180), (1.0, 3)])
def test_the_crop_is_a_naive_bilinear_look_up(scale, degrees):
    photo = smooth_photo(240, 320)
    matrix = similarity(scale, degrees, (0, 0))
    matrix[:, 2] = [160, 120] - matrix[:, :2] @ [56, 56]
    crop = align(photo, move(ARCFACE, matrix))
    expected = naive_warp(photo, matrix)
    inside = expected.sum(axis=2) > 0
    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8
    assert inside.mean() > 0.8
    assert np.abs(crop[inside] - expected[inside]).mean() < 0.6


def test_outside_the_photo_is_black():
    photo = np.full((60, 112, 3), 200, dtype=np.uint8)
    crop = align(photo, ARCFACE - [0, 40])
    assert (crop[41:99] == 200).all()
    assert (crop[:39] == 0).all()
    assert (crop[101:] == 0).all()
    assert (align(photo, ARCFACE + 1000) == 0).all()


@pytest.mark.parametrize("factor", [3, 8, 9.5])
def test_many_pixels_are_averaged_not_skipped(factor):
    """A large photo of noise gives its mean, and a large photo of a face the same crop as a small one."""
    side = round(112 * factor)
    landmarks = ARCFACE * factor + (factor - 1) / 2
    noise = np.random.default_rng(0).integers(0, 2, (side, side, 1), dtype=np.uint8) * np.full(3, 255, np.uint8)
    assert align(noise, landmarks).std() < 1.3 * 127.5 / np.floor(factor)
    small = smooth_photo(112, 112)
    large = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
    assert np.abs(align(large, landmarks).astype(int) - small).mean() < 3


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan), ARCFACE * [np.inf, 1]])
def test_landmarks_without_a_similarity_are_refused(landmarks):
    with pytest.raises(InputError, match="coincide or are not finite"):
        align(smooth_photo(50, 50), landmarks)
