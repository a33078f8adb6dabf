"""Upper bounds on the leakage of an embedding that is quantised to a few cells, and the kinship that is kept.

    python benchmarks/bound.py --root TABLES --list FIW/lists/val_choose.txt --embeddings shipped.npz debiased.npz

TABLES is what ``kinface prepare`` made, and the embeddings are of ``kinface embed --root TABLES``. Cells are the
nearest of M centroids (k-means) of the training people's faces, and kinship is scored by the cosine of two centroids.
The table has the AUC of the matched list of the validation families, and for each attribute the bound of
``kinface.leakage.bounds`` with its 95% upper limit; the last row of each model is the embedding itself, which has no
bound.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import roc_auc_score

import kinface
from kinface.leakage.bounds import bound_attackers
from kinface.tradeoff.measure import Protocol, draw_lists
from swinface.data.embeddings import Embeddings

CELLS = (4, 16, 64, 256)


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--list", type=Path, required=True)
    options.add_argument("--embeddings", type=Path, nargs="+", required=True)
    chosen = options.parse_args()
    families = kinface.read_families(chosen.root)
    faces = families.faces[["face", "person", "family", "split"]]
    faces = faces.merge(families.people[["person", "race", "gender"]], on="person")
    faces["race"] = faces["race"].where(faces["race"].isin(["African", "Asian", "Caucasian"]))
    train, held = (faces[faces["split"] == split] for split in ("train", "val"))
    weight = 1 / train.groupby("person")["face"].transform("size")
    lists, _ = draw_lists(families.pairs(chosen.list), families, Protocol())
    matched = lists["matched"]
    rows = []
    for path in chosen.embeddings:
        table = Embeddings(path)
        fitted, given = (table[[*part["face"]]] for part in (train, held))
        for count in (*CELLS, None):
            row, shown = {"model": path.stem, "cells": count or "embedding"}, given
            if count is not None:
                means = MiniBatchKMeans(count, n_init=3, random_state=0).fit(fitted, sample_weight=weight)
                cells = means.predict(given)
                shown = means.cluster_centers_[cells]
                shown = shown / np.linalg.norm(shown, axis=1, keepdims=True)
            scored = kinface.score(matched, shown, held["face"])
            row["AUC, matched"] = f"{roc_auc_score(scored['kin'], scored['score']):.3f}"
            for name in ("race", "gender") if count is not None else ():
                bound = bound_attackers(cells, held[name], held["family"])
                row[name] = f"{bound['accuracy']:.3f}, {bound['accuracy_high']:.3f}"
            rows.append(row)
    print(pd.DataFrame(rows).fillna("").to_string(index=False))


if __name__ == "__main__":
    main()
