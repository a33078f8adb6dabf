"""What FIW calls its folders, and the files of a folder of lists or tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kinface.data.matrices import Problem

PARTITIONS = {"Train": "train", "Validation": "val", "Test": "test"}
FAMILY = re.compile(r"F[0-9]+")
FAMILY_FOLDER = re.compile(rf"({'|'.join(PARTITIONS)})/[^/]+/{FAMILY.pattern}/")  # what a path of RFIW's starts with


def list_files(folder: Path, endings: Sequence[str], problems: list[Problem]) -> list[Path]:
    """The files of a folder that end so, in small or capital letters, sorted; each other file is a problem.

    Hidden files, such as macOS leaves beside each file, are others. A folder that is not there has none.
    """
    files = sorted(file for file in folder.glob("*") if file.is_file())
    taken = [file for file in files if file.suffix.lower() in endings and not file.name.startswith(".")]
    for file in sorted({*files} - {*taken}):
        reason = "hidden" if file.name.startswith(".") else f"does not end in {' or '.join(endings)}"
        problems.append(("files left out", f"{folder.name}/{file.name}", f"{reason}: left out"))
    return taken
