"""Closed-form erasure as scikit-learn transformers: ``Leace``, ``Inlp`` and ``Transport``.

Each is fitted on embeddings X and the labels z of one or more attributes, and can then transform other embeddings, for
which no labels are needed. A map is exact only for the people it was fitted on; ``kinface.probe_leakage`` measures how
much other people still show. This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

SMALLEST_SPREAD = 1e-10  # share of the largest variance; directions below it are rounding error and stay as they are
PLAIN_GAIN = 0.05  # balanced accuracy above chance below which INLP stops
PRIOR = 0.01  # prior variance of the weights of Transport's gate, as in the linear probe
SHRINKAGE = 0.1  # of the covariance of a class towards the mean over classes (Friedman, JASA 84, 1989)
ROUNDS = 10  # of the barycentre's fixed-point iteration, which converges to 1e-6 in fewer


class _Eraser(TransformerMixin, BaseEstimator):
    """Common part of the three transformers: checks the input and encodes the labels."""

    def _read(
        self, X: np.ndarray, z: Sequence | np.ndarray, sample_weight: np.ndarray | None
    ) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """X as float64, for each attribute the (N,) codes of its classes, -1 if unknown, and weights of sum 1."""
        if z is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None: give labels z.")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        columns = _read_labels(z)
        check_consistent_length(X, columns[0])
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.sum() > 0:
            raise ValueError("sample_weight must be above 0 for some samples.")
        codes = [np.where(weight > 0, pd.factorize(column, sort=True)[0], -1) for column in columns]
        for number, given in enumerate(codes):
            if len(np.unique(given[given >= 0])) < 2:
                raise ValueError(f"attribute {number} of z has one class among the weighted samples; it needs two.")
        return X, codes, weight / weight.sum()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


class _Projection(_Eraser):
    """x -> x - P (x - mean)."""

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Erase from (N, D): (N, D)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return X - (X - self.mean_) @ self.projection_.T


class Leace(_Projection):
    """Least-squares concept erasure (LEACE; Belrose et al., NeurIPS 2023): equal class means with the least change.

    With the covariance S of the embeddings, the whitening W = S^(-1/2), and C the differences of the class means,

        P = W^+ (W C)(W C)^+ W

    (theorem 4.3; C spans the same space as the cross-covariance of embeddings and classes). If and only if all means
    are equal, no linear classifier is better than a constant (theorem 3.1).

    Attributes
    ----------
    mean_
        (D,), weighted mean of the embeddings.
    projection_
        P, (D, D), of rank at most the sum over attributes of (number of classes - 1).

    Examples
    --------
    >>> import numpy as np
    >>> from kinface import Leace
    >>> rng, z = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + (z == "m")[:, None]
    >>> erased = Leace().fit(X, z).transform(X)
    >>> bool(np.allclose(erased[z == "f"].mean(axis=0), erased[z == "m"].mean(axis=0)))
    True
    """

    def fit(self, X: np.ndarray, z: Sequence | np.ndarray, sample_weight: np.ndarray | None = None) -> Leace:
        """Fit to embeddings and labels.

        Parameters
        ----------
        X
            (N, D).
        z
            (N,) labels of an attribute, or (N, k) labels of several, which are all erased at once. None, NaN and
            negative integers are unknown.
        sample_weight
            (N,), how much each sample counts; 1 if left out.

        Raises
        ------
        ValueError
            X or z is malformed, or an attribute has fewer than two classes.
        """
        X, codes, weight = self._read(X, z, sample_weight)
        self.mean_ = weight @ X
        self.projection_ = project_leace(X - self.mean_, codes, weight)
        return self


class Inlp(_Projection):
    """Iterative null-space projection (INLP; Ravfogel et al., ACL 2020).

    In each round a linear classifier is trained, and the directions that it uses are removed. The rounds end when the
    classifier is hardly better than chance on its training samples. The classifiers are logistic regressions whose
    ridge penalty counts as much as the mean loss, so that their directions are close to the difference of the class
    means; with a weaker penalty they fit single families.

    Parameters
    ----------
    rounds
        Maximum number of rounds for each attribute.

    Attributes
    ----------
    mean_
        (D,), weighted mean of the embeddings.
    projection_
        P, (D, D), an orthogonal projection.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface import Inlp
    >>> rng, z = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + 3 * np.outer(z == "m", [1, 0, 0])
    >>> erased = Inlp().fit(X, z).transform(X)
    >>> apart = erased[z == "m"].mean(axis=0) - erased[z == "f"].mean(axis=0)
    >>> bool(np.linalg.norm(apart) < 0.3)
    True
    """

    def __init__(self, rounds: int = 16) -> None:
        self.rounds = rounds

    def fit(self, X: np.ndarray, z: Sequence | np.ndarray, sample_weight: np.ndarray | None = None) -> Inlp:
        """Fit to embeddings and labels; parameters and errors as of :meth:`Leace.fit`.

        A weight of 2 is nearly, not exactly, the same as a sample that is there twice, because the scale of the
        embeddings and the rule to stop do not use weights.
        """
        X, codes, weight = self._read(X, z, sample_weight)
        self.mean_ = weight @ X
        self.projection_ = project_inlp(X - self.mean_, codes, weight, self.rounds)
        return self


class Transport(_Eraser):
    """Optimal transport of each class to their barycentre: classes get the same mean and nearly the same covariance.

    A linear classifier, the gate, predicts the class of an embedding x, and the map of that class is applied.
    For class k of mean m_k and covariance C_k, shrunk by ``SHRINKAGE``, this map is the optimal transport between
    normal distributions,

        x -> m + T_k (x - m_k),   T_k = C_k^(-1/2) (C_k^(1/2) S C_k^(1/2))^(1/2) C_k^(-1/2)

    (Peyre & Cuturi, Computational Optimal Transport, 2019, remark 2.31), with m the mean of all m_k, and S the
    covariance of the barycentre, the fixed point of S <- S^(-1/2) (mean_k (S^(1/2) C_k S^(1/2))^(1/2))^2 S^(-1/2)
    (Alvarez-Esteban et al., J. Math. Anal. Appl. 441, 2016, theorem 4.2). Moving groups to their barycentre is the
    total repair of Gordaliza et al. (ICML 2019), where the group of each sample is known; the same maps with known
    groups are quadratic LEACE (arXiv 2502.02820). Here the gate predicts the groups, both to fit and to transform.

    Parameters
    ----------
    classes
        Values of the labels in the order of the maps; by default the values that occur, sorted. The map of a class
        without samples is the identity.

    Attributes
    ----------
    gate_, gate_bias_
        (K, D) and (K,), logits of the classes.
    maps_, shifts_
        (K, D, D) T_k and (K, D) m - T_k m_k.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface import Transport
    >>> rng, z = np.random.default_rng(0), np.repeat(["f", "m"], 200)
    >>> X = np.where(z == "m", 2.0, 1.0)[:, None] * rng.normal(size=(400, 3)) + 9 * (z == "m")[:, None]
    >>> erased = Transport().fit(X, z).transform(X)
    >>> bool(X[z == "m"].std() / X[z == "f"].std() > 1.5)
    True
    >>> bool(erased[z == "m"].std() / erased[z == "f"].std() < 1.2)
    True
    """

    def __init__(self, classes: Sequence | None = None) -> None:
        self.classes = classes

    def fit(self, X: np.ndarray, z: Sequence | np.ndarray, sample_weight: np.ndarray | None = None) -> Transport:
        """Fit to embeddings and labels of one attribute; parameters and errors as of :meth:`Leace.fit`.

        The penalty of the gate depends on the number of samples, and samples of weight 0 count in this number. The
        result therefore changes a little if they are left out.
        """
        X, codes, weight = self._read(X, z, sample_weight)
        if len(codes) != 1:
            raise ValueError(f"Transport takes one attribute, not {len(codes)}; fit one after the other.")
        present = np.unique(_read_labels(z)[0][codes[0] >= 0])
        self.classes_ = present if self.classes is None else np.asarray(self.classes)
        place = pd.Index(self.classes_).get_indexer(_read_labels(z)[0])
        given = np.where(codes[0] >= 0, place, -1)
        self.gate_, self.gate_bias_ = fit_gate(X, given, weight, len(self.classes_))
        self.maps_, self.shifts_ = find_transport(X, self._choose(X), weight, len(self.classes_))
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Erase from (N, D): (N, D)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        chosen = self._choose(X)
        return np.einsum("nij,nj->ni", self.maps_[chosen], X) + self.shifts_[chosen]

    def _choose(self, X: np.ndarray) -> np.ndarray:
        return (X @ self.gate_.T + self.gate_bias_).argmax(axis=1)


def _read_labels(z: Sequence | np.ndarray) -> list[np.ndarray]:
    """The (N,) labels of each attribute; unknown ones are None or NaN."""
    frame = pd.DataFrame(z if isinstance(z, pd.Series | pd.DataFrame) else np.asarray(z))
    columns = []
    for name in frame:
        column = frame[name]
        if pd.api.types.is_integer_dtype(column):
            column = column.astype("float64").mask(column < 0)
        columns.append(column.to_numpy())
    return columns


def project_leace(centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """P of LEACE, (D, D), from (N, D) embeddings of mean 0, (N,) codes of each attribute, and (N,) weights of sum 1."""
    variance, axes = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    kept = variance > SMALLEST_SPREAD * variance.max()
    spread, axes = np.sqrt(variance[kept]), axes[:, kept]
    whitened = np.concatenate([_center_means(centred, given, weight) for given in codes]) @ axes / spread
    _, strength, rows = np.linalg.svd(whitened, full_matrices=False)
    rows = rows[strength > 1e-6 * strength.max(initial=0)]
    return (axes * spread) @ rows.T @ rows @ (axes / spread).T


def _center_means(centred: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(classes, D) weighted means of the classes that occur, less the mean of these means."""
    members = [codes == code for code in np.unique(codes[codes >= 0])]
    means = np.stack([weight[rows] @ centred[rows] / weight[rows].sum() for rows in members])
    return means - means.mean(axis=0)


def project_inlp(centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray, rounds: int) -> np.ndarray:
    """P of INLP, (D, D); parameters as of :func:`project_leace`."""
    removed = np.zeros((0, centred.shape[1]))
    for given in codes:
        known = given >= 0
        target, counts = given[known], weight[known]
        for _ in range(rounds):
            left = (centred - centred @ removed.T @ removed)[known]
            scale = left.std()
            if not scale > 0:  # all directions are removed
                break
            classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200)
            classifier.fit(left / scale, target, counts / counts.sum())
            recall = [(classifier.predict(left[target == k] / scale) == k).mean() for k in np.unique(target)]
            if np.mean(recall) < 1 / len(recall) + PLAIN_GAIN:
                break
            _, strength, rows = np.linalg.svd(np.concatenate([removed, classifier.coef_]), full_matrices=False)
            removed = rows[strength > 1e-6 * strength.max()]
    return removed.T @ removed


def fit_gate(X: np.ndarray, codes: np.ndarray, weight: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A logistic regression of balanced classes: (classes, D) weights and (classes,) biases of its logits.

    A class without samples has the bias -inf.
    """
    known = codes >= 0
    x, counts = X[known], weight[known] * len(weight)
    mean, spread = x.mean(axis=0), x.std(axis=0, ddof=1) + SMALLEST_SPREAD
    classifier = LogisticRegression(C=PRIOR, class_weight="balanced", max_iter=2000)
    classifier.fit((x - mean) / spread, codes[known], counts)
    coefficients, intercept = classifier.coef_, classifier.intercept_
    if len(intercept) == 1:  # for two classes scikit-learn gives the logit of the second; that of the first is 0
        coefficients, intercept = (np.concatenate([np.zeros_like(part), part]) for part in (coefficients, intercept))
    gate, bias = np.zeros((classes, X.shape[1])), np.full(classes, -np.inf)
    gate[classifier.classes_] = coefficients / spread
    bias[classifier.classes_] = intercept - coefficients @ (mean / spread)
    return gate, bias


def find_transport(
    X: np.ndarray, groups: np.ndarray, weight: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(classes, D, D) maps and (classes, D) shifts that move groups to their barycentre.

    The map of a group without weight is the identity.
    """
    everyone = _find_moments(X, weight)
    found = [_find_moments(X[groups == k], weight[groups == k]) for k in range(classes)]
    moments = [everyone if each is None else each for each in found]
    centre = np.mean([mean for mean, _ in moments], axis=0)
    pooled = np.mean([covariance for _, covariance in moments], axis=0)
    variance, axes = np.linalg.eigh(pooled)
    axes = axes[:, variance > SMALLEST_SPREAD * variance.max()]
    spreads = [axes.T @ ((1 - SHRINKAGE) * own + SHRINKAGE * pooled) @ axes for _, own in moments]
    barycentre = np.mean(spreads, axis=0)
    for _ in range(ROUNDS):
        root, inverse = _power(barycentre, 0.5), _power(barycentre, -0.5)
        between = np.mean([_power(root @ spread @ root, 0.5) for spread in spreads], axis=0)
        barycentre = inverse @ between @ between @ inverse
    maps, shifts = np.tile(np.eye(len(axes)), (classes, 1, 1)), np.zeros((classes, len(axes)))
    for k, (each, spread) in enumerate(zip(found, spreads, strict=True)):
        if each is not None:
            root, inverse = _power(spread, 0.5), _power(spread, -0.5)
            moved = inverse @ _power(root @ barycentre @ root, 0.5) @ inverse
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
