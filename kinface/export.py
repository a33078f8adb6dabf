"""``kinface export``: a kinship model as one ONNX file, with whatever is erased from its embedding."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from kinface.model import KinFace
from kinface.score import load_model
from swinface.export import describe_images, write_onnx
from swinface.model import IMAGE_SIZE
from swinface.pretrained import SHIPPED


class _Graph(nn.Module):
    """A KinFace as the graph of a file: faces to embeddings."""

    def __init__(self, model: KinFace) -> None:
        super().__init__()
        self.model = model

    def forward(self, faces: Tensor) -> tuple[Tensor]:
        return (self.model(faces)["embedding"],)


def export(*, out: Path, model: Path = SHIPPED) -> None:
    """Write a model as ONNX, for any number of faces at once.

    Its output is ``embedding``, (faces, D) of unit length. Two faces are called kin where the product of theirs is the
    metadata's ``threshold`` or more. Its input is ``images``, (faces, 3, 112, 112) uint8, or ``inputs``, the
    embeddings that a model without trunk reads.

    Parameters
    ----------
    out
        File to write, .onnx.
    model
        Folder of a trained model; by default the one that comes with the package.
    """
    network = load_model(model).cpu()
    metadata = {"threshold": json.dumps(float(network.threshold))}
    if network.trunk is None:
        write_onnx(_Graph(network), torch.zeros(2, network.embedding_size), ["embedding"], metadata, out, "inputs")
    else:
        faces = torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
        write_onnx(_Graph(network), faces, ["embedding"], metadata | describe_images("uint8"), out)
