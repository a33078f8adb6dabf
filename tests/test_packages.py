"""What holds for the packages as a whole: rooms, quick and silent imports, public names."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import kinface.cli.main
import swinface.cli.main
from swinface.cli.main import Options

ROOT = Path(__file__).resolve().parents[1]
# The rooms of each package, from the ground up: a file imports from its own room and from those below.
ROOMS = {
    "swinface": ["choices", "cores", "files", "images", "registry", "mistakes", "settings", "tasks", "metrics",
                 "bootstrap", "data", "pretrained", "mlca", "trunk", "swin", "model", "checkpoint", "inference",
                 "runtimes", "attention", "recognition", "photos", "export", "benchmarks", "training", "cli"],
    "kinface": ["data", "fairness", "leakage", "report", "synthetic", "debias", "tradeoff", "models", "training",
                "experiments", "web", "cli"],
}  # fmt: skip
SLOW = {
    "torch",
    "timm",
    "lightning",
    "sklearn",
    "scipy.stats",
    "scipy.optimize",
    "matplotlib",
    "jsonargparse",
}  # to import
WITHOUT_TORCH = ["data", "fairness", "leakage", "report", "synthetic", "tradeoff"]  # rooms of kinface


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


@pytest.mark.parametrize("extra", ["fast", "notebooks", "onnx", "photos", "teacher"])
def test_an_extra_brings_all_that_it_needs(extra):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "kinface[models]" in extras[extra]


def test_the_help_of_a_command_imports_nothing_slow():
    """Of all whose options are their signature; the others read configurations, which name classes."""
    commands = [*swinface.cli.main.COMMANDS.values(), *kinface.cli.main.COMMANDS.values()]
    modules = [command.place.partition(":")[0] for command in commands if command.options is Options.SIGNATURE]
    assert len(modules) > 25
    assert not SLOW & modules_loaded_by(f"import {', '.join(modules)}")


def test_two_photos_are_compared_without_tables_and_erasers():
    loaded = modules_loaded_by("import kinface.models.verify, kinface.models.inference")
    assert not (SLOW | {"pandas", "pyarrow"}) - {"torch", "timm"} & loaded
    ours = {module for module in loaded if module.startswith("kinface.")}
    assert len(ours) <= 12, sorted(ours)


def test_faces_are_described_without_tables_and_training():
    loaded = modules_loaded_by("import swinface.cli.predict, swinface.photos.predict, swinface.runtimes")
    assert not (SLOW | {"pandas", "pyarrow", "onnx", "onnxruntime", "openvino"}) - {"torch", "timm"} & loaded


@pytest.mark.parametrize("package", ["swinface", "kinface", "swinface.cli.main, kinface.cli.main"])
def test_imports_are_light_and_silent(package):
    loaded = modules_loaded_by(f"import {package}")
    assert not {"torch", "numpy", "pandas", "matplotlib", "jsonargparse"} & loaded - {"numpy"}
