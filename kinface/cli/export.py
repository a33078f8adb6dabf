"""``kinface export``."""

from __future__ import annotations

from pathlib import Path

from swinface.choices import SHIPPED


def export(*, out: Path, model: Path = SHIPPED, int8: Path | None = None) -> None:
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
    int8
        A folder of aligned faces: the trunk then computes with 8-bit integers, whose ranges come from at most 512 of
        these faces. Take people that the model was trained on, not those it is tested on.
    """
    from kinface.models.kinface import load_model

    faces = None
    if int8 is not None:
        from swinface.export import read_calibration

        faces = read_calibration(int8)
    load_model(model).cpu().export(out, int8=faces)
    print(f"1 output, {out.stat().st_size / 1e6:.1f} MB: {out}")
