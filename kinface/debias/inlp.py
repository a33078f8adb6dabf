"""Iterative null-space projection."""

from __future__ import annotations

import numpy as np
from jsonargparse.typing import PositiveFloat, PositiveInt
from sklearn.linear_model import LogisticRegression

from kinface.debias.closed_form import SMALLEST_SPREAD
from kinface.debias.eraser import Projection

PLAIN_GAIN = 0.05  # balanced accuracy above chance below which INLP stops


class Inlp(Projection):
    """Iterative null-space projection (INLP; Ravfogel et al., ACL 2020).

    In each round a linear classifier is trained, and the directions that it uses are removed. The rounds end when the
    classifier is hardly better than chance on its training samples. P is an orthogonal projection.

    The authors' code trains scikit-learn's linear support vector machines as they come, C = 1, for a fixed number of
    rounds (35 for word vectors), and skips one that is below a given accuracy on development data. Ours differs: it
    trains logistic regressions of balanced classes, on embeddings of unit variance, and stops by the training samples.
    A strong penalty, C = 1 / N for N faces, counts as much as the mean loss: directions are then close to the
    differences of class means, and the rounds end after one or two.

    A weight of 2 is nearly, not exactly, the same as a sample that is there twice, because the scale of the embeddings,
    the penalty and the rule to stop do not use weights.

    Parameters
    ----------
    rounds
        Maximum number of rounds for each attribute.
    C
        Inverse of the ridge penalty, as in scikit-learn, where the weights of the samples are 1 on average.

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

    def __init__(self, rounds: PositiveInt = 35, C: PositiveFloat = 1.0) -> None:
        self.rounds, self.C = rounds, C

    def _project(self, centred, codes, weight, target):
        removed = np.zeros((0, centred.shape[1]))
        for given in codes:
            known = given >= 0
            own, counts = given[known], weight[known]
            for _ in range(self.rounds):
                left = (centred - centred @ removed.T @ removed)[known]
                scale = left.std()
                if not scale**2 > SMALLEST_SPREAD * centred.var():  # all directions are removed but for rounding
                    break
                classifier = LogisticRegression(C=self.C, class_weight="balanced", max_iter=2000)
                classifier.fit(left / scale, own, counts / counts.mean())
                recall = [(classifier.predict(left[own == k] / scale) == k).mean() for k in np.unique(own)]
                if np.mean(recall) < 1 / len(recall) + PLAIN_GAIN:
                    break
                _, strength, rows = np.linalg.svd(np.concatenate([removed, classifier.coef_]), full_matrices=False)
                removed = rows[strength > 1e-6 * strength.max()]
        return removed.T @ removed
