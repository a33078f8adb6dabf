"""The learned maps (``kinface.debias.learned``) as erasers: transformers of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from kinface.debias import learned
from kinface.debias.closed_form import Eraser
from kinface.debias.maps import LearnedMap


class _Learned(Eraser):
    """An eraser by a learned map, which is fitted from a seed of its own.

    Parameters
    ----------
    classes
        Values of the labels in the order of the map's classes; by default the values that occur, sorted. Other values
        are unknown.

    Attributes
    ----------
    classes_
        (K,) the texts of the classes.
    map_
        The fitted map, a module of torch.
    """

    kind: ClassVar[type[LearnedMap]]

    def __init__(self, classes: Sequence | None = None) -> None:
        self.classes = classes

    def fit(
        self,
        X: np.ndarray,
        y: Sequence | np.ndarray,
        *,
        sample_weight: np.ndarray | None = None,
        target: Sequence | np.ndarray | None = None,
        groups: Sequence | np.ndarray | None = None,
    ) -> Self:
        """Fit to embeddings and labels of one attribute, as of :meth:`Eraser.fit`; target and groups are ignored."""
        X, (codes,), (self.classes_,), weight = self._read(X, y, sample_weight, self.classes)
        made = self.kind(X.shape[1], len(self.classes_)).eval()
        self.map_ = made.fit(torch.from_numpy(X).float(), torch.from_numpy(codes), torch.from_numpy(weight))
        return self

    def transform(self, X: np.ndarray, y: None = None) -> np.ndarray:
        """Erase from (N, D): (N, D); ``y`` is ignored."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        with torch.inference_mode():
            return self.map_(torch.from_numpy(X).float()).double().numpy()


class Leopard(_Learned):
    """LEOPARD, :class:`kinface.debias.learned.Leopard`."""

    kind = learned.Leopard


class Igbp(_Learned):
    """IGBP, :class:`kinface.debias.learned.Igbp`."""

    kind = learned.Igbp


class Kram(_Learned):
    """KRaM, :class:`kinface.debias.learned.Kram`."""

    kind = learned.Kram
    keeps_axes = False


class Mute(_Learned):
    """MUtE, :class:`kinface.debias.learned.Mute`."""

    kind = learned.Mute
    keeps_axes = False


class Obliviator(_Learned):
    """Obliviator, :class:`kinface.debias.learned.Obliviator`."""

    kind = learned.Obliviator
    keeps_axes = False
