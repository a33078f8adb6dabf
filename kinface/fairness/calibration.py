"""Fairness by the scores alone: embeddings are unchanged, and no group labels are needed.

Faces are clustered by their embeddings, in the hope that clusters follow groups, and scores are changed by the clusters
of the two faces. A calibration of your own is named by its class path; it has ``fit`` and ``apply`` as ours.

- ``FairCal``: Salvador, Cairns, Voleti, Marshall & Oberman, "FairCal: Fairness Calibration for Face Verification", ICLR
  2022.
- ``ScoreNormalization``: Terhörst, Kolf, Damer, Kirchbuchner & Kuijper, "Post-comparison mitigation of demographic bias
  in face recognition using fair score normalization", Pattern Recognition Letters 2020 (arXiv 2002.03592).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from kinface.data.cosines import to_unit_length
from kinface.data.pairs import check_kinds, check_pairs, families_known, find_rows, list_known, resampling_units
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import MEASURED, interval_of_rate, measure, standard_error
from kinface.fairness.standards import choose_threshold_at_fmr
from swinface.bootstrap import start_drawing
from swinface.files import InputError, running
from swinface.registry import Registry

FEWEST = 20  # pairs of each kind that a cluster needs for a map, or a threshold, of its own

CALIBRATIONS = Registry("calibration")


class BetaCalibration:
    """Map a score in (0, 1) to the probability that a pair is kin.

    The log odds are a ln s - b ln(1 - s) + c with a, b >= 0 (Kull, Silva Filho & Flach, "Beyond sigmoids", Electronic
    Journal of Statistics 2017).
    """

    EDGE = 1e-6  # scores of 0 and 1 have no logarithm

    def fit(self, score: np.ndarray, kin: np.ndarray) -> Self:
        """Fit to scores, (N,), and whether the pairs are kin, (N,)."""
        features = self._describe(score)
        used = [0, 1]
        while used:
            model = LogisticRegression(C=1e6, max_iter=1000).fit(features[:, used], kin)
            wrong = [used[place] for place, weight in enumerate(model.coef_[0]) if weight < 0]
            if not wrong:
                break
            used = [place for place in used if place not in wrong]
        self.weights = np.zeros(2)
        if used:
            self.weights[used], self.offset = model.coef_[0], float(model.intercept_[0])
        else:
            share = np.clip(np.mean(kin), self.EDGE, 1 - self.EDGE)
            self.offset = float(np.log(share / (1 - share)))
        return self

    def predict(self, score: np.ndarray) -> np.ndarray:
        """(N,) probabilities."""
        return 1 / (1 + np.exp(-(self._describe(score) @ self.weights + self.offset)))

    def _describe(self, score: np.ndarray) -> np.ndarray:
        score = np.clip(score, self.EDGE, 1 - self.EDGE)
        return np.stack([np.log(score), -np.log(1 - score)], axis=1)


class _ByCluster:
    """Clusters of faces, and the pairs that touch each."""

    def __init__(self, clusters: int = 10, seed: int = 0) -> None:
        if clusters < 1:
            raise InputError(f"clusters is {clusters}; give 1 or more.")
        start_drawing(seed)  # refuses what is no seed
        self.clusters, self.seed = clusters, seed

    def _fit_clusters(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> np.ndarray:
        """(pairs, 2), the clusters of both faces; they are made of the faces of the pairs, each once."""
        rows = np.unique(np.concatenate(find_rows(pairs, faces)))
        if len(rows) < self.clusters:
            raise InputError(
                f"{self.clusters} clusters of {len(rows)} faces, those of the pairs to fit them to; choose fewer."
            )
        unit = to_unit_length(faces, embedding).astype(np.float64)[rows]
        self._means = KMeans(self.clusters, n_init=10, random_state=self.seed).fit(unit)
        return self._find_clusters(pairs, faces, embedding)

    def _find_clusters(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> np.ndarray:
        cluster = self._means.predict(to_unit_length(faces, embedding).astype(np.float64))
        return np.stack([cluster[rows] for rows in find_rows(pairs, faces)], axis=1)

    def _touching(self, clusters: np.ndarray, kin: np.ndarray, fewest: int = FEWEST) -> dict[int, np.ndarray]:
        """Cluster to the places of its pairs, where it has enough of each kind."""
        touching = {cluster: np.flatnonzero((clusters == cluster).any(axis=1)) for cluster in range(self.clusters)}
        return {
            cluster: rows for cluster, rows in touching.items() if min(kin[rows].sum(), (~kin[rows]).sum()) >= fewest
        }


@CALIBRATIONS.register("faircal")
class FairCal(_ByCluster):
    """Calibrate scores by cluster: the probability of kinship by the maps of both faces' clusters.

    A pair of clusters i and j gets (n_i m_i(s) + n_j m_j(s)) / (n_i + n_j), where m are the maps (``BetaCalibration``)
    fitted to the n pairs that touch a cluster. A cluster with fewer than 20 kin or non-kin pairs has the map of all.

    Parameters
    ----------
    clusters
        K of the paper, which has 100 for millions of pairs.
    seed
        Seed of the clusters.
    """

    def fit(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> Self:
        """Fit to scored validation pairs; ``faces`` and ``embedding`` as for ``kinface.data.pairs.score_pairs``."""
        score, kin = _halve(pairs), pairs["kin"].to_numpy(bool)
        self._maps = [BetaCalibration().fit(score, kin)] * self.clusters
        self._sizes = np.full(self.clusters, len(pairs))
        for cluster, rows in self._touching(self._fit_clusters(pairs, faces, embedding), kin).items():
            self._maps[cluster] = BetaCalibration().fit(score[rows], kin[rows])
            self._sizes[cluster] = len(rows)
        return self

    def apply(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
        """The pairs with the probability of kinship as ``score``."""
        clusters, score = self._find_clusters(pairs, faces, embedding), _halve(pairs)
        by_cluster = np.stack([one.predict(score) for one in self._maps], axis=1)
        values = np.take_along_axis(by_cluster, clusters, axis=1)
        sizes = self._sizes[clusters]
        return pairs.assign(score=(values * sizes).sum(axis=1) / sizes.sum(axis=1))


@CALIBRATIONS.register("normalize")
class ScoreNormalization(_ByCluster):
    """Shift scores by cluster: s - (d_i + d_j) / 2, where d is a cluster's threshold minus that of all pairs.

    Both thresholds let through the share ``fmr`` of the non-kin pairs (that touch the cluster). At the threshold of all
    pairs, every cluster then has about that share. A cluster with fewer than 20 pairs of a kind, or too few for a
    threshold at ``fmr``, is not shifted.

    Parameters
    ----------
    clusters
        Number of clusters.
    fmr
        False match rate of the thresholds.
    seed
        Seed of the clusters.
    """

    def __init__(self, clusters: int = 10, fmr: float = 0.1, seed: int = 0) -> None:
        super().__init__(clusters, seed)
        if not 0 < fmr < 1:
            raise InputError(f"a false match rate lies between 0 and 1; got {fmr}.")
        self.fmr = fmr

    def fit(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> Self:
        """Fit to scored validation pairs; ``faces`` and ``embedding`` as for ``kinface.data.pairs.score_pairs``."""
        fewest = max(FEWEST, math.ceil(1 / self.fmr))
        rows_of = self._touching(self._fit_clusters(pairs, faces, embedding), pairs["kin"].to_numpy(bool), fewest)
        of_all = choose_threshold_at_fmr(pairs, self.fmr)
        self._shifts = np.zeros(self.clusters)
        for cluster, rows in rows_of.items():
            self._shifts[cluster] = choose_threshold_at_fmr(pairs.iloc[rows], self.fmr) - of_all
        return self

    def apply(self, pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
        """The pairs with shifted scores."""
        clusters = self._find_clusters(pairs, faces, embedding)
        return pairs.assign(score=pairs["score"] - self._shifts[clusters].mean(axis=1))


def calibrate(
    validation: pd.DataFrame,
    pairs: pd.DataFrame,
    faces: Sequence[str],
    embedding: np.ndarray,
    *,
    method: str = "faircal",
    options: Mapping[str, Any] | None = None,
    folds: int = 5,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Calibrate the scores of a list on validation pairs.

    Parameters
    ----------
    validation, pairs
        Scored pairs tables of one model; they share no family.
    faces, embedding
        (N,) paths and (N, D) embeddings, of any model, of the faces of both.
    method
        ``faircal``, ``normalize``, or a custom ``package.module.Class``.
    options
        Options of the method, see the classes.
    folds
        Validation pairs are calibrated on those of other families, in this many parts, so that a threshold can be
        chosen on them. A pair of families of two parts belongs to that of its first.

    Returns
    -------
    tuple
        The validation pairs and the pairs, with calibrated scores.

    Raises
    ------
    InputError
        A table is no scored pairs table, both have a family or face, validation pairs are all of one kind or non-kin
        pairs have the higher scores, a face is not embedded, there are too few pairs or families, there is no such
        method, it does not take these options, or it fails.
    """

    def adjust(fitted_on: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
        calibration = CALIBRATIONS.create(method, **(options or {}))
        with running(f"calibration {method!r}"):
            result = calibration.fit(fitted_on, faces, embedding).apply(others, faces, embedding)
            return check_pairs(others.assign(score=result["score"].to_numpy(float)), "calibrated pairs", scored=True)

    validation, pairs = (check_pairs(table, "pairs to calibrate", scored=True) for table in (validation, pairs))
    check_apart(validation, pairs)
    _check_direction(validation)
    _warn_of_unknown_families(validation, pairs)
    first, second = resampling_units(validation)
    families = f"{folds} folds of validation pairs of {first.nunique()} families"
    if not 2 <= folds <= first.nunique():
        raise InputError(f"{families}: give at least 2 folds, and at least as many families.")
    calibrated = validation.copy()
    for _, held in GroupKFold(folds).split(validation, groups=first):
        own = {*first.iloc[held]}
        others = validation[~(first.isin(own) | second.isin(own))]
        check_kinds(others["kin"], f"{families}, too few: the pairs without the families of one fold")
        part = adjust(others, validation.iloc[held])
        calibrated.iloc[held, calibrated.columns.get_loc("score")] = part["score"].to_numpy()
    return calibrated, adjust(validation, pairs)


def check_apart(validation: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Raise ``InputError`` if two lists have families or faces in common: scores would be calibrated on themselves."""
    for what in ("family", "face"):
        if common := list_known(validation, what) & list_known(pairs, what):
            raise InputError(
                f"{what} {min(common)} is among the pairs to calibrate too; calibrate on pairs of other families."
            )


def _warn_of_unknown_families(validation: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Nothing then keeps pairs of one family, or of one face, apart."""
    for what, table in (("validation pairs", validation), ("pairs", pairs)):
        if unknown := int((~families_known(table)).sum()):
            warnings.warn(
                f"the families of {unknown:,} of {len(table):,} {what} are unknown (columns family_a and family_b): "
                "their scores may be calibrated on pairs of their own families, and look better than those of others.",
                stacklevel=3,
            )


def _check_direction(validation: pd.DataFrame) -> None:
    """Refuse distances, which would be calibrated to one value, or shifted to the wrong side."""
    check_kinds(validation["kin"], "validation pairs")
    values, influence = measure(validation["score"].to_numpy(), validation["kin"].to_numpy(), 0.0)
    auc, dyads = MEASURED.index("auc"), Dyads.of_pairs(validation)
    _, high = interval_of_rate(values[auc], standard_error(influence[:, auc], dyads), len(dyads.keys))
    if high < 0.5:
        raise InputError(
            f"non-kin validation pairs have the higher scores (AUC {values[auc]:.3f}); if scores are distances, give 1 "
            "minus a cosine distance."
        )


def _halve(pairs: pd.DataFrame) -> np.ndarray:
    """Cosines, from -1 to 1, as scores from 0 to 1."""
    score = pairs["score"].to_numpy(float)
    if np.abs(score).max() > 1 + 1e-6:
        raise InputError("scores to calibrate must be cosines or probabilities, at most 1 in size.")
    return (score + 1) / 2
