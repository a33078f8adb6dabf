"""Closed-form erasure: maps after which probes no longer read an attribute of those whom they were fitted on.

A map acts on embeddings of unit length, which it disturbs, so that they are brought to unit length again: this undoes
a little of it, as do people that it was not fitted on. What is left is for ``kinface probe`` to say. Maps are fitted on
training people only and are part of the model from then on, so that whatever scores, embeds or exports the model erases
as well.

``leace`` and ``inlp`` are one affine map each, against linear probes. ``transport`` has a map for each class and by the
embedding itself decides which to take, so that the spread of the classes, which an MLP reads, becomes the same too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from swinface.files import InputError

SMALLEST_SPREAD = 1e-10  # of the largest variance; directions with less are rounding, and left alone


PLAIN_GAIN = 0.05  # balanced accuracy above chance from which INLP still finds something


PRIOR = 0.01  # variance of a weight of the transport's gate before it has seen data, as of the linear probe's


SHRINKAGE = 0.1  # of a class's covariance towards the mean of all classes' (Friedman, JASA 84, 1989)


ROUNDS = 10  # of the barycentre's fixed point, which is reached to 1e-6 in fewer


@dataclass
class Erase:
    """What the embedding forgets by a map in closed form.

    Parameters
    ----------
    classes
        By attribute, a column of the people table: its values. All attributes are erased at once; ``transport`` takes
        one.
    method
        ``leace``, ``inlp`` or ``transport``.
    inside
        Whether the map is applied in training too, as it was fitted at the end of the epoch before, so that
        adversaries on the embedding see what it leaves. Either way it is fitted on the training families alone.
    """

    classes: dict[str, list[str]]
    method: Literal["leace", "inlp", "transport"] = "leace"
    inside: bool = False

    def __post_init__(self) -> None:
        if self.method == "transport" and len(self.classes) != 1:
            raise InputError(
                f"model.erase: transport takes one attribute, not {len(self.classes)}; give each a step of its own."
            )

    @property
    def pieces(self) -> int:
        """Affine maps that the method chooses from."""
        return len(next(iter(self.classes.values()))) if self.method == "transport" else 1


class Erasure(nn.Module):
    """x -> A_k x + b_k, where k is the largest of the gate's numbers G x + g; the identity until it is fitted.

    Parameters
    ----------
    size
        D, numbers per embedding.
    pieces
        K, maps that the gate chooses from.
    inside
        Whether it erases in training too; if not, it is the identity there.
    """

    def __init__(self, size: int, pieces: int = 1, inside: bool = False) -> None:
        super().__init__()
        self.inside = inside
        self.register_buffer("maps", torch.eye(size).repeat(pieces, 1, 1))
        self.register_buffer("shifts", torch.zeros(pieces, size))
        self.register_buffer("gate", torch.zeros(pieces, size))
        self.register_buffer("gate_bias", torch.zeros(pieces))

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        if self.training and not self.inside:
            return embedding
        if torch.is_autocast_enabled(embedding.device.type):  # in half precision a map lets through what it shall erase
            with torch.autocast(embedding.device.type, enabled=False):
                return self._move(embedding.float())
        return self._move(embedding)

    def _move(self, embedding: Tensor) -> Tensor:
        pieces = len(self.maps)
        chosen = F.one_hot((embedding @ self.gate.T + self.gate_bias).argmax(dim=1), pieces).to(embedding)
        moved = torch.stack([embedding @ self.maps[k].T + self.shifts[k] for k in range(pieces)], dim=1)
        return (moved * chosen[:, :, None]).sum(dim=1)

    def fit(self, embedding: Tensor, labels: Mapping[str, Tensor], weight: Tensor, method: str) -> None:
        """Fit the maps on faces of training people.

        Parameters
        ----------
        embedding
            (N, D), as the maps will read them.
        labels
            Attribute to (N,) class indices, below 0 where unknown; all of them are erased at once.
        weight
            (N,) how much a face counts; one of no weight, such as of a person without relatives, is as if unknown.
        method
            Of ``Erase``.

        Raises
        ------
        InputError
            An attribute has fewer than two classes.
        """
        embedding, weight = embedding.cpu().double(), weight.double() / weight.sum()
        labels = {name: torch.where(weight > 0, given, -1) for name, given in labels.items()}
        for name, given in labels.items():
            if len(_known(given)) < 2:
                raise InputError(f"model.erase: {name}: fewer than two of its classes are among the training people.")
        if method == "transport":
            (given,) = labels.values()
            self.gate[:], self.gate_bias[:] = fit_gate(embedding, given, weight, len(self.maps))
            taken = (embedding @ self.gate.cpu().double().T + self.gate_bias.cpu().double()).argmax(dim=1)
            self.maps[:], self.shifts[:] = transport(embedding, taken, weight, len(self.maps))
        else:
            mean = weight @ embedding
            projection = {"leace": leace, "inlp": inlp}[method](embedding - mean, labels, weight)
            self.maps[0] = torch.eye(len(mean)) - projection
            self.shifts[0] = projection @ mean


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


def fit_gate(embedding: Tensor, labels: Tensor, weight: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """A logistic regression that tells the classes apart, which weigh the same: (classes, D) weights, (classes,) biases
    of its logits; a class that does not occur has the bias -inf.

    Parameters as of :func:`leace`, but for the embedding, which need not be centred.
    """
    known = labels >= 0
    x, counts = embedding[known], weight[known] * len(weight)
    mean, spread = x.mean(dim=0), x.std(dim=0) + SMALLEST_SPREAD
    classifier = LogisticRegression(C=PRIOR, class_weight="balanced", max_iter=2000)
    classifier.fit((x - mean) / spread, labels[known], counts)
    gate, bias = embedding.new_zeros(classes, x.shape[1]), embedding.new_full((classes,), -torch.inf)
    coefficients, intercept = (torch.from_numpy(part) for part in (classifier.coef_, classifier.intercept_))
    if len(intercept) == 1:  # of two classes sklearn gives the second's, the first's being 0
        coefficients, intercept = (torch.cat([torch.zeros_like(part), part]) for part in (coefficients, intercept))
    gate[classifier.classes_] = coefficients / spread
    bias[classifier.classes_] = intercept - coefficients @ (mean / spread)
    return gate, bias


def transport(embedding: Tensor, groups: Tensor, weight: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The maps that give all groups the same mean and, but for ``SHRINKAGE``, covariance, and move each face least.

    To a group of mean m_k and shrunk covariance C_k belongs the optimal transport between normal distributions,

        x -> m + T_k (x - m_k),   T_k = C_k^(-1/2) (C_k^(1/2) S C_k^(1/2))^(1/2) C_k^(-1/2)

    (Peyre & Cuturi, Computational Optimal Transport, 2019, remark 2.31), with m the mean of the m_k and S the
    covariance of the barycentre, to which all together have the shortest way: the fixed point of
    S <- S^(-1/2) (mean_k (S^(1/2) C_k S^(1/2))^(1/2))^2 S^(-1/2) (Alvarez-Esteban et al., J. Math. Anal. Appl. 441,
    2016, theorem 4.2). To bring groups to their barycentre is the total repair of Gordaliza et al. (ICML 2019), who
    know each one's group; matching of mean and covariance by such maps is Singh et al.'s (ICML 2024).

    Groups are those that the gate takes faces for, for these are whom the maps will meet.

    Parameters
    ----------
    embedding
        (N, D).
    groups
        (N,) from 0 to ``classes`` - 1.
    weight
        (N,), of sum 1.

    Returns
    -------
    tuple of Tensor
        (classes, D, D) T_k and (classes, D) shifts m - T_k m_k; of a group without a face the identity.
    """
    everyone = _moments(embedding, weight)
    found = [_moments(embedding[groups == k], weight[groups == k]) for k in range(classes)]
    moments = [everyone if each is None else each for each in found]
    centre = torch.stack([mean for mean, _ in moments]).mean(dim=0)
    pooled = torch.stack([covariance for _, covariance in moments]).mean(dim=0)
    variance, axes = torch.linalg.eigh(pooled)
    axes = axes[:, variance > SMALLEST_SPREAD * variance.max()]
    spreads = [axes.T @ ((1 - SHRINKAGE) * own + SHRINKAGE * pooled) @ axes for _, own in moments]
    barycentre = torch.stack(spreads).mean(dim=0)
    for _ in range(ROUNDS):
        root, inverse = _power(barycentre, 0.5), _power(barycentre, -0.5)
        between = torch.stack([_power(root @ spread @ root, 0.5) for spread in spreads]).mean(dim=0)
        barycentre = inverse @ between @ between @ inverse
    identity = torch.eye(len(axes)).to(axes)
    maps, shifts = torch.empty(classes, *identity.shape).to(axes), torch.empty(classes, len(axes)).to(axes)
    for k, (each, spread) in enumerate(zip(found, spreads, strict=True)):
        root, inverse = _power(spread, 0.5), _power(spread, -0.5)
        moved = inverse @ _power(root @ barycentre @ root, 0.5) @ inverse
        maps[k] = identity if each is None else identity + axes @ (moved - torch.eye(len(moved)).to(axes)) @ axes.T
        shifts[k] = 0.0 if each is None else centre - maps[k] @ each[0]
    return maps, shifts


def _moments(embedding: Tensor, weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Weighted mean and covariance; None of nobody."""
    if not weight.sum() > 0:
        return None
    weight = weight / weight.sum()
    mean = weight @ embedding
    return mean, ((embedding - mean) * weight[:, None]).T @ (embedding - mean)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=SMALLEST_SPREAD * values.max()) ** exponent) @ vectors.T


def _known(labels: Tensor) -> list[int]:
    return [int(label) for label in labels.unique() if label >= 0]
