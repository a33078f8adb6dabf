"""``kinface kinfacew``: a model on KinFaceW by its authors' protocol, and its pairs and faces for report and audit.

KinFaceW-I and -II (Lu, Zhou, Tan, Shang & Zhou, "Neighborhood Repulsed Metric Learning for Kinship Verification", TPAMI
36(2), 2014) are four lists of pairs, one per type of parent and child, each in five folds fixed by the authors. All
that is fitted to one fold's test is fitted on the other four; no family is in two folds. Many kin pairs are two faces
of one photo, so that scores are inflated (``CAVEAT``); a score of nothing but colour stands beside the model's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import loadmat
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kinface.pairs import COLUMNS, ROLE_GENDER, TYPES, check_pairs, find_rows, score_pairs, write_pairs
from kinface.resampling import Resamples, interval_around, weighted_metrics
from swinface.embeddings import Embeddings, write_embeddings
from swinface.files import InputError, inside, read_image, replacing_folder

KINDS = {"fd": "father-dau", "fs": "father-son", "md": "mother-dau", "ms": "mother-son"}  # type to folder of images
FOLDS = (1, 2, 3, 4, 5)
# Of the images, which are tighter than ArcFace's template and have the eyes higher in them. Measured on KinFaceW-I: it
# brings the medians of eyes and mouth corners, as dlib's 68 landmarks have them, onto those of FIW's aligned faces.
CROP = (-0.19, -0.39, 1.18, 0.97)
REGULARISATION = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # C of the logistic regression
METHODS = {
    "colour": "no face: how alike the mean colours of the two images are",
    "cosine": "cosine of the two embeddings",
    "trained": "logistic regression on the two embeddings, trained on the four other folds",
}
CAVEAT = (
    "Many kin pairs of KinFaceW are cropped from one photo (in KinFaceW-II most), non-kin pairs are not, so that a "
    "score may tell photos rather than kin. What colour alone reaches, above, comes from light and skin tone without "
    "any feature of a face. Lopez, Boutellaa & Hadid, Comments on the 'Kinship Face in the Wild' data sets, TPAMI "
    "38(11), 2016; Dawson, Zisserman & Nellaker, From same photo: cheating on visual kinship challenges, ACCV 2018."
)


def kinfacew(
    root: Path,
    *,
    out: Path,
    model: Path | None = None,
    inputs: Path | None = None,
    embeddings: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Judge a model on KinFaceW-I or -II: five folds, whatever is fitted is fitted on the other four.

    ``out`` then holds ``results.csv`` and ``results.json``; ``scores.parquet``, the scored pairs for ``kinface report``
    with ``--threshold-from`` the ``tune_scores.parquet`` of the model's run; and ``embeddings.npz`` with ``faces.csv``
    for ``kinface audit``.

    Parameters
    ----------
    root
        KinFaceW in its authors' layout: ``images/father-dau/fd_001_1.jpg``, ..., ``meta_data/fd_pairs.mat``, ...
    out
        Folder to write to.
    model
        Folder of a trained model; by default the one that comes with the package.
    inputs
        Table of the embeddings that a model without trunk reads; its faces are paths below ``root``.
    embeddings
        Judge these embeddings, of any other model, in place of a model.
    resamples
        Of families (a parent and a child), for the 95% intervals.
    seed
        Of the resamples.
    """
    if model is not None and embeddings is not None:
        raise InputError("judge one of --model and --embeddings.")
    if embeddings is not None and inputs is not None:
        raise InputError("--inputs are for a --model; leave them out with --embeddings.")
    if resamples < 100:
        raise InputError(f"--resamples {resamples}: an interval needs at least 100, better 1000.")
    pairs, missing = read_kinfacew(root)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    images = [read_image(inside(root, face, "meta_data")) for face in faces]
    if embeddings is not None:
        embedding = Embeddings(embeddings)[faces].numpy()
    else:
        embedding = _embed(root, faces, images, model, inputs)
    pairs = score_pairs(pairs, faces, embedding)
    results, folds = judge(pairs, faces, embedding, mean_colours(images), resamples, seed)
    record = {
        "data": pairs["list"][0],
        "chance": 0.5,
        "methods": METHODS,
        "missing": missing,
        "caveat": CAVEAT,
        "results": results.to_dict("records"),
        "folds": folds.to_dict("records"),
    }
    with replacing_folder(out) as folder:
        write_pairs(pairs, folder / "scores.parquet")
        write_embeddings(folder / "embeddings.npz", faces, embedding)
        _list_people(pairs).to_csv(folder / "faces.csv", index=False)
        results.to_csv(folder / "results.csv", index=False)
        (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _print(results, missing, root, out)


def read_kinfacew(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the authors' lists.

    Returns
    -------
    tuple
        A pairs table with a further column ``fold``, and the types whose lists are not there. A person is one of an
        image's name, such as ``fd_001_1``, his family ``fd_001``: who is in two types counts as two.

    Raises
    ------
    InputError
        There is no list, or one is broken; names the file and row.
    """
    root = Path(root)
    paths = {kind: root / "meta_data" / f"{kind}_pairs.mat" for kind in KINDS}
    missing = [kind for kind, path in paths.items() if not path.is_file()]
    if len(missing) == len(KINDS):
        raise InputError(f"{root}: no lists meta_data/*_pairs.mat; name KinFaceW's folder as its authors hand it out.")
    name = root.resolve().name
    tables = [_read_list(path, kind).assign(list=name) for kind, path in paths.items() if kind not in missing]
    pairs = pd.concat(tables, ignore_index=True).reindex(columns=[*COLUMNS, "fold"])
    return check_pairs(pairs, str(root)), missing


def _read_list(path: Path, kind: str) -> pd.DataFrame:
    """One type's pairs: a cell array ``pairs`` of fold, kin, image of the parent, image of the child."""
    try:
        cells = loadmat(path)["pairs"]
        rows = [tuple(cell.item() for cell in row) for row in cells]
        table = pd.DataFrame(rows, columns=["fold", "kin", "image_a", "image_b"])
    except Exception as error:  # scipy fails in any way on bytes that are no .mat file, and we on something else in it
        raise InputError(
            f"{path}: not a list of KinFaceW, a cell array `pairs` of fold, kin, image1 and image2 ({error}); "
            "take the authors' file."
        ) from error
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


def _embed(
    root: Path, faces: Sequence[str], images: Sequence[np.ndarray], model: Path | None, inputs: Path | None
) -> np.ndarray:
    """(N, D) embeddings of all faces by a model; what it sees of the images is ``CROP``, black outside of them."""
    from kinface.score import embed_faces, embed_tensor, load_model  # torch takes seconds; the lists are seen sound
    from swinface.faces import crop_face, stack_faces
    from swinface.pretrained import SHIPPED

    network = load_model(model or SHIPPED)
    if inputs is not None or network.trunk is None:
        return embed_faces(network, root, faces, None if inputs is None else Embeddings(inputs))
    return embed_tensor(network, stack_faces(lambda pixels: crop_face(pixels, CROP), images))


def judge(
    pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray, colour: np.ndarray, resamples: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy and AUC of each method on each type and on average.

    Parameters
    ----------
    faces, embedding, colour
        (N,) paths, their (N, D) embeddings and (N, 2) mean colours.

    Returns
    -------
    tuple
        A row per method and type, the type ``mean`` last: ``pairs``, ``kin``, ``families``; ``accuracy`` and ``auc``,
        means over the folds, each with its ``_std`` over the folds and ``_low`` and ``_high``, the 95% interval from
        resampled families, which leaves what was fitted as it is. And a row per method, type and fold: ``threshold``,
        ``accuracy``, ``auc``.
    """
    rows, folds = [], []
    for method in METHODS:
        measured = []
        for number, (kind, listed) in enumerate(pairs.groupby("type")):
            a, b = find_rows(listed, faces)
            if method == "trained":
                decided = train_on_four(listed, embedding[a], embedding[b])
            else:
                score = -np.linalg.norm(colour[a] - colour[b], axis=1) if method == "colour" else listed["score"]
                decided = decide_on_four(listed, np.asarray(score))
            values = _measure(listed, decided, Resamples(listed, resamples, seed * len(KINDS) + number))
            measured.append(values)
            rows.append({"method": method, "type": kind, **_summarise(listed, values)})
            points = {metric: value[:, 0] for metric, value in values.items()}
            points = {"threshold": decided.groupby(listed["fold"].to_numpy())["threshold"].first(), **points}
            folds.append(pd.DataFrame({"method": method, "type": kind, "fold": FOLDS, **points}))
        mean = {metric: np.mean([values[metric] for values in measured], axis=0) for metric in measured[0]}
        rows.append({"method": method, "type": "mean", **_summarise(pairs, mean)})
    return pd.DataFrame(rows), pd.concat(folds, ignore_index=True)


def mean_colours(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 2) mean chrominance (Cb, Cr) of images: with Lopez et al. (2016), who take Lab, what a photo is known by."""
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

    Logistic regression of kin on a * b, |a - b| and the cosine, each scaled to unit variance. Its regularisation is
    that of the best AUC when each of the four folds is left out in turn, its threshold that of best accuracy on the
    scores that these left out folds get.

    Parameters
    ----------
    pairs
        Of one type.
    a, b
        (pairs, D) embeddings of the parents and of the children.
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


def choose_accurate(score: np.ndarray, kin: np.ndarray) -> float:
    """The score from which pairs are best called kin, by accuracy; of equally good ones the highest."""
    descending = np.argsort(-score, kind="stable")
    cuts = np.append(np.diff(score[descending]) < 0, True)  # between equal scores none
    right = np.where(kin[descending], 1, -1).cumsum()  # how many more than if all were called non-kin
    return float(score[descending][cuts][np.argmax(right[cuts])])


def _measure(pairs: pd.DataFrame, decided: pd.DataFrame, draws: Resamples) -> dict[str, np.ndarray]:
    """Accuracy and AUC: (folds, 1 + resamples) each, the first column of all families once."""
    margin, kin = (decided["score"] - decided["threshold"]).to_numpy(), pairs["kin"].to_numpy()
    weight = np.hstack([np.ones((len(pairs), 1), dtype=np.float32), draws.weights()])
    folds = [pairs["fold"].to_numpy() == fold for fold in FOLDS]
    values = [weighted_metrics(margin[rows], kin[rows], weight[rows], 0.0, {}) for rows in folds]
    return {metric: np.stack([value[metric] for value in values]) for metric in ("accuracy", "auc")}


def _summarise(pairs: pd.DataFrame, values: dict[str, np.ndarray]) -> dict[str, float]:
    families = {*pairs["family_a"], *pairs["family_b"]}
    summary = {"pairs": len(pairs), "kin": int(pairs["kin"].sum()), "families": len(families)}
    for metric, value in values.items():
        point = value[:, 0].mean()
        low, high = interval_around(point, value[:, 1:].mean(axis=0))
        ends = {"": point, "_std": value[:, 0].std(ddof=1), "_low": low, "_high": high}
        summary |= {metric + end: float(number) for end, number in ends.items()}
    return summary


def _list_people(pairs: pd.DataFrame) -> pd.DataFrame:
    """A row per face, with what ``kinface audit`` asks for."""
    columns = ["face", "person", "family", "gender"]
    sides = [pairs[[f"{column}_{side}" for column in columns]].set_axis(columns, axis="columns") for side in "ab"]
    return pd.concat(sides).drop_duplicates().sort_values("face").assign(gender_source=pairs["gender_source"][0])


def _print(results: pd.DataFrame, missing: list[str], root: Path, out: Path) -> None:
    print("method   type  pairs  families   accuracy (chance .5) +- std of folds    AUC")
    for row in results.itertuples():
        accuracy = f"{row.accuracy:.3f} [{row.accuracy_low:.3f}, {row.accuracy_high:.3f}] +- {row.accuracy_std:.3f}"
        auc = f"{row.auc:.3f} [{row.auc_low:.3f}, {row.auc_high:.3f}]"
        print(f"{row.method:8} {row.type:4}  {row.pairs:5}  {row.families:8}   {accuracy:38} {auc}")
    for method, meaning in METHODS.items():
        print(f"{method}: {meaning}")
    for kind in missing:
        print(f"missing: {TYPES[kind].name}, {root / 'meta_data' / f'{kind}_pairs.mat'} is not there")
    print(f"caveat: {CAVEAT}\nwrote {out}")
