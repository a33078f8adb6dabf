"""Exact search by cosine: how near each face of a gallery is to each query, a person with one or more photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from kinface.data.cosines import to_unit_length
from kinface.data.pairs import find_places
from kinface.data.search import Search
from swinface.files import InputError
from swinface.registry import check_choice

Fusion = Literal["mean", "max", "agreement"]

SHARPNESS = 10.0  # of the weights of "agreement"; chosen on tune families
BLOCK = 65_536  # gallery faces that are compared at once


def fuse(photos: np.ndarray, fusion: Fusion) -> np.ndarray:
    """One person's photos, (N, D) of unit length, as the directions that a gallery is compared with: (1, D), or (N, D).

    ``mean`` is the mean, whose product with a face is the mean cosine of the photos with it, as of
    ``kinface.data.cosines.mean_cosine``. ``agreement`` is a weighted mean; the weight of a photo is exp(s m), s the
    constant ``SHARPNESS`` and m its mean cosine with the person's other photos, so that photos unlike the others (of
    poor quality, or of somebody else) count less. ``max`` is all photos; the nearest one counts.
    """
    check_choice("fusion", fusion, Fusion)
    if fusion == "max":
        return photos
    weights = np.ones(len(photos))
    if fusion == "agreement" and len(photos) > 1:
        cosines = photos @ photos.T
        weights = np.exp(SHARPNESS * (cosines.sum(axis=1) - 1) / (len(photos) - 1))
    return np.average(photos, axis=0, weights=weights)[None]


def compare_blocks(
    queries: Sequence[np.ndarray], gallery: np.ndarray, *, fusion: Fusion = "mean", block: int = BLOCK
) -> Iterator[tuple[slice, np.ndarray]]:
    """Compare P queries, (N, D) photos of each, with a gallery (G, D), a block of its faces at a time; all of unit
    length.

    Yields which faces of the gallery, and the scores of all queries for them: (P, faces), float32. The gallery may be
    mapped from a file (``numpy.load(..., mmap_mode="r")``).
    """
    fused = [fuse(photos, fusion).astype(np.float32) for photos in queries]
    starts = np.cumsum([0, *map(len, fused[:-1])])
    directions = np.concatenate(fused)
    for start in range(0, len(gallery), block):
        part = slice(start, min(start + block, len(gallery)))
        cosines = directions @ np.asarray(gallery[part], dtype=np.float32).T
        yield part, np.maximum.reduceat(cosines, starts, axis=0)


def find_nearest(
    queries: Sequence[np.ndarray], gallery: np.ndarray, top: int = 100, *, fusion: Fusion = "mean", block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
    """Find the ``top`` nearest faces of a gallery of any size for P queries, both as of ``compare_blocks``.

    Gives their places in the gallery and their scores, each (P, top), the nearest first; of equal ones the first.
    """
    if top < 1:
        raise InputError(f"top is {top}; give 1 or more.")
    found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)) for _ in queries]
    for part, block_scores in compare_blocks(queries, gallery, fusion=fusion, block=block):
        for query, (scores, (places, best)) in enumerate(zip(block_scores, found, strict=True)):
            # Only a face that is nearer than the last of those found can still be among the nearest.
            near = np.flatnonzero(scores > best[-1]) if len(best) == top else np.arange(len(scores))
            places, best = np.append(places, part.start + near), np.append(best, scores[near])
            kept = np.argsort(-best, kind="stable")[:top]
            found[query] = places[kept], best[kept]
    places, scores = (np.stack(side) for side in zip(*found, strict=True))
    return places, scores


def score_search(search: Search, faces: Sequence[str], embedding: np.ndarray, *, fusion: Fusion = "mean") -> np.ndarray:
    """Score every face of a gallery for every query: (queries, gallery), float32.

    ``faces`` and ``embedding`` are as for ``kinface.data.pairs.score_pairs``, ``fusion`` as for ``fuse``.
    """
    unit = to_unit_length(faces, embedding)
    tables = (search.queries, search.gallery)
    of_queries, gallery = (unit[find_places(table["face"], faces, "not embedded; embed it too")] for table in tables)
    queries = [of_queries[photos] for photos in search.queries.groupby("query").indices.values()]
    blocks = compare_blocks(queries, gallery, fusion=fusion)
    return np.concatenate([scores for _, scores in blocks], axis=1)
