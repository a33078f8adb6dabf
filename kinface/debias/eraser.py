"""The contract of what removes attributes from embeddings: a transformer of scikit-learn. No torch.

Each is fitted on embeddings X and the labels y of one or more attributes, and can then transform other embeddings, for
which no labels are needed. A map is exact only for the people it was fitted on; ``kinface.probe`` measures how
much is left for other people.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

from kinface.data.arrays import check_row_order, from_tensors
from kinface.data.labels import encode_labels, number_labels, split_columns


class Eraser(TransformerMixin, BaseEstimator, ABC):
    """Removes attributes from embeddings: arrays of numpy in and out.

    A subclass has ``_fit`` and ``_move``, and, if models can keep it, ``state()``: the arrays that they keep
    (``kinface.debias.erasure.Erasure``). One of your own needs no base class, only ``fit(X, y)`` and ``transform(X)``.
    What a class needs and does it says itself; where it says nothing, the values here hold.

    Attributes
    ----------
    several
        Whether it takes the labels of several attributes at once; if not, attributes are erased one after the other.
    keeps_axes
        Whether each dimension of an embedding keeps its meaning, so that layers of a model can read the result.
    oracle
        Whether faces to transform need their labels too. No model can use it, because its faces come without them.
    classes_
        For each attribute the texts of its classes, sorted.
    """

    several = False
    keeps_axes = True
    oracle = False

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
        persons: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings and labels.

        Raises ``ValueError`` if X or y is malformed, or an attribute has fewer than two classes.

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
            (N,) labels of what should stay, such as families; unknown as in ``y``. Of ours :class:`Splince` and
            :class:`Obliviator` use it.
        groups
            (N,) what samples depend on each other by, such as families, for a method that holds some of them out. None
            of ours does.
        persons
            (N,), who each face is of. Of ours :class:`Whitened` needs it.
        """
        X, codes, self.classes_, weight = self._read(X, y, sample_weight)
        kept, _ = number_labels([None] * len(X) if target is None else target, what="target")
        check_consistent_length(X, kept)
        self._fit(X, codes, weight, kept)
        return self

    @abstractmethod
    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None:
        """Fit to (N, D) embeddings, (N,) class indices of each attribute, (N,) weights of sum 1, and (N,) those of the
        target; an index below 0 is unknown."""

    def transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """Erase from (N, D): (N, D); ``y`` is ignored."""
        check_is_fitted(self)
        return self._move(read_embeddings(self, X, reset=False))

    @abstractmethod
    def _move(self, X: np.ndarray) -> np.ndarray:
        """(N, D) to (N, D)."""

    def _read(
        self, X: np.ndarray, y: Sequence | np.ndarray, sample_weight: np.ndarray | None
    ) -> tuple[np.ndarray, list[np.ndarray], list[list[str]], np.ndarray]:
        """X as float64; for each attribute (N,) codes, -1 if unknown or without weight, and the texts of its classes;
        (N,) weights of sum 1."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None: give labels.")
        for given, name in ((y, "labels y"), (sample_weight, "sample_weight")):
            check_row_order(X, given.index if hasattr(given, "iloc") else (), name)
        X = read_embeddings(self, X, ensure_min_samples=2)
        columns = split_columns(y, "labels y")
        check_consistent_length(X, columns[0])
        weight = _read_weight(X, sample_weight)
        weighted = [column.astype(object).where(weight > 0, None) for column in columns]
        codes, names = zip(*(encode_labels(column, what="labels y") for column in weighted), strict=True)
        for number, given in enumerate(codes):
            if len(np.unique(given[given >= 0])) < 2:
                raise ValueError(
                    f"attribute {number} of y has one class among the weighted samples; it needs two (None, NaN and "
                    "negative numbers are unknown)."
                )
        if len(codes) > 1 and not self.several:
            raise ValueError(f"{type(self).__name__} takes one attribute, not {len(codes)}; fit one after the other.")
        return X, [*codes], [*names], weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def read_embeddings(estimator: BaseEstimator, X: np.ndarray, **options: bool | int) -> np.ndarray:
    """(N, D), float64, as scikit-learn's ``validate_data`` gives them; tensors too."""
    return validate_data(estimator, from_tensors(X), dtype=np.float64, **options)


def _read_weight(X: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """(N,) weights of sum 1."""
    weight = _check_sample_weight(from_tensors(sample_weight), X, dtype=np.float64, ensure_non_negative=True)
    if not weight.sum() > 0:
        raise ValueError("sample_weight must be above 0 for some samples.")
    return weight / weight.sum()


class Baseline(Eraser):
    """A baseline: it removes no attribute, and ignores the labels. A subclass has ``_move``, and
    ``_fit`` where it learns from faces, or from who they are of: ``codes`` are of the persons."""

    several = True

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray | None = None,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
        persons: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings, as of :meth:`Eraser.fit`; ``y``, ``target`` and ``groups`` are ignored.

        Raises ``ValueError`` if X or another argument is malformed.
        """
        X = read_embeddings(self, X)
        codes, _ = number_labels([None] * len(X) if persons is None else persons, what="persons")
        check_consistent_length(X, codes)
        self.classes_: list[list[str]] = []
        self._fit(X, [codes], _read_weight(X, sample_weight), np.full(len(X), -1))
        return self

    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None: ...

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags


class Unchanged(Baseline):
    """Embeddings unchanged."""

    def _move(self, X: np.ndarray) -> np.ndarray:
        return X


class Projection(Eraser):
    """x -> x - P (x - mean); a subclass finds P.

    Attributes
    ----------
    mean_
        (D,), weighted mean of the embeddings.
    projection_
        P, (D, D).
    """

    several = True

    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None:
        self.mean_ = weight @ X
        self.projection_ = self._project(X - self.mean_, codes, weight, target)

    @abstractmethod
    def _project(
        self, centred: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray
    ) -> np.ndarray:
        """P, (D, D), from (N, D) embeddings of mean 0; all else as of ``_fit``."""

    def _move(self, X: np.ndarray) -> np.ndarray:
        return X - (X - self.mean_) @ self.projection_.T

    def state(self) -> dict[str, np.ndarray]:
        """One affine map."""
        maps = np.eye(len(self.mean_)) - self.projection_
        return {"maps": maps[None], "shifts": (self.projection_ @ self.mean_)[None]}
