"""How the scores of relatives and of strangers are distributed, in few numbers that a model can carry with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kinface.fairness.audit import audit_fairness
from kinface.fairness.groups import FEWEST_PAIRS

EDGES = np.linspace(-1, 1, 41)  # of the bins of scores, which are cosines
RATES = [f"{rate}{end}" for rate in ("fmr", "fnmr") for end in ("", "_low", "_high")]
KEPT = ["grouping", "group", "families", "kin", "non_kin", *RATES]


def describe_scores(pairs: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    """The distributions of scores of all pairs and of every group, and the error rates at a threshold.

    Groups are those of ``groupings.DEFAULT_GROUPINGS`` with ``groups.FEWEST_PAIRS`` of each kind; in fewer, no
    distribution can be seen. Raises ``InputError`` if the pairs are no scored pairs table, or the threshold is not
    finite.

    Gives for each group, all pairs first, plain numbers and texts: ``KEPT``, of which rates have 95% intervals as in
    ``audit_fairness``, None where there is none; and ``kin_scores`` and ``non_kin_scores``, how many pairs lie in each
    of the 40 bins of ``EDGES``, as scores are cosines.

    >>> kin = np.arange(100) % 2 == 0
    >>> faces = {f"face_{side}": [f"{row}{side}.jpg" for row in range(100)] for side in "ab"}
    >>> overall, *_ = describe_scores(pd.DataFrame({**faces, "kin": kin, "score": np.where(kin, 0.5, 0.1)}), 0.3)
    >>> overall["group"], overall["fmr"], max(overall["kin_scores"])
    ('all pairs', 0.0, 50)
    """
    audit = audit_fairness(pairs, threshold)
    groups = audit.groups[(audit.groups[["kin", "non_kin"]] >= FEWEST_PAIRS).all(axis="columns")]
    plain = groups[KEPT].astype(object).where(groups[KEPT].notna(), None)
    described = []
    for row in plain.to_dict("records"):
        of_group = audit.pairs[audit.labels[row["grouping"]] == row["group"]]
        for kin, name in ((True, "kin_scores"), (False, "non_kin_scores")):
            score = of_group.loc[of_group["kin"] == kin, "score"].clip(-1, 1)  # a cosine can be rounded above 1
            row[name] = np.histogram(score, EDGES)[0].tolist()
        described.append(row)
    return described
