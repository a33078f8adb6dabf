"""The frontier of erasers: kinship kept against attributes left, for any attributes, measured on any embeddings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize
from tqdm import tqdm

from kinface.data.arrays import as_array, check_row_order, list_in_order
from kinface.data.families import Families
from kinface.data.pairs import check_pairs, score_pairs
from kinface.data.tables import canonical_text, list_names, name_few
from kinface.debias.erasers import erase, erasers
from kinface.leakage.probes import PROBES
from kinface.tradeoff.measure import Frontier, Protocol, compare, describe_faces, draw_lists, list_probed, measure
from swinface.files import InputError


def frontier(
    embedding: np.ndarray,
    faces: Sequence[str],
    families: Families,
    pairs: pd.DataFrame,
    attributes: Sequence[str],
    *,
    erasers: Sequence[str] | Mapping[str, object] | None = None,
    match: Sequence[str] | None = None,
    probes: Sequence[str] = PROBES,
    fit_on: Sequence[str] = (),
    seeds: int = 3,
    resamples: int = 1000,
    seed: int = 0,
) -> Frontier:
    """Fit erasers on training people; measure on others how much kinship and how much of attributes they leave.

    Kinship is the AUC of the cosine, an attribute the balanced accuracy of attackers (``probe_leakage``). Each training
    person counts the same. No network is trained, so it takes seconds to minutes.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    faces
        (N,), their names in the tables of ``families``.
    families
        Erasers are fitted on the faces of its split ``train``.
    pairs
        A pairs table, such as ``families.pairs("val")``; attributes are measured on all embedded faces of its splits.
    attributes
        Columns of ``families.people``, which are all erased.
    erasers
        Names of ``kinface.erasers`` or class paths, or custom names to erasers. By default all that come with the
        package. ``none``, the unchanged embeddings, is always included.
    match
        What the non-kin pairs of the matched list have in common with the kin pairs (``match_pairs``); by default the
        attributes and the type.
    probes
        As ``kinds`` of ``probe_leakage``.
    fit_on
        Splits whose faces every probe is also fitted on, such as ``["train", "tune"]`` (``kinface.probe``).
    seeds
        How often folds of the probes are drawn.
    resamples
        Resamples of families, for the intervals.
    seed
        Seed of the resamples and the matched list, and the first of those of the probes.

    Raises
    ------
    InputError
        An attribute, an eraser or something to match by is not known, an eraser fails, pairs are of training families,
        or a face has no embedding, or embeddings are not finite numbers.

    Examples
    --------
    >>> import kinface
    >>> families, images = kinface.make_families()
    >>> embedding = images[:, ::16, ::16].reshape(len(images), -1)  # what stands in for a model's
    >>> faces = [*families.faces["face"]]
    >>> pairs = families.pairs("val")
    >>> options = {"erasers": ["leace"], "probes": ["linear"], "match": ["type"], "resamples": 100}
    >>> kinface.frontier(embedding, faces, families, pairs, ["gender"], **options).table[["method"]]
      method
    0   none
    1  leace
    """
    if not isinstance(families, Families):
        raise InputError(f"families: a {type(families).__name__} has no people; read them, with kinface.read_families.")
    made, attributes = _make(erasers), list_names(attributes)
    named = (attributes, list_names(match or ()), list_names(probes))
    protocol = Protocol(*map(tuple, named), seeds, resamples, seed, tuple(list_names(fit_on)))
    pairs = check_pairs(pairs, "pairs")
    check_row_order(embedding, faces, "faces")
    faces = canonical_text(pd.Series(list_in_order(faces, "faces"), dtype=object), "faces", paths=True)
    if faces.duplicated().any():
        raise InputError(f"faces: {faces[faces.duplicated()].iloc[0]} is listed twice; keep one row of it.")
    about_faces = describe_faces(families, attributes)
    described = about_faces.set_index("face").reindex(faces)
    given = as_array(embedding)
    embedding = np.full((), np.nan) if given.dtype.kind == "c" else given.astype(np.float64)
    if embedding.ndim != 2 or len(embedding) != len(faces) or not np.isfinite(embedding).all():
        shape = f"{given.shape} {given.dtype}"
        raise InputError(f"embedding is {shape}; it must be finite real numbers, ({len(faces)}, D).")
    embedding = normalize(embedding)
    probed = list_probed(about_faces, pairs, protocol.fit_on)["split"]
    reported = described["split"].isin({*probed}).to_numpy()
    training = (described["split"] == "train").to_numpy()
    if not training.any():
        raise InputError("no embeddings of the split train to fit erasers on; add those of training families.")
    lists, _ = draw_lists(pairs, families, protocol)
    people, labels = described[reported], described[[*attributes]]
    for name in attributes:
        if unseen := sorted({*people[name].dropna()} - {*described[name][training]}):
            warnings.warn(
                f"{name}: no training people are {name_few(unseen, between=', ')}, so erasers cannot remove these "
                "classes, and attackers may predict them.",
                stacklevel=2,
            )
    weight = 1 / described[training].groupby("person")["family"].transform("size").to_numpy()
    runs = []
    for name, eraser in tqdm(made.items(), "frontier", unit="eraser", leave=False, disable=None):
        moved = erase(
            eraser,
            (embedding[training], labels[training]),
            (embedding[reported], labels[reported]),
            sample_weight=weight,
            families=described["family"][training].to_numpy(),
            persons=described["person"][training].to_numpy(),
            name=name,
        )
        scored = {listed: score_pairs(table, [*people.index], moved) for listed, table in lists.items()}
        runs.append((name, None, measure(scored, moved, people, protocol)))
    found = compare(runs, protocol)
    found.about["training faces"] = int(training.sum())
    return found


def _make(wanted: Sequence[str] | Mapping[str, object] | None) -> dict[str, object]:
    """Name to eraser, ``none`` first."""
    if not isinstance(wanted, Mapping):
        if own := [it for it in ([] if wanted is None else list_names(wanted)) if not isinstance(it, str)]:
            given = type(own[0]).__name__
            raise InputError(f"erasers: a {given} is no name; give a dict, as in {{'my name': eraser}}.")
        wanted = {name: erasers.create(name) for name in (erasers.names() if wanted is None else list_names(wanted))}
    elif "none" in wanted:
        raise InputError("erasers: 'none' is what the unchanged embeddings are called; give yours another name.")
    return {"none": erasers.create("none")} | {**wanted}
