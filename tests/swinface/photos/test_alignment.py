"""Faces that should be aligned and are not give a warning; aligned ones, and what is no face, do not."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import swinface.photos.detect
from swinface.data.align import ARCFACE, align
from swinface.data.faces import fit_face
from swinface.files import InputError
from swinface.images import read_image
from swinface.photos.alignment import CHECKED, measure_misalignment, warn_unaligned, warn_unaligned_files
from swinface.photos.detect import detect

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def aligned() -> np.ndarray:
    photo = read_image(HOPPER)
    return align(photo, detect(photo)[0].landmarks)


@pytest.fixture(scope="module")
def square() -> np.ndarray:
    """As LFW's photos: square, with the face in the middle."""
    return fit_face(read_image(HOPPER)[20:440, 50:470], "a.png")


def test_misalignment_is_what_the_face_would_move():
    assert measure_misalignment(ARCFACE) == pytest.approx(0, abs=1e-9)
    assert measure_misalignment(ARCFACE * 0.5) == pytest.approx(np.sqrt((ARCFACE**2).sum(axis=1).mean()))
    turned = ARCFACE - np.array([(0, 0), (14, 0), (12, 0), (0, 0), (10, 0)])
    fitted = np.array([(36, 53), (61, 52), (40, 72), (38, 92), (58, 91)], dtype=float)
    assert measure_misalignment(turned) > 5, "it could be moved"
    assert measure_misalignment(fitted + ARCFACE.mean(axis=0) - fitted.mean(axis=0)) < 6


def test_unaligned_faces_are_warned_of_once(square, aligned):
    read = {0: square, 1: square, 2: aligned}.__getitem__
    with pytest.warns(UserWarning, match=r"^lfw: faces are not aligned .*; align them with `swinface align`") as found:
        warn_unaligned(read, range(3), "lfw")
    assert len(found) == 1


def test_aligned_faces_and_images_without_a_face_give_no_warning(square, aligned):
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    for faces in ([aligned], [aligned, aligned, square], [noise], []):
        warn_unaligned(lambda face: face, faces, "faces")


def test_few_faces_are_looked_at_and_those_that_cannot_be_read_are_left_to_others(square):
    rows = []

    def read(row: int) -> np.ndarray:
        rows.append(row)
        if row:
            raise InputError("broken")
        return square

    with pytest.warns(UserWarning, match="not aligned"):
        warn_unaligned(read, range(100_000), "faces")
    assert len(rows) == CHECKED
    assert (rows[0], rows[-1]) == (0, 99_999)


def test_files_are_named(square, tmp_path):
    paths = [tmp_path / "a\x1b.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(square).save(path)
    with pytest.warns(UserWarning, match=r"a\\x1b\.png and others: faces are not aligned"):
        warn_unaligned_files(paths)
    with pytest.warns(UserWarning, match=r"b\.png: faces are not aligned"):
        warn_unaligned_files(paths[1:])


def test_nothing_is_said_without_the_detector(square, monkeypatch):
    swinface.photos.detect._network.cache_clear()
    monkeypatch.setattr(swinface.photos.detect, "find_spec", lambda name: None)
    with warnings.catch_warnings(action="error"):
        warn_unaligned(lambda face: face, [square], "faces")
