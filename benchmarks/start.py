"""How long commands take to start: ``python benchmarks/start.py [--photos A.jpg B.jpg]``.

For the help of every command, and with two photos for ``kinface verify`` and ``swinface predict`` from start to result:
processor time in seconds, the number of imported modules, and the slow ones among them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import kinface.cli.main
import swinface.cli.main

SLOW = (
    "torch",
    "timm",
    "lightning",
    "sklearn",
    "pandas",
    "matplotlib",
    "jsonargparse",
    "onnxruntime",
    "scipy.optimize",
)
CALL = """
import atexit, json, sys
from {program}.cli.main import main
sys.argv = {arguments!r}
atexit.register(lambda: open({out!r}, "w").write(json.dumps([*sys.modules])))
main()
"""


def start(program: str, *arguments: str) -> tuple[float, list[str]]:
    """Processor time of a command, and the modules it imported."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "modules.json"))
        code = CALL.format(program=program, arguments=[program, *arguments], out=out)
        before = _count_children()
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
        return _count_children() - before, json.loads(Path(out).read_text())


def _count_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", nargs=2, default=[], metavar=("A", "B"))
    photos = options.parse_args().photos
    calls = [
        (program, name, "--help")
        for program, commands in (("kinface", kinface.cli.main.COMMANDS), ("swinface", swinface.cli.main.COMMANDS))
        for name in commands
    ]
    if photos:
        calls += [("kinface", "verify", *photos), ("swinface", "predict", photos[0])]
    for call in calls:
        seconds, modules = start(*call)
        slow = " ".join(name for name in SLOW if name in modules)
        print(f"{seconds:6.2f} s {len(modules):6} modules  {' '.join(call):50} {slow}", flush=True)


if __name__ == "__main__":
    main()
