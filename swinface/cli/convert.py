"""``swinface convert``."""

from __future__ import annotations

from pathlib import Path

from swinface.files import replacing_folder


def convert(checkpoint: Path, out: Path) -> None:
    """Convert the published SwinFace checkpoint to safetensors and a config.

    Parameters
    ----------
    checkpoint
        The authors' file, such as checkpoint_step_79999_gpu_0.pt.
    out
        Folder to write model.safetensors, config.json and a model card to.
    """
    from swinface.checkpoint import load_published  # torch takes seconds to import

    model = load_published(checkpoint)
    with replacing_folder(out) as folder:
        model.save_pretrained(folder)
        written = sorted(path.name for path in folder.iterdir())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{out}: wrote {', '.join(written)}; {parameters / 1e6:.1f} M parameters from {checkpoint}.")
