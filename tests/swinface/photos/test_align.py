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


# Landmarks that are no similarity of the template, on which the two directions of the fit differ.
SKEWED = {
    "narrow": ARCFACE * [0.6, 1] + [20, 0],
    "turned head": ARCFACE - np.array([(0, 0), (14, 0), (12, 0), (0, 0), (10, 0)]),
    "low resolution": np.round(ARCFACE / 6),
}


@pytest.mark.parametrize("landmarks", SKEWED.values(), ids=SKEWED)
def test_the_crop_is_that_of_landmarks_fitted_to_the_template(landmarks):
    """As insightface's ``norm_crop`` and skimage's ``SimilarityTransform`` are: the error in the crop is least."""
    photo = smooth_photo(140, 140)
    to_crop = least_squares(landmarks, ARCFACE)
    expected = naive_warp(photo, np.linalg.inv(np.vstack([to_crop, [0, 0, 1]]))[:2])
    inside = expected.sum(axis=2) > 0
    assert inside.mean() > 0.05
    assert np.abs(align(photo, landmarks)[inside] - expected[inside]).mean() < 0.6


@pytest.mark.parametrize("landmarks", SKEWED.values(), ids=SKEWED)
def test_the_similarity_is_that_of_skimage(landmarks):
    pytest.importorskip("skimage", minversion="0.26")
    from skimage.transform import SimilarityTransform

    for source, target in ((landmarks, ARCFACE), (ARCFACE, landmarks)):
        assert np.allclose(fit_similarity(source, target), SimilarityTransform.from_estimate(source, target).params[:2])


def test_the_crop_of_a_narrow_face_is_as_wide_as_computed_by_hand():
    """About its centre the template has sums of squares of X = 1046.6 in x and Y = 1655.4 in y. Of a face of half its
    width, s times the landmarks are nearest to the template at s = (X / 2 + Y) / (X / 4 + Y) = 1.1365. The template
    nearest to the landmarks has 1 / s = (X / 2 + Y) / (X + Y), s = 1.2402.
    """
    centre = ARCFACE.mean(axis=0)
    assert ((ARCFACE - centre) ** 2).sum(axis=0) == pytest.approx([1046.6, 1655.4], abs=0.1)
    fitted = fit_similarity((ARCFACE - centre) * [0.5, 1] + centre, ARCFACE)
    assert np.hypot(*fitted[:, 0]) == pytest.approx(1.1365, abs=1e-4)
    photo = np.zeros((300, 300, 3), np.uint8)
    photo[150:, 150:] = 255  # its corner lies at (149.5, 149.5)
    offset = np.array([40, 30])  # of that corner from the face's centre, in pixels of the crop
    white = align(photo, (ARCFACE - centre) * [0.5, 1] + 149.5 - offset / 1.1365)[:, :, 0] > 127
    assert (white[108].argmax(), white[:, 108].argmax()) == pytest.approx(centre + offset, abs=1)


@pytest.mark.parametrize("order", [(1, 0, 2, 4, 3), (1, 0, 2, 3, 4), (2, 0, 1, 3, 4), (3, 4, 2, 0, 1)])
def test_landmarks_in_another_order_or_unit_are_refused(order):
    photo = smooth_photo(140, 120)
    for landmarks in (ARCFACE[[*order]], ARCFACE[:, ::-1]):
        with pytest.raises(InputError, match="x: the landmarks are not in the order of a face: eyes, nose, mouth"):
            align(photo, landmarks, "x")
    for landmarks in (ARCFACE / [120, 140], ARCFACE - [-120, 0], -ARCFACE):
        with pytest.raises(InputError, match="x: the landmarks are not in pixels of this photo of 120x140"):
            align(photo, landmarks, "x")
    for landmarks in (ARCFACE.ravel(), np.zeros((68, 2))):
        with pytest.raises(InputError, match=r"x: landmarks are x and y of five points, \(5, 2\)"):
            align(photo, landmarks, "x")


@pytest.mark.parametrize(
    "landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan), ARCFACE * [np.inf, 1], ARCFACE * 1e300]
)
def test_landmarks_without_a_similarity_are_refused(landmarks):
    with pytest.raises(InputError, match="coincide, or are no places in an image"):
        align(smooth_photo(50, 50), landmarks)
