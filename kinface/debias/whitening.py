"""A baseline that uses identities alone: embeddings whitened by how the photos of one person differ. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from kinface.data.labels import number_labels
from kinface.debias.eraser import read_embeddings
from swinface.data.embeddings import find_variance_within

SMALLEST_SPREAD = 1e-6  # share of the largest variance within persons; smaller ones count as this


class Whitened(TransformerMixin, BaseEstimator):
    """Within-person whitening, x -> W (x - mean), with W = S^(-1/2) and S the covariance within persons (WCCN; Hatch,
    Kajarekar & Stolcke, Interspeech 2006).

    It erases nothing on purpose. A recogniser's numbers differ in how much of them is the photo and not the person; so
    the cosine of whitened embeddings is a fairer baseline for kinship than the plain one, without any label of kin.

    Attributes
    ----------
    mean_
        (D,), of the embeddings.
    whitening_
        W, (D, D), symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.whitening import Whitened
    >>> rng, persons = np.random.default_rng(0), np.repeat(np.arange(100), 2)
    >>> X = rng.normal(size=(100, 2))[persons] + rng.normal(0, [1, 5], size=(200, 2))
    >>> moved = Whitened().fit(X, persons=persons).transform(X)
    >>> apart = (moved[::2] - moved[1::2]) / np.sqrt(2)
    >>> bool(np.allclose(apart.T @ apart / 100, np.eye(2)))
    True
    """

    several, keeps_axes = True, False

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | None = None,
        *,
        persons: Sequence | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings, (N, D), and the person of each; y is ignored.

        Raises ``ValueError`` if X is malformed, or no person has two photos.

        Parameters
        ----------
        persons
            (N,); people of one photo say nothing.
        sample_weight
            (N,), of the mean alone; 1 if left out.
        """
        X = read_embeddings(self, X)
        codes, _ = number_labels([None] * len(X) if persons is None else persons, what="persons")
        check_consistent_length(X, codes)
        try:
            variance, axes = find_variance_within(X, codes)
        except ValueError as error:
            raise ValueError(f"persons: {error}") from None
        least = SMALLEST_SPREAD * variance.max()
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        self.whitening_ = (axes / np.sqrt(np.maximum(variance, least if least > 0 else 1))) @ axes.T
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Whiten (N, D): (N, D)."""
        check_is_fitted(self)
        return (read_embeddings(self, X, reset=False) - self.mean_) @ self.whitening_
