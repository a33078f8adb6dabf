"""``swinface pack``."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

from swinface import pretrained


@wraps(pretrained.pack)  # whose options and help the command has
def pack(model: Path, out: Path) -> None:
    tensors = pretrained.pack(model, out)
    size = (out / pretrained.WEIGHTS).stat().st_size
    print(f"{sum(it.numel() for it in tensors.values())} numbers, {size / 1e6:.1f} MB: {out}")
