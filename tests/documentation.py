"""What the README and the pages of the documentation tell a reader to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# In the order in which their commands are run; some use what others wrote.
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("index.md", "start.md", "tasks/own_fiw.md", "tasks/rfiw.md")),
    *(ROOT / "docs" / "tasks" / f"{name}.md" for name in ("own_scores", "own_attribute", "own_recogniser", "extend")),
    *(ROOT / "docs" / "tasks" / f"{name}.md" for name in ("published_weights", "devices", "swinface", "experiments")),
]
BLOCK = re.compile(r"^```(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n)?(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code on a page; a captioned one is a file of that name."""

    language: str
    caption: str | None
    text: str

    def commands(self) -> list[list[str]]:
        """The words of each command line of a bash block."""
        return [words for line in self.text.splitlines() if (words := shlex.split(line, comments=True))]


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [Block(language, caption or None, text) for language, caption, text in BLOCK.findall(page.read_text())]
