"""``swinface pack``."""

from __future__ import annotations

from pathlib import Path


def pack(model: Path, out: Path) -> None:
    """Halve the size of a trained model: the weights of its layers are stored in bfloat16. It loads like any other.

    Everything else is unchanged. For example, the rounded map of an eraser would leave a little of what it removes.

    Parameters
    ----------
    model
        Folder of a SwinFace or of a kinship model, such as a run.
    out
        Folder to write ``config.json`` and ``model.safetensors`` to.
    """
    from swinface import pretrained  # torch takes seconds to import

    tensors = pretrained.pack(model, out)
    size = (out / pretrained.WEIGHTS).stat().st_size
    print(f"{sum(it.numel() for it in tensors.values())} numbers, {size / 1e6:.1f} MB: {out}")
