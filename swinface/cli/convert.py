"""``swinface convert``."""

from __future__ import annotations

from pathlib import Path

from swinface.checkpoint import official_name, read_checkpoint
from swinface.files import replacing_folder
from swinface.model import SwinFace
from swinface.pretrained import check_entries


def convert(checkpoint: Path, out: Path) -> None:
    """Turn the published SwinFace checkpoint into safetensors and a config.

    Parameters
    ----------
    checkpoint
        The authors' file, such as checkpoint_step_79999_gpu_0.pt.
    out
        Folder to write model.safetensors, config.json and a model card to.

    Raises
    ------
    InputError
        The file is missing, unreadable, holds more than weights, or is not the published model's.
    """
    found = read_checkpoint(checkpoint)
    model = SwinFace()
    state = model.state_dict()
    check_entries(found, {official_name(name): tensor for name, tensor in state.items()}, checkpoint)
    model.load_state_dict({name: found[official_name(name)] for name in state})
    with replacing_folder(out) as folder:
        model.save_pretrained(folder)
        written = sorted(path.name for path in folder.iterdir())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{out}: wrote {', '.join(written)}; {parameters / 1e6:.1f} M parameters from {checkpoint}.")
