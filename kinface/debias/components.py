"""Fewer directions: principal components. No torch."""

from __future__ import annotations

import numpy as np
from jsonargparse.typing import PositiveInt

from kinface.debias.closed_form import find_axes
from kinface.debias.eraser import Projection


class Components(Projection):
    """Principal components: embeddings are centred, and the directions of the largest variance alone are kept.

    It erases no attribute on purpose and uses no label. Kinship needs few directions; what the many weak ones hold
    serves attackers that read how classes spread, such as a quadratic discriminant, whose terms grow with the square of
    the directions. P is the orthogonal projection on what is left out.

    Parameters
    ----------
    kept
        How many directions are kept; all in which the embeddings differ, where there are fewer.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.components import Components
    >>> X = np.random.default_rng(0).normal(5, [3, 2, 1], size=(100, 3))
    >>> moved = Components(kept=2).fit(X, np.repeat(["f", "m"], 50)).transform(X)
    >>> bool(np.allclose(moved.mean(axis=0), 0)), int(np.linalg.matrix_rank(moved))
    (True, 2)
    """

    keeps_axes = False  # layers that read the result would miss its mean

    def __init__(self, kept: PositiveInt = 20) -> None:
        self.kept = kept

    def _project(self, centred, codes, weight, target):
        _, axes = find_axes(centred, weight)
        kept = axes[:, max(0, axes.shape[1] - self.kept) :]
        return np.eye(len(axes)) - kept @ kept.T

    def _move(self, X: np.ndarray) -> np.ndarray:
        return super()._move(X) - self.mean_

    def state(self) -> dict[str, np.ndarray]:
        """One affine map."""
        state = super().state()
        return state | {"shifts": state["shifts"] - self.mean_}
