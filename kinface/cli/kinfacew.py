"""``kinface kinfacew``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.cli.inputs import OURS, Source, read_embeddings, read_inputs
from kinface.data.tables import write_intervals
from kinface.data.vocabulary import TYPES
from swinface.choices import SHIPPED


def kinfacew(root: Path, *, out: Path, source: Source = OURS) -> None:
    """Evaluate a model on KinFaceW-I or -II: five folds, each tested with what was fitted on the other four.

    ``out`` then holds ``results.csv`` and ``results.json``; ``scores.parquet``, the scored pairs for ``kinface report``
    with ``--threshold-from`` the ``tune_scores.parquet`` of the model's run; and ``embeddings.npz`` with ``faces.csv``
    for ``kinface probe``.

    Parameters
    ----------
    root
        KinFaceW in its authors' layout: ``images/father-dau/fd_001_1.jpg``, ..., ``meta_data/fd_pairs.mat``, ...
    out
        Folder to write to.
    source
        Which model or table gives the embeddings; faces in a table are paths below ``root``.
    """
    from kinface.experiments.kinfacew import evaluate_kinfacew, write_kinfacew

    source.check()
    evaluation = evaluate_kinfacew(root, partial(_embed, source))
    write_kinfacew(evaluation, out)
    _print(evaluation.results, evaluation.missing, root, out)


def _embed(source: Source, faces: Sequence[str], images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, D) embeddings of all faces, of a table or by a model, which sees the region ``CROP`` of the images."""
    if source.embeddings is not None:
        return read_embeddings(source, faces)
    from kinface.experiments.kinfacew import CROP  # importing torch takes seconds; the lists were checked before
    from kinface.models.kinface import load_model
    from swinface.data.faces import crop_face, stack_faces

    network = load_model(source.model or SHIPPED)
    if source.inputs is not None or network.trunk is None:
        return network.embed(read_inputs(network, faces, source.inputs))
    return network.embed(stack_faces(lambda pixels: crop_face(pixels, CROP), images))


def _print(results: pd.DataFrame, missing: list[str], root: Path, out: Path) -> None:
    from kinface.experiments.kinfacew import CAVEAT, METHODS

    shown = results[["method", "type", "pairs", "families"]].assign(
        **{
            "accuracy (chance .5)": write_intervals(results, "accuracy"),
            "std of folds": results["accuracy_std"].map("{:.3f}".format),
            "AUC": write_intervals(results, "auc"),
        }
    )
    print(shown.to_string(index=False))
    for method, meaning in METHODS.items():
        print(f"{method}: {meaning}")
    for kind in missing:
        print(f"missing: {TYPES[kind].name}, {root / 'meta_data' / f'{kind}_pairs.mat'} is not there")
    print(f"caveat: {CAVEAT}\nwrote {out}")
