"""Linear algebra that several erasers share. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

SMALLEST_SPREAD = 1e-10  # share of the largest variance; directions below it are rounding error and stay as they are
TELLING = 0.1  # square of a difference of class means in these directions, by their variance, that is worth a warning
PRIOR = 0.01  # prior variance of the weights of a gate, as in the linear probe


def find_axes(centred: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(d,) standard deviations and (D, d) axes of the embeddings, without directions in which they do not differ."""
    variance, axes = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    kept = variance > SMALLEST_SPREAD * variance.max()
    return np.sqrt(variance[kept]), axes[:, kept]


def whiten_means(
    centred: np.ndarray, codes: Sequence[np.ndarray], weight: np.ndarray, spread: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """(k, d) orthonormal rows that span the whitened differences of class means of all attributes.

    Warns if the classes differ, by more than the rounding of a network in float32, in the directions that
    :func:`find_axes` leaves out, such as a column of tiny numbers.
    """
    means = np.concatenate([_center_means(centred, given, weight) for given in codes])
    if len(spread) < centred.shape[1]:
        apart, left = (np.square(x - x @ axes @ axes.T) for x in (means, centred))
        left, variance = weight @ left, weight @ np.square(centred)
        exact = variance < SMALLEST_SPREAD * spread.max(initial=0) ** 2  # a column of tiny numbers, of its own rounding
        rounding = centred.shape[1] * np.finfo(np.float32).eps ** 2 * np.where(exact, variance, variance.sum())
        above = left > rounding
        if (apart[:, above] > TELLING * left[above]).any():
            warnings.warn(
                f"classes differ in directions of less than {SMALLEST_SPREAD:g} of the largest variance, which stay as "
                "they are; bring the columns to one scale.",
                stacklevel=2,
            )
    whitened = means @ axes / spread
    _, strength, rows = np.linalg.svd(whitened, full_matrices=False)
    return rows[strength > 1e-6 * strength.max(initial=0)]


def _center_means(centred: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(classes, D) weighted means of the classes that occur, less the mean of these means."""
    members = [codes == code for code in np.unique(codes[codes >= 0])]
    means = np.stack([weight[rows] @ centred[rows] / weight[rows].sum() for rows in members])
    return means - means.mean(axis=0)


def fit_gate(X: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A logistic regression of K balanced classes: (K, D) weights and (K,) biases of its logits."""
    known = codes >= 0
    x, counts = X[known], weight[known] * len(weight)
    mean, spread = x.mean(axis=0), x.std(axis=0, ddof=1) + SMALLEST_SPREAD
    classifier = LogisticRegression(C=PRIOR, class_weight="balanced", max_iter=2000)
    classifier.fit((x - mean) / spread, codes[known], counts)
    coefficients, intercept = classifier.coef_, classifier.intercept_
    if len(intercept) == 1:  # for two classes scikit-learn gives the logit of the second; that of the first is 0
        coefficients, intercept = (np.concatenate([np.zeros_like(part), part]) for part in (coefficients, intercept))
    return coefficients / spread, intercept - coefficients @ (mean / spread)
