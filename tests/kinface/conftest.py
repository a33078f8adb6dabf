"""A tiny copy of FIW, sound until a test breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kinface.cli.prepare import prepare
from kinface.data.dataset import Dataset
from kinface.data.fiw import read_families
from kinface.data.pairs import check_pairs, write_pairs
from kinface.data.vocabulary import TYPES
from tests.pages import leave_pictures_blank

# Father, mother, daughter, son.
FAMILY = """MID,1,2,3,4,Name,Gender
1,0,5,4,4,member 1,m
2,5,0,4,4,member 2,F
3,1,1,0,2,member 3,f
4,1,1,2,0,member 4, male
"""


def face(family: str, mid: int, number: int = 0) -> str:
    """Path of an image in a folder of FIW."""
    return f"Train/train-faces/{family}/MID{mid}/P0000{number}_face0.jpg"


@pytest.fixture
def weak_mlp(monkeypatch):
    """The MLP that attacks is trained for a fifteenth of its steps, where its strength is not what is tested."""
    monkeypatch.setattr("kinface.leakage.attackers.ROUNDS", 1)


@pytest.fixture(scope="module")
def families(synthetic) -> Dataset:
    """The synthetic families, as prepared."""
    return read_families(synthetic)


@pytest.fixture
def shuffled(families) -> Dataset:
    """The synthetic families, with their rows in another order."""
    tables = ("faces", "people", "relations")
    return replace(families, **{name: getattr(families, name).sample(frac=1, random_state=1) for name in tables})


@pytest.fixture
def write_family() -> Callable:
    """Writes a family with two images per MID."""

    def write(
        root: Path, family: str, matrix: str | None = FAMILY, mids=(1, 2, 3, 4), part="Train/train-faces"
    ) -> None:
        folder = root / part / family
        folder.mkdir(parents=True)
        if matrix is not None:
            (folder / "mid.csv").write_text(matrix, encoding="utf-8")
        for mid in mids:
            (folder / f"MID{mid}").mkdir()
            for number in range(2):
                pixels = np.random.default_rng(mid).integers(0, 255, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"MID{mid}" / f"P0000{number}_face0.jpg")

    return write


@pytest.fixture
def write_annotations() -> Callable:
    """Writes an annotation file of face to its values."""

    def write(path: Path, table: dict[str, dict[str, str]]) -> None:
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame.from_dict(table, orient="index").rename_axis("face").to_csv(path)

    return write


@pytest.fixture
def root(tmp_path: Path, write_family: Callable) -> Path:
    """Four training families and two of validation, without a fault."""
    root = tmp_path / "fiw"
    for number in range(1, 5):
        write_family(root, f"F000{number}")
    for number in (5, 6):
        write_family(root, f"F000{number}", part="Validation/val-faces")
    return root


@pytest.fixture
def blank_pictures(request, monkeypatch) -> None:
    """Pictures of reports are blank, as drawing takes two thirds of a report's time, but for tests marked
    ``pictures``."""
    if request.node.get_closest_marker("pictures") is None:
        leave_pictures_blank(monkeypatch)


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """Reports have their numbers and words without the figures of the groups, which take half of a report's time."""
    monkeypatch.setattr("kinface.report.build._draw", lambda audit, changes: {})


@pytest.fixture
def draw_scored() -> Callable:
    """Draws a scored pairs table whose families matter to the scores.

    ``shift`` moves the scores of kin pairs of a race, ``digits`` rounds scores so that they tie, ``prefix`` keeps two
    tables apart.
    """

    def draw(count=1500, families=60, seed=0, shift=None, digits=6, prefix="F", family_effect=0.3) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        race = rng.choice(["African", "Asian", "Caucasian"], families, p=[0.25, 0.25, 0.5])
        effect = rng.normal(0, family_effect, families)
        kin = np.arange(count) % 2 == 0
        a = rng.integers(families, size=count)
        b = np.where(kin, a, (a + rng.integers(1, families, size=count)) % families)
        planted = np.array([(shift or {}).get(name, 0.0) for name in race])
        code = rng.choice(list(TYPES), count)
        score = kin * (1 + planted[a]) + effect[a] + effect[b] + rng.normal(0, 1, count)
        table = {
            "type": code,
            "kin": kin,
            "race_source": "drawn",
            "gender_source": "drawn",
            "split": prefix,
            "list": "drawn",
            "score": score.round(digits),
        }
        for side, family in (("a", a), ("b", b)):
            table[f"face_{side}"] = [f"{prefix}/{side}{row}.jpg" for row in range(count)]
            table[f"person_{side}"] = [f"{prefix}{number}/MID_{side}" for number in family]
            table[f"family_{side}"] = [f"{prefix}{number}" for number in family]
            table[f"race_{side}"] = race[family]
            table[f"gender_{side}"] = [getattr(TYPES[name], f"gender_{side}") for name in code]
        return check_pairs(pd.DataFrame(table), "drawn", scored=True)

    return draw


@pytest.fixture
def lists(draw_scored, tmp_path) -> tuple[Path, Path]:
    """A scored list and validation pairs of other families."""
    scores, validation = tmp_path / "scores.parquet", tmp_path / "validation.parquet"
    write_pairs(draw_scored(1500, shift={"African": -1.2}), scores)
    write_pairs(draw_scored(600, seed=1, prefix="V"), validation)
    return scores, validation


@pytest.fixture(scope="session")
def synthetic(synthetic_families) -> Path:
    """Tables of the synthetic families, as ``kinface prepare`` writes them; the images lie beside."""
    tables = synthetic_families.parent / "tables"
    prepare(synthetic_families, out=tables, tune=0.3)
    return tables
