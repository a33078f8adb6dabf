"""An examiner of drawn faces behind a client of the pages."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import kinface
from kinface.models.examine import Examiner
from kinface.web.app import create_app
from swinface.data.align import ARCFACE
from swinface.photos.detect import Face

EVIL = "<img src=x onerror=alert(1)>\u202e$\\frac{1$.png"


@pytest.fixture(scope="session")
def examiner() -> Examiner:
    return Examiner()


@pytest.fixture(scope="session")
def faces() -> np.ndarray:
    return kinface.make_families(12, photos=1)[1][:4]


@pytest.fixture
def client(examiner):
    return create_app(examiner, "secret").test_client()


def to_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def found_beside(monkeypatch):
    """Photos are faces beside each other."""

    def find(image: np.ndarray) -> list[Face]:
        return [
            Face(np.array([left, 0, left + 112, 112.0]), ARCFACE + np.array([left, 0]), 0.9)
            for left in range(0, image.shape[1], 112)
        ]

    monkeypatch.setattr("swinface.photos.predict.detect", find)
