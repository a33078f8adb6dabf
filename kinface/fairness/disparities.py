"""How unequal groups are: one number per definition of fairness, computed from the rates of the groups.

Every function takes rates with the groups on the last axis and any leading axes: the same code computes the value,
(groups,), and all resamples, (resamples, groups). FMR is the share of a group's non-kin pairs that are accepted, FNMR
the share of its kin pairs that are rejected. If a rate is NaN in one group, the disparity is NaN.

Most of these are largest minus smallest or largest over smallest, so chance alone makes them differ from their ideal.
``fairness.audit`` therefore reports with each the value that equal groups exceed in 5% of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinface.fairness.groups import METRICS
from swinface.files import InputError, running
from swinface.registry import Registry


def gap(rate: np.ndarray) -> np.ndarray:
    """Largest minus smallest rate; 0 where all are equal."""
    return np.max(rate, axis=-1) - np.min(rate, axis=-1)


def accuracy_spread(accuracy: np.ndarray) -> np.ndarray:
    """Population standard deviation of accuracy over groups (Peng et al., KFC, BMVC 2023); ideal 0."""
    return np.std(accuracy, axis=-1)


def skewed_error_ratio(accuracy: np.ndarray) -> np.ndarray:
    """Largest over smallest error, max (1 - accuracy) / min (1 - accuracy) (Wang & Deng, CVPR 2020); ideal 1.

    Infinite if one group has no error, 1 if no group has one.
    """
    return _ratio(1 - np.asarray(accuracy))


def fairness_discrepancy_rate(fmr: np.ndarray, fnmr: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Fairness discrepancy rate (Pereira & Marcel, IEEE TBIOM 4(1), 2022); ideal 1.

    ``FDR = 1 - (alpha max |dFMR| + (1 - alpha) max |dFNMR|)``, over pairs of groups.
    """
    return 1 - (alpha * gap(fmr) + (1 - alpha) * gap(fnmr))


def inequity_rate(fmr: np.ndarray, fnmr: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """IR = (max FMR / min FMR)^alpha (max FNMR / min FNMR)^(1 - alpha) (Grother, NIST IR 8429, 2022); ideal 1.

    Infinite if a rate is zero in some groups; the ratio of a rate that is zero in all is 1.
    """
    return _ratio(fmr) ** alpha * _ratio(fnmr) ** (1 - alpha)


def max_over_geometric_mean(rate: np.ndarray) -> np.ndarray:
    """Largest rate over the geometric mean of the rates (Grother, NIST IR 8429, 2022); ideal 1.

    Infinite if a rate is zero in some groups, 1 if it is zero in all.
    """
    rate = np.asarray(rate, dtype=float)
    with np.errstate(divide="ignore"):
        return _divide(np.max(rate, axis=-1), np.exp(np.log(rate).mean(axis=-1)), 1)


def garbe(fmr: np.ndarray, fnmr: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """GARBE = alpha G(FMR) + (1 - alpha) G(FNMR), a Gini coefficient (Howard et al., ICPR workshops 2022); ideal 0.

    ``G(x) = n / (n - 1) * sum_ij |x_i - x_j| / (2 n^2 mean x)`` over n groups, as in ISO/IEC 19795-10; that of equal
    rates is 0, also where all are zero.
    """
    return alpha * _gini(np.asarray(fmr)) + (1 - alpha) * _gini(np.asarray(fnmr))


def equalized_odds_difference(tpr: np.ndarray, fmr: np.ndarray) -> np.ndarray:
    """The larger of the gaps in TPR and FMR (Hardt, Price & Srebro, NeurIPS 2016); ideal 0."""
    return np.maximum(gap(tpr), gap(fmr))


def demographic_parity_difference(positive_rate: np.ndarray) -> np.ndarray:
    """The gap in the share of pairs accepted as kin (Dwork et al., ITCS 2012); ideal 0.

    It is meaningful only if the groups have the same share of kin pairs: if not, a perfect model does not reach 0.
    """
    return gap(positive_rate)


def _ratio(rate: np.ndarray) -> np.ndarray:
    return _divide(np.max(rate, axis=-1), np.min(rate, axis=-1), 1)


def _gini(rate: np.ndarray) -> np.ndarray:
    count = rate.shape[-1]
    differences = np.abs(rate[..., :, None] - rate[..., None, :]).sum(axis=(-2, -1))
    return _divide(count / (count - 1) * differences, 2 * count**2 * rate.mean(axis=-1), 0)


def _divide(above: np.ndarray, below: np.ndarray, of_zeros: float) -> np.ndarray:
    """A measure of rates as a quotient, which has no value where all rates are zero: equal groups are ideal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((above == 0) & (below == 0), of_zeros, np.divide(above, below))[()]


@dataclass(frozen=True)
class Disparity:
    """A measure of unfairness. Called with its rates, each (..., groups), it returns (...).

    Attributes
    ----------
    function
        Rates (..., groups) to (...).
    rates
        The metrics of groups (``groups.METRICS``) that ``function`` takes, in order.
    ideal
        Its value if all groups have the same rates.
    grows
        Whether it is above its ideal, not below, if they have not.
    ratio
        Whether it is a ratio of rates.

    Examples
    --------
    >>> worst = Disparity(lambda fnmr: fnmr.max(axis=-1) - fnmr.mean(axis=-1), rates=("fnmr",), ideal=0)
    >>> worst(np.array([0.1, 0.2, 0.6])).round(2)
    np.float64(0.3)
    """

    function: Callable[..., np.ndarray]
    rates: tuple[str, ...]
    ideal: float
    grows: bool = True
    ratio: bool = False

    def __call__(self, *rates: np.ndarray) -> np.ndarray:
        with running("the function of the disparity"):
            value = np.asarray(self.function(*rates), float)[()]
        if np.shape(value) != np.shape(rates[0])[:-1]:
            raise InputError(
                f"the function of the disparity makes {np.shape(value)} of rates {np.shape(rates[0])}; it must reduce "
                "the last axis, the groups, and keep all others."
            )
        return value


_OURS = {
    "accuracy gap": Disparity(gap, ("accuracy",), 0),
    "TPR gap": Disparity(gap, ("tpr",), 0),
    "FMR gap": Disparity(gap, ("fmr",), 0),
    "AUC gap": Disparity(gap, ("auc",), 0),
    "EER gap": Disparity(gap, ("eer",), 0),
    "d' gap": Disparity(gap, ("dprime",), 0),
    "accuracy spread": Disparity(accuracy_spread, ("accuracy",), 0),
    "skewed error ratio": Disparity(skewed_error_ratio, ("accuracy",), 1, ratio=True),
    "FDR": Disparity(fairness_discrepancy_rate, ("fmr", "fnmr"), 1, grows=False),
    "IR": Disparity(inequity_rate, ("fmr", "fnmr"), 1, ratio=True),
    "FMR, max over geometric mean": Disparity(max_over_geometric_mean, ("fmr",), 1, ratio=True),
    "FNMR, max over geometric mean": Disparity(max_over_geometric_mean, ("fnmr",), 1, ratio=True),
    "GARBE": Disparity(garbe, ("fmr", "fnmr"), 0),
    "equalized odds difference": Disparity(equalized_odds_difference, ("tpr", "fmr"), 0),
    "demographic parity difference": Disparity(demographic_parity_difference, ("positive_rate",), 0),
}
DISPARITIES = Registry("disparity", _OURS)  # every audit measures all of them


def find_disparity(name: str) -> Disparity:
    """The disparity of a registered name, or of the path ``package.module.name`` of a custom ``Disparity``.

    Raises ``InputError`` if there is none, it is no ``Disparity``, or it takes a metric that groups do not have.
    """
    found = DISPARITIES.find(name)
    if not isinstance(found, Disparity):
        raise InputError(f"disparity {name!r}: must be a kinface.fairness.disparities.Disparity.")
    unknown = [rate for rate in found.rates if rate not in METRICS]
    if unknown or not found.rates:
        raise InputError(f"disparity {name!r}: its rates are {found.rates}; groups have {', '.join(METRICS)}.")
    return found
