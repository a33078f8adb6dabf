"""Attackers: classifiers that predict an attribute from embeddings, under the contract of scikit-learn.

An attacker has ``fit(X, y)`` or ``fit(X, y, sample_weight)``, and ``predict_proba(X)`` or ``predict(X)``. ``X`` is
(N, D), float32, standardised by the faces that it is fitted on; ``y``, (N,), holds whole numbers. All classes have the
same weight: it is given ``sample_weight``, and where it takes none, faces are drawn with replacement so that all
classes are equally likely. A class says ``raw = True`` if it wants features as they are, and ``balances = True`` if it
gives all classes the same weight by itself.
"""

from __future__ import annotations

import inspect

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from kinface.data.arrays import as_array
from swinface.files import InputError, running
from swinface.registry import Registry

ATTACKERS = Registry("attacker")
PRIOR = 0.01  # variance of a weight before it has seen data; more overfits 128 numbers of 2,400 faces
MOST_DECAY = 0.02  # of the MLP; among .003 to .05, and layers of 64, 64 or 256, best on average on the same folds
HIDDEN = (64, 64)
LEARNING_RATE = 3e-3
ROUNDS, BATCHES, BATCH = 15, 10, 256  # the MLP is trained for 150 steps, whatever the number of faces

# Of the kernel attacker. On nested folds of FIW's training families, after LEACE and of the debiased model that ships,
# it reads more of race and gender, on average, than with a ridge of 1, with all faces as landmarks, or than an SVM.
LANDMARKS, KERNEL_RIDGE = 1000, 0.3
ROUNDING = 1e-6  # of the kernel's sums in float32, as a share of their trace
LEAST_SHARE = 0.01  # that the kernel attacker gives to a class
TREES, LEAVES, COLUMNS, BINS = 60, 8, 64, 32  # of the boosted trees: shallow, on some of the features
NEIGHBOURS = 15

# Of the quadratic attacker. Among .003 to .5 it reads, of the debiased model that ships, within .02 of the best on the
# training families of FIW and on each third of them, both race and gender; shrinkage towards all classes adds nothing.
RIDGE = 0.1


def create_attacker(name: str, seed: int) -> object:
    """Make an attacker of ``ATTACKERS`` or ``package.module.Class``: any scikit-learn or custom classifier.

    One that takes a ``random_state`` is given the seed. Raises ``InputError`` if there is no such attacker, it cannot
    be made without further options, or it is no classifier.
    """
    seeded = "random_state" in inspect.signature(ATTACKERS.find(name)).parameters
    attacker = ATTACKERS.create(name, **({"random_state": seed} if seeded else {}))
    if not (hasattr(attacker, "fit") and any(hasattr(attacker, it) for it in ("predict_proba", "predict"))):
        raise InputError(f"attacker {name!r}: must have fit(X, y), and predict_proba(X) or predict(X).")
    return attacker


def attack(name: str, seed: int, features: np.ndarray, labels: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Fit an attacker on (N, D) features and (N,) labels, whole numbers of two classes or more, and ask about (M, D).

    Gives (M, classes that occur, in order): probabilities; 1 for the predicted class where the attacker has no
    ``predict_proba``. Raises ``InputError`` as ``create_attacker`` does, or if the attacker fails, or returns no such
    probabilities.
    """
    attacker, classes = create_attacker(name, seed), np.unique(labels)
    if not getattr(attacker, "raw", False):
        scaler = StandardScaler().fit(features)
        features, tested = scaler.transform(features), scaler.transform(tested)
    weights = {}
    if not getattr(attacker, "balances", False):
        if has_fit_parameter(attacker, "sample_weight"):
            weights = {"sample_weight": compute_sample_weight("balanced", labels)}
        else:
            drawn = _draw_evenly(labels, seed)
            features, labels = features[drawn], labels[drawn]
    order = np.arange(len(classes))
    with running(f"attacker {name!r}"):
        attacker.fit(features, labels, **weights)
        if hasattr(attacker, "predict_proba"):
            found = as_array(attacker.predict_proba(tested)).astype(np.float32)
            if sorted(columns := getattr(attacker, "classes_", ())) == [*classes]:  # as they may not be in order
                order = np.argsort(columns)
        else:
            found = (as_array(attacker.predict(tested))[:, None] == classes).astype(np.float32)
    if found.shape != (len(tested), len(classes)) or not np.isfinite(found).all() or not found.any(axis=1).all():
        raise InputError(
            f"attacker {name!r}: predict_proba must return finite numbers, a column for each class, predict classes."
        )
    return found[:, order]


def _draw_evenly(labels: np.ndarray, seed: int) -> np.ndarray:
    """(N,) or a few more rows, drawn so that all classes are equally likely; no class is missing."""
    drawn = np.random.default_rng(seed).choice(len(labels), len(labels), p=_even_shares(labels))
    classes, first = np.unique(labels, return_index=True)
    return np.append(drawn, first[~np.isin(classes, labels[drawn])])


def _even_shares(labels: np.ndarray) -> np.ndarray:
    """(N,) probabilities of faces, with which all classes are drawn equally often."""
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (1 / (len(classes) * counts))[codes]


class _Attacker(ClassifierMixin, BaseEstimator):
    """An attacker with a random start, which may fit a model of scikit-learn, ``model_``."""

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.model_.predict_proba(X)


@ATTACKERS.register("linear")
class Linear(_Attacker):
    """Logistic regression."""

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Linear:
        model = LogisticRegression(C=PRIOR, max_iter=2000, random_state=self.random_state)
        self.model_ = model.fit(X, y, sample_weight)
        return self


@ATTACKERS.register("mlp")
class Mlp(_Attacker):
    """Two hidden layers, trained by Adam with the linear attacker's prior on batches of equally many faces a class."""

    balances = True

    def fit(self, X: np.ndarray, y: np.ndarray) -> Mlp:
        decay = min(1 / (PRIOR * len(X)), MOST_DECAY)
        self.model_ = MLPClassifier(
            HIDDEN,
            alpha=decay * BATCH,
            batch_size=BATCH,
            learning_rate_init=LEARNING_RATE,
            random_state=self.random_state,
        )
        classes, share = np.unique(y), _even_shares(y)
        rng = np.random.default_rng(self.random_state)
        for _ in range(ROUNDS):
            drawn = rng.choice(len(y), BATCHES * BATCH, p=share)
            self.model_.partial_fit(X[drawn], y[drawn], classes=classes)
        return self


@ATTACKERS.register("kernel")
class Kernel(_Attacker):
    """Weighted least squares with a Gaussian kernel, of which class a face is (Rifkin, Yeo & Poggio, 2003).

    The function is a sum of kernels around landmarks, drawn from the faces: f(x) = 1/K + sum_m a_m k(x, z_m), with

        (K_nm' W K_nm + r K_mm) a = K_nm' W (Y - 1/K)

    (the subset of regressors; Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, section 8.3.1). It
    estimates the classes' probabilities, which are cut off below ``LEAST_SHARE``.
    """

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Kernel:
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.landmarks_ = X[np.random.default_rng(self.random_state).permutation(len(X))[:LANDMARKS]]
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        root = np.sqrt(weight).astype(X.dtype)[:, None]
        inner = root * self._compare(X)
        target = root * (np.eye(len(self.classes_), dtype=X.dtype)[codes] - 1 / len(self.classes_))
        system = (inner.T @ inner).astype(np.float64) + KERNEL_RIDGE * self._compare(self.landmarks_)
        system[np.diag_indices_from(system)] += ROUNDING * np.trace(system)
        self.coefficients_ = cho_solve(cho_factor(system), inner.T @ target)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        share = np.maximum(self._compare(X) @ self.coefficients_ + 1 / len(self.classes_), LEAST_SHARE)
        return share / share.sum(axis=1, keepdims=True)

    def _compare(self, X: np.ndarray) -> np.ndarray:
        """(N, landmarks), the kernel of each face and landmark."""
        return rbf_kernel(X, self.landmarks_, 1 / X.shape[1])


@ATTACKERS.register("trees")
class Trees(_Attacker):
    """Boosted trees on ``COLUMNS`` of the features, drawn at random (Ho, IEEE TPAMI 20(8), 1998).

    On an even draw of faces: with weights scikit-learn's take ten times as long.
    """

    def fit(self, X: np.ndarray, y: np.ndarray) -> Trees:
        self.columns_ = np.random.default_rng(self.random_state).permutation(X.shape[1])[:COLUMNS]
        self.model_ = HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=LEAVES, max_bins=BINS, early_stopping=False, random_state=self.random_state
        ).fit(X[:, self.columns_], y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return super().predict_proba(X[:, self.columns_])


@ATTACKERS.register("knn")
class Neighbours(ClassifierMixin, BaseEstimator):
    """Vote of the nearest faces by the cosine; faces of rare classes have more weight.

    It needs only scores of a face with faces of known class, so an attacker who sees only scores can use it.
    """

    raw = balances = True

    def fit(self, X: np.ndarray, y: np.ndarray) -> Neighbours:
        self.classes_, self.codes_, counts = np.unique(y, return_inverse=True, return_counts=True)
        self.shares_ = 1 / counts
        self.search_ = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(X)), algorithm="brute").fit(normalize(X))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        nearest = self.codes_[self.search_.kneighbors(normalize(X), return_distance=False)]
        votes = np.stack([(nearest == code).sum(axis=1) for code in range(len(self.classes_))], axis=1) * self.shares_
        return votes / votes.sum(axis=1, keepdims=True)


@ATTACKERS.register("qda")
class Quadratic(ClassifierMixin, BaseEstimator):
    """Quadratic discriminant: a normal distribution for each class, all classes equally likely before a face is seen.

    Erasure that makes the means of classes the same may leave their spread, which this one uses. The covariance of a
    class is shrunk towards the identity, S(a) = (1 - a) S + a I (Friedman, Journal of the American Statistical
    Association 84(405), 1989, towards a sphere), with ``RIDGE`` as a.
    """

    balances = True

    def fit(self, X: np.ndarray, y: np.ndarray) -> Quadratic:
        X = np.asarray(X, np.float64)
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == it].mean(axis=0) for it in self.classes_])
        spread = np.stack([np.cov(X[y == it], rowvar=False, ddof=0).reshape(2 * X.shape[1:]) for it in self.classes_])
        self.covariances_ = (1 - RIDGE) * spread + RIDGE * np.eye(X.shape[1])
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        log_density = [
            multivariate_normal(mean, covariance).logpdf(X).reshape(len(X))
            for mean, covariance in zip(self.means_, self.covariances_, strict=True)
        ]
        return softmax(np.stack(log_density, axis=1), axis=1)
