"""Submissions to Kaggle's "Recognizing Faces in the Wild": pairs of test faces whose kinship is to be told.

A row of ``sample_submission.csv`` has ``img_pair``, two names of files with a hyphen between, and ``is_related``, which
is 0 in all rows and means nothing.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.data.lists import read_fields
from kinface.data.tables import read_table
from swinface.files import InputError, inside, replacing

PAIR = "img_pair"
SUBMISSION_ENDINGS = (".csv",)


def is_submission(path: str | Path) -> bool:
    """Whether a file is a csv of the form of a submission."""
    path = Path(path)
    return path.suffix.lower() in SUBMISSION_ENDINGS and path.is_file() and PAIR in next(read_fields(path))[1]


def read_submission(path: str | Path, root: Path) -> pd.DataFrame:
    """Read the pairs of a submission, ``img_pair``, ``face_a`` and ``face_b``, of test faces below a folder.

    Raises ``InputError`` that names the row whose two faces are not there.
    """
    pairs = read_table(Path(path), "submission")[PAIR].fillna("")
    faces = [_split(pair, root, f"{path}: row {row}") for row, pair in enumerate(pairs, start=1)]
    return pd.DataFrame(faces, columns=["face_a", "face_b"]).assign(**{PAIR: pairs.to_numpy()})


def _split(pair: str, root: Path, where: str) -> tuple[str, str]:
    """The two faces, whose names may have hyphens themselves."""
    words = pair.split("-")
    divided = (("-".join(words[:place]), "-".join(words[place:])) for place in range(1, len(words)))
    found = [faces for faces in divided if all(face and inside(root, face, where).is_file() for face in faces)]
    if len(found) != 1:
        raise InputError(f"{where}: {pair!r} does not name two faces in {root}, as in face1.jpg-face2.jpg.")
    return found[0]


def write_submission(pairs: pd.DataFrame, path: str | Path) -> None:
    """Write scored pairs as a submission: ``is_related`` is the cosine moved to lie between 0 and 1, as Kaggle's AUC
    needs no more than the order."""
    related = ((1 + pairs["score"]) / 2).clip(0, 1)
    with replacing(path) as partial:
        pd.DataFrame({PAIR: pairs[PAIR], "is_related": related}).to_csv(partial, index=False)
