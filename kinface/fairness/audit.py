"""For whom a kinship model fails: metrics of each group at one threshold for all, and how unequal the groups are.

The audit reads pairs tables only (``kinface.data.pairs``), whichever model scored them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from kinface.data.pairs import check_pairs
from kinface.fairness.bootstrap import FAMILIES, Resamples, find_units, weighted_metrics
from kinface.fairness.contrasts import contrast_with_largest, find_gaps
from kinface.fairness.disparities import DISPARITIES, Disparity, find_disparity
from kinface.fairness.groupings import Specification, label_groups, resolve_groupings
from kinface.fairness.groups import (
    FALSE_ACCEPTS,
    FARS,
    FEWEST_FAMILIES,
    METRICS,
    compared_groups,
    measure_groups,
    units_behind,
)
from swinface.bootstrap import interval_around, percentile_interval, symmetric_interval
from swinface.files import InputError


@dataclass(frozen=True)
class FairnessAudit:
    """The result of ``audit_fairness``.

    Attributes
    ----------
    pairs, threshold, seed, clusters
        What was audited, and how. A pair is accepted as kin where ``score >= threshold``.
    labels
        The group of each pair, a column per grouping; ``overall`` comes first.
    groups
        One row per group, all pairs first. Columns: ``grouping``, ``group``; the counts ``pairs``, ``kin``,
        ``non_kin``, ``families`` and so on; the metrics ``accuracy``, ``tpr``, ``fmr``, ``fnmr``, ``positive_rate``,
        ``auc``, ``tar_at_1e-1``, ``tar_at_1e-2``, ``tar_at_1e-3``, each with ``_low`` and ``_high``, the ends of its
        95% interval; ``not_compared``, why the group is left out of comparisons; ``complete_resamples``, the number of
        resamples with both kin and non-kin pairs of the group.
    disparities
        One row per grouping and disparity (``disparities.DISPARITIES`` and one's own): ``grouping``, ``disparity``,
        ``compared`` (the groups), ``value``, ``ideal``, ``low`` and ``high`` (its 95% interval), ``chance`` (what equal
        groups exceed in 5% of samples), ``beyond_chance`` (bool, missing where the value is not finite), ``resamples``
        (those in which it is defined).
    resampled
        Metric to (resamples, groups), in the order of the rows of ``groups``.
    draws
        The resamples: first of these pairs, then of those ``beside``.
    """

    pairs: pd.DataFrame = field(repr=False)
    threshold: float
    seed: int
    clusters: tuple[str, ...] | None
    labels: pd.DataFrame = field(repr=False)
    groups: pd.DataFrame = field(repr=False)
    disparities: pd.DataFrame = field(repr=False)
    resampled: dict[str, np.ndarray] = field(repr=False)
    draws: Resamples = field(repr=False)

    def __str__(self) -> str:
        columns = ["grouping", "group", "pairs", "tpr", "fmr", "auc", "auc_low", "auc_high"]
        return f"at the threshold {self.threshold:.4f}\n{self.groups[columns].round(3).to_string(index=False)}"

    @property
    def units(self) -> np.ndarray:
        """Names of what was resampled: clusters, and pairs whose clusters are unknown."""
        return self.draws.units

    @property
    def without_group(self) -> pd.Series:
        """Grouping to the number of pairs that are in none of its groups, as their labels are missing."""
        return self.labels.isna().sum()

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """The largest gap of each grouping in accuracy, TPR, FMR and AUC (``contrasts.find_gaps``)."""
        return find_gaps(self.groups, self.disparities, self.resampled)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Each group compared with the largest of its grouping (``contrasts.contrast_with_largest``)."""
        return contrast_with_largest(self.groups, self.resampled)


def audit_fairness(
    pairs: pd.DataFrame,
    threshold: float,
    *,
    groupings: Iterable[Specification] | Mapping[str, Specification] = (),
    disparities: Sequence[str] = (),
    clusters: Sequence[str] | None = FAMILIES,
    resamples: int = 1000,
    seed: int = 0,
    beside: pd.DataFrame | None = None,
) -> FairnessAudit:
    """Measure every group, and the disparities between groups, at one threshold for all.

    Parameters
    ----------
    pairs
        Scored pairs table (``read_pairs``) with kin and non-kin pairs. ``face_a``, ``face_b``, ``kin`` and ``score``
        are enough, with the columns to group by.
    threshold
        A pair is accepted as kin where its score is at least this. Choose it on other pairs (``choose_threshold``).
    groupings
        How pairs are divided into groups, besides ``DEFAULT_GROUPINGS``, which are there as far as the pairs have the
        labels: nobody is left out of an audit by asking for more. Each entry, or each value of a dictionary from name
        to entry, is

        - the name of a default grouping: ``race``, ``race crossing``, ``gender pair``, ``type``, ``generation gap``,
          ``race and gender``;
        - a column of the pairs, such as ``age_band``: pairs with the same value are a group;
        - an attribute of persons, X, where the pairs have the columns X_a and X_b: pairs of persons with the same value
          are a group, all others are the group cross-X, which is measured but not compared;
        - a function that takes the pairs and returns a value for each;
        - a list of these, or their names joined by " x ": the intersection.

        One with the name of a default grouping takes its place. Pairs whose value is missing are in no group, and
        counted in ``without_group``.
    disparities
        Paths ``package.module.name`` of disparities of one's own (``disparities.Disparity``), measured besides
        ``DISPARITIES`` with the same intervals and chance limits.
    clusters
        One or two columns. Pairs with a value of these in common depend on each other, and are resampled together. A
        pair without a value is resampled alone, as if it were independent. None: all pairs are independent.
    resamples, seed
        Of the bootstrap, from which the 95% intervals come. The same seed and clusters give the same resamples.
    beside
        Another list of pairs, such as a matched one, whose clusters are drawn together with those of ``pairs``. Audits
        of two lists, each with the other as ``beside``, use the same resamples and can be compared.

    Returns
    -------
    FairnessAudit
        Its ``groups``, ``disparities``, ``gaps`` and ``contrasts`` are tables.

    Raises
    ------
    InputError
        The pairs are no scored pairs table, a grouping or cluster has no column, the threshold is not finite, or a
        disparity is none.

    Notes
    -----
    A cluster drawn m times gives its pairs the weight m, a pair of two clusters the product (Owen, Annals of Applied
    Statistics 1(2), 2007).

    Examples
    --------
    >>> import numpy as np, pandas as pd, kinface
    >>> rng, number = np.random.default_rng(0), np.arange(800)
    >>> kin, band = number % 2 == 0, np.where(number % 3 == 0, "adult and child", "adults")
    >>> score = kin + rng.normal(size=800) - 1.5 * (kin & (band == "adult and child"))
    >>> faces = {"face_a": [f"{i}a.jpg" for i in number], "face_b": [f"{i}b.jpg" for i in number]}
    >>> pairs = pd.DataFrame({**faces, "kin": kin, "score": score, "band": band})
    >>> audit = kinface.audit_fairness(pairs, threshold=0.5, groupings=["band"], resamples=200)
    >>> audit.groups[["group", "pairs", "tpr"]].round(2)
                 group  pairs   tpr
    0        all pairs    800  0.47
    1  adult and child    267  0.15
    2           adults    533  0.63
    >>> audit.gaps.query("metric == 'tpr'")[["grouping", "highest", "lowest", "shown"]]
      grouping highest           lowest  shown
    1     band  adults  adult and child   True
    """
    if not math.isfinite(threshold):
        raise InputError(f"threshold: {threshold} is not a finite number.")
    if resamples < 1:
        raise InputError(f"resamples: {resamples} given; an interval needs at least 100, better 1000.")
    wanted = {name: find_disparity(name) for name in (*DISPARITIES.names(), *disparities)}
    pairs = check_pairs(pairs, "pairs", scored=True)
    drawn_together = [pairs] if beside is None else [pairs, check_pairs(beside, "beside")]
    draws = Resamples(pd.concat(drawn_together), resamples, seed, clusters)
    labels, mixed = label_groups(pairs, resolve_groupings(pairs, groupings))
    groups = measure_groups(pairs, labels, threshold, find_units(pairs, clusters), mixed)
    resampled = _resample(pairs, labels, groups, threshold, draws)
    scored = zlib.crc32(np.append(pairs["score"], threshold).tobytes())
    _spread_extremes(resampled, groups, (seed, scored))
    for metric in METRICS:
        groups[f"{metric}_low"], groups[f"{metric}_high"] = interval_around(groups[metric], resampled[metric])
    groups["complete_resamples"] = (~np.isnan(resampled["auc"])).sum(axis=0)
    measured = _measure_disparities(groups, resampled, wanted)
    columns = clusters if clusters is None else (clusters,) if isinstance(clusters, str) else tuple(clusters)
    return FairnessAudit(pairs, threshold, seed, columns, labels, groups, measured, resampled, draws)


def _resample(
    pairs: pd.DataFrame, labels: pd.DataFrame, groups: pd.DataFrame, threshold: float, draws: Resamples
) -> dict[str, np.ndarray]:
    """Each metric of each group in each resample: (resamples, groups), in the order of ``groups``."""
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    resampled = {metric: np.full((draws.count, len(groups)), np.nan) for metric in METRICS}
    enough = {metric: (units_behind(groups, metric) >= FEWEST_FAMILIES).to_numpy() for metric in METRICS}
    members = [np.flatnonzero(labels[group.grouping] == group.group) for group in groups.itertuples()]
    for part, weight in draws.blocks(len(pairs)):  # the weights of a list beside come after those of these pairs
        for column, (rows, non_kin) in enumerate(zip(members, groups["non_kin"], strict=True)):
            fars = {name: far for name, far in FARS.items() if far * non_kin >= FALSE_ACCEPTS}
            values = weighted_metrics(score[rows], kin[rows], weight[rows], threshold, fars)
            for metric, value in values.items():
                if enough[metric][column]:
                    resampled[metric][part, column] = value
    return resampled


def _spread_extremes(resampled: dict[str, np.ndarray], groups: pd.DataFrame, seed: tuple[int, int]) -> None:
    """Give a rate of exactly 0 or 1 a spread, in place: resampling gives it none, as it is the same in every resample.

    It is drawn from Jeffreys' posterior after as many trials as there are families, none (or all) of them a success;
    there are at least that many independent trials. The interval reaches to the rate itself (Brown, Cai & DasGupta,
    Statistical Science 16(2), 2001, section 4.1.1).

    Parameters
    ----------
    seed
        The seed of the resamples and a checksum of the scores: draws of different groups, metrics and models are
        independent, but a model compared with itself gives a difference of 0.
    """
    for number, metric in enumerate(METRICS):
        values, units = resampled[metric], units_behind(groups, metric)
        for row, (point, count) in enumerate(zip(groups[metric], units, strict=True)):
            known = ~np.isnan(values[:, row])
            if point in (0, 1) and (values[known, row] == point).all():
                drawn = np.random.default_rng((*seed, number, row)).beta(0.5, count + 0.5, size=len(values))
                values[known, row] = np.abs(point - drawn)[known]
    resampled["fnmr"] = 1 - resampled["tpr"]


def _measure_disparities(
    groups: pd.DataFrame, resampled: dict[str, np.ndarray], disparities: Mapping[str, Disparity]
) -> pd.DataFrame:
    """Every disparity of every grouping with two groups that can be compared."""
    rows = [
        {"grouping": grouping, "disparity": name} | _measure_disparity(groups, resampled, disparity, rows)
        for grouping in groups["grouping"].unique()
        for name, disparity in disparities.items()
        if len(rows := compared_groups(groups, grouping, disparity.rates)) > 1
    ]
    columns = ["grouping", "disparity", "compared", "value", "ideal", "low", "high", "chance", "beyond_chance"]
    return pd.DataFrame(rows, columns=[*columns, "resamples"])


def _measure_disparity(
    groups: pd.DataFrame, resampled: dict[str, np.ndarray], disparity: Disparity, rows: np.ndarray
) -> dict:
    """One disparity between the groups in ``rows``, its chance limit and its interval.

    The chance limit comes from the resamples with each group shifted to the mean of all groups. This removes the
    disparity and keeps how the groups vary, and vary together, by chance (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 16).
    """
    point = [groups[metric].to_numpy()[rows] for metric in disparity.rates]
    drawn = [resampled[metric][:, rows] for metric in disparity.rates]
    alike = [np.clip(draw - rate + rate.mean(), 0, 1) for draw, rate in zip(drawn, point, strict=True)]
    value, spread = float(disparity(*point)), disparity(*drawn)
    lowest, highest = percentile_interval(disparity(*alike), level=0.9)  # 5% lie beyond each end
    chance = float(highest if disparity.grows else lowest)
    beyond = value > chance if disparity.grows else value < chance
    low, high = _disparity_interval(disparity, value, spread, beyond)
    return {
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
    """Symmetric interval, for ratios on the logarithmic scale. It ends at the ideal, and reaches it if chance explains
    the value. NaN if the value is not finite.
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
