"""What holds for the packages as a whole: layers, quick and silent imports, the commands of the README."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = ["disparity", "fairness", "findings", "fiw", "groups", "pairs", "plots", "prepare", "report",
                 "resampling", "synthetic"]  # fmt: skip


def imports_of(path: Path) -> set[str]:
    """Packages that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(json.loads(run.stdout))


def test_swinface_knows_nothing_of_kinship():
    for path in (ROOT / "swinface").glob("*.py"):
        assert "kinface" not in imports_of(path), path


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_analysis_of_bias_needs_no_torch(module):
    assert "torch" not in imports_of(ROOT / "kinface" / f"{module}.py")


def test_nor_does_anything_it_imports():
    loaded = modules_loaded_by(f"import {', '.join(f'kinface.{module}' for module in WITHOUT_TORCH)}")
    assert not {"torch", "lightning", "timm"} & loaded


@pytest.mark.parametrize("package", ["swinface", "kinface", "swinface.cli, kinface.cli"])
def test_imports_are_light_and_silent(package):
    loaded = modules_loaded_by(f"import {package}")
    assert not {"torch", "numpy", "pandas", "matplotlib", "jsonargparse"} & loaded - {"numpy"}


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line]


def test_the_readmes_commands_work(synthetic_families, tmp_path, monkeypatch):
    """As written, but on synthetic families in FIW's place and with a tiny model."""
    from kinface.cli import COMMANDS
    from swinface.cli import run

    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    Path("FIW").symlink_to(synthetic_families)
    commands = [command for command in readme_commands() if command[0] == "kinface" and command[1] != "verify"]
    assert {command[1] for command in commands} == {"prepare", "fit", "score", "report"}
    for _, *command in commands:
        if "embeddings.npz" in command and not Path("embeddings.npz").exists():
            faces = pd.read_parquet("tables/faces.parquet")["face"].to_numpy(str)
            np.savez("embeddings.npz", face=faces, embedding=np.random.default_rng(0).normal(size=(len(faces), 8)))
        if command[0] == "fit":
            command += ["--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"]
        assert run("kinface", "", COMMANDS, command) == 0, command
    assert Path("report/report.html").stat().st_size > 100_000
