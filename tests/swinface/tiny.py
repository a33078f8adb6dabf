"""A SwinFace that costs next to nothing, and faces for it."""

from __future__ import annotations

import torch

from swinface.model import SwinFace

TINY_TRUNK = {"embed_dim": 8, "depths": (2, 2, 2), "num_heads": (1, 2, 4), "patch_size": 4}
TINY = {**TINY_TRUNK, "width": 32, "embedding_size": 24}


def faces(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def tiny(seed: int = 0, **changes) -> SwinFace:
    torch.manual_seed(seed)
    return SwinFace(**{**TINY, **changes})
