"""Scores of pairs, of triplets, of people by all of their photos, or of a search. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from kinface.data.arrays import check_row_order, list_in_order
from kinface.data.pairs import score_pairs
from kinface.data.photos import list_photos, name_people, score_people
from kinface.data.ranking import Fusion, score_search
from kinface.data.search import Search
from kinface.data.tables import as_pandas, take_index
from kinface.data.triplets import FACES, score_triplets
from swinface.files import InputError


class Embedder(Protocol):
    """A model that embeds images: a ``KinFace``, a ``kinface.models.recogniser.Recogniser``, or one of your own."""

    def embed(self, faces: Sequence[str], *, root: Path) -> np.ndarray:
        """(N, D) embeddings of image files, named by their paths below ``root``."""


def score(
    listed: pd.DataFrame | Search,
    by: Embedder | np.ndarray,
    faces: Sequence[str] | None = None,
    *,
    root: str | Path = ".",
    photos: pd.DataFrame | None = None,
    fusion: Fusion = "mean",
) -> pd.DataFrame | np.ndarray:
    """Score what is listed by the cosine of embeddings.

    Parameters
    ----------
    listed
        Pairs or triplets, or a search, such as those of ``read_families``.
    by
        A model, which embeds the faces that are listed, each once; or (N, D) embeddings of ``faces``, of any model.
    faces
        (N,) names of the embedded faces, among which are all that are listed.
    root
        The folder that paths of faces start from, where a model embeds them: ``families.root``.
    photos
        Score people, not faces: by the mean cosine of all their photos, without two that were cut from one photograph
        (``kinface.data.photos.score_people``). A row per photo: ``face`` and ``person``, such as ``families.faces``.
    fusion
        How the photos of a query are combined (``kinface.data.ranking.fuse``).

    Returns
    -------
    pd.DataFrame or np.ndarray
        The table with ``score``, and with ``type_predicted`` if the model has a type head; of a search (P, G), the
        cosine of each query with each face of the gallery.

    Raises
    ------
    InputError
        A face cannot be read or is not embedded, an embedding has no direction, or what is listed or scored by is a
        name.

    Examples
    --------
    >>> import kinface
    >>> families, images = kinface.make_families(12, photos=1)
    >>> embedding = images[:, ::16, ::16].reshape(len(images), -1)  # what stands in for a model's
    >>> scored = kinface.score(families.pairs("val"), embedding, families.faces["face"])
    >>> scored["score"].between(-1, 1).all()
    np.True_
    """
    listed, photos = as_pandas(listed), as_pandas(photos)
    if photos is not None and not isinstance(photos, pd.DataFrame):
        raise InputError(f"photos: a {type(photos).__name__} is not a table of the face and person of each photo.")
    photos = photos if photos is None else take_index(photos)
    if not isinstance(listed, pd.DataFrame | Search):
        given = repr(str(listed)) if isinstance(listed, str | Path) else f"a {type(listed).__name__}"
        raise InputError(f"{given} is not a table of pairs; read it first, with kinface.read_pairs or Dataset.pairs.")
    if isinstance(listed, pd.DataFrame):
        needed = ("face_a", "face_b") if photos is None else ("person_a", "person_b")
        listed = listed if {*needed} <= {*listed} else take_index(listed)
        for column in needed:
            if column not in listed:
                raise InputError(f"the list has no column {column!r}; it has {', '.join(map(str, listed))}.")
    if photos is not None and isinstance(listed, pd.DataFrame):
        listed, photos = name_people(listed, photos)
    if faces is not None and hasattr(by, "embed"):
        raise InputError("faces: a model embeds the faces of the list itself; leave faces out.")
    if faces is None and not hasattr(by, "embed"):
        given = repr(str(by)) if isinstance(by, str | Path) else f"a {type(by).__name__}"
        raise InputError(
            f"{given} embeds no faces; give a model, such as kinface.KinFace.from_pretrained('shipped'), or embeddings "
            "and the faces that they are of."
        )
    if faces is None:
        faces = list_faces(listed, photos)
        embedding = by.embed(faces, root=Path(root))
    else:
        check_row_order(by, faces, "faces")
        faces, embedding = list_in_order(faces, "faces"), by
    if isinstance(listed, Search):
        return score_search(listed, faces, embedding, fusion=fusion)
    if photos is not None:
        return score_people(listed, photos, faces, embedding)
    if "face_m" in listed:
        return score_triplets(listed, faces, embedding)
    scored = score_pairs(listed, faces, embedding)
    if getattr(by, "types", None) is not None:
        scored["type_predicted"] = by.name_types(scored, faces, embedding)
    return scored


def list_faces(listed: pd.DataFrame | Search, photos: pd.DataFrame | None = None) -> list[str]:
    """The names of the faces that ``score`` needs the embeddings of, sorted."""
    if isinstance(listed, Search):
        return listed.faces
    if photos is not None:
        return list_photos(listed, photos)
    return sorted({face for column in FACES if column in listed for face in listed[column]})
