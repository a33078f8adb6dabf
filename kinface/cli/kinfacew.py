"""``kinface kinfacew``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.kinfacew import read_kinfacew
from kinface.data.pairs import score_pairs, write_pairs
from kinface.data.vocabulary import TYPES
from kinface.experiments.kinfacew import CAVEAT, METHODS, judge, list_people, mean_colours
from swinface.data.embeddings import Embeddings, write_embeddings
from swinface.files import InputError, inside, read_image, replacing_folder

# Of the images, which are tighter than ArcFace's template and have the eyes higher in them. Measured on KinFaceW-I: it
# brings the medians of eyes and mouth corners, as dlib's 68 landmarks have them, onto those of FIW's aligned faces.
CROP = (-0.19, -0.39, 1.18, 0.97)


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
    for ``kinface probe``.

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
    table = None if embeddings is None else Embeddings(embeddings)
    embedding = _embed(root, faces, images, model, inputs) if table is None else table[faces]
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
        list_people(pairs).to_csv(folder / "faces.csv", index=False)
        results.to_csv(folder / "results.csv", index=False)
        (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _print(results, missing, root, out)


def _embed(
    root: Path, faces: Sequence[str], images: Sequence[np.ndarray], model: Path | None, inputs: Path | None
) -> np.ndarray:
    """(N, D) embeddings of all faces by a model, which sees the region ``CROP`` of the images."""
    from kinface.cli.inputs import read_inputs  # importing torch takes seconds; the lists were checked before
    from kinface.models.inference import embed, load_model
    from swinface.data.faces import crop_face, stack_faces
    from swinface.pretrained import SHIPPED

    network = load_model(model or SHIPPED)
    if inputs is not None or network.trunk is None:
        return embed(network, read_inputs(network, faces, inputs))
    return embed(network, stack_faces(lambda pixels: crop_face(pixels, CROP), images))


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
