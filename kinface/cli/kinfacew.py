"""``kinface kinfacew``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.vocabulary import TYPES
from kinface.experiments.kinfacew import CAVEAT, CROP, METHODS, evaluate_kinfacew, write_kinfacew
from swinface.data.embeddings import Embeddings
from swinface.files import InputError


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
    """Evaluate a model on KinFaceW-I or -II: five folds; all that is fitted is fitted on the other four.

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
        Evaluate these embeddings, of any other model, instead of a model.
    resamples
        Of families (a parent and a child), for the 95% intervals.
    seed
        Of the resamples.
    """
    if model is not None and embeddings is not None:
        raise InputError("give one of --model and --embeddings.")
    if embeddings is not None and inputs is not None:
        raise InputError("--inputs are for a --model; leave them out with --embeddings.")

    def embed_all(faces: Sequence[str], images: Sequence[np.ndarray]) -> np.ndarray:
        return _embed(faces, images, model, inputs) if embeddings is None else Embeddings(embeddings)[faces]

    evaluation = evaluate_kinfacew(root, embed_all, resamples=resamples, seed=seed)
    write_kinfacew(evaluation, out)
    _print(evaluation.results, evaluation.missing, root, out)


def _embed(faces: Sequence[str], images: Sequence[np.ndarray], model: Path | None, inputs: Path | None) -> np.ndarray:
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
