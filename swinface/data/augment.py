"""Augmentation of training faces: flips, the paper's recipe, and a cheap one that works on whole batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal

import torch
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import RandAugment
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from swinface.data.align import IMAGE_SIZE
from swinface.data.faces import scale_pixels

Augmentation = Literal["none", "photometric", "flip", "light", "randaugment"]
STILL = ("none", "photometric")  # those that leave every point of a face where it is


def _make_randaugment() -> Callable[[Image.Image], Tensor]:
    """The paper's recipe for its analysis streams, without scaling: from an RGB face to (3, 112, 112) uint8."""
    recipe = create_transform(
        IMAGE_SIZE,
        is_training=True,
        normalize=False,  # ``make_input`` scales, and erases
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        color_jitter=0.4,  # as in the authors' code; timm ignores it with RandAugment, for them too
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),  # areas moved in from outside are grey
        std=(0.5, 0.5, 0.5),
    )
    (randaugment,) = (step for step in recipe.transforms if isinstance(step, RandAugment))
    for operation in randaugment.ops:
        if operation.name == "PosterizeIncreasing":
            operation.aug_fn = _posterize
    return recipe


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the highest ``bits``, 0 to 4, of every value. At full magnitude none is kept and the image turns black.

    Pillow's own function did the same for the authors; from version 13 on it refuses 0.
    """
    return image.point(lambda value: value >> 8 - bits << 8 - bits)


RANDAUGMENT = _make_randaugment()
ERASING = RandomErasing(0.25, mode="pixel", device="cpu")  # the paper's; device: timm's default is a GPU
SCALE, ROTATION, SHIFT = 0.2, 10.0, 0.05  # of "light": relative, degrees, share of the side; each to both sides
COLOUR, GREY, BLURRED = 0.3, 0.1, 0.25  # relative strength of light and contrast; shares of faces
COMPRESSED, QUALITY = 0.25, (15, 85)  # share of faces; JPEG's quality, from 1 to 100

# What lies outside the photo. Only some data sets have areas from outside it, always in the same places: a model could
# tell the set, and with it the likely label, from a black bar. So every face may have such areas.
FRAMED, INSET = 0.5, 0.3  # share of faces that are cut further; most of the side that is cut
FILLS = {"black": 0.4, "flat": 0.2, "edge": 0.2, "mirror": 0.2}  # content, and its share of faces


def augment(images: Tensor, how: Augmentation, frames: Tensor | None = None) -> Tensor:
    """Augment faces, (B, 3, 112, 112) uint8 RGB, with torch's (for ``randaugment`` also Python's and numpy's) global
    generator.

    With ``flip`` half of the faces are mirrored. ``photometric`` changes brightness and contrast, and makes some faces
    grey, of low resolution or compressed. ``light``, for CPUs, is both, with a small similarity transform and random
    content in areas outside the photo. ``randaugment``, as for SwinFace's analysis streams, is flip and RandAugment,
    and in ``make_input`` random erasing.

    ``frames``, (B, 4), are left, top, right and bottom of the part of each face that the photo covers, as shares of the
    side; the whole face when None. ``light`` shows random content outside it.
    """
    if how == "none" or not len(images):
        return images
    if how == "randaugment":
        return torch.stack([RANDAUGMENT(transforms.to_pil_image(image)) for image in images])
    if frames is None:
        frames = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(images), 4)
    if how != "photometric":
        mirrored = _chosen(images, 0.5)
        images = torch.where(mirrored, images.flip(-1), images)
        left, top, right, bottom = frames.unbind(1)
        swapped = torch.stack([1 - right, top, 1 - left, bottom], dim=1)
        frames = torch.where(mirrored.view(-1, 1), swapped, frames)
    if how == "flip":
        return images
    moved = _move(images.float(), frames) if how == "light" else images.float()
    return _compress(_recolour(_blur(moved)).round().clamp(0, 255).to(torch.uint8))


def make_input(images: Tensor, how: Augmentation, frames: Tensor | None = None) -> Tensor:
    """Augment faces and scale their pixels; with ``randaugment``, also erase a rectangle in a quarter of them.

    Erased pixels become noise of unit deviation, which exceeds the range of pixels, as in the authors' code. Parameters
    are those of ``augment``; returns float32, as ``swinface.data.faces.scale_pixels`` does.
    """
    normalised = scale_pixels(augment(images, how, frames))
    return ERASING(normalised) if how == "randaugment" else normalised


def _chosen(images: Tensor, share: float) -> Tensor:
    return torch.rand(len(images), 1, 1, 1) < share


def _spread(images: Tensor, by: float) -> Tensor:
    """(B, 1, 1, 1) uniform in [-by, by]."""
    return (2 * torch.rand(len(images), 1, 1, 1) - 1) * by


def _move(images: Tensor, frames: Tensor) -> Tensor:
    """Scale, rotate and shift each face by its own amounts, and show something else outside its frame."""
    count = len(images)
    scale = 1 + _spread(images, SCALE).view(count)
    angle = _spread(images, math.radians(ROTATION)).view(count)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    shift = (2 * torch.rand(count, 2, 1) - 1) * 2 * SHIFT  # the grid's side is 2
    rows = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    grid = functional.affine_grid(torch.cat([rows, shift], 2), list(images.shape), align_corners=False)
    low, high = ((2 * side - 1).view(count, 1, 1, 2) for side in _cut(frames).split(2, dim=1))
    inside = ((grid >= low) & (grid <= high)).all(dim=3).unsqueeze(1)
    fill = torch.multinomial(torch.tensor([*FILLS.values()]), count, replacement=True).view(count, 1, 1, 1)
    mirrored = torch.where(grid < low, 2 * low - grid, torch.where(grid > high, 2 * high - grid, grid))
    places = torch.where(fill == [*FILLS].index("mirror"), mirrored, grid).clamp(low, high)
    shown = functional.grid_sample(images, places, padding_mode="border", align_corners=False)
    flat = torch.rand(count, 3, 1, 1) * 255 * (fill == [*FILLS].index("flat"))
    plain = (fill == [*FILLS].index("black")) | (fill == [*FILLS].index("flat"))
    return torch.where(plain & ~inside, flat, shown)


def _cut(frames: Tensor) -> Tensor:
    """Cut a share of the frames further, at each side by chance."""
    cut = torch.rand(frames.shape) * INSET * (torch.rand(frames.shape) < 0.5) * (torch.rand(len(frames), 1) < FRAMED)
    return torch.cat([torch.maximum(frames[:, :2], cut[:, :2]), torch.minimum(frames[:, 2:], 1 - cut[:, 2:])], dim=1)


def _compress(images: Tensor) -> Tensor:
    """Compress a share of the faces as JPEG does, each at a quality of its own."""
    chosen, qualities = _chosen(images, COMPRESSED).flatten(), torch.randint(*QUALITY, (len(images),))
    for row in chosen.nonzero().flatten().tolist():
        images[row] = compress(images[row], int(qualities[row]))
    return images


def compress(image: Tensor, quality: int) -> Tensor:
    """An image, (3, H, W) uint8, compressed as JPEG at a quality from 1 to 100."""
    compressed = BytesIO()  # torchvision's own JPEG is deprecated since 0.29
    transforms.to_pil_image(image).save(compressed, "JPEG", quality=quality)
    return transforms.pil_to_tensor(Image.open(compressed))


def _blur(images: Tensor) -> Tensor:
    """Reduce a share of the batch to the resolution of a smaller image, one size for all."""
    side = int(torch.randint(IMAGE_SIZE // 4, IMAGE_SIZE, ()))
    small = functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    back = functional.interpolate(small, size=images.shape[-2:], mode="bilinear")
    return torch.where(_chosen(images, BLURRED), back, images)


def _recolour(images: Tensor) -> Tensor:
    """Change brightness and contrast, and make some faces grey."""
    grey = images.mean(dim=1, keepdim=True).expand_as(images)
    images = torch.where(_chosen(images, GREY), grey, images)
    middle = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - middle) * (1 + _spread(images, COLOUR)) + middle * (1 + _spread(images, COLOUR))
