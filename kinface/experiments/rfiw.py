"""The tracks of the RFIW challenge: lists are scored by embeddings and measured, for all and by group. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kinface.data.ranking import Fusion
from kinface.data.scoring import score
from kinface.data.search import Search
from kinface.fairness.audit import FairnessAudit, Origin, audit_fairness
from kinface.fairness.retrieval import SearchAudit, audit_search
from kinface.fairness.threshold import choose_threshold
from kinface.report.checks import check_validation, warn_of_scores, warn_of_threshold

if TYPE_CHECKING:
    from kinface.models.triplets import TripletHead


def verify_list(
    listed: pd.DataFrame,
    threshold: float | pd.DataFrame,
    faces: Sequence[str],
    embedding: np.ndarray,
    *,
    head: TripletHead | None = None,
    photos: pd.DataFrame | None = None,
    seed: int = 0,
) -> FairnessAudit:
    """Track 1 or 2: score pairs, or triplets of father, mother and child, and audit the scores.

    Triplets are also audited by ``triplet``, daughter or son. Raises ``InputError`` if a face is not embedded, or the
    two lists have rows in common. Warns if they share families, the threshold accepts or rejects nearly all
    rows, or many rows are there twice.

    Parameters
    ----------
    listed
        Pairs or triplets, such as those of ``read_families``.
    threshold
        A row is accepted as kin where its score is at least this. Or what chooses it by Youden's J: a list of the same
        kind, of other families, which is scored alike.
    faces, embedding
        (N,) names and their (N, D) embeddings, of all faces that are listed.
    head
        What scores triplets in place of the mean of two cosines.
    photos
        As for ``kinface.score``: people are scored by all their photos.
    seed
        As for ``kinface.audit``, whose tables the result has.
    """

    def scored(rows: pd.DataFrame) -> pd.DataFrame:
        if head is not None:
            return head.score(rows, faces, embedding)
        return score(rows, embedding, faces, photos=photos)

    origin = Origin(validation=threshold if isinstance(threshold, pd.DataFrame) else None)
    check_validation(listed, origin)
    if origin.validation is not None:
        threshold = choose_threshold(scored(threshold))
    groupings = ["triplet"] if "triplet" in listed else []
    found = audit_fairness(scored(listed), threshold, groupings=groupings, seed=seed, origin=origin)
    for text in (*warn_of_threshold(found), *warn_of_scores(found)):
        warnings.warn(text, stacklevel=2)
    return found


def search_list(
    search: Search, faces: Sequence[str], embedding: np.ndarray, *, fusion: Fusion = "mean", seed: int = 0
) -> tuple[np.ndarray, SearchAudit | None]:
    """Track 3: score the faces of a gallery for each query, and measure the search.

    Parameters are those of ``kinface.score`` and ``kinface.fairness.retrieval.audit_search``. Gives (P, G), how near
    each face of the gallery is to each person, and the audit; None where no family is known in both, so that nothing
    can be measured.
    """
    scores = score(search, embedding, faces, fusion=fusion)
    known = search.people["family"].isin(search.gallery["family"].dropna())
    return scores, audit_search(search, scores, seed=seed) if known.any() else None
