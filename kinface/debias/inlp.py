"""Iterative null-space projection."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from kinface.debias.eraser import Projection

PLAIN_GAIN = 0.05  # balanced accuracy above chance below which INLP stops


class Inlp(Projection):
    """Iterative null-space projection (INLP; Ravfogel et al., ACL 2020).

    In each round a linear classifier is trained, and the directions that it uses are removed. The rounds end when the
    classifier is hardly better than chance on its training samples. The classifiers are logistic regressions whose
    ridge penalty counts as much as the mean loss, so that their directions are close to the difference of the class
    means; with a weaker penalty they fit single families. P is an orthogonal projection.

    A weight of 2 is nearly, not exactly, the same as a sample that is there twice, because the scale of the embeddings
    and the rule to stop do not use weights.

    Parameters
    ----------
    rounds
        Maximum number of rounds for each attribute.

    Examples
    --------
    >>> import numpy as np
    >>> from kinface.debias.inlp import Inlp
    >>> rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 50)
    >>> X = rng.normal(size=(100, 3)) + 3 * np.outer(y == "m", [1, 0, 0])
    >>> erased = Inlp().fit(X, y).transform(X)
    >>> apart = erased[y == "m"].mean(axis=0) - erased[y == "f"].mean(axis=0)
    >>> bool(np.linalg.norm(apart) < 0.3)
    True
    """

    def __init__(self, rounds: int = 16) -> None:
        self.rounds = rounds

    def _project(self, centred, codes, weight, target):
        removed = np.zeros((0, centred.shape[1]))
        for given in codes:
            known = given >= 0
            own, counts = given[known], weight[known]
            for _ in range(self.rounds):
                left = (centred - centred @ removed.T @ removed)[known]
                scale = left.std()
                if not scale > 0:  # all directions are removed
                    break
                classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200)
                classifier.fit(left / scale, own, counts / counts.sum())
                recall = [(classifier.predict(left[own == k] / scale) == k).mean() for k in np.unique(own)]
                if np.mean(recall) < 1 / len(recall) + PLAIN_GAIN:
                    break
                _, strength, rows = np.linalg.svd(np.concatenate([removed, classifier.coef_]), full_matrices=False)
                removed = rows[strength > 1e-6 * strength.max()]
        return removed.T @ removed
