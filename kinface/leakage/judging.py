"""From the answers of probes to figures: recalls and AUC with intervals over families, bounds and codelengths."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from kinface.fairness.bootstrap import weighted_metrics
from kinface.leakage import probes
from kinface.leakage.probes import Trial
from swinface.bootstrap import interval_around


def measure_probe(
    trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, drawn: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """Balanced accuracy and AUC of one probe with their intervals, and the former in each resample."""
    everyone = np.ones((len(drawn), 1), dtype=np.float32)
    weights = np.hstack([everyone, drawn])
    wider = _widening(trials[0].labels, families)[:, None]
    figures = {}
    for metric, measure in (("auc", _auc), ("balanced_accuracy", _recalls)):
        of_classes = measure(trials, answers, families, weights)
        point = of_classes[:, :1]
        values = np.clip(point + wider * (of_classes - point), 0, 1).mean(axis=0)
        low, high = interval_around(values[0], values[1:])
        figures = {metric: values[0], f"{metric}_low": low, f"{metric}_high": high} | figures
    return figures, values[1:]


def _recalls(
    trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Share of the faces of each class that are recognised, mean over trials, by (families, weightings) weights: (K,
    weightings)."""
    labels = trials[0].labels
    right = np.zeros(len(labels))
    for trial, answer in zip(trials, answers, strict=True):
        for (_, test), given in zip(trial.splits, answer, strict=True):
            right[test] += (given.argmax(axis=1) == labels[test]) / len(trials)
    found = _family_sums(labels, families, right) @ weights
    with np.errstate(invalid="ignore"):  # a resample without the class
        return found / (_family_sums(labels, families) @ weights)


def _auc(trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against all others, mean over trials: (K, weightings).

    Pairs of a face of the class and another one count only if the same probe was tested on both: scores of different
    probes have no common scale.
    """
    labels = trials[0].labels
    found = np.zeros((labels.max() + 1, weights.shape[1]))
    for trial, answer in zip(trials, answers, strict=True):
        ordered, pairs = np.zeros_like(found), np.zeros_like(found)
        for (_, test), given in zip(trial.splits, answer, strict=True):
            weight = weights[families[test]]
            for number, score in enumerate(given.T):
                of_class = labels[test] == number
                count = np.prod([weight[rows].sum(axis=0, dtype=np.float64) for rows in (of_class, ~of_class)], axis=0)
                auc = weighted_metrics(score, of_class, weight, 0.5, {})["auc"]
                ordered[number] += np.where(count > 0, auc * count, 0)
                pairs[number] += count
        with np.errstate(invalid="ignore"):
            found += ordered / pairs / len(trials)
    return found


def _family_sums(labels: np.ndarray, families: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Sum of values, by default of ones, over the faces of each class and family: (K, families)."""
    sizes = labels.max() + 1, families.max() + 1
    return np.bincount(labels * sizes[1] + families, values, sizes[0] * sizes[1]).reshape(sizes)


def _widening(labels: np.ndarray, families: np.ndarray) -> np.ndarray:
    """(K,) how much wider a class's resamples must spread, because few families make it up.

    The bootstrap of n families has a variance n / (n - 1) too small, and the quantiles of a normal distribution where
    Student's with n - 1 degrees of freedom are due (Hesterberg, The American Statistician 69(4), 2015, section 3.2).
    n is the effective number of families, (sum of faces)^2 / sum of squared faces (Kish, Survey Sampling, 1965).
    """
    faces = _family_sums(labels, families)
    effective = faces.sum(axis=1) ** 2 / (faces**2).sum(axis=1)
    return np.sqrt(effective / (effective - 1)) * student.ppf(0.975, effective - 1) / norm.ppf(0.975)


def measure_codes(coded: list[Trial], answers: list[list[np.ndarray]], classes: int) -> dict[str, float]:
    bits = np.mean([probes.codelength(*pair) for pair in zip(coded, answers, strict=True)]) if coded else np.nan
    return {"codelength": bits, "codelength_uniform": np.log2(classes), "compression": np.log2(classes) / bits}


def measure_permuted(trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray) -> np.ndarray:
    """(permutations,) balanced accuracy with each permutation of the labels."""
    everyone = np.ones((families.max() + 1, 1))
    pairs = zip(trials, answers, strict=True)
    return np.array([_recalls([trial], [answer], families, everyone).mean() for trial, answer in pairs])


def bound_permuted(found: np.ndarray) -> dict[str, float]:
    """Mean balanced accuracy with permuted labels, and the bounds that one more would lie within in 95 of 100 cases.

    They are the prediction interval of a normal sample of unknown variance, mean +- t_{0.975, n-1} s sqrt(1 + 1/n)
    (Hahn & Meeker, Statistical Intervals, 1991, section 4.7), which is correct for few permutations too.
    """
    if len(found) < 2:
        return dict.fromkeys(("permuted", "permuted_low", "permuted_high"), np.nan)
    count, mean = len(found), np.mean(found)
    reach = student.ppf(0.975, count - 1) * np.std(found, ddof=1) * np.sqrt(1 + 1 / count)
    return {"permuted": mean, "permuted_low": mean - reach, "permuted_high": mean + reach}
