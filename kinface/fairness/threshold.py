"""The threshold from which a pair is called kin."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve


def choose_threshold(pairs: pd.DataFrame) -> float:
    """The score that maximises Youden's J = TPR - FMR (Cancer 3(1), 1950); of equal ones the highest.

    Choose it on validation pairs, never on the pairs it will be judged on.
    """
    fmr, tpr, thresholds = roc_curve(pairs["kin"], pairs["score"])
    return float(thresholds[1:][np.argmax((tpr - fmr)[1:])])  # the first is infinite and rejects all
