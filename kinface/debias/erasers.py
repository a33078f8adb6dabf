"""Erasers, which remove attributes from embeddings, by name; :class:`kinface.debias.eraser.Eraser` is the contract.

>>> import numpy as np, kinface
>>> rng, labels = np.random.default_rng(0), np.repeat(["younger", "older"], 100)
>>> embedding = rng.normal(size=(200, 8)) + (labels == "older")[:, None]
>>> erased = kinface.erasers.create("leace").fit(embedding, labels).transform(embedding)
>>> [abs(x[labels == "older"].mean() - x[labels == "younger"].mean()).round(2) for x in (embedding, erased)]
[np.float64(1.03), np.float64(0.0)]

One of your own is named by its class path. It needs no base class, only ``fit(X, y)`` and ``transform(X)`` of
scikit-learn; of the further arguments ``fit`` is given those that it takes. Each is imported when it is first used, and
torch with those that are learned.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kinface.data.arrays import as_array
from swinface.files import InputError, running
from swinface.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

erasers = Registry(
    "eraser",
    {
        "none": "kinface.debias.eraser.Unchanged",  # embeddings as they are
        "whitened": "kinface.debias.whitening.Whitened",  # the same with a cosine that knows who is who
        "components": "kinface.debias.components.Components",  # fewer directions
        "leace": "kinface.debias.leace.Leace",
        "splince": "kinface.debias.splince.Splince",
        "inlp": "kinface.debias.inlp.Inlp",
        "transport": "kinface.debias.transport.Transport",
        "leopard": "kinface.debias.leopard.Leopard",
        "igbp": "kinface.debias.igbp.Igbp",
        "kram": "kinface.debias.kram.Kram",
        "mute": "kinface.debias.mute.Mute",
        "obliviator": "kinface.debias.obliviator.Obliviator",
        "oracle": "kinface.debias.transport.Oracle",
    },
)
erasers.__doc__ = f"""Erasers, which remove attributes from embeddings, by name: {", ".join(erasers.names())}.

``names()`` lists them, ``create(name, **options)`` makes one, and ``fit(X, y)`` and ``transform(X)`` use it. A class
path, ``package.module.Class``, names one of your own; ``register(name)`` is a decorator that gives it a short name.
``kinface.debias.eraser.Eraser`` says what each takes; ``whitened`` also needs ``persons``, and ``oracle`` the labels to
``transform``.
"""
DEFAULTS = {"several": False, "keeps_axes": True, "oracle": False}  # of a class that does not say


def says(eraser: object, fact: str) -> bool:
    """Whether an eraser, or its class, is ``several``, ``keeps_axes`` or ``oracle``, see ``Eraser``."""
    return bool(getattr(eraser, fact, DEFAULTS[fact]))


def fit_eraser(eraser: Any, X: np.ndarray, y: np.ndarray, name: str, **given: Any) -> None:
    """Fit to copies of embeddings and labels, which it may change, and give those of weights and so on that it takes.

    Raises ``InputError`` if the eraser, called ``name``, fails.
    """
    with running(f"eraser {name!r}"):
        takes = inspect.signature(eraser.fit).parameters
        eraser.fit(X.copy(), y.copy(), **{key: value for key, value in given.items() if key in takes})


def erase(
    eraser: Any,
    training: tuple[np.ndarray, pd.DataFrame],
    others: tuple[np.ndarray, pd.DataFrame],
    *,
    sample_weight: np.ndarray,
    families: Sequence,
    persons: Sequence | None = None,
    name: str = "",
) -> np.ndarray:
    """Fit an eraser on some faces and erase from others: (M, D'), of unit length.

    An eraser that takes one attribute is fitted again for each, on what the one before has left. Embeddings are brought
    to unit length after each step, as in a model. ``training`` and ``others`` are (N, D) embeddings of unit length, and
    the labels of each attribute, a column each, None where unknown; ``sample_weight``, ``families`` and ``persons`` are
    (N,), of the training faces. Families are the target to keep, and the groups.

    Raises ``InputError``, in which the eraser has the ``name``, if it fails, or does not return a row of finite numbers
    per face, not all of them 0.
    """
    from sklearn.preprocessing import normalize  # slow to import, and models do not need it

    (fitted_on, labels), (moved, other_labels) = training, others
    given = {"sample_weight": sample_weight, "target": families, "groups": families, "persons": persons}
    at_once = says(eraser, "several") and labels.shape[1] > 1
    for step in [[*labels]] if at_once else labels:
        y, y_others = (table[step].to_numpy(object) for table in (labels, other_labels))
        fit_eraser(eraser, fitted_on, y, name, **given)
        with running(f"eraser {name!r}"):
            fitted_on, moved = (
                as_array(eraser.transform(X, known) if says(eraser, "oracle") else eraser.transform(X)).astype(float)
                for X, known in ((fitted_on, y), (moved, y_others))
            )
        for result, table in ((fitted_on, labels), (moved, other_labels)):
            if result.ndim != 2 or len(result) != len(table) or not np.isfinite(result).all():
                raise InputError(
                    f"eraser {name!r}: transform returned {result.shape}; it must be a row of finite numbers per face, "
                    f"({len(table)}, D)."
                )
            if empty := int((~result.any(axis=1)).sum()):
                raise InputError(
                    f"eraser {name!r}: transform returned only zeros for {empty:,} faces; nothing is left."
                )
        fitted_on, moved = normalize(fitted_on), normalize(moved)
    return moved
