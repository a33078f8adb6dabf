from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment

from swinface.data.augment import RANDAUGMENT, augment, make_input
from swinface.data.faces import scale_pixels

OPERATIONS = next(step.ops for step in RANDAUGMENT.transforms if isinstance(step, RandAugment))


def faces(count: int = 64) -> torch.Tensor:
    smooth = torch.nn.functional.interpolate(
        torch.rand(count, 3, 7, 7, generator=torch.Generator().manual_seed(0)), size=(112, 112), mode="bilinear"
    )
    return (smooth * 255).to(torch.uint8)


def augmented(how: str, seed: int = 0, count: int = 64, do=augment) -> torch.Tensor:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    return do(faces(count), how)


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
    """The brightest spot stays within what scale, rotation and shift may move it, or its mirror image does.

    In a few faces, a filling outside the photo is brighter.
    """
    images = torch.zeros(200, 3, 112, 112, dtype=torch.uint8)
    images[:, :, 36:44, 30:38] = 255
    torch.manual_seed(0)
    spots = augment(images, "light").float().mean(dim=1).flatten(1).argmax(dim=1)
    rows, columns = spots // 112, spots % 112
    nearest = torch.minimum((columns - 34).abs(), (columns - 77).abs())
    assert (((rows - 40).abs() <= 20) & (nearest <= 20)).float().mean() > 0.9
    assert (rows - 40).abs().float().mean() > 1


# Areas outside the photo


@pytest.mark.parametrize("frame", [(0.0, 0.0, 1.0, 1.0), (0.09, 0.22, 0.91, 1.0), (0.2, 0.1, 0.8, 0.9)])
def test_bars_do_not_reveal_the_data_set(frame):
    """Black bars, and edges without any, occur in faces of every frame, so no label can be read from them."""
    torch.manual_seed(0)
    images = torch.full((600, 3, 112, 112), 120, dtype=torch.uint8)
    changed = augment(images, "light", torch.tensor([frame]).expand(600, 4)).float().mean(dim=1)
    for edge in (changed[:, :3], changed[:, :, :3], changed[:, :, -3:]):
        black = (edge < 20).flatten(1).float().mean(dim=1) > 0.5
        assert 0.05 < black.float().mean() < 0.6


def test_nothing_outside_the_frame_is_seen():
    torch.manual_seed(0)
    images = torch.zeros(200, 3, 112, 112, dtype=torch.uint8)
    images[:, 1] = 255  # green, which neither grey nor any filling is alone
    images[:, :, 34:, 12:100] = 0
    frames = torch.tensor([[0.15, 0.35, 0.85, 1.0]]).expand(200, 4)
    changed = augment(images, "light", frames).float()
    green = (changed[:, 1] > 200) & (changed[:, 0] < 60) & (changed[:, 2] < 60)
    flat = (green.flatten(1).float().mean(dim=1) > 0.02).float().mean()  # a flat filling may be green by chance
    assert flat < 0.05
    whole = augment(images, "light").float()
    green = (whole[:, 1] > 200) & (whole[:, 0] < 60) & (whole[:, 2] < 60)
    assert (green.flatten(1).float().mean(dim=1) > 0.02).float().mean() > 0.3


def test_an_empty_batch_stays_empty():
    for how in ("flip", "light", "randaugment"):
        assert augment(torch.empty(0, 3, 112, 112, dtype=torch.uint8), how).shape == (0, 3, 112, 112)


# The paper's recipe


def test_thousands_of_faces_go_through_the_recipe():
    for seed in range(50):
        assert augmented("randaugment", seed).shape == (64, 3, 112, 112)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_takes_every_magnitude_that_the_recipe_can_draw(operation):
    """It draws from a normal distribution around 9 with deviation 0.5, clipped to 0 to 10."""
    face = Image.fromarray(faces(1)[0].permute(1, 2, 0).numpy()).resize((28, 28))
    for magnitude in np.arange(0, 10.01, 0.05).clip(0, 10):
        arguments = operation.level_fn(magnitude, operation.hparams) if operation.level_fn else ()
        changed = operation.aug_fn(face, *arguments, **operation.kwargs)
        assert (changed.mode, changed.size) == ("RGB", (28, 28))


def test_posterize_keeps_the_highest_bits_and_none_at_full_magnitude():
    (operation,) = (each for each in OPERATIONS if each.name == "PosterizeIncreasing")
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for magnitude, kept in ((0, 4), (2.4, 4), (2.5, 3), (5, 2), (7.5, 1), (9.99, 1), (10, 0)):
        (bits,) = operation.level_fn(magnitude, operation.hparams)
        changed = np.asarray(operation.aug_fn(Image.fromarray(ramp), bits, **operation.kwargs))
        assert bits == kept
        assert np.array_equal(changed, ramp & (0xFF00 >> kept & 0xFF))


@pytest.mark.parametrize("how", ["none", "flip", "light"])
def test_input_is_the_normalised_augmented_face(how):
    assert torch.equal(augmented(how, do=make_input), scale_pixels(augmented(how)))


def test_a_quarter_of_randaugments_faces_has_a_rectangle_of_normal_noise():
    plain = scale_pixels(augmented("randaugment", count=600))
    noisy = augmented("randaugment", count=600, do=make_input)
    erased = (noisy != plain).any(dim=1)
    share = erased.flatten(1).double().mean(dim=1)
    assert 0.2 < (share > 0).double().mean() < 0.3
    assert share[share > 0].min() > 0.019 and share.max() < 0.35
    noise = noisy.permute(0, 2, 3, 1)[erased]
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    assert 0.3 < (noise.abs() > 1).double().mean() < 0.34  # a third is beyond the range of pixels
