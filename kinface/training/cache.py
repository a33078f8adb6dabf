"""A cache of the levels of a frozen trunk: they are computed once per face."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinface.models.faces import BATCH
from swinface.data.cache import map_computed
from swinface.data.faces import scale_pixels
from swinface.inference import digest_weights
from swinface.trunk import GRID, Trunk


def cache_levels(trunk: Trunk, images: Tensor, folder: Path) -> Tensor:
    """The levels of a frozen trunk, (N, sum(trunk.channels), 7, 7) float16, computed once and then mapped from a file.

    The trunk is in evaluation mode; images are (N, 3, 112, 112) uint8. The name of the file is a digest of weights and
    images, so other weights or other faces get a file of their own.
    """
    digest = hashlib.sha256(images.numpy())
    digest.update(digest_weights(trunk).encode())
    path = folder / f"levels-{digest.hexdigest()[:16]}.npy"
    device, shape = next(trunk.parameters()).device, (len(images), sum(trunk.channels), GRID, GRID)

    @torch.inference_mode()
    def compute(part: slice) -> np.ndarray:
        return trunk(scale_pixels(images[part].to(device)))[0].half().cpu().numpy()

    # Torch warns about memory that it may not write to.
    return torch.from_numpy(map_computed(path, shape, np.float16, compute, BATCH, "levels", writable=True))
