"""An eraser of your own gets a row in the frontier: what it keeps of kinship, and what it leaves of race and gender.

    python recipes/new_eraser.py                              on synthetic families
    python recipes/new_eraser.py embeddings.npz tables        of `kinface embed` and `kinface prepare`

Erasers are fitted on the training people. What is kept and left is measured on the families of the split val.
"""

import sys

import numpy as np

import kinface


class MeanShift:
    """Moves the faces that are nearest to the mean of a class to the common mean."""

    def fit(self, X, y):  # X (N, D), of unit length; y (N,), the labels of one attribute, None where unknown
        self.means = np.stack([X[y == label].mean(axis=0) for label in sorted({*y} - {None})])
        return self

    def transform(self, X):
        nearest = (X @ self.means.T).argmax(axis=1)
        return X - self.means[nearest] + self.means.mean(axis=0)


if len(sys.argv) > 1:
    table, families = np.load(sys.argv[1]), kinface.read_families(sys.argv[2])
    embedding, faces = table["embedding"], table["face"]
else:
    families, images = kinface.make_families(120)
    embedding, faces = images[:, ::8, ::8].reshape(len(images), -1), families.faces["face"]

erasers = {"mine": MeanShift(), "leace": kinface.erasers.create("leace")}
pairs = families.pairs("val")
found = kinface.frontier(embedding, [*faces], families, pairs, ["race", "gender"], erasers=erasers, probes=["linear"])
print(found.table[["method", "auc_matched", "race_linear", "gender_linear"]].round(3).to_string(index=False))
