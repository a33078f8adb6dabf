"""A model as one ONNX file, in float32 or quantised, whose metadata describe its input and its outputs."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from swinface.choices import Input
from swinface.data.align import ARCFACE, IMAGE_SIZE
from swinface.data.faces import read_face, scale_pixels, stack_faces
from swinface.files import InputError, check_ending, describe_install, replacing
from swinface.images import find_images
from swinface.inference import check_ready
from swinface.model import SwinFace
from swinface.photos.alignment import warn_unaligned_files
from swinface.registry import check_choice
from swinface.runtimes import Graph, convert_onnx

if TYPE_CHECKING:
    import onnx

CALIBRATED_ON = 512  # faces at most
BATCH = 32  # of these
ROUNDED = ("trunk", "embedding", "subnets")  # of a SwinFace; its last linear layers would give ages in steps
LAYERS = ("Conv", "Gemm", "MatMul")
SCOPES = "pkg.torch.onnx.name_scopes"  # under which torch's exporter notes the modules that a node was made of
FACES = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)  # one alone would be taken for a constant
LICENCE = "the weights are under the terms of the data they were trained on; see the model's own card"


def write_onnx(
    model: nn.Module,
    example: Tensor,
    outputs: Sequence[str],
    metadata: dict[str, str],
    out: Path,
    name: str = "images",
    int8: tuple[Tensor, Sequence[str]] | None = None,
) -> None:
    """Write any model, in evaluation mode, as ONNX, for any number of faces at once.

    The model takes one tensor, which the file calls ``name``, and gives a dict of tensors; ``example`` are two faces as
    it takes them, and ``outputs`` the names of those that the file gives. ``metadata``, text by key, is kept in the
    file, with ``licence`` and ``precision``. ``int8`` are faces to calibrate on, as the model takes them, and the parts
    of the model, such as ``trunk``, that are then quantised, see ``quantise``.

    Raises ``InputError`` if ``out`` does not end in .onnx, or a package is missing.
    """
    check_ready(model)
    check_ending(out, [".onnx"], "an exported model")
    needed = ("onnx", "onnxscript", *["onnxruntime"] * (int8 is not None))
    absent = [package for package in needed if find_spec(package) is None]
    if absent:
        raise InputError(f"export needs {' and '.join(absent)}: {describe_install('onnx')} installs all of it.")
    program = convert_onnx(Graph(model, outputs=outputs), example, name, outputs)
    kept = "float32" if int8 is None else f"int8 in {', '.join(int8[1])}, float32 in all else"
    program.model.metadata_props.update(metadata | {"licence": LICENCE, "precision": kept})
    with replacing(out) as partial:
        if int8 is None:
            program.save(partial)
        else:
            quantise(program.model_proto, *int8, partial)


def read_calibration(folder: Path) -> Tensor:
    """Aligned faces to calibrate on, (N, 3, 112, 112) uint8: at most ``CALIBRATED_ON`` of a folder, evenly spaced.

    Raises ``InputError`` if there are none, or one is unreadable or not square.
    """
    files = find_images([folder])
    files = [files[row] for row in np.unique(np.linspace(0, len(files) - 1, CALIBRATED_ON).round().astype(int))]
    warn_unaligned_files(files)
    return stack_faces(read_face, files)


def quantise(model: onnx.ModelProto, faces: Tensor, parts: Sequence[str], out: Path) -> None:
    """Write a model whose convolutions and linear layers compute with 8-bit integers (Jacob et al., "Quantization and
    Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018), by ONNX Runtime.

    Weights have a scale per output channel, activations one per tensor, from the least to the greatest value that the
    faces, (N, ...) as the input takes them, give. ``model`` is made of a ``Graph`` by ``convert_onnx``; ``parts`` are
    the names of the submodules that are quantised. All else stays in float32.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    layers = _find_layers(model.graph, parts)
    for node in model.graph.node:
        node.ClearField("metadata_props")  # a tenth of the file
    add_pre_process_metadata(model)  # torch's exporter has joined layers and their norms; a warning would ask for it
    name = model.graph.input[0].name

    class Faces(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(faces.split(BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            given = next(self.batches, None)
            return None if given is None else {name: given.numpy()}

    quantize_static(
        model,
        out,
        Faces(),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=[*LAYERS],
        nodes_to_quantize=layers,
    )


def _find_layers(graph: onnx.GraphProto, parts: Sequence[str]) -> list[str]:
    """Names of the nodes that multiply by weights, made of one of these submodules of a ``Graph``'s model."""
    weights, inside = {tensor.name for tensor in graph.initializer}, tuple(f"model.{part}." for part in parts)
    found = []
    for node in graph.node:
        scopes = next((literal_eval(it.value) for it in node.metadata_props if it.key == SCOPES), [])
        if node.op_type in LAYERS and node.input[1] in weights and any(f"{it}.".startswith(inside) for it in scopes):
            found.append(node.name)
    return found


def export(model: SwinFace, out: Path, input: Input = "uint8", int8: Tensor | None = None) -> list[str]:
    """Write a SwinFace, in evaluation mode on the CPU, by ``write_onnx``, and return the names of its outputs.

    These are ``embedding`` and every task that the model is trained on. The file's input is pixels, as uint8 or as
    float32 of mean and standard deviation 0.5. With faces as ``int8``, (N, 3, 112, 112) uint8, all layers but the
    last linear ones are quantised to 8-bit integers, see ``quantise``. Raises ``InputError`` if there is no such
    ``input``, a package is missing, or ``out`` does not end in .onnx.
    """
    check_choice("input", input, Input)
    outputs = ["embedding", *model.trained]
    example = FACES if input == "uint8" else scale_pixels(FACES)
    if int8 is not None and input == "normalised":
        int8 = scale_pixels(int8)
    quantised = None if int8 is None else (int8, ROUNDED)
    write_onnx(model, example, outputs, describe(model, input), out, int8=quantised)
    return outputs


def describe(network: SwinFace, input: Input) -> dict[str, str]:
    """The metadata of an exported model, text by key.

    They are ``input``, ``layout``, ``colours``, ``size``, ``mean``, ``std``, ``landmarks`` and ``tasks``. All but the
    first three are JSON; ``tasks`` is output name to the labels of its logits, softmax over them gives probabilities,
    or to ``"years"``.
    """
    return describe_images(input) | {
        "tasks": json.dumps({name: list(task.labels) or "years" for name, task in network.trained.items()})
    }


def describe_images(input: Input) -> dict[str, str]:
    """The part of the metadata that says what images go in."""
    return {
        "input": "uint8, 0 to 255" if input == "uint8" else "float32, (x / 255 - mean) / std of pixels x from 0 to 255",
        "layout": "faces, colours, rows, columns",
        "colours": "RGB",
        "size": json.dumps([IMAGE_SIZE, IMAGE_SIZE]),
        "mean": json.dumps([0.5, 0.5, 0.5]),
        "std": json.dumps([0.5, 0.5, 0.5]),
        "landmarks": json.dumps(ARCFACE.tolist()),
    }
