"""What commands let one choose of a model, by name. Without torch, which takes seconds to import."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

SHIPPED = Path("shipped")  # the weights that come with a model's package
Precision = Literal["fast", "full"]  # see swinface.inference.inference
Input = Literal["uint8", "normalised"]  # of an exported file, see swinface.export.export
Runtime = Literal["auto", "torch", "openvino", "onnxruntime"]  # see swinface.runtimes.Runner
