"""Probes: small classifiers that predict an attribute from embeddings of families that they were not fitted on.

A probe is fitted anew on frozen embeddings. How well the adversary of a training run predicts the attribute does not
tell how much of it is left in them (Elazar & Goldberg, EMNLP 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from kinface.leakage.attackers import attack

PROBES = ("linear", "mlp")  # the attackers that are fitted by default
BLOCKS = (1, 2, 4, 8, 16)  # sixteenths of the families that an online code has been given
UNIFORM_SHARE = 0.01  # of an online code, so that no surprise costs more than log2(100 K) bits

Split = tuple[np.ndarray, np.ndarray]  # (N,) bool each: the faces to fit on, and those to test


@dataclass(frozen=True)
class Trial:
    """Labels that probes learn, and the faces that they are fitted on and tested on."""

    labels: np.ndarray  #: (N,) classes of the faces, whole numbers from 0, each class among them
    splits: list[Split]  #: one probe of each kind is fitted for each
    seed: int  #: of the probes' random start
    more: Sequence[int] = ()  #: classes of further faces, behind the others, that every probe is fitted on too


def cross_validate(labels: np.ndarray, families: np.ndarray, folds: int, seed: int, more: Sequence[int] = ()) -> Trial:
    """Folds of families: every face is tested once, by probes that were fitted on no face of its family.

    Labels and families are (N,) whole numbers from 0; ``more`` as of ``Trial``.
    """
    fold = deal_families(labels, families, folds, seed)
    return Trial(labels, [(fold != number, fold == number) for number in range(folds)], seed, more)


def label_few(trial: Trial, persons: np.ndarray, count: int) -> Trial:
    """The same with probes that are fitted on the faces of ``count`` people alone, drawn evenly from the classes.

    Persons are (N,) whole numbers from 0; each has one class.
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
    features: np.ndarray, trials: Sequence[Trial], probes: Sequence[str] = PROBES
) -> list[dict[str, list[np.ndarray]]]:
    """Fit and test the probes of all trials on (N, D) features, float32.

    Probes are names or class paths of attackers (``attackers.create_attacker``). Gives for each trial, probe to the
    (tested faces, K) probabilities of each split.
    """
    jobs = []
    for trial in trials:
        labels = np.append(trial.labels, trial.more).astype(int)
        added = np.arange(len(trial.labels), len(labels))
        for train, test in trial.splits:
            rows = np.append(np.flatnonzero(train), added), np.flatnonzero(test)
            jobs.append((labels, *rows, trial.seed, probes))
    with threadpool_limits(1, "blas"):  # small products: threads slow them down; joblib's processes know this limit
        found = Parallel(return_as="generator")(delayed(predict)(features, *job) for job in jobs)
        answers = iter([*tqdm(found, "attack", len(jobs), leave=False, unit=" fits", disable=None)])
    of_trials = [[next(answers) for _ in trial.splits] for trial in trials]
    return [{probe: [answer[probe] for answer in of_trial] for probe in probes} for of_trial in of_trials]


def predict(
    features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int, probes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Fit each probe on some faces and test it on others, by their rows: probe to (tested faces, K) probabilities.

    All classes have the same weight, and a class that no face to fit on has gets the probability 0.
    """
    count, seen = labels.max() + 1, np.unique(labels[train])
    if len(seen) < 2 or not len(test):  # of few families: there is nothing to learn, or nobody to test on
        return dict.fromkeys(probes, np.eye(count, dtype=np.float32)[np.full(len(test), seen[0])])
    found = {}
    for probe in probes:
        found[probe] = np.zeros((len(test), count), dtype=np.float32)
        found[probe][:, seen] = attack(probe, seed, features[train], labels[train], features[test])
    return found


def codelength(trial: Trial, probabilities: list[np.ndarray]) -> float:
    """Online codelength of labels given features, in bits per face; all classes have the same weight.

    L = t1 log2 K - sum_i log2 p_i(block i+1 | blocks up to i), Voita & Titov, EMNLP 2020, equation 3. Each face of
    class k has the weight N / (K N_k): a code without information then needs log2 K bits per face, however unequal the
    classes are, and ``p_i`` is fitted with the same weights. ``probabilities`` are those of ``run_probes`` for a trial
    of ``code_online``.
    """
    labels, counts = trial.labels, np.bincount(trial.labels)
    bits = np.full(len(labels), np.log2(len(counts)))
    for (_, block), given in zip(trial.splits, probabilities, strict=True):
        of_truth = given[np.arange(len(given)), labels[block]]
        bits[block] = -np.log2((1 - UNIFORM_SHARE) * of_truth + UNIFORM_SHARE / len(counts))
    return float((np.bincount(labels, bits) / counts).mean())
