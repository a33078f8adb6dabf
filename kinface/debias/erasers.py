"""What removes attributes from embeddings, by name; :class:`kinface.debias.closed_form.Eraser` is the contract.

One of another's is named by its class path. It needs no base class, only ``fit(X, y)`` and ``transform(X)`` of
scikit-learn; of the further arguments ``fit`` is given those that it takes. No torch until a learned one is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize
from sklearn.utils.validation import has_fit_parameter

from swinface.files import InputError, one_line
from swinface.registry import Registry

ERASERS = Registry(
    "eraser",
    {
        "none": "sklearn.preprocessing.FunctionTransformer",  # embeddings as they are
        "whitened": "kinface.debias.whitening.Whitened",  # the same with a cosine that knows who is who
        "leace": "kinface.debias.closed_form.Leace",
        "splince": "kinface.debias.closed_form.Splince",
        "inlp": "kinface.debias.closed_form.Inlp",
        "transport": "kinface.debias.transport.Transport",
        "leopard": "kinface.debias.estimators.Leopard",
        "igbp": "kinface.debias.estimators.Igbp",
        "kram": "kinface.debias.estimators.Kram",
        "mute": "kinface.debias.estimators.Mute",
        "obliviator": "kinface.debias.estimators.Obliviator",
        "oracle": "kinface.debias.transport.Oracle",
    },
)


def erase(
    eraser: object,
    training: tuple[np.ndarray, pd.DataFrame],
    others: tuple[np.ndarray, pd.DataFrame],
    *,
    sample_weight: np.ndarray,
    families: Sequence,
    persons: Sequence | None = None,
    name: str = "",
) -> np.ndarray:
    """Fit an eraser on some faces and erase from others.

    An eraser that takes one attribute is fitted again for each, on what the one before has left. Embeddings are brought
    to unit length after each step, as in a model.

    Parameters
    ----------
    eraser
        Of ``ERASERS``, or any that follows the contract. It is fitted, and so changed.
    training, others
        (N, D) embeddings of unit length, and the labels of each attribute, a column each, None where unknown.
    sample_weight, families, persons
        (N,), of the training faces. Families are the target to keep, and the groups.
    name
        Of the eraser, for messages.

    Returns
    -------
    np.ndarray
        (M, D'), of the others, of unit length.

    Raises
    ------
    InputError
        The eraser fails, or does not return a row of finite numbers per face.
    """
    (fitted_on, labels), (moved, other_labels) = training, others
    given = {"sample_weight": sample_weight, "target": families, "groups": families, "persons": persons}
    given = {key: value for key, value in given.items() if has_fit_parameter(eraser, key)}
    at_once = getattr(eraser, "several", False) and labels.shape[1] > 1
    for step in [[*labels]] if at_once else labels:
        y, y_others = (table[step].to_numpy(object) for table in (labels, other_labels))
        of_known_class = getattr(eraser, "oracle", False)
        try:
            eraser.fit(fitted_on, y, **given)
            fitted_on, moved = (
                np.asarray(eraser.transform(X, known) if of_known_class else eraser.transform(X), np.float64)
                for X, known in ((fitted_on, y), (moved, y_others))
            )
        except Exception as error:  # the code is another's and may fail in any way
            reason = one_line(error)
            raise InputError(f"eraser {name!r}: it fails ({type(error).__name__}: {reason}).") from error
        for result, table in ((fitted_on, labels), (moved, other_labels)):
            if result.ndim != 2 or len(result) != len(table) or not np.isfinite(result).all():
                raise InputError(
                    f"eraser {name!r}: transform returned {result.shape}; it must be a row of finite numbers per face, "
                    f"({len(table)}, D)."
                )
        fitted_on, moved = normalize(fitted_on), normalize(moved)
    return moved
