"""Do plain classifiers of scikit-learn read more than our attackers, on the same folds?

    python benchmarks/attackers.py --root TABLES --embeddings dlib_fiw.npz

TABLES is what ``kinface prepare`` made; only its training families are used, in nested folds (``kinface nest``). LEACE
is fitted to race and gender of the training people of each fold. Attackers read the embeddings of the held-out families
with and without LEACE. The table has the balanced accuracy, mean over nested folds, and the processor seconds of one
fit.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
from people import read_nested
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import normalize
from sklearn.svm import SVC

from kinface.debias.erasers import erase, erasers
from kinface.leakage.attackers import ATTACKERS
from kinface.leakage.leakage import probe_leakage

ATTRIBUTES = ["race", "gender"]
PLAIN = {
    "SVC, C = 1": SVC,
    "SVC, C = 10": lambda: SVC(C=10),
    "MLPClassifier": lambda: MLPClassifier(random_state=0),
    "QDA": lambda: QuadraticDiscriminantAnalysis(reg_param=0.1),  # without it fails after LEACE, of lower rank
    "logistic": lambda: LogisticRegression(max_iter=2000),
    "boosted trees": lambda: HistGradientBoostingClassifier(random_state=0),
}
FOLDS = 3
QUICK = {"folds": FOLDS, "seeds": 1, "resamples": 100, "permutations": 0, "codelength": False}


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # of plain classifiers: variables are collinear, iterations run out
    for name, make in PLAIN.items():
        ATTACKERS.register(name)(make)
    _, table, folds = read_nested(__doc__)
    found = []
    for prepared in folds:
        faces = prepared.families.faces[["face", "person", "family", "split"]]
        faces = faces.merge(prepared.families.people[["person", *ATTRIBUTES]], on="person")
        embedding = normalize(table[[*faces["face"]]].astype(np.float64))
        train, held = (faces["split"] == "train").to_numpy(), (faces["split"] == "val").to_numpy()
        weight = 1 / faces[train].groupby("person")["face"].transform("size").to_numpy()
        labels = faces[ATTRIBUTES]
        parts = [(embedding[rows], labels[rows]) for rows in (train, held)]
        erased = erase(erasers.create("leace"), *parts, sample_weight=weight, families=faces["family"][train])
        people = faces[held]
        for state, features in (("erased", erased), ("as they are", embedding[held])):
            for attribute in ATTRIBUTES:
                for attacker in ATTACKERS.names():
                    given = {"persons": people["person"], "attribute": attribute, "kinds": [attacker], **QUICK}
                    start = time.process_time()
                    leakage = probe_leakage(features, people[attribute], people["family"], **given)
                    seconds = (time.process_time() - start) / FOLDS
                    read = leakage.table["balanced_accuracy"][0]
                    row = {"attacker": attacker, "what": f"{attribute}, {state}", "read": read, "seconds": seconds}
                    found.append(row)
    found = pd.DataFrame(found)
    shown = found.pivot_table("read", "attacker", "what", sort=False)
    print(shown.assign(seconds=found.groupby("attacker")["seconds"].mean()).round(3).to_string())


if __name__ == "__main__":
    main()
