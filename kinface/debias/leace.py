"""Least-squares concept erasure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kinface.debias.closed_form import find_axes, whiten_means
from kinface.debias.eraser import Projection


class Leace(Projection):
    """Least-squares concept erasure (LEACE; Belrose et al., NeurIPS 2023): equal class means with the least change.

    With the covariance S of the embeddings, the whitening W = S^(-1/2), and C the differences of the class means,

        P = W^+ (W C)(W C)^+ W

    (theorem 4.3; C spans the same space as the cross-covariance of embeddings and classes). If and only if all means
    are equal, no linear classifier is better than a constant (theorem 3.1). P is of rank at most the sum over
    attributes of (number of classes - 1). S is inverted where variances are above 1e-10 of the largest; the package
    concept-erasure goes down to rounding error of float64, which is below that of a network's float32. Classes that
    differ in what is left out cause a warning.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.leace import Leace
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + (y == "m")[:, None]
    >>> erased = Leace().fit(X, y).transform(X)
    >>> bool(np.allclose(erased[y == "f"].mean(axis=0), erased[y == "m"].mean(axis=0)))
    True
    """

    def _project(self, centred, codes, weight, target):
        return project_leace(centred, codes, weight)


def project_leace(centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """P of LEACE, (D, D), from (N, D) embeddings of mean 0, (N,) codes of each attribute, and (N,) weights of sum 1."""
    spread, axes = find_axes(centred, weight)
    rows = whiten_means(centred, codes, weight, spread, axes)
    return (axes * spread) @ rows.T @ rows @ (axes / spread).T
