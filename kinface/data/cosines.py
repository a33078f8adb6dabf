"""Cosines of embeddings. This module imports neither torch nor pandas, so that two photos are compared quickly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from kinface.data.arrays import as_array, check_row_order
from swinface.files import InputError

BLOCK = 4096  # pairs whose embeddings are held at once


def to_unit_length(faces: Sequence[str], embedding: np.ndarray) -> np.ndarray:
    """Embeddings, (N, D), of N faces divided by their lengths.

    Raises ``InputError`` if they are no such numbers, or an embedding has no direction: its length is zero or not
    finite.
    """
    check_row_order(embedding, faces, "faces")
    embedding = as_array(embedding)
    if embedding.dtype.kind not in "fiu" or embedding.shape[:-1] != (len(faces),):
        given = f"{embedding.shape} {embedding.dtype}"
        raise InputError(f"the embeddings are {given}; they must be numbers, ({len(faces)}, D), a row per face.")
    if embedding.dtype == np.float16:  # a sum of squares soon leaves its range
        embedding = embedding.astype(np.float32)
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    lost = ~np.isfinite(length) | (length == 0)
    if lost.any():
        face = list(faces)[int(lost.argmax())]
        raise InputError(f"the embedding of {face} has no direction (length {float(length[lost][0])}); embed it again.")
    return embedding / length


def compare_rows(unit: np.ndarray, *rows: np.ndarray) -> np.ndarray:
    """The cosine of a face and another, or the mean of those of several and the last: (pairs,) float64.

    ``unit`` is (N, D), of unit length, and ``rows`` are (pairs,) places in it, of which a block is compared at a time.
    """
    *several, last = rows
    cosine = np.empty(len(last))
    for start in range(0, len(last), BLOCK):
        part = slice(start, start + BLOCK)
        mean = reduce(np.add, (unit[one[part]] for one in several)) / len(several)
        cosine[part] = np.einsum("nd,nd->n", mean, unit[last[part]])
    return cosine


def mean_cosine(a: np.ndarray, b: np.ndarray, shared: np.ndarray | None = None) -> float:
    """The mean cosine of the photos of two people, embeddings (N, D) and (M, D) of unit length.

    Pairs of photos that are ``shared``, (N, M) bool, are left out, as both were cut from one photograph; it is NaN if
    none is left.
    """
    cosines = np.einsum("nd,md->nm", a, b)
    left = cosines.ravel() if shared is None else cosines[~shared]
    return float(left.mean(dtype=np.float64)) if len(left) else float("nan")
