"""``kinface export``."""

from __future__ import annotations

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
    from kinface.models.kinface import load_model

    load_model(model).cpu().export(out)
    print(f"1 output, {out.stat().st_size / 1e6:.1f} MB: {out}")
