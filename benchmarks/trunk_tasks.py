"""What does removing race and gender from a kinship model's trunk cost other tasks?

    python benchmarks/trunk_tasks.py --data DATA --root TABLES --models shipped shipped-debiased

DATA holds RAF-DB, UTKFace and CelebA, TABLES is what ``kinface prepare`` made. Of each trunk, that of SwinFace first,
the levels are averaged over places. Ridge regressions on them predict expression, age, gender and
attributes, in five folds of images. For identity, the cosine of standardised levels tells the same person from others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifier, RidgeCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kinface
from kinface.models.faces import read_faces
from swinface.benchmarks.verification import auc_of_same_person
from swinface.data.datasets import CelebA, RafDb, UTKFace
from swinface.data.faces import scale_pixels
from swinface.data.labels import ATTRIBUTES
from swinface.model import SwinFace
from swinface.trunk import Trunk

MOST = 3000  # images of a set
FOLDS = 5


@torch.inference_mode()
def describe(trunk: Trunk, images: torch.Tensor) -> np.ndarray:
    """(N, channels), the levels' mean over places of (N, 3, 112, 112) uint8 images."""
    return np.concatenate([trunk(scale_pixels(part))[0].mean(dim=(2, 3)).numpy() for part in images.split(256)])


def read_some(source) -> tuple[torch.Tensor, pd.DataFrame]:
    """Some images of a set, and their labels."""
    rows = np.sort(np.random.default_rng(0).permutation(len(source.table))[:MOST])
    images = np.stack([source.read(row) for row in rows])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), source.table.iloc[rows].reset_index(drop=True)


def classify(features: np.ndarray, labels: pd.Series) -> float:
    """Balanced accuracy, in percent."""
    known = labels.notna().to_numpy()
    model = make_pipeline(StandardScaler(), RidgeClassifier(300.0, class_weight="balanced"))
    truth = labels[known].astype(int)
    return 100 * balanced_accuracy_score(truth, cross_val_predict(model, features[known], truth, cv=FOLDS))


def estimate(features: np.ndarray, values: pd.Series) -> float:
    """Mean absolute error."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
    return float(np.abs(cross_val_predict(model, features, values, cv=FOLDS) - values).mean())


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--models", nargs="+", default=["shipped", "shipped-debiased"])
    chosen = options.parse_args()
    families = kinface.read_families(chosen.root)
    faces = families.faces[families.faces["split"] == "val"]
    trunks = {"SwinFace": SwinFace.from_pretrained("shipped").eval().trunk}
    trunks |= {name: kinface.KinFace.from_pretrained(Path(name)).eval().trunk for name in chosen.models}
    sets = {
        name: read_some(kind(chosen.data / name))
        for name, kind in (("RAF-DB", RafDb), ("UTKFace", UTKFace), ("CelebA", CelebA))
    }
    people = read_faces(families.root, list(faces["face"]))
    rows = []
    for name, trunk in trunks.items():
        found = {of: describe(trunk, images) for of, (images, _) in sets.items()}
        levels = StandardScaler().fit_transform(describe(trunk, people))
        unit = levels / np.linalg.norm(levels, axis=1, keepdims=True)
        codes = [pd.factorize(faces[column])[0] for column in ("person", "family")]
        table = {of: labels for of, (_, labels) in sets.items()}
        attributes = [classify(found["CelebA"], table["CelebA"][it]) for it in ATTRIBUTES]
        rows.append(
            {
                "trunk": name,
                "same person, AUC": auc_of_same_person(unit, *codes).auc,
                "expression, balanced %": classify(found["RAF-DB"], table["RAF-DB"]["expression"]),
                "age, MAE": estimate(found["UTKFace"], table["UTKFace"]["age"]),
                "gender, balanced %": classify(found["UTKFace"], table["UTKFace"]["gender"]),
                "attributes, balanced %": np.mean(attributes),
            }
        )
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
