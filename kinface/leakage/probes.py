"""Fresh probes: small classifiers that predict an attribute from embeddings of families they never saw.

A probe is fitted anew on frozen embeddings. How well the adversary of a training run predicts the attribute does not
tell how much of it is left in them (Elazar & Goldberg, EMNLP 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

PROBES = ("linear", "mlp")  # what is fitted by default


ATTACKERS = (*PROBES, "kernel", "trees", "knn")  # what can be fitted


PRIOR = 0.01  # variance of a weight before it has seen data; more overfits 128 numbers of 2,400 faces


MOST_DECAY = 0.05  # of the MLP: with more, on few faces, its layers die out


HIDDEN = (64, 64)


LEARNING_RATE = 3e-3


ROUNDS, BATCHES, BATCH = 15, 10, 256  # the MLP is trained for 150 steps, whatever the number of faces


LANDMARKS = 300  # of the kernel probe


KERNEL_PRIOR = 1.0  # variance of a weight of the kernel probe


TREES, LEAVES, COLUMNS, BINS = 60, 8, 32, 32  # of the boosted trees: shallow, each split on some features


NEIGHBOURS = 15


BLOCKS = (1, 2, 4, 8, 16)  # sixteenths of the families that an online code has been given


UNIFORM_SHARE = 0.01  # of an online code, so that no surprise costs more than log2(100 K) bits


Split = tuple[np.ndarray, np.ndarray]  # (N,) bool each: the faces to fit on, and those to test


@dataclass(frozen=True)
class Trial:
    """Labels that probes learn, and the faces that they are fitted on and tested on.

    Attributes
    ----------
    labels
        (N,) classes of the faces, whole numbers from 0, each class among them.
    splits
        One probe of each kind is fitted for each.
    seed
        Of the probes' random start.
    """

    labels: np.ndarray
    splits: list[Split]
    seed: int


def cross_validate(labels: np.ndarray, families: np.ndarray, folds: int, seed: int) -> Trial:
    """Folds of families: every face is tested once, by probes that saw no face of its family.

    Parameters
    ----------
    labels, families
        (N,) whole numbers from 0.
    """
    fold = deal_families(labels, families, folds, seed)
    return Trial(labels, [(fold != number, fold == number) for number in range(folds)], seed)


def label_few(trial: Trial, persons: np.ndarray, count: int) -> Trial:
    """The same with probes that are fitted on the faces of ``count`` people alone, drawn evenly from the classes.

    Parameters
    ----------
    persons
        (N,) whole numbers from 0; a person has one class.
    """
    rng = np.random.default_rng([trial.seed, count])
    classes = trial.labels.max() + 1
    splits = []
    for train, test in trial.splits:
        people, first = np.unique(np.where(train, persons, -1), return_index=True)
        people, first = people[people >= 0], first[people >= 0]
        shares = [count // classes + (code < count % classes) for code in range(classes)]
        of_class = [rng.permutation(people[trial.labels[first] == code])[: shares[code]] for code in range(classes)]
        splits.append((train & np.isin(persons, np.concatenate(of_class)), test))
    return Trial(trial.labels, splits, trial.seed)


def code_online(labels: np.ndarray, families: np.ndarray, seed: int) -> Trial:
    """Blocks of families. Each is as large as all blocks before it, on which its probe is fitted.

    The first block is tested in no split, as no probe can be fitted before it. It is extended until it has all classes.
    """
    part = deal_families(labels, families, BLOCKS[-1], seed)
    first = next(end for end in BLOCKS if len(np.unique(labels[part < end])) == labels.max() + 1)
    ends = [end for end in BLOCKS if end >= first]
    splits = [(part < start, (start <= part) & (part < end)) for start, end in pairwise(ends)]
    return Trial(labels, splits, seed)


def deal_families(labels: np.ndarray, families: np.ndarray, hands: int, seed: int) -> np.ndarray:
    """Deal families out at random, those of each class as evenly as possible: (N,) the part of each face.

    A family of several classes counts as one of the class that the fewest families have.
    """
    present = np.zeros((families.max() + 1, labels.max() + 1), dtype=bool)
    present[families, labels] = True
    rarity = present.sum(axis=0).argsort(kind="stable").argsort()
    stratum = np.where(present, rarity, len(rarity)).min(axis=1)
    order = np.lexsort((np.random.default_rng(seed).random(len(present)), stratum))
    part = np.empty(len(present), dtype=int)
    part[order] = np.arange(len(present)) % hands
    return part[families]


def run_probes(
    features: np.ndarray, trials: Sequence[Trial], probes: Sequence[str] = PROBES, rounds: int = ROUNDS
) -> list[dict[str, list[np.ndarray]]]:
    """Fit and test the probes of all trials; ``joblib.parallel_config`` sets the number of processes.

    Parameters
    ----------
    features
        (N, D), float32.
    probes
        Of ``ATTACKERS``.
    rounds
        Of an MLP's training.

    Returns
    -------
    list
        For each trial, probe to the (tested faces, K) probabilities of each split.
    """
    jobs = [(trial.labels, *split, trial.seed, probes, rounds) for trial in trials for split in trial.splits]
    with threadpool_limits(1, "blas"):  # small products: threads slow them down; joblib's processes know this limit
        answers = iter(Parallel()(delayed(predict)(features, *job) for job in jobs))
    of_trials = [[next(answers) for _ in trial.splits] for trial in trials]
    return [{probe: [answer[probe] for answer in of_trial] for probe in probes} for of_trial in of_trials]


def predict(
    features: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
    probes: Sequence[str],
    rounds: int,
) -> dict[str, np.ndarray]:
    """Fit each probe on some faces and test it on others: probe to (tested faces, K) probabilities.

    All classes have the same weight: the MLP and the trees draw equally many faces of each, the others weight faces.
    Features are standardised by the faces that the probe is fitted on.
    """
    count, (first, *others) = labels.max() + 1, np.unique(labels[train])
    if not others or not test.any():  # of few families: there is nothing to learn, or nobody to test on
        return dict.fromkeys(probes, np.eye(count, dtype=np.float32)[np.full(test.sum(), first)])
    scaler = StandardScaler().fit(features[train])
    fitted_on, tested = scaler.transform(features[train]), scaler.transform(features[test])
    found = {}
    for probe in probes:
        if probe == "knn":  # by cosines of the features as they are
            fitted, inputs = _Neighbours().fit(features[train], labels[train]), features[test]
        else:
            fitted, inputs = FIT[probe](fitted_on, labels[train], seed, rounds), tested
        found[probe] = np.zeros((len(tested), count), dtype=np.float32)
        found[probe][:, fitted.classes_] = fitted.predict_proba(inputs)
    return found


def _fit_linear(features: np.ndarray, labels: np.ndarray, seed: int, rounds: int) -> LogisticRegression:
    return LogisticRegression(C=PRIOR, class_weight="balanced", max_iter=2000, random_state=seed).fit(features, labels)


def _fit_mlp(features: np.ndarray, labels: np.ndarray, seed: int, rounds: int) -> MLPClassifier:
    """Two hidden layers, trained by Adam with the linear probe's prior."""
    decay = min(1 / (PRIOR * len(features)), MOST_DECAY)
    probe = MLPClassifier(
        HIDDEN, alpha=decay * BATCH, batch_size=BATCH, learning_rate_init=LEARNING_RATE, random_state=seed
    )
    classes, share = np.unique(labels), _even_shares(labels)
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        drawn = rng.choice(len(labels), BATCHES * BATCH, p=share)
        probe.partial_fit(features[drawn], labels[drawn], classes=classes)
    return probe


def _fit_kernel(features: np.ndarray, labels: np.ndarray, seed: int, rounds: int) -> ClassifierMixin:
    """Logistic regression on the Nystroem features of a Gaussian kernel (Williams & Seeger, NIPS 2000)."""
    count = min(LANDMARKS, len(features))
    kernel = Nystroem(gamma=1 / (2 * features.shape[1]), n_components=count, random_state=seed)
    model = LogisticRegression(C=KERNEL_PRIOR, class_weight="balanced", max_iter=2000, random_state=seed)
    return make_pipeline(kernel, model).fit(features, labels)


def _fit_trees(features: np.ndarray, labels: np.ndarray, seed: int, rounds: int) -> ClassifierMixin:
    """Boosted trees on a balanced draw: with weights scikit-learn's take ten times as long."""
    drawn = np.random.default_rng(seed).choice(len(labels), len(labels), p=_even_shares(labels))
    classes, first = np.unique(labels, return_index=True)
    drawn = np.append(drawn, first[~np.isin(classes, labels[drawn])])  # of few faces, a draw may miss a class
    return HistGradientBoostingClassifier(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        max_features=min(1.0, COLUMNS / features.shape[1]),
        max_bins=BINS,
        early_stopping=False,
        random_state=seed,
    ).fit(features[drawn], labels[drawn])


def _even_shares(labels: np.ndarray) -> np.ndarray:
    """(N,) probabilities of faces, with which all classes are drawn equally often."""
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (1 / (len(classes) * counts))[codes]


class _Neighbours:
    """Vote of the nearest faces by the cosine, a face of a rare class counting more.

    It needs nothing but scores of a face with faces of known class, so it is the attack of who sees scores alone.
    """

    def fit(self, features: np.ndarray, labels: np.ndarray) -> _Neighbours:
        self.classes_, self.codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.shares = 1 / counts
        count = min(NEIGHBOURS, len(features))
        self.search = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(features)
        return self

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        nearest = self.codes[self.search.kneighbors(features, return_distance=False)]
        votes = np.stack([(nearest == code).sum(axis=1) for code in range(len(self.classes_))], axis=1) * self.shares
        return votes / votes.sum(axis=1, keepdims=True)


FIT = {"linear": _fit_linear, "mlp": _fit_mlp, "kernel": _fit_kernel, "trees": _fit_trees}


def codelength(trial: Trial, probabilities: list[np.ndarray]) -> float:
    """Online codelength of labels given features, in bits per face; all classes have the same weight.

    L = t1 log2 K - sum_i log2 p_i(block i+1 | blocks up to i), Voita & Titov, EMNLP 2020, equation 3. Each face of
    class k has the weight N / (K N_k): a code without information then needs log2 K bits per face, however unequal the
    classes are, and ``p_i`` is fitted with the same weights.

    Parameters
    ----------
    trial
        Of ``code_online``.
    probabilities
        (faces of the block, K) of each of its splits.
    """
    labels, counts = trial.labels, np.bincount(trial.labels)
    bits = np.full(len(labels), np.log2(len(counts)))
    for (_, block), given in zip(trial.splits, probabilities, strict=True):
        of_truth = given[np.arange(len(given)), labels[block]]
        bits[block] = -np.log2((1 - UNIFORM_SHARE) * of_truth + UNIFORM_SHARE / len(counts))
    return float((np.bincount(labels, bits) / counts).mean())
