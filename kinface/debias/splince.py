"""Erasure that keeps the covariance with a target."""

from __future__ import annotations

import numpy as np
from jsonargparse.typing import NonNegativeInt

from kinface.debias.closed_form import find_axes, whiten_means
from kinface.debias.eraser import Projection

MOST_WITHIN = 0.7  # of a direction of a target that lies in what is removed; to keep more would blow up noise


class Splince(Projection):
    """LEACE that keeps what tells a target (SPLINCE; Holstege et al., NeurIPS 2025): an oblique projection.

    In the whitened space of LEACE, let Z span what it removes, and Y the covariance with the target. The projection has
    the kernel Z, and its range is Y and all that is orthogonal to both: class means become equal, the covariance with
    the target stays as it is, and nothing else changes. LEACE, orthogonal there, also removes the part of Y in Z.
    Without a target it is LEACE.

    Parameters
    ----------
    kept
        How many directions of the covariance with the target are kept, the strongest first. A target of many classes,
        such as families, would else span all of the space. A direction of which more than ``MOST_WITHIN`` lies in what
        is removed is not kept, which is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.splince import Splince
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> t = (rng.random(100) < 0.3 + 0.4 * (y == "m")).astype(int)
    >>> X = rng.normal(size=(100, 3)) + np.outer(t, [0, 3, 1]) + np.outer(y == "m", [3, 0, 0])
    >>> erased = Splince().fit(X, y, target=t).transform(X)
    >>> bool(np.allclose(erased[y == "f"].mean(axis=0), erased[y == "m"].mean(axis=0)))
    True
    >>> bool(np.allclose((X - X.mean(axis=0)).T @ (t - t.mean()), (erased - erased.mean(axis=0)).T @ (t - t.mean())))
    True
    """

    def __init__(self, kept: NonNegativeInt = 16) -> None:
        self.kept = kept

    def _project(self, centred, codes, weight, target):
        spread, axes = find_axes(centred, weight)
        removed = whiten_means(centred, codes, weight, spread, axes)
        known = target >= 0
        sums = np.zeros((target.max(initial=-1) + 1, centred.shape[1]))
        np.add.at(sums, target[known], (centred * weight[:, None])[known])
        _, strength, rows = np.linalg.svd(sums @ axes / spread, full_matrices=False)
        wanted = rows[strength > 1e-6 * strength.max(initial=0)][: min(self.kept, len(spread) - len(removed))]
        wanted = wanted[np.linalg.norm(wanted @ removed.T, axis=1) < MOST_WITHIN]
        both = np.concatenate([removed, wanted])
        rest = np.linalg.svd(both, full_matrices=True)[2][len(both) :]
        coefficients = np.linalg.inv(np.concatenate([both, rest]).T)[: len(removed)]
        return (axes * spread) @ removed.T @ coefficients @ (axes / spread).T
