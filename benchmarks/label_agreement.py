"""Do two predictors of race, and of gender, agree, and what do erasure and audit give on people for whom they agree?

    python benchmarks/label_agreement.py --root TABLES --embeddings dlib_fiw.npz --others others.csv

TABLES is what ``kinface prepare`` made; only its training families are used, in nested folds (``kinface nest``). The
first labels are those of the table: race by DeepFace, gender by FIW. The second race is predicted by a logistic
regression on the trunk of the released SwinFace, fitted to others.csv (face, race; its images lie beside it, aligned
as FIW's), from the mean over a person's photos; the second gender is the majority of what an annotation file says of
them, such as MiVOLO's. LEACE is fitted with the first labels; a linear probe reads the attribute, before and after,
with the first labels, with the second ones, and with the people of whom both agree.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from label_noise import CLASSES, QUICK
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from trunk_tasks import describe

import kinface
from kinface.data.families import Families
from kinface.data.prepare import nest_families
from kinface.debias.leace import Leace
from kinface.leakage.leakage import probe_leakage
from kinface.models.faces import read_faces
from swinface.data.embeddings import Embeddings
from swinface.model import SwinFace


def predict_race(families: Families, others: Path) -> pd.Series:
    """The second race of each person of the training families."""
    trunk = SwinFace.from_pretrained("shipped").eval().trunk
    table = pd.read_csv(others)
    table = table[table["race"].isin(CLASSES["race"])]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))
    probe.fit(describe(trunk, read_faces(others.parent, [*table["face"]])), table["race"])
    faces = families.faces[families.faces["split"].isin(["train", "tune"])]
    said = probe.predict_proba(describe(trunk, read_faces(families.root, [*faces["face"]])))
    mean = pd.DataFrame(said, columns=probe.classes_).groupby(faces["person"].to_numpy()).mean()
    return mean.idxmax(axis=1)


def find_majority(said: pd.Series) -> str | None:
    """What most of a person's photos were called; None if there is no such thing."""
    most = said.mode()
    return most[0] if len(most) == 1 else None


def main() -> None:
    """Print how often they agree, and what is read."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--embeddings", type=Path, required=True)
    options.add_argument("--others", type=Path, required=True)
    chosen = options.parse_args()
    families = kinface.read_families(chosen.root)
    people = families.people[families.people["split"].isin(["train", "tune"])].set_index("person")
    first = {name: people[name].where(people[name].isin(classes)) for name, classes in CLASSES.items()}
    majority = families.faces.groupby("person")["gender"].agg(find_majority)
    second = {"race": predict_race(families, chosen.others), "gender": majority}
    second = {name: labels.reindex(people.index) for name, labels in second.items()}
    for name in CLASSES:
        both = pd.DataFrame({"first": first[name], "second": second[name]}).dropna()
        print(f"{name}: {len(both)} people, {(both['first'] == both['second']).mean():.1%} agree, ", end="")
        print(f"kappa {cohen_kappa_score(both['first'], both['second']):.2f}")
        print(pd.crosstab(both["first"], both["second"]).to_string(), end="\n\n")
    table, found = Embeddings(chosen.embeddings), []
    for prepared in nest_families(families):
        faces = prepared.families.faces.reset_index(drop=True)
        embedding = table[[*faces["face"]]]
        embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
        weight = 1 / faces.groupby("person")["face"].transform("size").to_numpy()
        train, held = ((faces["split"] == split).to_numpy() for split in ("train", "val"))
        for name in CLASSES:
            given = {"first": first[name], "second": second[name]}
            said = {which: labels.reindex(faces["person"]).to_numpy(object) for which, labels in given.items()}
            said["both"] = np.where(said["first"] == said["second"], said["first"], None)
            leace = Leace().fit(embedding[train], said["first"][train], sample_weight=weight[train])
            for when, seen in (("before", embedding[held]), ("after", leace.transform(embedding[held]))):
                for which, labels in said.items():
                    about = {"persons": faces["person"][held], "attribute": name, **QUICK}
                    leakage = probe_leakage(seen, labels[held], faces["family"][held], **about)
                    accuracy = leakage.table["balanced_accuracy"][0]
                    found.append({"attribute": name, "erasure": when, "labels": which, "read": accuracy})
    print(pd.DataFrame(found).pivot_table("read", ["attribute", "erasure"], "labels", sort=False).round(3).to_string())


if __name__ == "__main__":
    main()
