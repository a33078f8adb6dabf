"""Curves of an audit: ROC and DET of each group, as figures like those of ``kinface.report.plots``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import norm
from sklearn.metrics import det_curve, roc_curve

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.groups import compared_groups
from kinface.report.plots import COLOURS, COLUMN, GREY, PRINTED, TEXT, count_families, name_group, tidy
from swinface.files import InputError

POINT = {"marker": "o", "markeredgecolor": "black", "zorder": 3}  # a group at the threshold
FINEST = 4000  # steps of a rate that a picture can show


@rc_context(PRINTED)
def plot_roc(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot the ROC curve of each group, on a linear and on a logarithmic FMR axis.

    A point shows the FMR and TPR of a group at the threshold, with 95% intervals. All pairs are black; groups with too
    few pairs to be compared have no curve. Raises ``InputError`` if the groups are more than there are looks.
    """
    drawn = [*_list_curves(audit, grouping)]
    figure = Figure(figsize=(TEXT, 2.9 + 0.15 * len(drawn)), layout="constrained")
    linear, logarithmic = figure.subplots(1, 2, sharey=True)
    for curve, group, kin, score in drawn:
        fmr, tpr = _thin(*roc_curve(kin, score)[:2])
        interval = f" [{group.auc_low:.3f}, {group.auc_high:.3f}]" if np.isfinite(group.auc_low) else ""
        label = f"{name_group(group.group, group.grouping)}: AUC {group.auc:.3f}{interval}, "
        label += f"{group.kin:,} kin, {group.non_kin:,} non-kin{count_families(group)}"
        linear.plot(fmr, tpr, **curve, label=label)
        reached = fmr > 0  # zero has no place on a logarithmic axis
        logarithmic.plot(fmr[reached], tpr[reached], **curve)
        spread = {"xerr": _lengths(group, "fmr"), "yerr": _lengths(group, "tpr"), "elinewidth": 1, "capsize": 2}
        linear.errorbar(group.fmr, group.tpr, **spread, color=curve["color"], **POINT)
        logarithmic.plot(group.fmr, group.tpr, color=curve["color"], **POINT)
    guess = np.geomspace(1e-4, 1, 200)
    for axes in (linear, logarithmic):
        axes.plot(guess, guess, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("FMR (share of non-kin pairs accepted)")
        tidy(axes, grid="both")
    linear.set(ylabel="TPR (share of kin pairs accepted)", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    logarithmic.set(xscale="log", xlim=(1e-3, 1.03))
    figure.legend(loc="outside lower center", frameon=False)
    return figure


@rc_context(PRINTED)
def plot_det(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot FNMR against FMR of each group on normal deviate scales (Martin et al., Eurospeech 1997).

    A point is a group at the threshold, and the legend has the equal error rates. All pairs are black; groups with too
    few pairs to be compared have no curve. Raises ``InputError`` if the groups are more than there are looks.
    """
    drawn = [*_list_curves(audit, grouping)]
    figure = Figure(figsize=(COLUMN, 2.9 + 0.15 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    shares = np.array([0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99])
    for curve, group, kin, score in drawn:
        fmr, fnmr = _thin(*det_curve(kin, score)[:2])
        inside = (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)  # 0 and 1 are infinitely far away
        label = f"{name_group(group.group, group.grouping)}: EER {group.eer:.3f}"
        axes.plot(norm.ppf(fmr[inside]), norm.ppf(fnmr[inside]), **curve, label=label)
        if 0 < group.fmr < 1 and 0 < group.fnmr < 1:
            point = norm.ppf([group.fmr, group.fnmr])
            axes.plot(*point, color=curve["color"], **POINT)
    for axis, name in (
        (axes.xaxis, "FMR (share of non-kin pairs accepted)"),
        (axes.yaxis, "FNMR (share of kin pairs rejected)"),
    ):
        axis.set_ticks(norm.ppf(shares), [f"{share:.0%}" for share in shares])
        axis.set_label_text(name)
    ends = norm.ppf([0.005, 0.995])
    axes.set(xlim=ends, ylim=ends)
    axes.plot(ends, ends[::-1], color=GREY, linewidth=0.8, linestyle=":")
    tidy(axes, grid="both")
    figure.legend(loc="outside lower center", frameon=False)
    return figure


def _list_curves(audit: FairnessAudit, grouping: str) -> Iterator[tuple[dict[str, str], tuple, np.ndarray, np.ndarray]]:
    """The look of a curve, the row, kinship and ascending scores: of all pairs, then of each group with enough."""
    drawn = audit.groups.iloc[[0, *compared_groups(audit.groups, grouping, ("auc",))]]
    looks = [("-", "black"), *product(("-", "--", ":"), COLOURS)]
    if len(drawn) > len(looks):
        raise InputError(
            f"{grouping}: curves of {len(drawn) - 1} groups cannot be told apart; group by what has at most "
            f"{len(looks) - 1} groups."
        )
    for (style, colour), group in zip(looks, drawn.itertuples(), strict=False):
        rows = audit.ranked[(audit.labels[group.grouping] == group.group).to_numpy()[audit.ranked]]
        look = {"color": colour, "linestyle": style, "drawstyle": "steps-post"}
        yield look, group, audit.pairs["kin"].to_numpy()[rows], audit.pairs["score"].to_numpy()[rows]


def _thin(fmr: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that a picture can show apart, also on a logarithmic axis of the FMR."""
    cells = np.floor([FINEST * fmr, FINEST * other, FINEST / 10 * np.log10(np.maximum(fmr, 1e-6))])
    shown = (np.diff(cells, prepend=np.nan) != 0).any(axis=0)
    shown[-1:] = True
    return fmr[shown], other[shown]


def _lengths(group: tuple, metric: str) -> np.ndarray:
    """Lengths of an interval on both sides of its value, as matplotlib needs them: (2, 1)."""
    value, low, high = (getattr(group, metric + end) for end in ("", "_low", "_high"))
    return np.array([[max(value - low, 0)], [max(high - value, 0)]])
