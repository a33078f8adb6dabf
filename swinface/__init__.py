"""SwinFace: one Swin Transformer for face recognition, expression, age and 40 attributes (Qin et al., 2023)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {"InputError": "swinface.files", "SwinFace": "swinface.model", "TASKS": "swinface.tasks"}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import swinface`` is quick and does not load torch."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
