"""For whom a kinship model fails: metrics of each group at one threshold for all, and how unequal the groups are.

The audit reads pairs tables only (``kinface.data.pairs``), whichever model scored them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from scipy.linalg import block_diag
from tqdm import tqdm

from kinface.data.arrays import as_number
from kinface.data.pairs import check_pairs, factorize_sides
from kinface.data.tables import list_names
from kinface.data.vocabulary import in_words
from kinface.fairness.contrasts import contrast_with_largest, find_gaps, find_race_reward
from kinface.fairness.disparities import DISPARITIES, Disparity, find_disparity
from kinface.fairness.dyads import FAMILIES, Dyads
from kinface.fairness.groupings import Specification, label_groups, resolve_groupings
from kinface.fairness.groups import COUNTS, METRICS, compared_groups, count_groups
from kinface.fairness.intervals import MEASURED, estimate, measure_by, move_from, shrink
from kinface.fairness.threshold import range_over_thresholds, resample_threshold
from swinface.bootstrap import check_draws, percentile_interval
from swinface.files import naming

STEPS = 9  # between equal rates and unequal ones, where an interval of a disparity is looked for


@dataclass(frozen=True)
class Origin:
    """Where the pairs of an audit and its threshold come from, as far as it is known."""

    file: str | None = None  #: name of the table of scored pairs
    validation: pd.DataFrame | None = None  #: the scored pairs that gave the threshold; None where it was given
    validation_file: str | None = None  #: name of their table

    def name_pairs(self) -> str:
        return self.file or "the audited pairs"

    def name_validation(self) -> str:
        return self.validation_file or "the validation pairs"


UNKNOWN = Origin()


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
        ``auc``, ``eer``, ``dprime``, ``tar_at_1e-1``, ``tar_at_1e-2``, ``tar_at_1e-3``, each with ``_low`` and
        ``_high``, the ends of its 95% interval; ``not_compared``, why the group is left out of comparisons. A TAR at a
        FAR, like the EER, is at the group's own threshold; ``standards.audit_operating_points`` has one for all.
    disparities
        One row per grouping and disparity (``disparities.DISPARITIES`` and custom ones): ``grouping``, ``disparity``,
        ``compared`` (the groups), ``value``, ``ideal``, ``low`` and ``high`` (its 95% interval), ``chance`` (what equal
        groups exceed in 5% of samples), ``beyond_chance`` (bool, missing where the value is not finite), ``resamples``
        (those in which it is defined).
    covariance
        Metric to (groups, groups), in the order of the rows of ``groups``: widened for few families, NaN where a group
        has no interval, 0 between groupings.
    deviations
        Metric to (resamples, groups), of the multiplier bootstrap: how far a metric moves where families weigh more or
        less at random, scaled to these variances. Audits of the same families and seed have the same weights.
    dyads
        The families of the pairs, or what else they have in common.
    origin
        Where pairs and threshold come from.
    """

    pairs: pd.DataFrame = field(repr=False)
    threshold: float
    seed: int
    clusters: tuple[str, ...] | None
    labels: pd.DataFrame = field(repr=False)
    groups: pd.DataFrame = field(repr=False)
    disparities: pd.DataFrame = field(repr=False)
    covariance: dict[str, np.ndarray] = field(repr=False)
    deviations: dict[str, np.ndarray] = field(repr=False)
    dyads: Dyads = field(repr=False)
    origin: Origin = field(default=UNKNOWN, repr=False)

    def __str__(self) -> str:
        columns = ["grouping", "group", "pairs", "tpr", "fmr", "auc", "auc_low", "auc_high"]
        words = [in_words(row.group, row.grouping) for row in self.groups.itertuples()]
        table = self.groups.assign(group=words)[columns].round(3)
        return f"at the threshold {self.threshold:.4f}\n{table.to_string(index=False)}"

    @property
    def resamples(self) -> int:
        """How many random deviations there are."""
        return len(self.deviations["auc"])

    @cached_property
    def drawn(self) -> dict[str, np.ndarray]:
        """Metric to (resamples, groups): the metrics with their deviations."""
        values = {metric: self.groups[metric].to_numpy() for metric in self.deviations}
        return {metric: move_from(value, value, self.deviations[metric], metric) for metric, value in values.items()}

    def disparity(self, name: str, rows: Sequence[int]) -> tuple[float, np.ndarray]:
        """A disparity between the groups in some rows of ``groups``: its value, and its value in each resample."""
        disparity = find_disparity(name)
        value = disparity(*(self.groups[rate].to_numpy()[rows] for rate in disparity.rates))
        return float(value), disparity(*(self.drawn[rate][:, rows] for rate in disparity.rates))

    def influence(self, grouping: str) -> tuple[np.ndarray, np.ndarray]:
        """(pairs,) the number of each pair's group, and (pairs, metrics) influence values (``intervals.measure``)."""
        label = self.labels[grouping]
        group = label.cat.codes.to_numpy()
        score, kin = self.pairs["score"].to_numpy(), self.pairs["kin"].to_numpy()
        return group, measure_by(score, kin, group, len(label.cat.categories), self.threshold)[1]

    @cached_property
    def ranked(self) -> np.ndarray:
        """(pairs,) the places of the pairs in ascending order of score: what is in order need not be sorted again."""
        return self.pairs["score"].to_numpy().argsort(kind="stable")

    @cached_property
    def faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the first faces, then of the second ones, and the names that they stand for."""
        return factorize_sides(self.pairs, "face")

    @property
    def without_group(self) -> pd.Series:
        """Grouping to the number of pairs that are in none of its groups, as their labels are missing."""
        return self.labels.isna().sum()

    @cached_property
    def threshold_range(self) -> pd.DataFrame | None:
        """How far another validation sample may move the threshold, and so the rates; None where it was given.

        Validation families are resampled, and each time the threshold is chosen again. Columns: ``grouping``,
        ``group``, ``metric`` (``threshold`` in the first row; ``tpr``, ``fmr``, ``accuracy``), ``value`` (of this
        audit), ``low`` and ``high``, the ends of the middle 95% (``threshold.range_over_thresholds``). All other
        intervals are those of this threshold.
        """
        if self.origin.validation is None:
            return None
        others = resample_threshold(self.origin.validation, seed=self.seed)
        return range_over_thresholds(self.pairs, self.labels, self.threshold, others)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """The largest gap of each grouping in accuracy, TPR, FMR and AUC (``contrasts.find_gaps``).

        Columns: ``grouping``, ``metric``, ``highest`` and ``lowest`` (groups), ``highest_value``, ``lowest_value``,
        ``difference``, ``low`` and ``high`` (its 95% interval), ``chance`` (what equal groups exceed in 5% of samples),
        ``comparable`` (false for accuracies of groups with different shares of kin pairs), ``p`` (its p-value),
        ``p_adjusted`` (corrected for all comparable gaps by Holm's method; missing for others), ``significant``
        (whether that is below 5%).
        """
        return find_gaps(self.groups, self.disparities, self.covariance)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Each group compared with the largest of its grouping (``contrasts.contrast_with_largest``).

        Columns: ``grouping``, ``group``, ``reference`` (the largest), ``metric``, ``ours`` and ``other`` (values of the
        two), ``difference``, ``low`` and ``high`` (its 95% interval), ``p_adjusted`` (p-value, corrected for the rows
        of one grouping and metric by Holm's method), ``significant`` (whether it is below 5%).
        """
        return contrast_with_largest(self.groups, self.covariance)

    @cached_property
    def race_reward(self) -> dict[str, float] | None:
        """How much more often strangers of one race are accepted than those of two (``contrasts.find_race_reward``)."""
        return find_race_reward(self.gaps)


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
    checked: bool = False,
    origin: Origin = UNKNOWN,
) -> FairnessAudit:
    """Measure every group, and the disparities between groups, at one threshold for all.

    Parameters are those of ``kinface.audit``, which calls this; ``threshold`` is a number here, and tables that are
    ``checked``, as ``read_pairs`` leaves them, are not checked again. Intervals come from dyadic cluster-robust
    variance, wider where families are few (``kinface.fairness.intervals``).

    Raises ``InputError`` if the pairs are no scored pairs table, a grouping or cluster has no column, the threshold is
    not finite, or a disparity is none.
    """
    threshold = as_number(threshold, "threshold")
    check_draws(seed, resamples)
    wanted = {name: find_disparity(name) for name in (*DISPARITIES.names(), *list_names(disparities))}
    pairs = pairs if checked else check_pairs(pairs, "pairs", scored=True)
    together = pairs
    if beside is not None:
        together = pd.concat([pairs, beside if checked else check_pairs(beside, "beside")])
    dyads = Dyads.of_pairs(together, clusters)[: len(pairs)]
    labels, mixed = label_groups(pairs, resolve_groupings(pairs, groupings))
    groups = count_groups(pairs, labels, dyads, mixed)
    groups, covariance, deviations = _measure(pairs, labels, groups, threshold, dyads, resamples, seed)
    measured = measure_disparities(groups, deviations, wanted)
    columns = None if clusters is None else (clusters,) if isinstance(clusters, str) else tuple(clusters)
    found = (labels, groups, measured, covariance, deviations, dyads, origin)
    return FairnessAudit(pairs, threshold, seed, columns, *found)


def _measure(
    pairs: pd.DataFrame,
    labels: pd.DataFrame,
    groups: pd.DataFrame,
    threshold: float,
    dyads: Dyads,
    resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The groups with their metrics and intervals, the covariances of these and their random deviations."""
    score, kin, found = pairs["score"].to_numpy(), pairs["kin"].to_numpy(), []
    multipliers = dyads.draw_multipliers(resamples, seed)
    for grouping in tqdm([*labels], "audit", unit="grouping", leave=False, disable=None, delay=1):
        group, count = labels[grouping].cat.codes.to_numpy(), len(labels[grouping].cat.categories)
        found.append(estimate(score, kin, group, count, threshold, dyads, multipliers, seed))
    for number, metric in enumerate(MEASURED):
        for end, table in (("", "value"), ("_low", "low"), ("_high", "high")):
            groups[metric + end] = np.concatenate([getattr(it, table)[number] for it in found])
    for end, other in (("", ""), ("_low", "_high"), ("_high", "_low")):
        groups[f"fnmr{end}"] = 1 - groups[f"tpr{other}"]
    ends = [f"{metric}{end}" for metric in METRICS for end in ("_low", "_high")]
    covariances = {metric: block_diag(*(it.covariance[n] for it in found)) for n, metric in enumerate(MEASURED)}
    moved = {metric: np.hstack([it.deviations[:, n] for it in found]) for n, metric in enumerate(MEASURED)}
    covariances["fnmr"], moved["fnmr"] = covariances["tpr"], -moved["tpr"]
    return groups[["grouping", "group", *COUNTS, *METRICS, "not_compared", *ends]], covariances, moved


def measure_disparities(
    groups: pd.DataFrame, deviations: dict[str, np.ndarray], disparities: Mapping[str, Disparity]
) -> pd.DataFrame:
    """Every disparity of every grouping with two groups that can be compared."""
    rows = []
    for grouping, (name, disparity) in product(groups["grouping"].unique(), disparities.items()):
        compared = compared_groups(groups, grouping, disparity.rates)
        if len(compared) > 1:
            with naming(f"disparity {name!r}"):
                measured = _measure_disparity(groups, deviations, disparity, compared)
            rows.append({"grouping": grouping, "disparity": name} | measured)
    columns = ["grouping", "disparity", "compared", "value", "ideal", "low", "high", "chance", "beyond_chance"]
    return pd.DataFrame(rows, columns=[*columns, "resamples"])


def _measure_disparity(
    groups: pd.DataFrame, deviations: dict[str, np.ndarray], disparity: Disparity, rows: np.ndarray
) -> dict:
    """One disparity between the groups in ``rows``, its chance limit and its interval.

    The chance limit comes from deviations of groups that all have the mean rate. This removes the disparity and keeps
    how the groups vary, and vary together, by chance.
    """
    point = [groups[metric].to_numpy()[rows] for metric in disparity.rates]
    moved = [deviations[metric][:, rows] for metric in disparity.rates]

    def draw(start: list[np.ndarray]) -> np.ndarray:
        return disparity(*map(move_from, start, point, moved, disparity.rates))

    value, spread = float(disparity(*point)), draw(point)
    lowest, highest = percentile_interval(draw(_draw_together(point, 0)), level=0.9)  # 5% lie beyond each end
    chance = float(highest if disparity.grows else lowest)
    beyond = value > chance if disparity.grows else value < chance
    low, high = _disparity_interval(disparity, value, spread, list(map(shrink, point, moved)), draw)
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


def _draw_together(rates: list[np.ndarray], share: float) -> list[np.ndarray]:
    """Rates whose differences from their mean are this share of what they were."""
    return [rate.mean() + share * (rate - rate.mean()) for rate in rates]


def _disparity_interval(
    disparity: Disparity,
    value: float,
    spread: np.ndarray,
    nearer: list[np.ndarray],
    draw: Callable[[list[np.ndarray]], np.ndarray],
) -> tuple[float, float]:
    """95% interval; NaN if the value is not finite.

    By chance, groups differ more than they truly do. So the end nearer to the ideal is found by inverting a test: it
    is the least disparity, of rates from their mean up to those as unequal as chance leaves unexplained (``nearer``),
    of which 2.5% of the draws reach the value. The other end is as far from the value as the most unequal 2.5% of
    draws are from their median. Both are, for ratios, on the logarithmic scale.
    """
    if not np.isfinite(value):
        return np.nan, np.nan
    into, back = (np.log, np.exp) if disparity.ratio else (np.asarray, np.asarray)
    sign = 1 if disparity.grows else -1  # so that what is less equal is greater
    with np.errstate(divide="ignore", invalid="ignore"):
        found, spread = sign * into(value), sign * into(spread)
        starts = [_draw_together(nearer, share) for share in np.linspace(0, 1, STEPS)]
        reached = [percentile_interval(sign * into(draw(start)))[1] for start in starts]
        truths = [sign * into(disparity.ideal), *(sign * into(disparity(*start)) for start in starts[1:])]
    reached = np.maximum.accumulate(np.where(np.isnan(reached), np.inf, reached))
    near = min(np.interp(found, reached, truths), found)
    far = found + percentile_interval(spread)[1] - np.nanmedian(spread)
    low, high = sorted(float(back(sign * end)) for end in (near, far))
    return low, high
