"""What holds for the packages as a whole: layers, quick and silent imports, the commands of the README."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
# The rooms of each package, from the ground up: a file imports from its own room and from those below.
ROOMS = {
    "swinface": ["files", "tasks", "metrics", "bootstrap", "data", "pretrained", "mlca", "model", "checkpoint",
                 "attention", "recognition", "photos", "export", "benchmarks", "training", "cli"],
    "kinface": ["data", "fairness", "leakage", "report", "synthetic", "debias", "models", "training", "experiments",
                "cli"],
}  # fmt: skip
WITHOUT_TORCH = ["data", "fairness", "leakage", "report", "synthetic"]  # rooms of kinface
# What the README's commands are given besides, to be quick; a command that is not here needs other data.
QUICK = {
    **{name: [] for name in ("prepare", "score", "report", "pairs", "embed", "export")},
    "fit": ["--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"],
    "probe": ["--folds", "2", "--resamples", "100", "--kind", "linear"],
    "sweep": ["--workers", "1", "--resamples", "100", "--probe-seeds", "1"],
}


def modules_of(package: str) -> dict[str, Path]:
    """Module name to file."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


MODULES = modules_of("swinface") | modules_of("kinface")


def imports_of(path: Path) -> set[str]:
    """Modules that a file imports anywhere in it, also within functions; of ours the one that a name comes from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{name.name}" for name in node.names}
            found |= (within & MODULES.keys()) or {node.module}
    return found


GRAPH = {module: imports_of(path) & MODULES.keys() for module, path in MODULES.items()}


def room_of(module: str) -> str:
    return (module.split(".")[1:] or [""])[0]


def modules_loaded_by(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return set(json.loads(run.stdout))


def test_swinface_knows_nothing_of_kinship():
    assert not [module for module in GRAPH if module.startswith("swinface") and "kinface" in str(GRAPH[module])]


def test_no_import_goes_round_in_a_circle():
    assert [*TopologicalSorter(GRAPH).static_order()]  # raises CycleError, which names the circle


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_from_one_above(package):
    order = ROOMS[package]
    assert {room_of(module) for module in MODULES if module.startswith(f"{package}.")} == {*order}
    upward = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if module.startswith(f"{package}.") and other.startswith(f"{package}.")
        if order.index(room_of(other)) > order.index(room_of(module))
    ]
    assert not upward


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_the_analysis_of_bias_needs_no_torch(room):
    modules = [module for module in MODULES if module.startswith(f"kinface.{room}")]
    assert not [module for module in modules if "torch" in {name.split(".")[0] for name in imports_of(MODULES[module])}]


def test_nor_does_anything_it_imports():
    modules = [module for module in MODULES if module.split(".")[0] == "kinface" and room_of(module) in WITHOUT_TORCH]
    assert not {"torch", "lightning", "timm"} & modules_loaded_by(f"import {', '.join(modules)}")


@pytest.mark.parametrize("package", ["swinface", "kinface"])
def test_every_public_name_is_there(package):
    module = import_module(package)
    assert module.__all__ == dir(module)
    for name in module.__all__:
        assert getattr(module, name).__doc__ or name == "TASKS"


def test_an_installed_package_has_every_room():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {*listed} == {module for module, path in MODULES.items() if path.name == "__init__.py"} | {"kinface.configs"}


@pytest.mark.parametrize("package", ["swinface", "kinface", "swinface.cli.main, kinface.cli.main"])
def test_imports_are_light_and_silent(package):
    loaded = modules_loaded_by(f"import {package}")
    assert not {"torch", "numpy", "pandas", "matplotlib", "jsonargparse"} & loaded - {"numpy"}


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line]


def shrink_ablation(path: Path) -> Path:
    """Its first two methods, of one lambda and one seed, in two steps."""
    ablation = yaml.safe_load(path.read_text(encoding="utf-8"))
    methods = dict(list(ablation["methods"].items())[:2])
    for method in methods.values():
        if "strengths" in method:
            method["strengths"] = method["strengths"][:1]
    ablation |= {"seeds": [0], "references": [next(iter(methods))], "methods": methods}
    ablation["base"]["trainer"] |= {"max_epochs": 2, "accelerator": "cpu"}
    ablation["base"]["data"] |= {"batch_size": 4, "steps": 2}
    Path(path.name).write_text(yaml.safe_dump(ablation, sort_keys=False), encoding="utf-8")
    return Path(path.name)


def test_the_readmes_commands_work(tmp_path, monkeypatch):
    """As written, but on synthetic families in FIW's place, with tiny models and few probes."""
    from kinface.cli.main import COMMANDS
    from kinface.synthetic.families import synthesize
    from swinface.cli.main import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    Path("configs").symlink_to(ROOT / "configs")
    synthesize(Path("FIW"), families=48, photos=1.5, seed=1)  # two races have the 5 families in val that probes need
    commands = [
        line[1:] for line in readme_commands() if line[0] == "kinface" and line[1] not in ("verify", "kinfacew")
    ]
    assert {name for name, *_ in commands} == {*QUICK}
    for name, *options in commands:
        if "embeddings.npz" in options and not Path("embeddings.npz").exists():
            faces = pd.read_parquet("tables/faces.parquet")["face"].to_numpy(str)
            np.savez("embeddings.npz", face=faces, embedding=np.random.default_rng(0).normal(size=(len(faces), 8)))
        if name == "sweep":
            options[0] = str(shrink_ablation(Path(options[0])))
        assert run("kinface", "", COMMANDS, [name, *options, *QUICK[name]]) == 0, [name, *options]
        written = Path(options[options.index("--out") + 1]) if "--out" in options else Path("runs")
        assert written.is_file() or any(written.iterdir()), [name, *options]
    assert Path("report/report.html").stat().st_size > 100_000
