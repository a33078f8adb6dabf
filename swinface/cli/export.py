"""``swinface export``."""

from __future__ import annotations

from pathlib import Path

from swinface.choices import SHIPPED, Input


def export(*, out: Path, model: Path = SHIPPED, input: Input = "uint8", int8: Path | None = None) -> None:
    """Export a model to ONNX, for batches of any size.

    Its input is ``images``, (faces, 3, 112, 112); its outputs are ``embedding`` and, by name, the logits of every task
    that the model is trained on. The file's metadata describe the pixels of the input and the meaning of each logit.

    Parameters
    ----------
    out
        File to write, .onnx.
    model
        Folder of a trained model; by default the released model.
    input
        Type of the input: uint8 pixels, or float32 pixels normalised with mean and standard deviation 0.5.
    int8
        Folder of aligned faces to calibrate on: all layers but the last linear ones are quantised to 8-bit integers,
        whose ranges come from at most 512 of these faces. Use people from the training data, not from the test data.
    """
    from swinface.export import export as write  # torch takes seconds to import
    from swinface.export import read_calibration
    from swinface.model import SwinFace

    faces = None if int8 is None else read_calibration(int8)
    outputs = write(SwinFace.from_pretrained(model), out, input, faces)
    print(f"{len(outputs)} outputs, {out.stat().st_size / 1e6:.1f} MB: {out}")
