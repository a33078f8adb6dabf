"""What do wrong labels do to erasure, and to the audit of it?

    python benchmarks/label_noise.py --root TABLES --embeddings dlib_fiw.npz

TABLES is what ``kinface prepare`` made; only its training families are used, in nested folds (``kinface nest``).
Some of the people get a wrong label: those that LEACE is fitted on, those that are audited, or both. A linear probe of
the held-out families reads the attribute; the table has its balanced accuracy, mean over folds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from people import read_nested

from kinface.debias.leace import Leace
from kinface.leakage.leakage import probe_leakage

SHARES = (0.0, 0.05, 0.1, 0.2)
CLASSES = {"race": ["African", "Asian", "Caucasian"], "gender": ["f", "m"]}
QUICK = {"kinds": ["linear"], "seeds": 1, "resamples": 100, "permutations": 0, "codelength": False}


def spoil(labels: pd.Series, share: float, classes: list[str], seed: int) -> pd.Series:
    """The labels of people, of which a share is another class; those of no listed class become unknown."""
    rng = np.random.default_rng(seed)
    codes = pd.Index(classes).get_indexer(labels)
    wrong = (codes >= 0) & (rng.random(len(codes)) < share)
    codes[wrong] = (codes[wrong] + rng.integers(1, len(classes), wrong.sum())) % len(classes)
    return pd.Series(np.where(codes >= 0, np.array(classes, dtype=object)[codes], None), index=labels.index)


def main() -> None:
    """Print the table."""
    _, table, folds = read_nested(__doc__)
    found = []
    for fold, prepared in enumerate(folds):
        faces = prepared.families.faces.reset_index(drop=True)
        people = prepared.families.people.set_index("person")
        embedding = table[list(faces["face"])]
        embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        weight = 1 / faces.groupby("person")["face"].transform("size").to_numpy()
        train, held = ((faces["split"] == split).to_numpy() for split in ("train", "val"))
        for attribute, classes in CLASSES.items():
            for share in SHARES:
                wrong = spoil(people[attribute], share, classes, fold).reindex(faces["person"]).to_numpy(object)
                right = spoil(people[attribute], 0, classes, fold).reindex(faces["person"]).to_numpy(object)
                cases = {"erasure": (wrong, right), "audit": (right, wrong), "both": (wrong, wrong)}
                for what, (fitted, audited) in cases.items():
                    leace = Leace().fit(embedding[train], fitted[train], sample_weight=weight[train])
                    given = {"persons": faces["person"][held], "attribute": attribute, **QUICK}
                    erased = leace.transform(embedding[held])
                    leakage = probe_leakage(erased, audited[held], faces["family"][held], **given)
                    accuracy = leakage.table["balanced_accuracy"][0]
                    found.append({"attribute": attribute, "wrong": share, "labels of": what, "read": accuracy})
    shown = pd.DataFrame(found).pivot_table("read", ["attribute", "wrong"], "labels of", sort=False)
    print(shown.round(3).to_string())


if __name__ == "__main__":
    main()
