"""How far apart the scores of kin and of non-kin pairs lie, at no given threshold: equal error rate and d'.

Both take ascending scores of kin pairs, (m,), and of non-kin pairs, (n,), at least one of each. They give the value and
the influence values of the kin pairs, (m,), and of the non-kin pairs, (n,), see ``kinface.fairness.intervals``.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


def measure_eer(kin: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The equal error rate, at which FNMR and FMR are equal (ISO/IEC 19795-1); here between two points of the ROC.

    Points of the ROC are those of all thresholds. Where the two rates cross between the points of two neighbouring
    scores, the EER is on the straight line between these. This is exact, and within one step of the EER of bob.measure,
    which is the mean of FNMR and FMR at the threshold where they are nearest to each other.

    With e the EER, f and g the densities of kin and of non-kin scores there, and of a pair ``missed`` (kin) and
    ``accepted`` (non-kin), influence values are g / (f + g) (missed_p - e) / m and f / (f + g) (accepted_p - e) / n:
    the threshold moves until the rates are equal again. Densities are those of the scores between FMR e / 2 and 3 e / 2
    (for e above one half, as far on the other side); of pairs that score just at the threshold a share is missed.
    """
    m, n = len(kin), len(others)

    def crossed(score: float) -> bool:
        """Whether FNMR reaches FMR at thresholds just above the score."""
        return np.searchsorted(kin, score, "right") * n >= (n - np.searchsorted(others, score, "right")) * m

    at = min(scores[bisect_left(scores, True, key=crossed)] for scores in (kin, others))
    low, up = (int(np.searchsorted(kin, at, side)) for side in ("left", "right"))  # kin pairs missed before and after
    below, up_to = (int(np.searchsorted(others, at, side)) for side in ("left", "right"))
    steps = n * (up - low) + m * (up_to - below)
    eer, share = (up * (n - below) - low * (n - up_to)) / steps, (m * (n - below) - n * low) / steps
    missed, accepted = np.zeros(m), np.ones(n)
    missed[:low], missed[low:up] = 1, share
    accepted[:below], accepted[below:up_to] = 0, 1 - share
    f, g = (_find_density(scores, others, eer) for scores in (kin, others))
    return eer, g / (f + g) * (missed - eer) / m, f / (f + g) * (accepted - eer) / n


def _find_density(scores: np.ndarray, others: np.ndarray, eer: float) -> float:
    """The share of scores between two thresholds about that of the EER."""
    n = len(others)
    middle = n * (1 - eer)
    reach = max(1, min(eer, 1 - eer) * n / 2)
    first, last = np.clip([middle - reach, middle + reach - 1], 0, n - 1).astype(int)
    start, stop = np.searchsorted(scores, others[first], "left"), np.searchsorted(scores, others[last], "right")
    return (stop - start) / len(scores)


def measure_dprime(kin: np.ndarray, others: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """d' = abs(mean_kin - mean_others) / s with s^2 = (var_kin + var_others) / 2, also called decidability index.

    From Daugman, Biometric decision landscapes, University of Cambridge TR 482, 2000. Variances are those of the scores
    that are there, divided by their number. NaN if neither kind of pairs has two different scores.

    The influence value of one of m kin pairs is (sign (x - mean) / s - d' ((x - mean)^2 - var) / (4 s^2)) / m, with
    the sign of the difference of means; that of a non-kin pair has the other sign, and n.
    """
    if kin[0] == kin[-1] and others[0] == others[-1]:
        return np.nan, np.zeros(len(kin)), np.zeros(len(others))
    largest = max(np.abs(scores[[0, -1]]).max() for scores in (kin, others))
    kin, others = kin / largest, others / largest  # d' has no unit, and squares of any scores are finite
    apart, spread = kin.mean() - others.mean(), np.sqrt((kin.var() + others.var()) / 2)
    dprime, parts = abs(apart) / spread, []
    upward = np.copysign(1, apart)
    for score, sign in ((kin, upward), (others, -upward)):
        away = (score - score.mean()) / spread
        parts.append((sign * away - dprime / 4 * (away**2 - (away**2).mean())) / len(score))
    return float(dprime), *parts
