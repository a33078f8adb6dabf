"""``swinface pack``."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from swinface.files import InputError, replacing_folder
from swinface.pretrained import CONFIG, LEARNED, WEIGHTS, read_weights


def pack(model: Path, out: Path) -> None:
    """Halve the size of a trained model: the weights of its layers in bfloat16. It loads as any other.

    What is no layer's weight stays as it is, such as an erasure, whose map would let through a little of what it takes
    out if it were rounded. The rounded layers do that too: of the distance of two classes some thousandths.

    Parameters
    ----------
    model
        Folder of a SwinFace or of a kinship model, such as a run.
    out
        Folder to write ``config.json`` and ``model.safetensors`` to.

    Raises
    ------
    InputError
        The folder holds no model.
    """
    tensors = read_weights(model / WEIGHTS)
    # Vectors and numbers (batch norms, biases, a threshold) are few, and steer more than a weight does.
    halved = {
        name: it.to(torch.bfloat16) if it.ndim > 1 and name.endswith(LEARNED) else it for name, it in tensors.items()
    }
    with replacing_folder(out) as partial:
        save_file(halved, partial / WEIGHTS)
        try:
            shutil.copyfile(model / CONFIG, partial / CONFIG)
        except OSError as error:
            raise InputError(f"{model}: not the folder of a model ({error}).") from error
        size = (partial / WEIGHTS).stat().st_size
    print(f"{sum(it.numel() for it in halved.values())} numbers, {size / 1e6:.1f} MB: {out}")
