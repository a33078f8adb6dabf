"""The levels that a frozen trunk makes of faces, computed once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kinface.models.faces import BATCH
from swinface.data.faces import scale_pixels
from swinface.files import replacing
from swinface.model import GRID, Trunk


def cache_levels(trunk: Trunk, images: Tensor, folder: Path) -> Tensor:
    """The levels a frozen trunk makes of images: computed once per folder, and read from it as they are needed.

    Parameters
    ----------
    trunk
        In evaluation mode.
    images
        (N, 3, 112, 112), uint8.
    folder
        Where the levels are kept. The file's name is a digest of weights and images, so other weights or other
        faces are never mixed up with these.

    Returns
    -------
    Tensor
        (N, sum(trunk.channels), 7, 7), float16, mapped from the file.
    """
    digest = hashlib.sha256(images.numpy())
    for name, tensor in trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    path = folder / f"levels-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        device = next(trunk.parameters()).device
        shape = (len(images), sum(trunk.channels), GRID, GRID)
        with replacing(path) as partial:
            levels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            for start in tqdm(range(0, len(images), BATCH), desc="levels", unit="batch", leave=False, disable=None):
                with torch.inference_mode():
                    part, _ = trunk(scale_pixels(images[start : start + BATCH].to(device)))
                levels[start : start + BATCH] = part.half().cpu().numpy()
            levels.flush()
            del levels
    return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: torch wants memory it may write to
