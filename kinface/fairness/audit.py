"""For whom a kinship model fails: metrics per group at one global threshold, and how unequal the groups are.

    threshold = choose_threshold(read_pairs("val.parquet", scored=True))
    result = audit_fairness(read_pairs("test.parquet", scored=True), threshold)
    result.groups, result.disparities
    compare_audits(result, audit_fairness(the_same_pairs_scored_by_another_model, its_threshold))

Reads pairs tables only (``kinface.data.pairs``), whoever scored them. Intervals come from resampling families,
or pairs where families are not known.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kinface.fairness.bootstrap import Resamples, weighted_metrics
from kinface.fairness.disparities import DISPARITIES, Disparity
from kinface.fairness.groups import (
    FALSE_ACCEPTS,
    FARS,
    FEWEST_FAMILIES,
    GROUPINGS,
    METRICS,
    compared_groups,
    label_groups,
    measure_groups,
    units_behind,
)
from swinface.bootstrap import interval_around, percentile_interval, symmetric_interval

WEIGHTS_AT_ONCE = 4_000_000  # bounds memory: the audit holds about six arrays of this many float32


@dataclass(frozen=True)
class FairnessAudit:
    """What ``audit_fairness`` found.

    Attributes
    ----------
    pairs, threshold, seed
        What was audited: a pair is accepted as kin where ``score >= threshold``.
    labels
        The group of each pair in each grouping (``groups.label_groups``).
    groups
        One row per group, all pairs first (``groups.measure_groups``), each metric with ``_low`` and ``_high``, the
        ends of its 95% interval, and ``complete_resamples``, the resamples that kept both kin and non-kin pairs of
        the group. A resample without the pairs that a metric rests on is left out of the metric's interval.
    disparities
        One row per grouping and disparity: ``grouping``, ``disparity``, ``compared`` (the groups), ``value``,
        ``ideal``, ``low``, ``high``, ``chance`` (what one in twenty samples of such families would reach if all
        groups were treated alike), ``beyond_chance`` (bool, missing where the value is not finite), ``resamples``
        (those where it is defined).
    resampled
        Metric to (resamples, groups), in the order of the rows of ``groups``.
    units
        Names of what was resampled: families, and pairs whose families are not known.
    """

    pairs: pd.DataFrame
    threshold: float
    seed: int
    labels: pd.DataFrame
    groups: pd.DataFrame
    disparities: pd.DataFrame
    resampled: dict[str, np.ndarray]
    units: np.ndarray


def audit_fairness(
    pairs: pd.DataFrame,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
    beside: pd.DataFrame | None = None,
) -> FairnessAudit:
    """Measure every group and the disparities between groups at one threshold.

    Parameters
    ----------
    pairs
        Scored pairs table with kin and non-kin pairs.
    threshold
        Chosen on other pairs (``choose_threshold``).
    resamples, seed
        Of families, for the 95% percentile intervals (``Resamples``).
    beside
        Another list of pairs, such as a matched one: its families are drawn together with those of ``pairs``, so that
        audits of the two lists, each beside the other, rest on the same resamples (``compare_lists``).
    """
    pairs = pairs.reset_index(drop=True)
    draws = Resamples(pairs if beside is None else pd.concat([pairs, beside]), resamples, seed)
    labels = label_groups(pairs)
    groups = measure_groups(pairs, labels, threshold)
    resampled = _resample(pairs, labels, groups, threshold, draws)
    scored = zlib.crc32(np.append(pairs["score"], threshold).tobytes())
    _spread_extremes(resampled, groups, (seed, scored))
    for metric in METRICS:
        groups[f"{metric}_low"], groups[f"{metric}_high"] = interval_around(groups[metric], resampled[metric])
    groups["complete_resamples"] = (~np.isnan(resampled["auc"])).sum(axis=0)
    disparities = pd.DataFrame(
        [
            _measure_disparity(groups, resampled, grouping, name, rows)
            for grouping in GROUPINGS
            for name, disparity in DISPARITIES.items()
            if len(rows := compared_groups(groups, grouping, disparity.rates)) > 1
        ],
        columns=[
            "grouping",
            "disparity",
            "compared",
            "value",
            "ideal",
            "low",
            "high",
            "chance",
            "beyond_chance",
            "resamples",
        ],
    )
    return FairnessAudit(pairs, threshold, seed, labels, groups, disparities, resampled, draws.units)


def _resample(
    pairs: pd.DataFrame, labels: pd.DataFrame, groups: pd.DataFrame, threshold: float, draws: Resamples
) -> dict[str, np.ndarray]:
    """Each metric of each group in each resample: (resamples, groups), in the order of ``groups``."""
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    resampled = {metric: np.full((draws.count, len(groups)), np.nan) for metric in METRICS}
    believed = {metric: (units_behind(groups, metric) >= FEWEST_FAMILIES).to_numpy() for metric in METRICS}
    members = [np.flatnonzero(labels[group.grouping] == group.group) for group in groups.itertuples()]
    step = max(1, WEIGHTS_AT_ONCE // len(pairs))
    for start in range(0, draws.count, step):
        part = slice(start, start + step)
        weight = draws.weights(part)[: len(pairs)]  # those of a list beside come after
        for column, (rows, non_kin) in enumerate(zip(members, groups["non_kin"], strict=True)):
            fars = {name: far for name, far in FARS.items() if far * non_kin >= FALSE_ACCEPTS}
            values = weighted_metrics(score[rows], kin[rows], weight[rows], threshold, fars)
            for metric, value in values.items():
                if believed[metric][column]:
                    resampled[metric][part, column] = value
    return resampled


def _spread_extremes(resampled: dict[str, np.ndarray], groups: pd.DataFrame, seed: tuple[int, int]) -> None:
    """Give a rate of exactly 0 or 1 the spread that resampling cannot: it stays 0 or 1 in every resample.

    It is drawn from Jeffreys' posterior of a rate never (or always) met in as many trials as there are families, the
    least that can have been independent; the interval reaches to the rate itself (Brown, Cai & DasGupta, Statistical
    Science 16(2), 2001, section 4.1.1). In place.

    Parameters
    ----------
    seed
        That of the resamples, and one of the scores: groups, metrics and models err independently, but a model differs
        in nothing from itself.
    """
    for number, metric in enumerate(METRICS):
        values, units = resampled[metric], units_behind(groups, metric)
        for row, (point, count) in enumerate(zip(groups[metric], units, strict=True)):
            known = ~np.isnan(values[:, row])
            if point in (0, 1) and (values[known, row] == point).all():
                unmet = np.random.default_rng((*seed, number, row)).beta(0.5, count + 0.5, size=len(values))
                values[known, row] = np.abs(point - unmet)[known]
    resampled["fnmr"] = 1 - resampled["tpr"]


def _measure_disparity(
    groups: pd.DataFrame, resampled: dict[str, np.ndarray], grouping: str, name: str, rows: np.ndarray
) -> dict:
    """One disparity between the groups in ``rows``, what chance makes of it, and its interval.

    Shifting each group's resamples to the mean of all groups keeps how its families vary, and together with whom, and
    takes away the disparity: what is left is chance (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 16).
    """
    disparity = DISPARITIES[name]
    point = [groups[metric].to_numpy()[rows] for metric in disparity.rates]
    drawn = [resampled[metric][:, rows] for metric in disparity.rates]
    alike = [np.clip(draw - rate + rate.mean(), 0, 1) for draw, rate in zip(drawn, point, strict=True)]
    value, spread = float(disparity.function(*point)), disparity.function(*drawn)
    lowest, highest = percentile_interval(disparity.function(*alike), level=0.9)  # each end is passed by one in twenty
    chance = float(highest if disparity.grows else lowest)
    beyond = value > chance if disparity.grows else value < chance
    low, high = _disparity_interval(disparity, value, spread, beyond)
    return {
        "grouping": grouping,
        "disparity": name,
        "compared": ", ".join(groups["group"].iloc[rows]),
        "value": value,
        "ideal": disparity.ideal,
        "low": low,
        "high": high,
        "chance": chance,
        "beyond_chance": beyond if np.isfinite(value) else None,
        "resamples": int((~np.isnan(spread)).sum()),
    }


def _disparity_interval(disparity: Disparity, value: float, spread: np.ndarray, beyond: bool) -> tuple[float, float]:
    """Symmetric interval, ratios on the logarithmic scale, that ends at the ideal; it does so where chance explains it.

    Not a number where the value is not finite.
    """
    if not np.isfinite(value):
        return np.nan, np.nan
    if disparity.ratio:
        with np.errstate(divide="ignore"):
            low, high = np.exp(symmetric_interval(np.log(value), np.log(spread)))
    else:
        low, high = symmetric_interval(value, spread)
    if disparity.grows:
        return max(low, disparity.ideal) if beyond else disparity.ideal, high
    return low, min(high, disparity.ideal) if beyond else disparity.ideal
