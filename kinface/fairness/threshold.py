"""The threshold at which a pair is accepted as kin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from swinface.files import InputError


def choose_threshold(pairs: pd.DataFrame) -> float:
    """Choose the score that maximises Youden's J = TPR - FMR (Cancer 3(1), 1950); of equally good ones the highest.

    Parameters
    ----------
    pairs
        Scored pairs table with kin and non-kin pairs. Take validation pairs, never the pairs that are then audited:
        that would make the model look better than it is.

    Returns
    -------
    float
        A pair is accepted as kin where its score is at least this.

    Raises
    ------
    InputError
        The table has no kin pairs, no non-kin pairs, or a score that is missing.

    Examples
    --------
    >>> import pandas as pd, kinface
    >>> kinface.choose_threshold(pd.DataFrame({"kin": [True, False, True, False], "score": [0.9, 0.2, 0.6, 0.4]}))
    0.6
    """
    for kin, name in ((True, "kin"), (False, "non-kin")):
        if not (pairs["kin"] == kin).any():
            raise InputError(f"there are no {name} pairs; a threshold is chosen on both kinds.")
    if not np.isfinite(pairs["score"]).all():
        raise InputError("some pairs have no finite score; score all of them.")
    fmr, tpr, thresholds = roc_curve(pairs["kin"], pairs["score"])
    return float(thresholds[1:][np.argmax((tpr - fmr)[1:])])  # the first is infinite and rejects all
