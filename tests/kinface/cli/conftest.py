"""Families to sweep over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kinface.data.families import TABLES, Families, conform, write_tables
from kinface.data.pairs import write_pairs
from kinface.data.sampling import sample_pairs
from kinface.experiments.runner import carry_out
from swinface.data.embeddings import write_embeddings

SPLITS = {"train": 12, "tune": 9, "val": 18}  # families
RACES = ("African", "Asian", "Caucasian")
RELATIONS = (("fs", 1, 3), ("fd", 1, 4), ("ms", 2, 3), ("md", 2, 4), ("sibs", 3, 4))


@pytest.fixture(scope="session")
def embedded_families(tmp_path_factory) -> Path:
    """The tables of families without images, and embeddings that show family, race and gender."""
    root = tmp_path_factory.mktemp("families")
    of_family = [(split, number) for split, count in SPLITS.items() for number in range(count)]
    people, relations = [], []
    for place, (split, number) in enumerate(of_family):
        family = f"F{place:04}"
        shared = {"family": family, "split": split, "race": RACES[number % 3], "race_source": "drawn"}
        people += [
            {"person": f"{family}/MID{mid}", "mid": mid, "gender": "mfmf"[mid - 1], "gender_source": "drawn", **shared}
            for mid in (1, 2, 3, 4)
        ]
        relations += [
            {"person_a": f"{family}/MID{a}", "person_b": f"{family}/MID{b}", "type": code, **shared}
            for code, a, b in RELATIONS
        ]
    people, relations = pd.DataFrame(people).assign(faces=2), pd.DataFrame(relations)
    faces = pd.concat([people.assign(face=people["person"] + f"/{number}.jpg") for number in range(2)])
    tables = {"faces": faces, "people": people, "relations": relations, "problems": None, "annotations": None}
    tables = {name: pd.DataFrame(table, columns=[*TABLES[name]]) for name, table in tables.items()}
    families = Families(root, **{name: conform(table, name) for name, table in tables.items()})
    write_tables(families, root, {})
    write_pairs(sample_pairs(families, "tune"), root / "pairs.parquet")
    write_pairs(sample_pairs(families, "val"), root / "list.parquet")
    random = np.random.default_rng(0)
    codes = pd.factorize(faces["family"])[0]
    embedding = random.normal(size=(len(of_family), 8))[codes] + 0.5 * random.normal(size=(len(faces), 8))
    embedding[:, 0] += 2 * pd.factorize(faces["race"])[0]
    embedding[:, 1] += 2 * (faces["gender"] == "m")
    write_embeddings(root / "embeddings.npz", [*faces["face"]], embedding)
    return root


@pytest.fixture(scope="module")
def here():
    """Runs in this process, one after the other."""

    def carry_out_here(jobs, devices, tell):
        for job in jobs:
            job.write()
            carry_out(job.folder, job.out, job.protocol)
            tell(job, None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kinface.experiments.sweep.carry_out_all", carry_out_here)
        yield
