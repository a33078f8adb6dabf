"""What do iterative erasers leave, and what do they cost, after each round?

    python benchmarks/rounds.py --root TABLES --embeddings dlib_fiw.npz --folds 2 --out rounds.png

TABLES is what ``kinface prepare`` made; only its training families are used, in nested folds (``kinface nest``).
Erasers are fitted to race and gender of the training people of each fold, with as many rounds as the table says, and
measured on the held-out families: the AUC on matched pairs, and the balanced accuracy of the best of three attackers.
Obliviator has the size of its authors' code: as it is, after their reduction by kernel PCA, and with families as the
target to keep. The table has means over folds; the figure has a line for each method, a point for each number of
rounds, and closed-form erasers for comparison.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from people import read_nested

import kinface

PAPER = {"steps": 45, "hidden": 512, "basis": 1000}  # 5 epochs of some 9,000 faces, 1,024 a step
METHODS = {
    "inlp": ("inlp", {}, (1, 4, 16, 35)),
    "inlp, strong penalty": ("inlp", {"C": 2e-4}, (1, 4, 16)),  # about 1 / N of these folds
    "igbp": ("igbp", {}, (1, 5, 20, 40)),
    "mute": ("mute", {}, (1, 2, 4, 8)),
    "obliviator": ("obliviator", PAPER, (1, 3, 7, 15)),
    "obliviator, kernel PCA": ("obliviator", PAPER | {"kernel_pca": True}, (1, 3, 7, 15)),
    "obliviator, target": ("obliviator", PAPER | {"keep_target": 10.0}, (1, 3, 7, 15)),
}
CLOSED = ("leace", "splince", "transport")
LEFT = ["race_best", "gender_best"]
FIGURES = ["auc_matched", *LEFT]


def main() -> None:
    """Print the table and draw it."""
    given, table, folds = read_nested(__doc__, "--out")
    made = {name: kinface.erasers.create(name) for name in CLOSED}
    for name, (method, options, rounds) in METHODS.items():
        made |= {f"{name} {n}": kinface.erasers.create(method, rounds=n, **options) for n in rounds}
    found = []
    for prepared in folds:
        families = prepared.families
        faces = [*families.faces["face"]]
        options = {"probes": ["linear", "mlp", "qda"], "seeds": 1, "resamples": 100}
        pairs = families.pairs("val")
        measured = kinface.frontier(table[faces], faces, families, pairs, ["race", "gender"], erasers=made, **options)
        found.append(measured.table)
    means = pd.concat(found).groupby("method", sort=False)[FIGURES].mean()
    print(means.round(3).to_string())
    draw(means).savefig(given.out, dpi=150)


def draw(means: pd.DataFrame) -> Figure:
    """A panel for each attribute: what the best attacker reads, and the AUC on matched pairs."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axes, left in zip(figure.subplots(1, 2, sharey=True), LEFT, strict=True):
        for name, (_, _, rounds) in METHODS.items():
            rows = means.loc[[f"{name} {n}" for n in rounds]]
            axes.plot(rows[left], rows["auc_matched"], marker="o", label=f"{name}, {rounds[0]} to {rounds[-1]} rounds")
        for name, mark in zip(("none", *CLOSED), "sD^v", strict=True):
            axes.plot(*means.loc[name, [left, "auc_matched"]], mark, color="black", label=name)
        axes.set(xlabel=f"{left.removesuffix('_best')}: balanced accuracy, best of three attackers")
    figure.axes[0].set_ylabel("AUC on matched pairs")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return figure


if __name__ == "__main__":
    main()
