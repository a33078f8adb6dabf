"""Fixtures for tests on real data. They skip, and say why, where it is not at hand."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch

import kinface
import swinface
from kinface.synthetic.families import synthesize
from swinface.cores import count_cores

# Where converted networks are kept, for all processes of the tests; the hub's package reads it when it is imported.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["HF_ASSETS_CACHE"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["HF_ASSETS_CACHE"], ignore_errors=True)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(path: Path, what: str) -> Path:
    if not path.is_dir():
        pytest.skip(f"no {what} at {path}; set KINFACE_DATA to a folder that holds the data sets.")
    return path


def pytest_xdist_auto_num_workers() -> int:
    """One process for each core that is free to us; each takes about 1.5 GB."""
    return min(count_cores(), 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Examples of public names run in an empty namespace, as where they are pasted, not in that of their module."""
    examples = [item for item in items if isinstance(item, pytest.DoctestItem)]
    if examples:
        public = (getattr(package, name) for package in (kinface, swinface) for name in package.__all__)
        names = tuple(f"{it.__module__}.{it.__qualname__}." for it in public if hasattr(it, "__qualname__"))
        for item in examples:
            if f"{item.name}.".startswith(names):
                item.dtest.globs = {"__name__": "__main__"}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Each test draws the same numbers with torch, whatever ran before it."""
    torch.manual_seed(0)


KEPT: set[str] = set()  # names of modules that no test wrote


@pytest.fixture(autouse=True)
def forget_own_modules(tmp_path_factory):
    """Modules of a test's own folder are imported anew by the next test that writes one of the same name."""
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - KEPT:
        if str(getattr(sys.modules[name], "__dict__", {}).get("__file__")).startswith(written):
            del sys.modules[name]
        else:
            KEPT.add(name)


@pytest.fixture(scope="session")
def tries(pytestconfig) -> int:
    """How many malformed inputs a reader is tried with."""
    return 20 if pytestconfig.getoption("markexpr") == "not slow" else 60


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with ``fiw/`` and ``teacher/``: real, licensed data that never enters the repository."""
    return _folder(Path(os.environ.get("KINFACE_DATA", SHARED / "data")), "real data")


@pytest.fixture(scope="session")
def shared_parity() -> Path:
    """Folder with what the authors' own SwinFace answers on made-up weights."""
    data = os.environ.get("KINFACE_DATA")
    return _folder(Path(data).parent / "parity" if data else SHARED / "parity", "parity kit")


@pytest.fixture(scope="session")
def synthetic_families(tmp_path_factory) -> Path:
    """24 synthetic families in the layout of FIW."""
    root = tmp_path_factory.mktemp("synthetic") / "families"
    synthesize(root, families=24, photos=2.0, seed=1)
    return root
