"""Do time and memory grow linearly? ``python benchmarks/growth.py``; ``--families 50000`` takes ten minutes.

Families are synthetic: parents, a son and a daughter, two photos of each. For each job and size, the table has CPU
seconds, microseconds per pair, which should be constant, and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.families import TABLES, Families, conform_all
from kinface.data.matching import match_pairs
from kinface.data.pairs import score_pairs
from kinface.data.sampling import draw_non_kin, sample_pairs
from kinface.data.triplets import sample_triplets
from kinface.fairness.audit import audit_fairness

PHOTOS, SIZE, THRESHOLD = 2, 512, 0.0
RELATIONS = ((1, 2, "spouse", None), (1, 3, "parent", "fs"), (1, 4, "parent", "fd"), (2, 3, "parent", "ms"))
RELATIONS += ((2, 4, "parent", "md"), (3, 4, "sibling", "sibs"))
GAPS = {"spouse": None, "parent": 1, "sibling": 0}


def draw_families(count: int) -> Families:
    """Families of two parents, a son and a daughter, of four races."""
    rng, family = np.random.default_rng(0), [f"F{number:05}" for number in range(count)]
    people = pd.DataFrame({"family": np.repeat(family, 4), "mid": np.tile([1, 2, 3, 4], count), "split": "val"})
    people = people.assign(
        person=people["family"] + "/MID" + people["mid"].astype(str),
        gender=np.tile(["m", "f", "m", "f"], count),
        race=np.repeat(rng.choice(["African", "Asian", "Caucasian", "Indian"], count, p=[0.1, 0.1, 0.7, 0.1]), 4),
        age=np.tile([50, 50, 20, 20], count) + rng.integers(0, 15, 4 * count),
        faces=PHOTOS,
    )
    faces = people.loc[people.index.repeat(PHOTOS)].reset_index(drop=True)
    photo = pd.Series(np.tile(range(PHOTOS), len(people))).astype(str)
    faces["face"] = "Validation/val-faces/" + faces["person"] + "/P" + photo + "_face0.jpg"
    parts = [
        pd.DataFrame({"family": family, "a": a, "b": b, "relation": name, "type": kind, "generation_gap": GAPS[name]})
        for a, b, name, kind in RELATIONS
    ]
    relations = pd.concat(parts, ignore_index=True).assign(split="val")
    for side in "ab":
        relations[f"person_{side}"] = relations["family"] + "/MID" + relations[side].astype(str)
    given = {"faces": faces, "people": people, "relations": relations}
    tables = {name: given.get(name, pd.DataFrame()).reindex(columns=[*columns]) for name, columns in TABLES.items()}
    return Families(Path(), **conform_all(tables))


def embed(families: Families) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(families.faces), SIZE)).astype(np.float32)


def score(pairs: pd.DataFrame, families: Families) -> pd.DataFrame:
    return score_pairs(pairs, families.faces["face"], embed(families))


# From families and pairs drawn of them to a table, the length of which is the work.
JOBS: dict[str, Callable[[Families, pd.DataFrame], pd.DataFrame]] = {
    "draw pairs": lambda families, pairs: sample_pairs(families, "val"),
    "draw triplets": lambda families, pairs: sample_triplets(families, "val"),
    "draw non-kin pairs": lambda families, pairs: draw_non_kin(pairs[pairs["kin"]]),
    "match pairs": lambda families, pairs: match_pairs(pairs, families, ["race", "type"])[0],
    "score pairs": lambda families, pairs: score(pairs, families),
    "audit": lambda families, pairs: audit_fairness(score(pairs, families), THRESHOLD).pairs,
}


def measure(job: str, count: int) -> str:
    families = draw_families(count)
    pairs = sample_pairs(families, "val")
    start = time.process_time()
    done = len(JOBS[job](families, pairs))
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{done:>9,} pairs {seconds:7.1f} s {1e6 * seconds / done:7.0f} us each, at most {memory:.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    parser.add_argument("--jobs", nargs="+", choices=[*JOBS], default=[*JOBS])
    options = parser.parse_args()
    for job in options.jobs:
        for count in options.families:
            with get_context("spawn").Pool(1) as pool:  # a process of its own has its own peak of memory
                found = pool.apply(partial(measure, job, count))
            print(f"{job:20} {count:>6,} families {found}", flush=True)


if __name__ == "__main__":
    main()
