"""Which faces probes are fitted on and tested on, with their labels, clusters and persons."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.data.labels import check_classes, name_labels
from kinface.fairness.intervals import FEWEST_FAMILIES
from swinface.files import InputError

LARGEST = 1e15  # number in an embedding; the squares of larger ones leave float32


def list_faces(embedding: np.ndarray, labels: Sequence, clusters: Sequence, persons: Sequence | None) -> pd.DataFrame:
    """A row per face: ``label``, ``cluster`` and ``person``."""
    if embedding.ndim != 2 or not embedding.shape[1]:
        raise InputError(f"embedding: its shape is {embedding.shape}; it must be (N, D), a row per face.")
    given = {"labels": labels, "clusters": clusters} | ({} if persons is None else {"persons": persons})
    for name, values in given.items():
        if len(values) != len(embedding):
            raise InputError(f"{name}: {len(values)} values for {len(embedding)} rows of embedding; give one per row.")
    faces = pd.DataFrame({name[:-1]: name_labels(values, name) for name, values in given.items()})
    if persons is None:
        faces["person"] = faces.groupby(["cluster", "label"], dropna=False).ngroup()
    return faces


def choose_tested(faces: pd.DataFrame, attribute: str, folds: int) -> tuple[pd.DataFrame, str]:
    """The faces of classes with enough clusters, by their row, and what was left out."""
    known = faces.dropna()
    for column, what in (("cluster", "cluster (family)"), ("label", attribute)):
        person = known.drop_duplicates(["person", column])["person"]
        changing = person[person.duplicated()]
        if len(changing):
            raise InputError(f"person {changing.iloc[0]!r} has more than one {what}; a person has one.")
    check_classes(known["label"].unique(), attribute)
    counts = known.groupby("label")["cluster"].nunique()
    fewest = max(FEWEST_FAMILIES, folds)
    lost = counts[counts < fewest]
    left_out = ", ".join(f"{name} ({count} {'families' if count > 1 else 'family'})" for name, count in lost.items())
    if len(counts) - len(lost) < 2:
        raise InputError(
            f"{attribute}: fewer than two classes have {fewest} families each, so there is nothing to tell apart "
            f"(left out: {left_out or 'none'}; {len(faces) - len(known)} faces without a value or a family)."
        )
    return known[~known["label"].isin(lost.index)], left_out


def choose_more(others: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """Of faces that are not tested those to fit on, of the same classes and of other clusters."""
    more = others.dropna()
    for column, what in (("cluster", "cluster (family)"), ("person", "person")):
        both = more[column].isin(tested[column])
        if both.any():
            raise InputError(f"{what} {more[column][both].iloc[0]!r} is both tested and fitted on; divide by family.")
    return more[more["label"].isin(tested["label"])]


def take_rows(embedding: np.ndarray, rows: pd.Index) -> np.ndarray:
    taken = embedding[rows]
    try:
        taken = taken.astype(np.float64, casting="unsafe" if taken.dtype.kind == "O" else "same_kind")
    except (TypeError, ValueError):
        raise InputError(f"embedding: it holds {taken.dtype}; it must hold real numbers.") from None
    fit = (np.abs(taken) <= LARGEST).all(axis=1)
    if not fit.all():
        raise InputError(f"embedding: row {rows[np.argmin(fit)]} is not finite, or has numbers above {LARGEST:g}.")
    empty = int((~taken.any(axis=1)).sum())
    if empty and taken.shape[1] >= 8:  # fewer numbers may well all be 0
        warnings.warn(
            f"embedding: {empty:,} of {len(taken):,} faces have only zeros, as where a recogniser finds no face, which "
            "lowers the accuracy of probes; leave these faces out.",
            stacklevel=4,
        )
    return taken.astype(np.float32)


def divide_splits(people: pd.DataFrame, split: str | None, fit_on: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool each: the faces that every probe is fitted on, and those to test."""
    if split is None and not fit_on:
        return np.zeros(len(people), bool), np.ones(len(people), bool)
    splits = name_labels(people["split"], "split")
    for name in [*fit_on, *([] if split is None else [split])]:
        if not splits.eq(str(name)).any():
            there = ", ".join(map(str, people["split"].dropna().unique()))
            raise InputError(f"split {name!r}: no face belongs to it; their splits are {there or 'unknown'}.")
    fitted = splits.isin([*map(str, fit_on)]).to_numpy()
    tested = ~fitted if split is None else splits.eq(str(split)).to_numpy()
    if not (tested & ~fitted).any() or (tested & fitted).any():
        raise InputError(f"fit_on {', '.join(fit_on)}: faces are either tested or fitted on; leave one split to test.")
    return fitted, tested
