"""The commands, run in this process."""

from __future__ import annotations

import kinface.cli.main
import swinface.cli.main


def run_kinface(*arguments: object) -> int:
    """The exit status of ``kinface`` with these arguments."""
    return swinface.cli.main.run("kinface", "", kinface.cli.main.COMMANDS, [*map(str, arguments)])


def run_swinface(*arguments: object) -> int:
    """The exit status of ``swinface`` with these arguments."""
    return swinface.cli.main.run("swinface", "", swinface.cli.main.COMMANDS, [*map(str, arguments)])
