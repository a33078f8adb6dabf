"""``swinface pack``."""

from __future__ import annotations

from pathlib import Path

from swinface import pretrained
from swinface.pretrained import WEIGHTS


def pack(model: Path, out: Path) -> None:
    """Halve the size of a trained model: the weights of its layers in bfloat16. It loads as any other.

    Parameters
    ----------
    model
        Folder of a SwinFace or of a kinship model, such as a run.
    out
        Folder to write ``config.json`` and ``model.safetensors`` to.
    """
    tensors = pretrained.pack(model, out)
    size = (out / WEIGHTS).stat().st_size
    print(f"{sum(it.numel() for it in tensors.values())} numbers, {size / 1e6:.1f} MB: {out}")
