"""``swinface export``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from swinface import export as onnx
from swinface.model import SwinFace
from swinface.pretrained import SHIPPED


def export(*, out: Path, model: Path = SHIPPED, input: Literal["uint8", "normalised"] = "uint8") -> None:
    """Write a model as ONNX, for any number of faces at once.

    Its input is ``images``, (faces, 3, 112, 112); its outputs are ``embedding`` and, by name, the logits of every task
    that the model is trained on. The file's metadata describe the pixels of the input and the meaning of each logit.

    Parameters
    ----------
    out
        File to write, .onnx.
    model
        Folder of a trained model; by default the one that comes with the package.
    input
        What the file takes: pixels as uint8, or as float32 of mean and standard deviation 0.5.
    """
    outputs = onnx.export(SwinFace.from_pretrained(model), out, input)
    print(f"{len(outputs)} outputs, {out.stat().st_size / 1e6:.1f} MB: {out}")
