"""People and features that show their race by as much as a test wants."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.leakage.leakage import Leakage, probe_leakage

QUICK = {"seeds": 1, "folds": 3, "resamples": 100, "codelength": False, "permutations": 0, "kinds": ["linear"]}


def probe(features: np.ndarray, people: pd.DataFrame, attribute: str, **options: object) -> Leakage:
    labels, families = people[attribute], people["family"]
    return probe_leakage(features, labels, families, persons=people["person"], attribute=attribute, **options)


def draw_people(families=36, people=4, photos=2, races=3) -> pd.DataFrame:
    """A race per family, genders in turn, and ``number``, which face it is."""
    person = np.repeat(np.arange(families * people), photos)
    race, gender = np.array(["African", "Asian", "Caucasian"])[person // people % races], np.array(["f", "m"])
    table = {"person": [f"P{it}" for it in person], "family": [f"F{it // people}" for it in person]}
    return pd.DataFrame(table | {"race": race, "gender": gender[person % 2], "number": np.arange(len(person))})


def draw_noise(faces: int, numbers: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(faces, numbers)).astype(np.float32)


def plant(people: pd.DataFrame, strength: float) -> np.ndarray:
    """Race, one number each, in noise."""
    features = draw_noise(len(people))
    features[:, :3] += strength * pd.get_dummies(people["race"]).to_numpy(float)
    return features


def codes_of(people: pd.DataFrame, attribute: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and families as whole numbers."""
    return tuple(np.unique(people[column], return_inverse=True)[1] for column in (attribute, "family"))
