"""Images and lists written for the tests of readers."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from swinface.data.source import Source


def save(path: Path, size: tuple[int, int] = (112, 112), colour: tuple[int, int, int] = (90, 120, 150)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def images(source: Source) -> list[str]:
    return source.table["image"].tolist()
