"""The embeddings of a public recogniser, dlib's, for a model to be distilled from.

King, "Dlib-ml: A Machine Learning Toolkit", JMLR 10, 2009; the network is ``dlib_face_recognition_resnet_model_v1``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from swinface.data.source import Source
from swinface.files import InputError, describe_install
from swinface.inference import walk_batches

INSET = 12  # pixels between the border of an aligned face and the box in which its landmarks are sought
BATCH = 32  # faces that are embedded at once
CHIP, PADDING = 150, 0.25  # size in pixels and border of the faces that the recogniser was trained on


def embed_by_teacher(source: Source) -> np.ndarray:
    """Embed every face of a data set, in the order of its table: (N, 128).

    Raises ``InputError`` if the recogniser is not installed, or a face cannot be read.
    """
    for package in ("dlib", "face_recognition_models"):
        if find_spec(package) is None:
            raise InputError(f"{package} is not installed; {describe_install('teacher')} brings the teacher.")
    import dlib

    landmarks = dlib.shape_predictor(_find("shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(_find("dlib_face_recognition_resnet_model_v1.dat"))
    embeddings = []
    for rows in walk_batches(range(len(source)), BATCH, "teach"):
        chips = [_cut_chip(source.read(row), landmarks) for row in rows]
        embeddings += [np.array(embedding) for embedding in network.compute_face_descriptor(chips)]
    return np.stack(embeddings)


def _cut_chip(face: np.ndarray, landmarks) -> np.ndarray:
    """An aligned face, (112, 112, 3), as the recogniser's (150, 150, 3)."""
    import dlib

    face = np.ascontiguousarray(face)
    box = dlib.rectangle(INSET, INSET, face.shape[1] - 1 - INSET, face.shape[0] - 1 - INSET)
    return dlib.get_face_chip(face, landmarks(face, box), CHIP, PADDING)


def _find(name: str) -> str:
    """A file of the recogniser's package. The package is not imported: that would need more than its files."""
    return str(Path(find_spec("face_recognition_models").submodule_search_locations[0], "models", name))
