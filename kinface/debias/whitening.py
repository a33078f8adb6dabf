"""A baseline that uses identities alone: embeddings whitened by how the photos of one person differ. No torch."""

from __future__ import annotations

import numpy as np

from kinface.debias.eraser import Baseline
from swinface.data.embeddings import find_variance_within

SMALLEST_SPREAD = 1e-6  # share of the largest variance within persons; smaller ones count as this


class Whitened(Baseline):
    """Within-person whitening, x -> W (x - mean), with W = S^(-1/2) and S the covariance within persons (WCCN; Hatch,
    Kajarekar & Stolcke, Interspeech 2006).

    It erases nothing on purpose, and ``fit`` needs ``persons``; people with one photo are ignored. The dimensions of a
    recogniser differ in how much they depend on the photo, not the person; so the cosine of whitened embeddings is a
    fairer baseline for kinship than the plain one, without any label of kin.

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

    keeps_axes = False

    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None:
        try:
            variance, axes = find_variance_within(X, *codes)
        except ValueError as error:
            raise ValueError(f"persons: {error} Give fit who each face is of.") from None
        least = SMALLEST_SPREAD * variance.max()
        self.mean_ = weight @ X
        self.whitening_ = (axes / np.sqrt(np.maximum(variance, least if least > 0 else 1))) @ axes.T

    def _move(self, X: np.ndarray) -> np.ndarray:
        return (X - self.mean_) @ self.whitening_
