"""What no attacker whatever can exceed, where embeddings are handed out as one of a few cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.fairness.bootstrap import draw_families
from swinface.files import InputError


def bound_attackers(
    cells: Sequence, labels: Sequence, clusters: Sequence, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> pd.Series:
    """Bound the balanced accuracy of every classifier that sees a cell, and the information in it.

    A probe that fails says nothing about the next one. If a face is represented by one of M cells, such as the nearest
    of M centroids, then all that can be known is how often each class is in each cell, and no classifier has a balanced
    accuracy above

        1/K sum_c max_k p(c | k)

    (the principle of FARE, Jovanovic et al., ICML 2023, whose cells are the leaves of a tree). Of many cells and few
    people the estimate is too high rather than too low, because the largest of noisy shares is too large. The bound
    holds for cells alone, not for embeddings that are handed out as they are.

    Parameters
    ----------
    cells
        (N,), the cell of each face. Cells must be made on other people, or the bound does not hold for new ones.
    labels
        (N,), the attribute of each face; None or NaN where unknown. Such faces are left out.
    clusters
        (N,), the family of each face, which are resampled.
    level
        Of the one-sided upper limits.
    resamples, seed
        Of the resamples of clusters.

    Returns
    -------
    pd.Series
        ``cells`` that occur, ``faces``, ``families``, ``chance`` (1/K), ``accuracy`` (the bound) and ``information``
        (bits, of classes that are equally frequent), each with ``_high``, its upper limit.

    Raises
    ------
    InputError
        The lengths differ, or there are fewer than two classes.

    Examples
    --------
    >>> import kinface
    >>> kinface.bound_attackers([0, 0, 1, 1], ["f", "m", "f", "f"], [1, 2, 3, 4])[["chance", "accuracy"]].to_dict()
    {'chance': 0.5, 'accuracy': 0.8333333333333333}
    """
    if not len(cells) == len(labels) == len(clusters):
        raise InputError(
            f"cells, labels, clusters: {len(cells)}, {len(labels)} and {len(clusters)} values; give one per face."
        )
    faces = pd.DataFrame({"cell": np.asarray(cells), "label": pd.Series(labels).array, "cluster": np.asarray(clusters)})
    faces = faces.dropna()
    codes = [pd.factorize(faces[column])[0] for column in ("label", "cell", "cluster")]
    shape = tuple(int(code.max(initial=-1)) + 1 for code in codes)
    if shape[0] < 2:
        raise InputError("labels: fewer than two classes, so there is nothing to tell apart.")
    counts = np.zeros(shape)
    np.add.at(counts, tuple(codes), 1)
    drawn = draw_families(shape[2], resamples, seed)
    accuracy, information = _measure(counts @ np.ones((shape[2], 1)))
    accuracies, informations = _measure(counts @ drawn)
    return pd.Series(
        {
            "cells": shape[1],
            "faces": len(faces),
            "families": shape[2],
            "chance": 1 / shape[0],
            "accuracy": accuracy[0],
            "accuracy_high": max(accuracy[0], np.nanquantile(accuracies, level)),
            "information": information[0],
            "information_high": max(information[0], np.nanquantile(informations, level)),
        }
    )


def _measure(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bound and the information of each of (K, M, weightings) counts; NaN where a class is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = counts / counts.sum(axis=1, keepdims=True)
        terms = share * np.log2(share / share.mean(axis=0))
    information = np.where(share > 0, terms, 0).sum(axis=1).mean(axis=0)
    missing = np.isnan(share).any(axis=(0, 1))
    return share.max(axis=0).sum(axis=0) / len(share), np.where(missing, np.nan, information)
