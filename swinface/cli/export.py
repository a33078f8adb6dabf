"""``swinface export``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from swinface.data.faces import scale_pixels
from swinface.export import FACES, PixelInput, describe, write_onnx
from swinface.model import SwinFace
from swinface.pretrained import SHIPPED


def export(*, out: Path, model: Path = SHIPPED, input: Literal["uint8", "normalised"] = "uint8") -> None:
    """Write a model as ONNX, for any number of faces at once.

    Its input is ``images``, (faces, 3, 112, 112); its outputs are ``embedding`` and, by name, the logits of every task
    that the model is trained on. The file's metadata says what pixels go in and what each logit stands for.

    Parameters
    ----------
    out
        File to write, .onnx.
    model
        Folder of a trained model; by default the one that comes with the package.
    input
        What the file takes: pixels as uint8, or as float32 of mean and standard deviation 0.5.
    """
    network = SwinFace.from_pretrained(model)
    outputs = ["embedding", *network.trained]
    if input == "uint8":
        write_onnx(PixelInput(network), FACES, outputs, describe(network, input), out)
    else:
        write_onnx(network, scale_pixels(FACES), outputs, describe(network, input), out)
