"""The recipes run as they are written, on synthetic families in FIW's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kinface
from kinface.synthetic.families import synthesize
from tests.commands import run_kinface

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MOST_LINES = 40


def run(name: str, *options: object, folder: Path) -> str:
    """What a recipe prints; it runs in ``folder``, with the commands of this interpreter's environment."""
    program = sys.executable if name.endswith(".py") else "bash"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    command = [program, str(RECIPES / name), *map(str, options)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """What ``kinface prepare`` makes of so many families that two races have the five in val that probes need."""
    folder = tmp_path_factory.mktemp("prepared") / "tables"
    synthesize(folder.parent / "FIW", families=48, photos=1.5, seed=1)
    assert run_kinface("prepare", folder.parent / "FIW", "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory, tables) -> Path:
    faces = kinface.read_families(tables).faces["face"].to_numpy(str)
    path = tmp_path_factory.mktemp("embedded") / "embeddings.npz"
    np.savez(path, face=faces, embedding=np.random.default_rng(0).normal(size=(len(faces), 8)))
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.iterdir()), ids=lambda path: path.name)
def test_a_recipe_is_short(path):
    assert path.name == "findings.sh" or len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_two_photos(synthetic_families, tmp_path):
    photos = sorted((synthetic_families / "Validation").rglob("*.jpg"))[:2]
    *faces, answer = run("photo.py", "--aligned", *photos, folder=tmp_path).splitlines()
    assert [line.startswith(f"{photo}: age ") for line, photo in zip(faces, photos, strict=True)] == [True, True]
    assert answer.startswith(("kin: score ", "not kin: score "))


def test_an_eraser_of_ones_own_has_a_row(tables, embeddings, tmp_path):
    printed = run("new_eraser.py", embeddings, tables, folder=tmp_path).splitlines()
    assert [line.split()[0] for line in printed[-4:]] == ["method", "none", "mine", "leace"]


@pytest.mark.slow
def test_a_recogniser_is_audited(tables, embeddings, tmp_path):
    printed = run("own_recogniser.py", embeddings, tables, "report.html", folder=tmp_path)
    assert "significant" in printed and "leaks" in printed
    assert "My recogniser" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_copy_of_fiw_becomes_a_report(synthetic_families, tmp_path):
    run("fiw_to_report.sh", synthetic_families, "out", folder=tmp_path)
    assert (tmp_path / "out" / "report" / "report.html").exists()
