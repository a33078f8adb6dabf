"""Figures of an audit. Each function takes results and returns a matplotlib Figure; nothing is shown or saved here."""

from __future__ import annotations

from itertools import chain, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import roc_curve

from kinface.fairness import Audit
from kinface.groups import compared_groups

# Okabe & Ito's palette, told apart with any kind of colour vision (Color Universal Design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "#6e6e6e"
RATES = {"accuracy": "Accuracy", "tpr": "TPR (kin accepted)", "fmr": "FMR (non-kin accepted)", "auc": "AUC"}


def plot_rates(audit: Audit, grouping: str) -> Figure:
    """Accuracy, TPR, FMR and AUC of every group of a grouping with 95% intervals; the line is all pairs.

    Open points are groups with too few of these pairs to be compared.
    """
    groups = audit.groups[audit.groups["grouping"] == grouping]
    overall = audit.groups.iloc[0]
    figure = Figure(figsize=(10, 1.3 + 0.34 * len(groups)), layout="constrained")
    panels = figure.subplots(1, len(RATES), sharey=True)
    places = np.arange(len(groups))
    for axes, (metric, title) in zip(panels, RATES.items(), strict=True):
        compared = groups.index.isin(compared_groups(audit.groups, grouping, (metric,)))
        axes.axvline(overall[metric], color=GREY, linewidth=1, linestyle="--", zorder=0)
        _draw_intervals(axes, groups, metric, places, compared)
        axes.set_xlabel(title)
        if metric != "auc":
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _tidy(axes, grid="x")
    names = [f"{g.group}\n{g.pairs:,} pairs, {g.families:,} families" for g in groups.itertuples()]
    panels[0].set_yticks(places, names, fontsize=8)
    panels[0].set_ylim(len(groups) - 0.4, -0.6)
    return figure


def plot_roc(audit: Audit, grouping: str) -> Figure:
    """ROC curve of each group, on a linear and on a logarithmic FMR axis.

    Points show where the one threshold puts each group, with 95% intervals of its FMR and TPR. All pairs are black;
    groups too small to be compared have no curve.
    """
    drawn = audit.groups.iloc[[0, *compared_groups(audit.groups, grouping, ("auc",))]]
    columns = 1 if len(drawn) <= len(COLOURS) else 2
    figure = Figure(figsize=(10, 4.3 + 0.2 * len(drawn) / columns), layout="constrained")
    linear, logarithmic = figure.subplots(1, 2, sharey=True)
    styles = chain([("-", "black")], product(("-", "--", ":"), COLOURS))
    for (style, colour), group in zip(styles, drawn.itertuples(), strict=False):
        pairs = audit.pairs[audit.labels[group.grouping] == group.group]
        fmr, tpr, _ = roc_curve(pairs["kin"], pairs["score"])
        interval = f" [{group.auc_low:.3f}, {group.auc_high:.3f}]" if np.isfinite(group.auc_low) else ""
        label = f"{group.group}: AUC {group.auc:.3f}{interval}, "
        label += f"{group.kin:,} kin, {group.non_kin:,} non-kin, {group.families:,} families"
        curve = {"color": colour, "linestyle": style, "linewidth": 1.5, "drawstyle": "steps-post"}
        linear.plot(fmr, tpr, **curve, label=label)
        reached = fmr > 0  # below one false accept there is nothing to draw
        logarithmic.plot(fmr[reached], tpr[reached], **curve)
        spread = {"xerr": _lengths(group, "fmr"), "yerr": _lengths(group, "tpr"), "elinewidth": 1, "capsize": 2}
        linear.errorbar(group.fmr, group.tpr, **spread, color=colour, marker="o", markeredgecolor="black", zorder=3)
        logarithmic.plot(group.fmr, group.tpr, color=colour, marker="o", markeredgecolor="black", zorder=3)
    guess = np.geomspace(1e-4, 1, 200)
    for axes in (linear, logarithmic):
        axes.plot(guess, guess, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlabel("FMR (share of non-kin pairs accepted)")
        _tidy(axes, grid="both")
    linear.set(ylabel="TPR (share of kin pairs accepted)", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    logarithmic.set(xscale="log", xlim=(1e-3, 1.03))
    figure.legend(loc="outside lower center", fontsize=8 if columns == 1 else 7, frameon=False, ncols=columns)
    return figure


def plot_scores(audit: Audit, grouping: str) -> Figure:
    """Score distributions of kin and non-kin pairs of each group, and the threshold."""
    groups = audit.groups[audit.groups["grouping"] == grouping]
    columns = 1 if len(groups) <= len(COLOURS) else 2
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(10, 0.5 + 1.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    low, high = np.percentile(audit.pairs["score"], [0.1, 99.9])
    low, high = min(low, audit.threshold), max(high, audit.threshold)
    edges = np.linspace(low, high, 41) if high > low else np.linspace(low - 0.5, low + 0.5, 41)
    for axes, group in zip(panels, groups.itertuples(), strict=False):
        pairs = audit.pairs[audit.labels[grouping] == group.group]
        for kin, name, colour, style in ((False, "non-kin", COLOURS[1], "--"), (True, "kin", COLOURS[0], "-")):
            score = pairs.loc[pairs["kin"] == kin, "score"]
            density = np.histogram(score, edges)[0] / max(len(score), 1) / (edges[1] - edges[0])
            axes.stairs(density, edges, color=colour, linestyle=style, linewidth=1.3, label=name)
            axes.stairs(density, edges, color=colour, alpha=0.15, fill=True)
        axes.axvline(audit.threshold, color="black", linewidth=1, label="threshold")
        accepted = [f"{rate:.0%} of {count:,} {kind}" for rate, count, kind in
                    ((group.tpr, group.kin, "kin"), (group.fmr, group.non_kin, "non-kin")) if count]  # fmt: skip
        axes.set_title(f"{group.group}: accepts {' and '.join(accepted)} pairs", fontsize=9, loc="left")
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        _tidy(axes)
    for axes in panels[len(groups) - columns : len(groups)]:
        axes.tick_params(labelbottom=True)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=3, loc="outside upper right")
    figure.supxlabel("score (higher: kin)", fontsize=10)
    figure.supylabel("density of pairs", fontsize=10)
    return figure


def plot_differences(changes: pd.DataFrame, grouping: str) -> Figure:
    """Differences between two models (``fairness.compare``), overall and per group, with 95% intervals."""
    rows = changes[changes["grouping"].isin(["overall", grouping]) & changes["group"].notna()]
    names = list(rows["group"].unique())
    figure = Figure(figsize=(10, 1.1 + 0.34 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(RATES), sharey=True)
    for axes, (metric, title) in zip(panels, RATES.items(), strict=True):
        table = rows[rows["metric"] == metric].rename(
            columns={"difference": metric, "low": f"{metric}_low", "high": f"{metric}_high"}
        )
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=0)
        _draw_intervals(axes, table, metric, np.arange(len(names)), np.ones(len(names), dtype=bool))
        axes.set_xlabel(f"difference in\n{title}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _tidy(axes, grid="x")
    panels[0].set_yticks(np.arange(len(names)), names, fontsize=8)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def _draw_intervals(axes: Axes, table: pd.DataFrame, metric: str, places: np.ndarray, filled: np.ndarray) -> None:
    """One row per group: the point, and its interval where there is one."""
    axes.hlines(places, table[f"{metric}_low"], table[f"{metric}_high"], color=COLOURS[0], linewidth=1.6)
    for rows, face in ((filled, COLOURS[0]), (~filled, "white")):
        axes.scatter(table[metric][rows], places[rows], s=26, facecolor=face, edgecolor=COLOURS[0], zorder=3)


def _lengths(group: tuple, metric: str) -> np.ndarray:
    """Lengths of an interval to both sides of its value, as matplotlib wants them: (2, 1)."""
    value, low, high = (getattr(group, metric + end) for end in ("", "_low", "_high"))
    return np.array([[max(value - low, 0)], [max(high - value, 0)]])


def _tidy(axes: Axes, grid: str | None = None) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.tick_params(axis="y", length=0)
    if grid:
        axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
