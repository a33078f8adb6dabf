"""Verification of templates (sets of photos and video frames of a person): the 1:1 protocol of IJB-B and IJB-C.

Maze et al., "IARPA Janus Benchmark - C", ICB 2018; files and pooling are those of insightface, as
for the paper's figures. Faces are aligned by ``swinface.data.align``, which averages where a photo is scaled down.
"""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from swinface.benchmarks.verification import Embed, add_mirror, score_pairs
from swinface.data.align import align
from swinface.data.cache import digest_files
from swinface.data.faces import stack_faces
from swinface.files import InputError, inside, one_line
from swinface.images import read_image
from swinface.inference import Shards
from swinface.metrics import tar_at_far

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # false accept rates of the paper's table for IJB-C


@dataclass(frozen=True)
class Templates:
    """Sets of photos and video frames of one person each, and which sets are compared."""

    folder: Path  #: of the images
    images: np.ndarray  #: (N,), names of the images in it; a name comes once for every template the image is in
    landmarks: np.ndarray  #: (N, 5, 2), in pixels, in the order of ArcFace's template
    weights: np.ndarray  #: (N,), the weight of each image in its template, see ``embed_templates``
    template: np.ndarray  #: (N,), the template of each image, counted from 0
    first: np.ndarray  #: (pairs,), the first template of each comparison
    second: np.ndarray  #: (pairs,), the second
    same: np.ndarray  #: (pairs,), bool: whether they show one person


def read_ijb(root: Path, name: Literal["ijbb", "ijbc"]) -> Templates:
    """Read the 1:1 protocol of IJB-B or IJB-C from insightface's folder.

    ``meta/ijbc_face_tid_mid.txt`` has rows ``image template medium``, ``meta/ijbc_name_5pts_score.txt`` rows ``image``,
    ten coordinates and the detector's score, for the same images in the same order; and
    ``meta/ijbc_template_pair_label.txt`` rows ``template template label``. Images lie in ``loose_crop``. Raises
    ``InputError`` if a file is missing or a row is wrong; both are named.
    """
    members_file, faces_file, pairs_file = (
        root / "meta" / f"{name}_{what}.txt" for what in ("face_tid_mid", "name_5pts_score", "template_pair_label")
    )
    coordinates = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]
    members = _read_table(members_file, {"image": str, "template": int, "medium": int})
    faces = _read_table(faces_file, {"image": str, **dict.fromkeys([*coordinates, "score"], float)})
    pairs = _read_table(pairs_file, {"first": int, "second": int, "label": int})

    rows = len(faces["image"]), len(members["image"])
    if rows[0] != rows[1]:
        raise InputError(f"{faces_file} has {rows[0]} rows and {members_file} {rows[1]}; they must be equal.")
    numbers = np.stack([faces[column] for column in (*coordinates, "score")], axis=1)
    ids, template = np.unique(members["template"], return_inverse=True)
    first, second = (np.searchsorted(ids, pairs[side]).clip(max=len(ids) - 1) for side in ("first", "second"))
    unknown = (ids[first] != pairs["first"]) | (ids[second] != pairs["second"])
    _refuse_rows(faces_file, faces["image"] != members["image"], f"not the image in that row of {members_file}")
    _refuse_rows(faces_file, ~np.isfinite(numbers).all(axis=1), "a number is not finite")
    _refuse_rows(pairs_file, unknown, f"a template that {members_file} does not have")
    _refuse_rows(pairs_file, (pairs["label"] != 0) & (pairs["label"] != 1), "the label must be 0 or 1")

    _, medium = np.unique(members["medium"], return_inverse=True)
    _, group, size = np.unique(template * (medium.max() + 1) + medium, return_inverse=True, return_counts=True)
    return Templates(
        folder=root / "loose_crop",
        images=members["image"],
        landmarks=numbers[:, :10].reshape(-1, 5, 2),
        weights=numbers[:, 10] / size[group],
        template=template,
        first=first.astype(np.int32),
        second=second.astype(np.int32),
        same=pairs["label"] == 1,
    )


def _read_table(path: Path, columns: dict[str, type]) -> dict[str, np.ndarray]:
    """Columns of fields between blanks; fast enough for the 16 million pairs of IJB-C.

    (numpy's ``loadtxt`` can crash the process on damaged files.)
    """
    try:
        with warnings.catch_warnings(action="error"):  # pandas warns of rows that are too long
            table = pd.read_csv(
                path,
                sep=r"\s+",
                names=list(columns),
                dtype={name: int if kind is int else str for name, kind in columns.items()},
                index_col=False,
                na_filter=False,
                quoting=csv.QUOTE_NONE,
            )
        if table.empty:
            raise ValueError("no data")
        arrays = {name: table[name].to_numpy(int if kind is int else object) for name, kind in columns.items()}
        # Fractions are read as text: numpy turns it into numbers exactly, pandas only nearly.
        return {name: arrays[name].astype(float) if kind is float else arrays[name] for name, kind in columns.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); the protocol needs it.") from None
    except (ValueError, TypeError, OverflowError, Warning) as error:
        with open(path, encoding="utf-8", errors="replace") as lines:
            fault = _find_fault(lines, columns) or one_line(error)
        raise InputError(f"{path}: {fault}; a row must be {' '.join(columns)}.") from error


def _find_fault(lines: Iterable[str], columns: dict[str, type]) -> str | None:
    for row, line in enumerate(lines, start=1):
        fields = line.split()
        try:
            for kind, field in zip(columns.values(), fields, strict=bool(fields)):
                kind(field)
        except ValueError:
            return f"row {row} is {line.strip()[:80]!r}"
    return None


def _refuse_rows(path: Path, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise InputError(f"{path} row {int(np.argmax(wrong)) + 1}: {what} ({int(wrong.sum())} such rows).")


def embed_templates(
    embed: Embed, templates: Templates, batch: int = 256, compute: Callable | None = None
) -> np.ndarray:
    """Embed templates as the published figures for IJB were made: (templates, D), float32.

    An image's embedding, that of its mirror image added and its length kept, is weighted by the detector's score. Those
    of one medium (a photo, or the frames of a video) are averaged, the media of a template summed, the sum is scaled to
    unit length. That is a weighted sum over images, ``Templates.weights`` being score / images of the medium. Each
    image is read once, and ``batch`` images go through the model at once, and as many mirrored. ``compute`` is
    ``Predictor.compute``, to embed on several devices and to resume after an interruption.

    Raises ``InputError`` if an image is missing or unreadable, its name leaves the folder, or its landmarks coincide.
    """

    def read(row: int) -> np.ndarray:
        where = f"row {row + 1} of the images"
        path = inside(templates.folder, templates.images[row], where)
        return align(read_image(path), templates.landmarks[row], f"{where}, {path}")

    def embed_rows(rows: range) -> dict[str, np.ndarray]:
        return {"embedding": add_mirror(embed, stack_faces(read, rows))}

    files = digest_files(templates.folder / image for image in np.unique(templates.images))
    landmarks = hashlib.sha256(templates.landmarks.tobytes()).hexdigest()
    about = [str(templates.folder), files, landmarks, *map(str, templates.images)]
    found = (compute or Shards().compute)("templates", about, len(templates.images), embed_rows, batch)
    sums = np.zeros((templates.template.max() + 1, found["embedding"].shape[1]))
    np.add.at(sums, templates.template, templates.weights[:, None] * found["embedding"])
    return normalize(sums).astype(np.float32)


def verify_templates(
    embed: Embed, templates: Templates, fars: Sequence[float] = FARS, compute: Callable | None = None
) -> dict[float, float]:
    """The 1:1 protocol of IJB-B and IJB-C for a model: false accept rate to true accept rate."""
    embedded = embed_templates(embed, templates, compute=compute)
    scores = score_pairs(embedded, templates.first, templates.second)
    return tar_at_far(scores, templates.same, fars)
