"""``kinface export``."""

from __future__ import annotations

import json
import math
from pathlib import Path

from kinface.cli.source import SHIPPED


def export(*, out: Path, model: Path = SHIPPED) -> None:
    """Write a model as ONNX, for any number of faces at once.

    Its output is ``embedding``, (faces, D) of unit length. Two faces are called kin when the dot product of their
    embeddings is at least ``threshold`` in the metadata, which is null for a model that was not trained. Its input is
    ``images``, (faces, 3, 112, 112) uint8, or for a model without trunk ``inputs``, the embeddings that it reads.

    Parameters
    ----------
    out
        File to write, .onnx.
    model
        Folder of a trained model; by default the one that comes with the package.
    """
    import torch

    from kinface.models.inference import load_model
    from swinface.export import FACES, describe_images, write_onnx

    network = load_model(model).cpu()
    threshold = float(network.threshold)
    metadata = {"threshold": json.dumps(threshold if math.isfinite(threshold) else None)}
    if network.trunk is None:
        write_onnx(network, torch.zeros(2, network.embedding_size), ["embedding"], metadata, out, "inputs")
    else:
        write_onnx(network, FACES, ["embedding"], metadata | describe_images("uint8"), out)
    print(f"1 output, {out.stat().st_size / 1e6:.1f} MB: {out}")
