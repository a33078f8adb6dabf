"""How many directions of a debiased embedding does kinship need, and what do attackers read from them?

    python benchmarks/directions.py --root TABLES --model shipped-debiased

TABLES is what ``kinface prepare`` made. The step of the model that keeps few directions is left out, and done again
with each number of directions, fitted on FIW's training people. Kinship is the AUC of tune pairs of one race, with its
interval over families; what is left is the balanced accuracy of the best of three attackers on the tune families.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tables import number

import kinface
from kinface.debias.components import Components
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import MEASURED, interval_of_rate, measure, standard_error
from kinface.models.inference import describe_faces
from kinface.models.kinface import load_model

KEPT = (128, 24, 20, 16, 12)
KINDS = ("linear", "mlp", "qda")


def find_auc(pairs: pd.DataFrame) -> str:
    """The AUC of scored pairs, with its interval over families."""
    values, influence = measure(pairs["score"].to_numpy(), pairs["kin"].to_numpy(bool), 0.0)
    auc, dyads = MEASURED.index("auc"), Dyads.of_pairs(pairs)
    return number(
        values[auc], *interval_of_rate(values[auc], standard_error(influence[:, auc], dyads), len(dyads.keys))
    )


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--model", type=Path, default=Path("shipped-debiased"))
    chosen = options.parse_args()
    families = kinface.read_families(chosen.root)
    faces = families.describe(families.faces["face"])
    faces = faces[faces["split"].isin(["train", "tune"])].reset_index(drop=True)
    model = load_model(chosen.model).eval()
    with torch.inference_mode():
        features = describe_faces(model, [*faces["face"]], root=families.root, runtime="torch")["features"]
        whole = model.project(torch.from_numpy(features)).numpy()
    train = (faces["split"] == "train").to_numpy()
    weight = 1 / faces.groupby("person")["face"].transform("size").to_numpy()
    pairs = families.pairs("tune")
    pairs = pairs[pairs["race_a"] == pairs["race_b"]]
    rows = []
    for kept in KEPT:
        eraser = Components(kept=kept).fit(whole[train], faces["race"][train], sample_weight=weight[train])
        moved = eraser.transform(whole)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        row = {"directions": int(np.linalg.matrix_rank(moved, tol=1e-3))}
        row["AUC, pairs of one race"] = find_auc(kinface.score(pairs, moved, faces["face"]))
        for name in ("race", "gender"):
            best = kinface.probe(moved, faces, name, split="tune", kinds=KINDS).worst
            ends = (best[f"balanced_accuracy{end}"] for end in ("", "_low", "_high"))
            row[name] = f"{number(*ends)} ({best['probe']})"
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
