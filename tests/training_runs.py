"""Training of SwinFace from the command line, in small: what its tests share."""

from __future__ import annotations

from pathlib import Path

from tests.commands import run_swinface

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CPU = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "enable_progress_bar": False}
TINY = {
    "embed_dim": 8,
    "depths": [0, 0, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "convolutions": [0, 0, 0, 0],
    "width": 16,
    "embedding_size": 12,
}
TRUNKS = {
    "convnext": {"kind": "timm/convnext_tiny.in12k", "dims": [4, 8, 12, 16], "depths": [1, 1, 1, 1]},
    "ir50": {"kind": "ir50.IR50", "units": [1, 1, 1, 1], "channels": [4, 8, 12, 16], "size": 8},
}


def fit(*arguments) -> int:
    """Call ``swinface fit`` and return its exit code."""
    return run_swinface("fit", *arguments)
