"""A model as one ONNX file, whose metadata describe its input and its outputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from swinface.data.align import ARCFACE
from swinface.data.faces import IMAGE_SIZE, scale_pixels
from swinface.files import InputError, check_ending, describe_install, replacing
from swinface.model import SwinFace
from swinface.runtimes import convert_onnx

FACES = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)  # one alone would be taken for a constant
LICENCE = "the weights are under the terms of the data they were trained on; see the model's own card"


class _Graph(nn.Module):
    """A model with some of its outputs as a tuple: the graph of a file has no names for them."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.outputs = model, outputs

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        given = self.model(faces)
        return tuple(given[name] for name in self.outputs)


class PixelInput(nn.Module):
    """A SwinFace that takes uint8."""

    def __init__(self, model: SwinFace) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.model(scale_pixels(images))


def write_onnx(
    model: nn.Module, example: Tensor, outputs: Sequence[str], metadata: dict[str, str], out: Path, name: str = "images"
) -> None:
    """Write any model, in evaluation mode, as ONNX, for any number of faces at once.

    Raises ``InputError`` if ``out`` does not end in .onnx, or a package is missing.

    Parameters
    ----------
    model
        Takes one tensor, which the file calls ``name``, and gives a dict of tensors.
    example
        Two faces, as it takes them.
    outputs
        Names of the outputs that the file gives.
    metadata
        Text by key, kept in the file; ``licence`` is added.
    """
    check_ending(out, [".onnx"], "an exported model")
    absent = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if absent:
        raise InputError(f"export needs {' and '.join(absent)}: {describe_install('onnx')} brings all of it.")
    program = convert_onnx(_Graph(model, outputs), example, name, outputs)
    program.model.metadata_props.update(metadata | {"licence": LICENCE})
    with replacing(out) as partial:
        program.save(partial)


def export(model: SwinFace, out: Path, input: Literal["uint8", "normalised"] = "uint8") -> list[str]:
    """Write a SwinFace, in evaluation mode on the CPU, by ``write_onnx``, and return the names of its outputs.

    These are ``embedding`` and every task that the model is trained on. The file's input is pixels, as uint8 or as
    float32 of mean and standard deviation 0.5.
    """
    outputs = ["embedding", *model.trained]
    graph, example = (PixelInput(model), FACES) if input == "uint8" else (model, scale_pixels(FACES))
    write_onnx(graph, example, outputs, describe(model, input), out)
    return outputs


def describe(network: SwinFace, input: str) -> dict[str, str]:
    """The metadata of an exported model, text by key.

    They are ``input``, ``layout``, ``colours``, ``size``, ``mean``, ``std``, ``landmarks`` and ``tasks``. All but the
    first three are JSON; ``tasks`` is output name to the labels of its logits, softmax over them gives probabilities,
    or to ``"years"``.
    """
    return describe_images(input) | {
        "tasks": json.dumps({name: list(task.labels) or "years" for name, task in network.trained.items()})
    }


def describe_images(input: str) -> dict[str, str]:
    """The part of the metadata that says what images go in."""
    return {
        "input": "uint8, 0 to 255" if input == "uint8" else "float32, (x / 255 - mean) / std of such x",
        "layout": "faces, colours, rows, columns",
        "colours": "RGB",
        "size": json.dumps([IMAGE_SIZE, IMAGE_SIZE]),
        "mean": json.dumps([0.5, 0.5, 0.5]),
        "std": json.dumps([0.5, 0.5, 0.5]),
        "landmarks": json.dumps(ARCFACE.tolist()),
    }
