"""An upper bound for every attacker who sees one face as one of a few cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.data.labels import name_labels
from kinface.data.tables import canonical_text
from kinface.fairness.bootstrap import draw_families
from kinface.fairness.intervals import FEWEST_FAMILIES
from swinface.files import InputError


def bound_attackers(
    cells: Sequence, labels: Sequence, clusters: Sequence, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> pd.Series:
    """Bound the balanced accuracy of every classifier that sees the cell of one face, and the information in it.

    If one probe fails, another may not. If a face is handed out as one of M cells, such as the nearest
    of M centroids, then all that its cell can tell is how often each class is in each cell, and no classifier of cells
    has a balanced accuracy above

        1/K sum_c max_k p(c | k)

    (the principle of FARE, Jovanovic et al., ICML 2023, whose cells are the leaves of a tree). It holds for the cell of
    one face, not for embeddings that are handed out as they are; an attacker with several faces of one person knows
    more, and is bounded by cells of people's means. Where cells are many, the estimate is too high rather than too low,
    because the largest of noisy shares is too large. Where families are few it may be too low, because a cell was not
    seen: ``unseen`` says how much of a class that may be. Raises ``InputError`` if the lengths differ, a cell or family
    is missing, or there are fewer than two classes.

    Parameters
    ----------
    cells
        (N,), the cell of each face. Cells must be made on other people, or the bound does not hold for new ones.
    labels
        (N,), the attribute of each face, in any container (``kinface.data.labels``); None, NaN or a negative number
        where unknown. Such faces are left out.
    clusters
        (N,), the family of each face, which are resampled.
    level
        Level of the one-sided upper limits, and of ``unseen``.
    resamples, seed
        Number and seed of the resamples of clusters.

    Returns
    -------
    pd.Series
        ``cells`` that occur, ``faces``, ``families``, ``chance`` (1/K), ``accuracy`` (the bound) and ``information``
        (bits, of classes that are equally frequent), each with ``_high``, its upper limit by resampled families, NaN if
        a class has fewer than ``FEWEST_FAMILIES``; ``unseen``, the largest share 1 - (1 - level)^(1/n) of a class of n
        families that none of them may have shown.

    Examples
    --------
    >>> bound_attackers([0, 0, 1, 1], ["f", "m", "f", "f"], [1, 2, 3, 4])[["chance", "accuracy"]].to_dict()
    {'chance': 0.5, 'accuracy': 0.8333333333333333}
    """
    lengths = [len(cells), len(labels), len(clusters)]
    if len({*lengths}) > 1:
        raise InputError("cells, labels, clusters: {}, {} and {} values; give one per face.".format(*lengths))
    given = {
        "label": name_labels(labels, "labels"),
        "cell": canonical_text(pd.Series(cells).reset_index(drop=True), "cells"),
        "cluster": name_labels(clusters, "clusters"),
    }
    faces = pd.DataFrame(given).dropna(subset="label")
    for name in ("cell", "cluster"):
        if faces[name].isna().any():
            raise InputError(f"{name}s: row {faces.index[faces[name].isna()][0]} has none; give one for each face.")
    codes = [pd.factorize(faces[name])[0] for name in given]
    shape = tuple(int(code.max(initial=-1)) + 1 for code in codes)
    if shape[0] < 2:
        raise InputError("labels: fewer than two classes, so there is nothing to tell apart.")
    counts = np.zeros(shape)
    np.add.at(counts, tuple(codes), 1)
    fewest = int((counts.sum(axis=1) > 0).sum(axis=1).min())
    measured = _measure(counts @ np.ones((shape[2], 1)))
    drawn = _measure(counts @ draw_families(shape[2], resamples, seed))
    found = {}
    for name, value, values in zip(("accuracy", "information"), measured, drawn, strict=True):
        high = np.nanquantile(values, level) if fewest >= FEWEST_FAMILIES else np.nan
        found |= {name: value[0], f"{name}_high": np.maximum(value[0], high)}
    about = {"cells": shape[1], "faces": len(faces), "families": shape[2], "chance": 1 / shape[0]}
    return pd.Series(about | found | {"unseen": 1 - (1 - level) ** (1 / fewest)})


def _measure(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bound and the information of each of (K, M, weightings) counts; NaN where a class is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = counts / counts.sum(axis=1, keepdims=True)
        terms = share * np.log2(share / share.mean(axis=0))
    information = np.where(share > 0, terms, 0).sum(axis=1).mean(axis=0)
    missing = np.isnan(share).any(axis=(0, 1))
    return share.max(axis=0).sum(axis=0) / len(share), np.where(missing, np.nan, information)
