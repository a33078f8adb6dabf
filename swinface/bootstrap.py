"""Bootstrap intervals: clusters of rows (people, families) are drawn with replacement, and a figure is computed from
each draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral

import numpy as np

from swinface.files import InputError


def start_drawing(seed: int) -> np.random.Generator:
    """A random number generator with this seed. Raises ``InputError`` unless the seed is a whole number, 0 or more."""
    if not isinstance(seed, Integral) or seed < 0:
        raise InputError(f"seed is {seed!r}; choose a whole number, 0 or more.")
    return np.random.default_rng(seed)


def check_draws(seed: int, resamples: int, fewest: int = 1) -> None:
    """Raise ``InputError`` unless seed and resamples are whole numbers of at least 0 and ``fewest``."""
    start_drawing(seed)
    if not isinstance(resamples, Integral) or resamples < fewest:
        raise InputError(f"resamples is {resamples!r}: an interval needs a whole number, at least 100, better 1000.")


def draw_clusters(clusters: int, resamples: int, seed: int | np.random.Generator) -> Iterator[np.ndarray]:
    """Draw as many clusters as there are, with replacement: how often each was drawn, (clusters,) int, per resample.

    The same seed gives the same draws; a generator continues.
    """
    rng, share = np.random.default_rng(seed), np.full(clusters, 1 / clusters)
    return (rng.multinomial(clusters, share) for _ in range(resamples))


def resample_totals(
    values: np.ndarray, clusters: np.ndarray, resamples: int, seed: int | np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Totals (k,) of values (N, k) over rows, and those where clusters of rows are drawn with replacement, (resamples,
    k).

    ``clusters``, (N,) int from 0, is the cluster of each row.
    """
    totals = np.zeros((clusters.max() + 1, values.shape[1]))
    np.add.at(totals, clusters, values)
    return totals.sum(axis=0), np.stack([drawn @ totals for drawn in draw_clusters(len(totals), resamples, seed)])


def weigh_pairs(drawn: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The weight of each pair where clusters were drawn: the pigeonhole bootstrap.

    A cluster that was drawn m times gives its own pairs the weight m. A pair of two clusters belongs to both, so its
    weight is m_a * m_b (Owen, Annals of Applied Statistics 1(2), 2007; for pairs within one set of clusters: Davezies,
    D'Haultfoeuille & Guyonvarch, Annals of Statistics 49(2), 2021).

    From how often each cluster was ``drawn``, (clusters, ...), and the clusters of the ``first`` and ``second`` face of
    each pair, (pairs,), to (pairs, ...) of the type of ``drawn``.
    """
    weights = drawn[first]
    of_two = first != second
    weights[of_two] *= drawn[second[of_two]]
    return weights


def percentile_interval(
    values: np.ndarray, level: float = 0.95, interpolate: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval of values (resamples, ...): lower and upper end, each (...).

    NaN is left out; an end is NaN if no resample has a value. With ``interpolate``, an end may lie between two values.
    Without, it is the next value outwards, so that infinite values, such as ratios, can be ends.
    """
    tail = (1 - level) / 2
    if interpolate:
        tail = round(tail, 12)  # 0.025, which (1 - 0.95) / 2 is not
        return tuple(np.nanquantile(values, [tail, 1 - tail], axis=0))
    ordered = np.sort(values, axis=0)  # not-a-number last
    last = np.maximum((~np.isnan(values)).sum(axis=0) - 1, 0)
    low, high = np.floor(tail * last).astype(int), np.ceil((1 - tail) * last).astype(int)
    ends = [np.take_along_axis(ordered, index[None], axis=0)[0] for index in (low, high)]
    return ends[0], ends[1]


def interval_around(value: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of draws (resamples, ...) of a value (...), extended to the value where this lies
    outside."""
    low, high = percentile_interval(draws)
    return np.minimum(low, value), np.maximum(high, value)


def symmetric_interval(value: float, draws: np.ndarray) -> tuple[float, float]:
    """95% symmetric bootstrap interval: value -+ the 95th percentile of ``|draw - value|``, draws being (resamples,).

    Hall, Journal of the Royal Statistical Society B 50(1), 1988. It is for distances between groups, and figures
    computed from them. Resampled groups differ more than the groups they are drawn from, so percentiles lie too far
    out; the basic interval, which mirrors them, has no width if the groups are equal. Draws may be infinite or NaN; the
    interval is NaN if the value is not finite.
    """
    if not np.isfinite(value):
        return np.nan, np.nan
    reach = float(percentile_interval(np.abs(draws - value), level=0.9)[1])  # one in twenty lies beyond each end
    return value - reach, value + reach
