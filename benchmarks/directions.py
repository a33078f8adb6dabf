"""How many directions of a debiased embedding does kinship need, and what do attackers read from them?

    python benchmarks/directions.py --root TABLES --model shipped-debiased

TABLES is what ``kinface prepare`` made. The step of the model that keeps few directions is replaced by one
with each number of directions, fitted on FIW's training people. Kinship is the AUC of tune pairs of one race, with its
interval over families; what is left is the balanced accuracy of the best of three attackers on the tune families.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tables import ENDS, number

import kinface
from kinface.debias.components import Components
from kinface.fairness.audit import audit_fairness
from kinface.models.inference import describe_faces
from kinface.models.kinface import load_model

KEPT = (128, 24, 20, 16, 12)
KINDS = ("linear", "mlp", "qda")


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
        found = audit_fairness(kinface.score(pairs, moved, faces["face"]), 0.0).groups.loc[0]
        row["AUC, pairs of one race"] = number(*(found[f"auc{end}"] for end in ENDS))
        for name in ("race", "gender"):
            best = kinface.probe(moved, faces, name, split="tune", kinds=KINDS).worst
            row[name] = f"{number(*(best[f'balanced_accuracy{end}'] for end in ENDS))} ({best['probe']})"
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
