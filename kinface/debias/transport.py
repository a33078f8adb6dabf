"""Erasure by optimal transport of classes to their barycentre, as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jsonargparse.typing import ClosedUnitInterval
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from kinface.data.labels import encode_labels
from kinface.debias.closed_form import SMALLEST_SPREAD, fit_gate
from kinface.debias.eraser import Eraser, read_embeddings

ROUNDS = 10  # of the barycentre's fixed-point iteration, which converges to 1e-6 in fewer


class Transport(Eraser):
    """Optimal transport of each class to their barycentre: classes get the same mean and nearly the same covariance.

    A linear classifier, the gate, predicts the class of an embedding x, and the map of that class is applied. For class
    k of mean m_k and covariance C_k this map is the optimal transport between normal distributions,

        x -> m + T_k (x - m_k),   T_k = C_k^(-1/2) (C_k^(1/2) S C_k^(1/2))^(1/2) C_k^(-1/2)

    (Peyre & Cuturi, Computational Optimal Transport, 2019, remark 2.31), with m the mean of all m_k, and S the
    covariance of the barycentre, the fixed point of S <- S^(-1/2) (mean_k (S^(1/2) C_k S^(1/2))^(1/2))^2 S^(-1/2)
    (Alvarez-Esteban et al., J. Math. Anal. Appl. 441, 2016, theorem 4.2). Moving groups to their barycentre is the
    total repair of Gordaliza et al. (ICML 2019), where the group of each sample is known; the same maps with known
    groups are quadratic LEACE (arXiv 2502.02820). Here the gate predicts the groups, both to fit and to transform,
    but not in :class:`Oracle`.

    The penalty of the gate depends on the number of samples, and samples of weight 0 count in this number. The result
    therefore changes a little if they are left out.

    Parameters
    ----------
    shrinkage
        Shrinkage of each C_k towards their mean (Friedman, JASA 84, 1989).
    by_size
        Whether classes count by their weight in S and the mean of the C_k; if not, all count the same, because races
        are very unequal.

    Attributes
    ----------
    gate_, gate_bias_
        (K, D) and (K,), logits of the classes.
    maps_, shifts_
        (K, D, D) T_k and (K, D) m - T_k m_k.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.transport import Transport
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 200)
    >>> X = np.where(y == "m", 2.0, 1.0)[:, None] * rng.normal(size=(400, 3)) + 9 * (y == "m")[:, None]
    >>> erased = Transport().fit(X, y).transform(X)
    >>> bool(X[y == "m"].std() / X[y == "f"].std() > 1.5)
    True
    >>> bool(erased[y == "m"].std() / erased[y == "f"].std() < 1.2)
    True
    """

    def __init__(self, shrinkage: ClosedUnitInterval = 0.1, by_size: bool = False) -> None:
        self.shrinkage, self.by_size = shrinkage, by_size

    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None:
        (given,) = codes
        self.gate_, self.gate_bias_ = fit_gate(X, given, weight)
        groups = given if self.oracle else self._choose(X)
        shares = np.bincount(groups[groups >= 0], weight[groups >= 0], len(self.gate_)) if self.by_size else None
        self.maps_, self.shifts_ = find_transport(X, groups, weight, len(self.gate_), self.shrinkage, shares)

    def _move(self, X: np.ndarray) -> np.ndarray:
        return self._move_chosen(X, self._choose(X))

    def _move_chosen(self, X: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        moved = np.empty_like(X)
        for code in np.unique(chosen):  # one map at a time: a map for each face takes much memory
            rows = chosen == code
            moved[rows] = X[rows] @ self.maps_[code].T + self.shifts_[code]
        return moved

    def state(self) -> dict[str, np.ndarray]:
        """A map for each class, and the gate that chooses from them."""
        return {"maps": self.maps_, "shifts": self.shifts_, "gate": self.gate_, "gate_bias": self.gate_bias_}

    def _choose(self, X: np.ndarray) -> np.ndarray:
        return (X @ self.gate_.T + self.gate_bias_).argmax(axis=1)


class Oracle(Transport):
    """Transport by the true class of each face, to fit and to transform: quadratic LEACE.

    No model can use it whose faces come without their class; it shows what predicting the class costs. Parameters and
    attributes are those of :class:`Transport`. ``Oracle(shrinkage=0.0, by_size=True)`` is ``QuadraticEraser`` of the
    package concept-erasure without its shrinkage, but for Bessel's correction of each C_k: there classes count by their
    size. Ours gives all classes the same weight, unless told otherwise, and shrinks their covariances.
    """

    oracle = True

    def transform(self, X: np.ndarray, y: Sequence | np.ndarray | None = None) -> np.ndarray:
        """Erase from (N, D) faces of (N,) labels: (N, D); the gate maps faces of no known class.

        Raises ``ValueError`` if X or y is malformed or missing.
        """
        check_is_fitted(self)
        X = read_embeddings(self, X, reset=False)
        if y is None:
            raise ValueError("Oracle needs labels y to transform.")
        place, _ = encode_labels(y, self.classes_[0], "labels y")
        check_consistent_length(X, place)
        return self._move_chosen(X, np.where(place >= 0, place, self._choose(X)))


def find_transport(
    X: np.ndarray,
    groups: np.ndarray,
    weight: np.ndarray,
    classes: int,
    shrinkage: float = 0.1,
    shares: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(classes, D, D) maps and (classes, D) shifts that move groups to their barycentre.

    Groups count by (classes,) ``shares`` in its covariance, by default the same. The map of a group without
    weight is the identity.
    """
    everyone = _find_moments(X, weight)
    found = [_find_moments(X[groups == k], weight[groups == k]) for k in range(classes)]
    moments = [everyone if each is None else each for each in found]
    centre = np.mean([mean for mean, _ in moments], axis=0)
    pooled = np.average([covariance for _, covariance in moments], axis=0, weights=shares)
    variance, axes = np.linalg.eigh(pooled)
    axes = axes[:, variance > SMALLEST_SPREAD * variance.max()]
    spreads = [axes.T @ ((1 - shrinkage) * own + shrinkage * pooled) @ axes for _, own in moments]
    barycentre = np.average(spreads, axis=0, weights=shares)
    roots = [_power(each, 0.5) for each in spreads]
    for _ in range(ROUNDS):
        root, inverse = _power(barycentre, 0.5), _power(barycentre, -0.5)
        between = np.average([_modulus(each @ root) for each in roots], axis=0, weights=shares)
        barycentre = inverse @ between @ between @ inverse
    target = _power(barycentre, 0.5)
    maps, shifts = np.tile(np.eye(len(axes)), (classes, 1, 1)), np.zeros((classes, len(axes)))
    for k, (each, spread, root) in enumerate(zip(found, spreads, roots, strict=True)):
        if each is not None:
            inverse = _power(spread, -0.5)
            moved = inverse @ _modulus(target @ root) @ inverse
            maps[k] += axes @ (moved - np.eye(len(moved))) @ axes.T
            shifts[k] = centre - maps[k] @ each[0]
    return maps, shifts


def _find_moments(X: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Weighted mean and covariance; None if no sample has weight."""
    if not weight.sum() > 0:
        return None
    weight = weight / weight.sum()
    mean = weight @ X
    return mean, ((X - mean) * weight[:, None]).T @ (X - mean)


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values.clip(min=SMALLEST_SPREAD * values.max()) ** exponent) @ vectors.T


def _modulus(matrix: np.ndarray) -> np.ndarray:
    """(A^T A)^(1/2), from the singular values of A: the eigenvalues of A^T A lose the small ones to rounding."""
    _, values, vectors = np.linalg.svd(matrix)
    return (vectors.T * values) @ vectors
