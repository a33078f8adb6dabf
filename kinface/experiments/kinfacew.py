"""A model on KinFaceW by its authors' protocol, and its pairs and faces for report and probe.

KinFaceW-I and -II (Lu, Zhou, Tan, Shang & Zhou, "Neighborhood Repulsed Metric Learning for Kinship Verification", TPAMI
36(2), 2014) are four lists of pairs, one per type of parent and child, each in five folds fixed by the authors. All
that is fitted to one fold's test is fitted on the other four; no family is in two folds. Many kin pairs are two faces
of one photo, which inflates the scores (``CAVEAT``); for comparison, the results have a score from colour alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kinface.data.pairs import COLUMNS, check_pairs, find_rows, score_pairs, write_pairs
from kinface.data.vocabulary import ROLE_GENDER
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import MEASURED, interval_of_rate, measure, standard_error
from swinface.data.embeddings import write_embeddings
from swinface.data.matlab import read_matlab, refuse_matlab
from swinface.files import InputError, inside, one_line, replacing_folder, write_json
from swinface.images import read_image
from swinface.metrics import choose_accurate

KINDS = {"fd": "father-dau", "fs": "father-son", "md": "mother-dau", "ms": "mother-son"}  # type to folder of images
FOLDS = (1, 2, 3, 4, 5)
FORM = "a list of KinFaceW, a cell array `pairs` of fold, kin, image1 and image2"
REGULARISATION = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # C of the logistic regression
METHODS = {
    "colour": "no face: similarity of the mean colours of the two images",
    "cosine": "cosine of the two embeddings",
    "trained": "logistic regression on the two embeddings, trained on the four other folds",
}
CAVEAT = (
    "Many kin pairs of KinFaceW are cropped from one photo (in KinFaceW-II most), non-kin pairs are not, so a score "
    "may recognise photos rather than kin. The result of colour alone, above, comes from light and skin tone without "
    "any feature of a face. Lopez, Boutellaa & Hadid, Comments on the 'Kinship Face in the Wild' data sets, TPAMI "
    "38(11), 2016; Dawson, Zisserman & Nellaker, From same photo: cheating on visual kinship challenges, ACCV 2018."
)

# Region of the images that corresponds to ArcFace's template: the images are tighter, with the eyes higher. Measured on
# KinFaceW-I: this brings the medians of eyes and mouth corners (dlib's 68 landmarks) onto those of FIW's aligned faces.
CROP = (-0.19, -0.39, 1.18, 0.97)


@dataclass(frozen=True)
class KinFaceWResults:
    """A model's results on KinFaceW."""

    pairs: pd.DataFrame  #: with scores, and a column ``fold``
    faces: list[str]
    embedding: np.ndarray  #: (faces, D)
    results: pd.DataFrame  #: see ``measure_methods``
    folds: pd.DataFrame
    missing: list[str]  #: types whose lists are not there


def evaluate_kinfacew(
    root: Path, embed: Callable[[Sequence[str], Sequence[np.ndarray]], np.ndarray]
) -> KinFaceWResults:
    """Evaluate embeddings on KinFaceW-I or -II in its authors' layout.

    ``embed`` gets (N,) paths below ``root`` and their N images, uint8 RGB, and returns (N, D) embeddings. Raises
    ``InputError`` if a list or an image is missing or broken.
    """
    pairs, missing = read_kinfacew(root)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    images = [read_image(inside(root, face, "meta_data")) for face in faces]
    embedding = embed(faces, images)
    pairs = score_pairs(pairs, faces, embedding)
    results, folds = measure_methods(pairs, faces, embedding, mean_colours(images))
    return KinFaceWResults(pairs, faces, embedding, results, folds, missing)


def write_kinfacew(evaluation: KinFaceWResults, out: Path) -> None:
    """Write results, scored pairs and embeddings with a table of people into a folder."""
    record = {
        "data": evaluation.pairs["list"][0],
        "chance": 0.5,
        "methods": METHODS,
        "missing": evaluation.missing,
        "caveat": CAVEAT,
        "results": evaluation.results.to_dict("records"),
        "folds": evaluation.folds.to_dict("records"),
    }
    with replacing_folder(out) as folder:
        write_pairs(evaluation.pairs, folder / "scores.parquet")
        write_embeddings(folder / "embeddings.npz", evaluation.faces, evaluation.embedding)
        tabulate_faces(evaluation.pairs).to_csv(folder / "faces.csv", index=False)
        evaluation.results.to_csv(folder / "results.csv", index=False)
        write_json(folder / "results.json", record)


def measure_methods(
    pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray, colour: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy and AUC of each method on each type and on average, by (N, D) embeddings and (N, 2) mean colours.

    Gives a row per method and type, the type ``mean`` last: ``pairs``, ``kin``, ``families``; ``accuracy`` and ``auc``,
    means over the folds, each with its ``_std`` over the folds and ``_low`` and ``_high``, the 95% interval over
    families, given the fitted models. And a row per method, type and fold: ``threshold``, ``accuracy``,
    ``auc``.
    """
    rows, folds = [], []
    for method in METHODS:
        measured = []
        for kind, listed in pairs.groupby("type"):
            a, b = find_rows(listed, faces)
            if method == "trained":
                decided = train_on_four(listed, embedding[a], embedding[b])
            else:
                score = -np.linalg.norm(colour[a] - colour[b], axis=1) if method == "colour" else listed["score"]
                decided = decide_on_four(listed, np.asarray(score))
            values, influence = _measure(listed, decided)
            measured.append((listed, values, influence))
            rows.append({"method": method, "type": kind, **_summarise(listed, values, influence)})
            points = {"threshold": decided.groupby(listed["fold"].to_numpy())["threshold"].first(), **values}
            folds.append(pd.DataFrame({"method": method, "type": kind, "fold": FOLDS, **points}))
        mean = {name: np.mean([values[name] for _, values, _ in measured], axis=0) for name in ("accuracy", "auc")}
        influence = np.concatenate([it / len(measured) for *_, it in measured])
        everything = pd.concat([listed for listed, *_ in measured])
        rows.append({"method": method, "type": "mean", **_summarise(everything, mean, influence)})
    return pd.DataFrame(rows), pd.concat(folds, ignore_index=True)


def mean_colours(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 2) mean chrominance (Cb, Cr) of images, which tells photos apart (Lopez et al. 2016, who use Lab)."""
    chrominance = [np.asarray(Image.fromarray(pixels).convert("YCbCr"), dtype=float)[..., 1:] for pixels in images]
    return np.array([values.mean(axis=(0, 1)) for values in chrominance])


def decide_on_four(pairs: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """Each pair's ``score`` (as given), and its ``threshold``: that of best accuracy on the folds it is not in."""
    fold, kin = pairs["fold"].to_numpy(), pairs["kin"].to_numpy()
    threshold = np.empty(len(pairs))
    for tested in FOLDS:
        rest = fold != tested
        threshold[~rest] = choose_accurate(score[rest], kin[rest])
    return pd.DataFrame({"score": score, "threshold": threshold})


def train_on_four(pairs: pd.DataFrame, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """Each pair's ``score`` by a classifier that was trained on the folds it is not in, and its ``threshold``.

    Logistic regression of kin on ``a * b``, ``|a - b|`` and the cosine, each scaled to unit variance. Its
    regularisation is that of the best AUC when each of the four folds is left out in turn, its threshold that of best
    accuracy on the scores that these left-out folds get. Pairs are of one type, and ``a`` and ``b`` the (pairs, D)
    embeddings of the parents and of the children.
    """
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (a, b))
    features = np.hstack([a * b, np.abs(a - b), (a * b).sum(axis=1, keepdims=True)])
    fold, kin = pairs["fold"].to_numpy(), pairs["kin"].to_numpy()
    score, threshold = np.empty(len(pairs)), np.empty(len(pairs))
    for tested in FOLDS:
        rest = fold != tested
        inner = PredefinedSplit(fold[rest])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        search = GridSearchCV(classifier, {"logisticregression__C": REGULARISATION}, scoring="roc_auc", cv=inner)
        best = search.fit(features[rest], kin[rest]).best_estimator_
        left_out = cross_val_predict(best, features[rest], kin[rest], cv=inner, method="decision_function")
        score[~rest] = best.decision_function(features[~rest])
        threshold[~rest] = choose_accurate(left_out, kin[rest])
    return pd.DataFrame({"score": score, "threshold": threshold})


def _measure(pairs: pd.DataFrame, decided: pd.DataFrame) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Accuracy and AUC, (folds,) each, and (pairs, 2) the influence values of their means over the folds."""
    margin, kin = (decided["score"] - decided["threshold"]).to_numpy(), pairs["kin"].to_numpy()
    columns = [MEASURED.index(metric) for metric in ("accuracy", "auc")]
    values, influence = [], np.empty((len(pairs), 2))
    for fold in FOLDS:
        rows = pairs["fold"].to_numpy() == fold
        value, of_fold = measure(margin[rows], kin[rows], 0.0)
        values.append(value[columns])
        influence[rows] = of_fold[:, columns] / len(FOLDS)
    return dict(zip(("accuracy", "auc"), np.transpose(values), strict=True)), influence


def _summarise(pairs: pd.DataFrame, values: dict[str, np.ndarray], influence: np.ndarray) -> dict[str, float]:
    families, dyads = {*pairs["family_a"], *pairs["family_b"]}, Dyads.of_pairs(pairs)
    summary = {"pairs": len(pairs), "kin": int(pairs["kin"].sum()), "families": len(families)}
    for (metric, value), of_metric in zip(values.items(), influence.T, strict=True):
        low, high = interval_of_rate(value.mean(), standard_error(of_metric, dyads), len(dyads.keys))
        ends = {"": value.mean(), "_std": value.std(ddof=1), "_low": low, "_high": high}
        summary |= {metric + end: float(number) for end, number in ends.items()}
    return summary


def tabulate_faces(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row per face, with what ``kinface probe`` asks for."""
    columns = ["face", "person", "family", "gender"]
    sides = [pairs[[f"{column}_{side}" for column in columns]].set_axis(columns, axis="columns") for side in "ab"]
    return pd.concat(sides).drop_duplicates().sort_values("face").assign(gender_source=pairs["gender_source"][0])


def read_kinfacew(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the authors' lists: a pairs table with a further column ``fold``, and the types whose lists are not there.

    A person is the name of an image, such as ``fd_001_1``, and the family is ``fd_001``: a person in two types counts
    as two. Raises ``InputError``, which names the file and row, if there is no list, or one is broken.
    """
    root = Path(root)
    paths = {kind: root / "meta_data" / f"{kind}_pairs.mat" for kind in KINDS}
    missing = [kind for kind, path in paths.items() if not path.is_file()]
    if len(missing) == len(KINDS):
        raise InputError(f"{root}: no lists meta_data/*_pairs.mat; give KinFaceW's folder as its authors publish it.")
    name = root.resolve().name
    paths = {kind: path for kind, path in paths.items() if kind not in missing}
    lists = zip(paths.items(), read_matlab(paths.values(), ["pairs"], FORM), strict=True)
    tables = [_check_list(content["pairs"], path, kind).assign(list=name) for (kind, path), content in lists]
    pairs = pd.concat(tables, ignore_index=True).reindex(columns=[*COLUMNS, "fold"])
    return check_pairs(pairs, str(root)), missing


def _check_list(rows: list, path: Path, kind: str) -> pd.DataFrame:
    """One type's pairs: rows of fold, kin, image of the parent, image of the child."""
    try:
        table = pd.DataFrame([*map(tuple, rows)], columns=["fold", "kin", "image_a", "image_b"])
        table.drop_duplicates()  # fails if a cell holds several values
    except (ValueError, TypeError) as error:
        raise refuse_matlab(path, FORM, one_line(error)) from error
    rules = {
        f"fold must be one of {FOLDS}": ~table["fold"].isin(FOLDS),
        "kin must be 0 or 1": ~table["kin"].isin((0, 1)),
    }
    for side, number in (("a", 1), ("b", 2)):
        named = table[f"image_{side}"].astype(str).str.fullmatch(rf"{kind}_\d+_{number}\.\w+")
        rules[f"image{number} must be named like {kind}_001_{number}.jpg"] = ~named
    for rule, broken in rules.items():
        if broken.any():
            raise InputError(f"{path}: row {int(broken.to_numpy().argmax()) + 1}: {rule}.")
    for fold in FOLDS:
        if table.loc[table["fold"] == fold, "kin"].nunique() < 2:
            raise InputError(f"{path}: fold {fold} needs kin and non-kin pairs; take the authors' file.")
    person = {side: table[f"image_{side}"].str.rpartition(".")[0] for side in "ab"}
    family = pd.concat([person[side].str.rpartition("_")[0] for side in "ab"])
    folds = pd.concat([table["fold"]] * 2).groupby(family).nunique()
    if (folds > 1).any():
        warnings.warn(
            f"{path}: {int((folds > 1).sum())} families are in two folds, such as {folds.idxmax()}: they are both "
            "fitted on and tested.",
            stacklevel=4,
        )
    return pd.DataFrame(
        {
            **{f"face_{side}": f"images/{KINDS[kind]}/" + table[f"image_{side}"] for side in "ab"},
            **{f"person_{side}": person[side] for side in "ab"},
            **{f"family_{side}": person[side].str.rpartition("_")[0] for side in "ab"},
            **{f"gender_{side}": ROLE_GENDER[side][kind] for side in "ab"},
            "gender_source": "role in the list",
            "type": kind,
            "kin": table["kin"].astype(bool),
            "split": "test",
            "fold": table["fold"].astype(int),
        }
    )
