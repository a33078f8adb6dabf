"""Matlab's files, read in a process of their own: damaged bytes make scipy crash, which no exception reports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from swinface.files import InputError

READER = """
import json, sys
from scipy.io import loadmat
for line in sys.stdin:
    content = loadmat(json.loads(line), variable_names=sys.argv[1:], simplify_cells=True)
    found = {name: value for name, value in content.items() if not name.startswith("__")}
    print(json.dumps(found, default=lambda array: array.tolist()), flush=True)
"""


def read_matlab(files: Iterable[Path], variables: Sequence[str], what: str) -> Iterator[dict[str, Any]]:
    """Read some variables of Matlab files: arrays and cells as lists, without axes of length 1, structures as dicts.

    Yields of each file those of the variables that it has, by name. Raises ``InputError``, which names the file and
    ``what`` it should be, if one is missing or damaged, or has no such variable.
    """
    with subprocess.Popen(
        [sys.executable, "-c", READER, *variables],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as reader:
        for file in files:
            try:
                print(json.dumps(str(file)), file=reader.stdin, flush=True)
                found = json.loads(reader.stdout.readline())
            except (OSError, ValueError) as error:  # the process has ended
                reader.kill()
                reason = (reader.stderr.read().strip().splitlines() or ["the reader crashed"])[-1]
                raise refuse_matlab(file, what, reason) from error
            if not found:
                raise refuse_matlab(file, what, f"it has no {' or '.join(variables)}")
            yield found


def refuse_matlab(file: Path, what: str, reason: object) -> InputError:
    """The error of a file with other content than it should have."""
    return InputError(f"{file}: not {what} ({reason}); use the authors' file.")
