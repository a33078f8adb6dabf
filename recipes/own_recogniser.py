"""A face recogniser of your own: for whom it fails at kinship, and how much race and gender its embeddings reveal.

    kinface embed --recogniser arcface.onnx --root tables --out embeddings.npz
    python recipes/own_recogniser.py embeddings.npz tables report.html

`tables` is what `kinface prepare` made of FIW. All figures are of the families of the split val; the threshold is
chosen on those of the split tune.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import kinface

_, embeddings, tables, page = sys.argv
table, families = np.load(embeddings), kinface.read_families(tables)
embedding, faces = table["embedding"], table["face"]

tune, val = (kinface.score(families.pairs(split), embedding, faces) for split in ("tune", "val"))
audit = kinface.audit(val, tune)
print(audit.gaps[["grouping", "metric", "highest", "lowest", "difference", "low", "high", "significant"]].to_string())
Path(page).write_text(audit.report(title="My recogniser"), encoding="utf-8")

people = families.describe(faces)
leakage = [kinface.probe(embedding, people, attribute, split="val") for attribute in ("race", "gender")]
found = pd.concat([it.table for it in leakage]).filter(regex="attribute|probe|^balanced|chance|leaks")
print(found.round(3).to_string(index=False))
