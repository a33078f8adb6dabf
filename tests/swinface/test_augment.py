from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from swinface.augment import augment


def faces(count: int = 64) -> torch.Tensor:
    smooth = torch.nn.functional.interpolate(
        torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(0)), size=(112, 112), mode="bilinear"
    )
    return (smooth * 255).to(torch.uint8)


def augmented(how: str, seed: int = 0, count: int = 64) -> torch.Tensor:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    return augment(faces(count), how)


def test_none_changes_nothing():
    assert torch.equal(augmented("none"), faces())


def test_flip_mirrors_about_half_of_the_faces():
    changed, images = augmented("flip"), faces()
    mirrored = (changed == images.flip(-1)).flatten(1).all(dim=1)
    same = (changed == images).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 20 <= mirrored.sum() <= 44


@pytest.mark.parametrize(("how", "count"), [("light", 64), ("randaugment", 8)])
def test_a_seed_decides_what_is_done(how, count):
    first = augmented(how, count=count)
    assert first.dtype == torch.uint8
    assert first.shape == (count, 3, 112, 112)
    assert torch.equal(first, augmented(how, count=count))
    assert not torch.equal(first, augmented(how, seed=1, count=count))
    assert (first != faces(count)).flatten(1).any(dim=1).float().mean() > 0.8


def test_light_keeps_the_face_where_it_was():
    """The brightest spot stays within what scale, rotation and shift may move it, or its mirror image does."""
    images = torch.zeros(200, 3, 112, 112, dtype=torch.uint8)
    images[:, :, 36:44, 30:38] = 255
    torch.manual_seed(0)
    spots = augment(images, "light").float().mean(dim=1).flatten(1).argmax(dim=1)
    rows, columns = spots // 112, spots % 112
    nearest = torch.minimum((columns - 34).abs(), (columns - 77).abs())
    assert (rows - 40).abs().max() <= 18
    assert nearest.max() <= 18
    assert (rows - 40).abs().float().mean() > 1


def test_an_empty_batch_stays_empty():
    for how in ("flip", "light", "randaugment"):
        assert augment(torch.empty(0, 3, 112, 112, dtype=torch.uint8), how).shape == (0, 3, 112, 112)
