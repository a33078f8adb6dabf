"""Closed-form erasure: an affine map after which linear probes no longer read an attribute of those it was fitted on.

The map acts before the embedding is brought to unit length, which undoes a little of it; so do people that it was not
fitted on. What is left is for ``kinface audit`` to say. It is fitted on training people only and is part of
the model from then on, so that whatever scores, embeds or exports the model erases as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

SMALLEST_SPREAD = 1e-10  # of the largest variance; directions with less are rounding, and left alone
PLAIN_GAIN = 0.05  # balanced accuracy above chance from which INLP still finds something


@dataclass
class Erase:
    """What the embedding forgets by a map in closed form.

    Parameters
    ----------
    classes
        By attribute, a column of the people table: its values. All attributes are erased at once.
    method
        ``leace`` or ``inlp``.
    inside
        Whether the map is applied in training too, as it was fitted at the end of the epoch before, so that
        adversaries on the embedding see what it leaves. Either way it is fitted on the training families alone.
    """

    classes: dict[str, list[str]]
    method: Literal["leace", "inlp"] = "leace"
    inside: bool = False


class Erasure(nn.Module):
    """x -> x - P (x - m); the identity until it is fitted.

    Parameters
    ----------
    size
        D, numbers per embedding.

    Attributes
    ----------
    inside
        Whether it erases in training too; if not, it is the identity there.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inside = False
        self.register_buffer("projection", torch.zeros(size, size))
        self.register_buffer("mean", torch.zeros(size))

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        if self.training and not self.inside:
            return embedding
        return embedding - (embedding - self.mean) @ self.projection.T

    def fit(self, embedding: Tensor, labels: Mapping[str, Tensor], weight: Tensor, method: str) -> None:
        """Fit the map on faces of training people.

        Parameters
        ----------
        embedding
            (N, D), as the map will read them.
        labels
            Attribute to (N,) class indices, below 0 where unknown; all of them are erased at once.
        weight
            (N,) how much a face counts.
        method
            ``leace`` or ``inlp``.
        """
        embedding, weight = embedding.double(), weight.double() / weight.sum()
        mean = weight @ embedding
        projection = {"leace": leace, "inlp": inlp}[method](embedding - mean, labels, weight)
        self.mean.copy_(mean)
        self.projection.copy_(projection)


def leace(centred: Tensor, labels: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """The map that makes all classes' means equal and changes the embeddings least (Belrose et al., NeurIPS 2023).

    P = W^+ (W C)(W C)^+ W with the whitening W = S^(-1/2) of the covariance S, and C what the classes' means differ
    by (theorem 4.3; with C for the cross-covariance of embedding and classes, which spans the same space). Equal means
    are what it takes for every linear classifier to be no better than a constant (theorem 3.1).

    Parameters
    ----------
    centred
        (N, D), less their weighted mean.
    labels
        Attribute to (N,) class indices, below 0 where unknown.
    weight
        (N,), of sum 1.

    Returns
    -------
    Tensor
        P, (D, D), of rank at most the number of classes less one for each attribute.
    """
    variance, axes = torch.linalg.eigh((centred * weight[:, None]).T @ centred)
    kept = variance > SMALLEST_SPREAD * variance.max()
    spread, axes = variance[kept].sqrt(), axes[:, kept]
    whitened = torch.cat([_class_means(centred, given, weight) for given in labels.values()]) @ axes / spread
    _, strength, rows = torch.linalg.svd(whitened, full_matrices=False)
    rows = rows[strength > 1e-6 * strength.max()]
    return (axes * spread) @ rows.T @ rows @ (axes / spread).T


def _class_means(centred: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """(classes, D) weighted means of the classes that occur, less the mean of these."""
    means = torch.stack(
        [weight[rows] @ centred[rows] / weight[rows].sum() for rows in (labels == label for label in _known(labels))]
    )
    return means - means.mean(dim=0)


def inlp(centred: Tensor, labels: Mapping[str, Tensor], weight: Tensor, rounds: int = 16) -> Tensor:
    """Iterative null space projection (Ravfogel et al., ACL 2020): what linear classifiers look along is taken out,
    round by round, until one more finds next to nothing on the people it is trained on.

    Its classifiers are logistic regressions with as much ridge as mean loss, so that what they look along is close to
    the difference of the classes' means; with less they follow single families.

    Parameters and value as of :func:`leace`; P is an orthogonal projection.

    Parameters
    ----------
    rounds
        The most there will be of each attribute.
    """
    removed = centred.new_zeros(0, centred.shape[1])
    for given in labels.values():
        known = (given >= 0).numpy()
        target, counts = given.numpy()[known], weight.numpy()[known]
        for _ in range(rounds):
            left = (centred - centred @ removed.T @ removed).numpy()[known]
            scale = left.std()
            classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200)
            classifier.fit(left / scale, target, counts / counts.sum())
            recall = [(classifier.predict(left[target == k] / scale) == k).mean() for k in np.unique(target)]
            if np.mean(recall) < 1 / len(recall) + PLAIN_GAIN:
                break
            seen = torch.cat([removed, torch.from_numpy(classifier.coef_).to(removed)])
            _, strength, rows = torch.linalg.svd(seen, full_matrices=False)
            removed = rows[strength > 1e-6 * strength.max()]
    return removed.T @ removed


def _known(labels: Tensor) -> list[int]:
    return [int(label) for label in labels.unique() if label >= 0]
