"""How does the number of people that LEACE is fitted on change the class difference that it leaves on new people?

    python benchmarks/people.py --root TABLES --embeddings dlib_fiw.npz

TABLES is what ``kinface prepare`` made; only its training families are used, in nested folds (``kinface nest``). A
person is the mean of his or her faces, whitened by the covariance within classes of the fold's training people. If the
difference of two class means is estimated from n people, with n_eff = 1 / (1/n_1 + 1/n_2), its squared length m and d
numbers, an estimate's direction misses the share

    d / (d + n_eff m)

of the squared difference (cf. arXiv 2610.08069), which stays on new people. The table has the predicted and the
measured share on the held-out families, and how many people of each class would leave 5%.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

import kinface
from kinface.data.prepare import Prepared, nest_families
from kinface.leakage.leakage import average_people
from swinface.data.embeddings import Embeddings

PAIRS = (("race", "African", "Caucasian"), ("race", "Asian", "Caucasian"), ("gender", "f", "m"))
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the training people
DRAWS = 50
LEFT = 0.05


def find_difference(embedding: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The mean of the second class less that of the first."""
    return embedding[second].mean(axis=0) - embedding[~second].mean(axis=0)


def measure(train: np.ndarray, of_train: np.ndarray, held: np.ndarray, of_held: np.ndarray, seed: int) -> pd.DataFrame:
    """A row per share: people, and the share of the difference that is left, predicted and measured."""
    rng = np.random.default_rng(seed)
    centred = train - np.stack([train[of_train == side].mean(axis=0) for side in (False, True)])[of_train.astype(int)]
    variance, axes = np.linalg.eigh(np.cov(centred.T))
    whiten = axes / np.sqrt(variance)
    train, held = train @ whiten, held @ whiten
    d, n_eff = train.shape[1], 1 / (1 / of_train.sum() + 1 / (~of_train).sum())
    m = np.sum(find_difference(train, of_train) ** 2) - d / n_eff  # its own noise adds d / n_eff
    rows = []
    for share in SHARES:
        left, counts = [], []
        for _ in range(DRAWS):
            rows_of = [rng.permutation(np.flatnonzero(of_train == side)) for side in (False, True)]
            some = np.concatenate([each[: max(2, round(share * len(each)))] for each in rows_of])
            direction = find_difference(train[some], of_train[some])
            direction /= np.linalg.norm(direction)
            halves = rng.permutation(np.arange(len(held)) % 2).astype(bool)
            one, other = (find_difference(held[part], of_held[part]) for part in (halves, ~halves))
            # The product of two halves has no noise of its own in the mean.
            left.append([one @ other - (one @ direction) * (other @ direction), one @ other])
            counts.append([of_train[some].sum(), (~of_train[some]).sum()])
        first, second = np.mean(counts, axis=0)
        effective = 1 / (1 / first + 1 / second)
        kept, whole = np.mean(left, axis=0)
        rows.append(
            {
                "people": f"{min(first, second):.0f} + {max(first, second):.0f}",
                "share": share,
                "predicted": d / (d + effective * m),
                "measured": kept / whole,
                "for 5%": 2 * d * (1 / LEFT - 1) / m,
            }
        )
    return pd.DataFrame(rows)


def read_nested(about: str, *paths: str) -> tuple[argparse.Namespace, Embeddings, Iterator[Prepared]]:
    """Read the command line, with further options that are paths: the embeddings and the nested folds."""
    options = argparse.ArgumentParser(description=about.splitlines()[0])
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--embeddings", type=Path, required=True)
    options.add_argument("--folds", type=int, default=4)
    for name in paths:
        options.add_argument(name, type=Path, required=True)
    chosen = options.parse_args()
    return chosen, Embeddings(chosen.embeddings), nest_families(kinface.read_families(chosen.root), folds=chosen.folds)


def main() -> None:
    """Print the table, mean over folds."""
    _, table, folds = read_nested(__doc__)
    found = []
    for fold, prepared in enumerate(folds):
        faces = prepared.families.faces
        means, first = average_people(table[list(faces["face"])], faces["person"])
        people = prepared.families.people.set_index("person").loc[faces["person"].iloc[first]]
        for attribute, one, other in PAIRS:
            known = people[attribute].isin([one, other]).to_numpy()
            train, held = (known & (people["split"] == split).to_numpy() for split in ("train", "val"))
            second = (people[attribute] == other).to_numpy()
            measured = measure(means[train], second[train], means[held], second[held], fold)
            found.append(measured.assign(classes=f"{one}, {other}", fold=fold))
    found = pd.concat(found)
    columns = ["predicted", "measured", "for 5%"]
    shown = found.groupby(["classes", "share"], sort=False).agg({"people": "first"} | dict.fromkeys(columns, "mean"))
    print(shown.round(3).to_string())


if __name__ == "__main__":
    main()
