"""Closed-form erasure as scikit-learn transformers: ``Leace``, ``Splince`` and ``Inlp``;
``kinface.debias.transport`` has ``Transport``.

Each is fitted on embeddings X and the labels y of one or more attributes, and can then transform other embeddings, for
which no labels are needed. A map is exact only for the people it was fitted on; ``kinface.probe_leakage`` measures how
much other people still show. This module does not import torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

from kinface.data.labels import encode_labels, split_columns

SMALLEST_SPREAD = 1e-10  # share of the largest variance; directions below it are rounding error and stay as they are
MOST_WITHIN = 0.7  # of a direction of a target that lies in what is removed; to keep more would blow up noise
PLAIN_GAIN = 0.05  # balanced accuracy above chance below which INLP stops


class Eraser(TransformerMixin, BaseEstimator):
    """Removes attributes from embeddings: a transformer of scikit-learn, arrays of numpy in and out.

    A class says what it needs and does; where one of another's says nothing, the values here hold.

    Attributes
    ----------
    several
        Whether it takes the labels of several attributes at once; if not, attributes are erased one after the other.
    needs_target
        Whether it keeps what tells a target, such as families.
    keeps_axes
        Whether a number of an embedding still means what it did, so that layers of a model can read the result.
    oracle
        Whether faces to transform need their labels too. No model can use it whose faces come without them.
    """

    several = False
    needs_target = False
    keeps_axes = True
    oracle = False

    @abstractmethod
    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings and labels.

        Parameters
        ----------
        X
            (N, D).
        y
            (N,) labels of an attribute, or (N, k) labels of several, in any container (``kinface.data.labels``). None,
            NaN, pandas' NA, masked values and negative numbers are unknown.
        sample_weight
            (N,), how much each sample counts; 1 if left out.
        target
            (N,) labels of what should stay, such as families; unknown as in ``y``.
        groups
            (N,) what samples depend on each other by, such as families, for a method that holds some of them out. None
            of ours does.

        Raises
        ------
        ValueError
            X or y is malformed, or an attribute has fewer than two classes.
        """

    def _read(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        sample_weight: np.ndarray | None,
        classes: Sequence | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray], list[list[str]], np.ndarray]:
        """X as float64; for each attribute (N,) codes, -1 if unknown or without weight, and the texts of its classes,
        those given or those that occur; (N,) weights of sum 1."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None: give labels.")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        columns = split_columns(y, "labels y")
        check_consistent_length(X, columns[0])
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.sum() > 0:
            raise ValueError("sample_weight must be above 0 for some samples.")
        weighted = [column.astype(object).where(weight > 0, None) for column in columns]
        codes, names = zip(*(encode_labels(column, classes, "labels y") for column in weighted), strict=True)
        for number, given in enumerate(codes):
            if len(np.unique(given[given >= 0])) < 2:
                raise ValueError(
                    f"attribute {number} of y has one class among the weighted samples; it needs two (None, NaN and "
                    "negative numbers are unknown)."
                )
        if len(codes) > 1 and not self.several:
            raise ValueError(f"{type(self).__name__} takes one attribute, not {len(codes)}; fit one after the other.")
        return X, [*codes], [*names], weight / weight.sum()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


class _Projection(Eraser):
    """x -> x - P (x - mean)."""

    several = True

    def transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """Erase from (N, D): (N, D); ``y`` is ignored."""
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
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + (y == "m")[:, None]
    >>> erased = Leace().fit(X, y).transform(X)
    >>> bool(np.allclose(erased[y == "f"].mean(axis=0), erased[y == "m"].mean(axis=0)))
    True
    """

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings and labels, as of :meth:`Eraser.fit`; target and groups are ignored."""
        X, codes, _, weight = self._read(X, y, sample_weight)
        self.mean_ = weight @ X
        self.projection_ = project_leace(X - self.mean_, codes, weight)
        return self


class Splince(_Projection):
    """LEACE that keeps what tells a target (SPLINCE; Holstege et al., NeurIPS 2025): an oblique projection.

    In the whitened space of LEACE, let Z span what it removes, and Y the covariance with the target. The projection has
    the kernel Z, and its range is Y and all that is orthogonal to both: class means become equal, the covariance with
    the target stays as it is, and nothing else changes. LEACE, orthogonal there, also removes the part of Y in Z.

    Parameters
    ----------
    kept
        How many directions of the covariance with the target are kept, the strongest first. A target of many classes,
        such as families, would else span all of the space. A direction of which more than ``MOST_WITHIN`` lies in what
        is removed is not kept, which is ours.

    Attributes
    ----------
    mean_, projection_
        As of :class:`Leace`.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface import Splince
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> t = (rng.random(100) < 0.3 + 0.4 * (y == "m")).astype(int)
    >>> X = rng.normal(size=(100, 3)) + np.outer(t, [0, 3, 1]) + np.outer(y == "m", [3, 0, 0])
    >>> erased = Splince().fit(X, y, target=t).transform(X)
    >>> bool(np.allclose(erased[y == "f"].mean(axis=0), erased[y == "m"].mean(axis=0)))
    True
    >>> bool(np.allclose((X - X.mean(axis=0)).T @ (t - t.mean()), (erased - erased.mean(axis=0)).T @ (t - t.mean())))
    True
    """

    needs_target = True

    def __init__(self, kept: int = 16) -> None:
        self.kept = kept

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings, labels and the target, as of :meth:`Eraser.fit`; without a target it is LEACE."""
        X, codes, _, weight = self._read(X, y, sample_weight)
        target, _ = encode_labels([None] * len(X) if target is None else target, what="target")
        check_consistent_length(X, target)
        self.mean_ = weight @ X
        self.projection_ = project_splince(X - self.mean_, codes, target, weight, self.kept)
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
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + 3 * np.outer(y == "m", [1, 0, 0])
    >>> erased = Inlp().fit(X, y).transform(X)
    >>> apart = erased[y == "m"].mean(axis=0) - erased[y == "f"].mean(axis=0)
    >>> bool(np.linalg.norm(apart) < 0.3)
    True
    """

    def __init__(self, rounds: int = 16) -> None:
        self.rounds = rounds

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings and labels, as of :meth:`Eraser.fit`; target and groups are ignored.

        A weight of 2 is nearly, not exactly, the same as a sample that is there twice, because the scale of the
        embeddings and the rule to stop do not use weights.
        """
        X, codes, _, weight = self._read(X, y, sample_weight)
        self.mean_ = weight @ X
        self.projection_ = project_inlp(X - self.mean_, codes, weight, self.rounds)
        return self


def project_leace(centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """P of LEACE, (D, D), from (N, D) embeddings of mean 0, (N,) codes of each attribute, and (N,) weights of sum 1."""
    spread, axes = _find_axes(centred, weight)
    rows = _whiten_means(centred, codes, weight, spread, axes)
    return (axes * spread) @ rows.T @ rows @ (axes / spread).T


def project_splince(
    centred: np.ndarray, codes: Sequence[np.ndarray], target: np.ndarray, weight: np.ndarray, kept: int
) -> np.ndarray:
    """P of SPLINCE, (D, D); parameters as of :func:`project_leace`, (N,) codes of the target, and ``Splince.kept``."""
    spread, axes = _find_axes(centred, weight)
    removed = _whiten_means(centred, codes, weight, spread, axes)
    known = target >= 0
    sums = np.zeros((target.max(initial=-1) + 1, centred.shape[1]))
    np.add.at(sums, target[known], (centred * weight[:, None])[known])
    _, strength, rows = np.linalg.svd(sums @ axes / spread, full_matrices=False)
    wanted = rows[strength > 1e-6 * strength.max(initial=0)][: min(kept, len(spread) - len(removed))]
    wanted = wanted[_find_apart(removed, wanted)]
    both = np.concatenate([removed, wanted])
    rest = np.linalg.svd(both, full_matrices=True)[2][len(both) :]
    coefficients = np.linalg.inv(np.concatenate([both, rest]).T)[: len(removed)]
    return (axes * spread) @ removed.T @ coefficients @ (axes / spread).T


def _find_apart(removed: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(rows of wanted,) bool: those that are not all but within what is removed, and so can be kept."""
    within = np.linalg.norm(wanted @ removed.T, axis=1)
    return within < MOST_WITHIN


def _find_axes(centred: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d,) standard deviations and (D, d) axes of the embeddings, without directions in which they do not differ."""
    variance, axes = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    kept = variance > SMALLEST_SPREAD * variance.max()
    return np.sqrt(variance[kept]), axes[:, kept]


def _whiten_means(
    centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray, spread: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """(k, d) orthonormal rows that span the whitened differences of class means of all attributes."""
    whitened = np.concatenate([_center_means(centred, given, weight) for given in codes]) @ axes / spread
    _, strength, rows = np.linalg.svd(whitened, full_matrices=False)
    return rows[strength > 1e-6 * strength.max(initial=0)]


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
