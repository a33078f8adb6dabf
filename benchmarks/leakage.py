"""False alarms and coverage of ``kinface probe``, and its time: ``python benchmarks/leakage.py [SETS]``.

Members of a drawn family share a race and a look. In "nothing" the features do not depend on race: probes find leakage
in at most 5% of the sets. In "something" they do: 95% intervals contain the mean over all sets in 95% of the sets.
In "few", two of the races have the smallest number of families that is audited; in "uneven", most faces belong to a few
families. Then 16,000 faces of 512 numbers are timed, race and gender; the target on two cores is 90 seconds with all
attackers.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.cli.probe import probe
from kinface.leakage.attackers import ATTACKERS
from kinface.leakage.leakage import probe_leakage
from kinface.leakage.probes import PROBES
from swinface.data.embeddings import write_embeddings

RACES = ("African", "Asian", "Caucasian")
SHAPES = {"many": ((17, 17, 80), False), "few": ((5, 5, 30), False), "uneven": ((17, 17, 80), True)}
NUMBERS = 16


def draw_faces(families: Sequence[int], uneven: bool, strength: float, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Features that depend on family and person, and on race by ``strength``; and whose features they are."""
    rng = np.random.default_rng(seed)
    race = np.repeat(np.arange(len(families)), families)
    people = 2 + rng.poisson(2, len(race))
    if uneven:
        people[rng.random(len(race)) < 0.1] *= 10
    family = np.repeat(np.arange(len(race)), people)
    person = np.repeat(np.arange(len(family)), 1 + rng.poisson(2, len(family)))
    look = rng.normal(size=(len(race), NUMBERS)) + strength * np.eye(NUMBERS)[race]
    features = look[family[person]] + rng.normal(size=(len(family), NUMBERS))[person]
    features += rng.normal(size=(len(person), NUMBERS))
    described = {"person": person.astype(str), "family": family[person].astype(str)}
    return features, pd.DataFrame(described | {"race": np.array(RACES)[race[family[person]]]})


def check(shape: str, strength: float, sets: int, probe: str) -> str:
    """Measure many sets: how often leakage is found, or, if there is some, how often intervals contain the mean."""
    found = []
    for seed in range(sets):
        features, people = draw_faces(*SHAPES[shape], strength, seed)
        given = {"persons": people["person"], "attribute": "race", "seed": seed, "kinds": [probe]}
        given |= {"codelength": False, "permutations": 0 if strength else 5}
        found.append(probe_leakage(features, people["race"], people["family"], **given).table)
    table = pd.concat(found)
    mean, low, high = (table["balanced_accuracy" + end] for end in ("", "_low", "_high"))
    text = f"{probe:>6}, {shape:>6}, {'something' if strength else 'nothing':>9}: balanced accuracy {mean.mean():.3f}"
    held = ((low <= mean.mean()) & (mean.mean() <= high)).mean()
    text += f", contained in {held:.1%} of intervals, {(high - low).mean():.3f} wide"
    if strength:
        return text
    without = 1 - table["chance"].between(low, high).mean()
    beyond = 1 - mean.between(table["permuted_low"], table["permuted_high"]).mean()
    return f"{text}; without chance {without:.1%}, beyond permuted {beyond:.1%}, found {table['leaks'].mean():.1%}"


def time_probe(kinds: Sequence[str]) -> str:
    rng = np.random.default_rng(0)
    family = np.sort(rng.integers(0, 570, 16_000))
    person = family * 10 + rng.integers(0, 6, len(family))
    race, gender = rng.choice(RACES, 570, p=[0.15, 0.25, 0.6])[family], np.array(["f", "m"])[person % 2]
    people = {"face": [f"{row}.jpg" for row in range(len(family))], "person": person, "family": family}
    features = rng.normal(size=(len(family), 512)) + 0.1 * (gender == "f")[:, None]
    with tempfile.TemporaryDirectory() as folder:
        embeddings, table = Path(folder, "embeddings.npz"), Path(folder, "people.csv")
        write_embeddings(embeddings, people["face"], features)
        pd.DataFrame(people | {"race": race, "gender": gender}).to_csv(table, index=False)
        start = time.perf_counter()
        probe(embeddings, people=table, attribute=["race", "gender"], kind=[*kinds], out=Path(folder, "audit"))
    return f"16,000 faces of 512 numbers, race and gender, {', '.join(kinds)}: {time.perf_counter() - start:.0f} s"


def main() -> None:
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for kind, count in zip(PROBES, (sets, sets // 4), strict=True):  # an MLP takes 40 times as long
        for shape in SHAPES:
            for strength in (0.0, 1.5):
                print(check(shape, strength, count, kind), f"({count} sets)", flush=True)
    for kinds in (PROBES, ATTACKERS.names()):
        print(time_probe(kinds), flush=True)


if __name__ == "__main__":
    main()
