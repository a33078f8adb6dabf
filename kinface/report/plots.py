"""Figures of an audit. Each function takes results and returns a matplotlib Figure, without showing or saving it.

They have the size at which papers print them, so that pages and papers show the same: one column or both of CVPR's
pages, which fit those of ACM and IEEE too, with letters of 7 points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kinface.data.vocabulary import in_words
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.comparison import find_own_groupings
from kinface.fairness.distributions import EDGES
from kinface.fairness.groupings import OVERALL
from kinface.fairness.groups import compared_groups
from kinface.fairness.types import count_confusions
from swinface.files import printable
from swinface.training.history import COLOURS

GREY = "#6e6e6e"
RATES = {"accuracy": "Accuracy", "tpr": "TPR\n(kin accepted)", "fmr": "FMR\n(non-kin accepted)", "auc": "AUC"}
COLUMN, TEXT = 3.25, 6.875  # inches
PRINTED = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 7),
    **dict.fromkeys(("legend.fontsize", "figure.labelsize"), 7),
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
}
SPREAD = {"xtick.labelsize": 8, "ytick.labelsize": 8}  # of figures that no paper prints
ON_FIRST_SCREEN = ("race", "gender pair", "type")  # and custom groupings


@rc_context(PRINTED)
def plot_verdict(audit: FairnessAudit, *, column: bool = False) -> Figure:
    """Plot the share of relatives missed, and of strangers accepted, in every group that can be compared.

    The dashed line is all pairs. Diamonds are groups whose 95% interval excludes the value of all pairs. In a
    ``column``, or on a phone, relatives stand above strangers.
    """
    rates = {"fnmr": "relatives missed (FNMR)", "fmr": "strangers taken for relatives (FMR)"}
    chosen = [name for name in audit.labels if name in (*ON_FIRST_SCREEN, *find_own_groupings(audit))]
    compared = {
        rate: [0, *sorted(row for name in chosen for row in compared_groups(audit.groups, name, (rate,)))]
        for rate in rates
    }
    shown = compared if column else dict.fromkeys(rates, sorted(set().union(*compared.values())))
    places = {rate: _place_groups(audit.groups.loc[rows]) for rate, rows in shown.items()}
    heights = [0.5 + 0.145 * (at.iloc[-1] + 1) for at in places.values()]
    if column:
        figure = Figure(figsize=(COLUMN, sum(heights)), layout="constrained")
        panels = figure.subplots(2, 1, height_ratios=heights)
    else:
        figure = Figure(figsize=(TEXT, heights[0]), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
    for axes, (metric, title) in zip(panels, rates.items(), strict=True):
        value, drawn, at = audit.groups.loc[0, metric], audit.groups.loc[compared[metric]], places[metric]
        differs = (drawn[f"{metric}_low"] > value) | (drawn[f"{metric}_high"] < value)
        axes.axvline(value, color=GREY, linewidth=1, linestyle="--", zorder=0)
        for rows, colour, marker in ((drawn[~differs], COLOURS[0], "o"), (drawn[differs], COLOURS[1], "D")):
            axes.hlines(at[rows.index], rows[f"{metric}_low"], rows[f"{metric}_high"], color=colour, linewidth=1.3)
            axes.scatter(rows[metric], at[rows.index], s=16, marker=marker, color=colour, zorder=3)
        axes.set_xlabel(title.replace(" (", "\n(") if column else title)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_yticks(at, [name_group(*audit.groups.loc[row, ["group", "grouping"]]) for row in at.index])
        axes.set_ylim(at.iloc[-1] + 0.6, at.iloc[0] - 0.6)
        tidy(axes, grid="x")
    return figure


def _place_groups(groups: pd.DataFrame) -> pd.Series:
    """Where the row of each group is drawn: one below the other, with more room between groupings."""
    starts = groups["grouping"] != groups["grouping"].shift()
    return pd.Series(np.arange(len(groups)) + 0.6 * starts.cumsum(), groups.index)


@rc_context(PRINTED)
def plot_rates(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot accuracy, TPR, FMR and AUC of every group of a grouping with 95% intervals; the dashed line is all pairs.

    Open points are groups that are not compared, mostly because they have too few pairs.
    """
    groups = audit.groups[audit.groups["grouping"] == grouping]
    overall = audit.groups.iloc[0]
    figure = Figure(figsize=(TEXT, 0.7 + 0.27 * len(groups)), layout="constrained")
    panels = figure.subplots(1, len(RATES), sharey=True)
    places = np.arange(len(groups))
    for axes, (metric, title) in zip(panels, RATES.items(), strict=True):
        compared = groups.index.isin(compared_groups(audit.groups, grouping, (metric,)))
        axes.axvline(overall[metric], color=GREY, linewidth=1, linestyle="--", zorder=0)
        draw_intervals(axes, groups, metric, places, compared)
        axes.set_xlabel(title)
        if metric != "auc":
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        tidy(axes, grid="x")
    names = [f"{name_group(g.group, g.grouping)}\n{g.pairs:,} pairs{count_families(g)}" for g in groups.itertuples()]
    panels[0].set_yticks(places, names)
    panels[0].set_ylim(len(groups) - 0.4, -0.6)
    return figure


@rc_context(PRINTED)
def plot_scores(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot the score distributions of kin and non-kin pairs of each group, and the threshold."""
    groups = audit.groups[audit.groups["grouping"] == grouping]
    columns = 1 if len(groups) <= len(COLOURS) else 2
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(TEXT, 0.5 + (0.75 + 0.1 * columns) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    score, kin = audit.pairs["score"].to_numpy(), audit.pairs["kin"].to_numpy()
    low, high = np.percentile(score, [0.1, 99.9])
    low, high = min(low, audit.threshold), max(high, audit.threshold)
    edges = np.linspace(low, high, 41) if high > low else np.linspace(low - 0.5, low + 0.5, 41)
    for axes, group in zip(panels, groups.itertuples(), strict=False):
        member = (audit.labels[grouping] == group.group).to_numpy()
        parts = {True: score[member & kin], False: score[member & ~kin]}
        _draw_densities(axes, {kind: np.histogram(part, edges)[0] for kind, part in parts.items()}, edges)
        axes.axvline(audit.threshold, color="black", linewidth=1, label="threshold")
        accepted = [f"{rate:.0%} of {count:,} {kind}" for rate, count, kind in
                    ((group.tpr, group.kin, "kin"), (group.fmr, group.non_kin, "non-kin")) if count]  # fmt: skip
        ends = ": " if columns == 1 else "\n"
        name = f"{name_group(group.group, group.grouping)}{ends}accepted are {' and '.join(accepted)} pairs"
        axes.set_title(name, loc="left")
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        tidy(axes)
    for axes in panels[len(groups) - columns : len(groups)]:
        axes.tick_params(labelbottom=True)
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, ncols=3, loc="outside upper right")
    figure.supxlabel("score (a higher score means more likely kin)")
    figure.supylabel("density of pairs")
    return figure


@rc_context(PRINTED)
def plot_placed_scores(
    rows: Sequence[Mapping], threshold: float, marks: Mapping[str, float], kind: str = "pairs", *, column: bool = False
) -> Figure:
    """Plot some scores among the distributions of kin and non-kin pairs of each group, and the threshold.

    Parameters
    ----------
    rows
        Groups, of ``kinface.fairness.distributions.describe_scores``.
    marks
        Name to score.
    kind
        What the rows are of: ``pairs`` or ``triplets``.
    column
        Draw for a column, or a phone.
    """
    lines, ends = (3, "\n") if column else (1, " ")
    size = (COLUMN if column else TEXT, 0.45 + 0.15 * lines + (0.9 + 0.15 * lines) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axes, row in zip(panels, rows, strict=True):
        _draw_densities(axes, {True: row["kin_scores"], False: row["non_kin_scores"]}, EDGES)
        axes.axvline(threshold, color="black", linewidth=1, label="threshold")
        for (name, score), colour in zip(marks.items(), COLOURS[2:], strict=False):
            axes.axvline(score, color=colour, linewidth=2.2, label=f"{name}: {score:.3f}")
        name = f"all {kind}" if row["grouping"] == OVERALL else name_group(row["group"], row["grouping"])
        accepted = f"{row['fmr']:.0%} of {row['non_kin']:,} non-kin {kind} are accepted"
        missed = f"and {row['fnmr']:.0%} of {row['kin']:,} kin {kind} missed"
        axes.set_title(ends.join((f"{name}:", accepted, missed)), loc="left")
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        tidy(axes)
    filled = np.flatnonzero(np.sum([row[kind] for row in rows for kind in ("kin_scores", "non_kin_scores")], axis=0))
    axes.set_xlim(
        min(EDGES[filled[0]], threshold, *marks.values()) - 0.01,
        max(EDGES[filled[-1] + 1], threshold, *marks.values()) + 0.01,
    )
    labels = panels[0].get_legend_handles_labels()
    figure.legend(*labels, frameon=False, ncols=3 if column else 5, loc="outside upper right")
    figure.supxlabel("score (a higher score means more likely kin)")
    return figure


def _draw_densities(axes: Axes, counts: Mapping[bool, np.ndarray], edges: np.ndarray) -> None:
    """How scores of non-kin and of kin pairs are distributed, from how many of each lie between ``edges``."""
    for kin, name, colour, style in ((False, "non-kin", COLOURS[1], "--"), (True, "kin", COLOURS[0], "-")):
        density = np.asarray(counts[kin]) / max(np.sum(counts[kin]), 1) / (edges[1] - edges[0])
        axes.stairs(density, edges, color=colour, linestyle=style, label=name)
        axes.stairs(density, edges, color=colour, alpha=0.15, fill=True)


@rc_context(PRINTED)
def plot_controls(table: pd.DataFrame) -> Figure:
    """Plot the AUC of each control, and the model's among pairs that the control scores alike, with 95% intervals.

    The dashed line is the chance level, .5. A grey mark is the model's AUC on all pairs for which the control is
    known. Filled points differ significantly from these.

    Parameters
    ----------
    table
        Rows of ``kinface.leakage.controls.controls`` of scored pairs.
    """
    places, moved = np.arange(len(table)), (table["difference_low"] > 0) | (table["difference_high"] < 0)
    figure = Figure(figsize=(TEXT, 0.6 + 0.2 * len(table)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    panels[0].axvline(0.5, color=GREY, linewidth=1, linestyle="--", zorder=0)
    panels[1].scatter(table["model"], places, s=60, marker="|", color=GREY)
    for axes, name, filled, title in (
        (panels[0], "auc", table["significant"], "AUC of the control alone"),
        (panels[1], "model_alike", moved, "AUC of the model among pairs alike"),
    ):
        draw_intervals(axes, table, name, places, filled.to_numpy(bool))
        axes.set_xlabel(title)
        tidy(axes, grid="x")
    panels[0].set_yticks(places, [write_plainly(name) for name in table["control"]])
    panels[0].set_ylim(len(table) - 0.4, -0.6)
    return figure


@rc_context(PRINTED)
def plot_confusions(audit: FairnessAudit) -> Figure:
    """Plot how many of 100 pairs of each true type, in rows, are predicted as each type; each row has its n.

    Non-kin pairs are ``unrelated``. Raises ``InputError`` if the pairs have no predicted types.
    """
    counts = count_confusions(audit)
    share = count_confusions(audit, shares=True).to_numpy()
    figure = Figure(figsize=(TEXT, 1.5 + 0.21 * len(counts)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(counts.to_numpy()), strict=True):
        light = share[row, column] > 0.5
        label = f"{100 * share[row, column]:.0f}"
        axes.text(column, row, label, ha="center", va="center", color="white" if light else "black")
    names = [in_words(name, "type") for name in counts.columns]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    pairs = counts.sum(axis="columns").items()
    axes.set_yticks(range(len(counts)), [f"{in_words(name, 'type')}: {count:,} pairs" for name, count in pairs])
    axes.set(xlabel="predicted type, of 100 pairs of a row", ylabel="true type")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


@rc_context(PRINTED)
def plot_differences(changes: pd.DataFrame, grouping: str) -> Figure:
    """Plot differences between two models, or two lists, for all pairs and per group, with 95% intervals.

    Open points have too few pairs for an interval.

    Parameters
    ----------
    changes
        From ``fairness.comparison.compare_audits``.
    """
    rows = changes[changes["grouping"].isin(["overall", grouping]) & changes["group"].notna()]
    names = list(rows["group"].unique())
    figure = Figure(figsize=(TEXT, 0.7 + 0.2 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(RATES), sharey=True)
    for axes, (metric, title) in zip(panels, RATES.items(), strict=True):
        table = rows[rows["metric"] == metric].rename(
            columns={"difference": metric, "low": f"{metric}_low", "high": f"{metric}_high"}
        )
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=0)
        draw_intervals(axes, table, metric, np.arange(len(names)), table[f"{metric}_low"].notna().to_numpy())
        axes.set_xlabel(f"difference in {title}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        tidy(axes, grid="x")
    panels[0].set_yticks(np.arange(len(names)), [name_group(name, grouping) for name in names])
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


@rc_context(SPREAD)
def plot_leakage(table: pd.DataFrame) -> Figure:
    """Plot the balanced accuracy of probes with 95% intervals, a panel per attribute.

    The dashed line is chance. 95 of 100 probes on permuted labels lie in the grey band.
    Filled points find leakage (``leakage.RULE``), open points do not.

    Parameters
    ----------
    table
        Rows of ``leakage.Leakage.table`` with the columns ``file`` and ``representation``; every attribute has the
        same of them.
    """
    attributes, tables = list(table["attribute"].unique()), table[["file", "representation"]].drop_duplicates()
    step = 0.8 / table["probe"].nunique()
    figure = Figure(figsize=(10, 1.7 + len(tables) * max(0.5, 0.16 / step)), layout="constrained")
    panels = figure.subplots(1, len(attributes), sharey=True, squeeze=False)[0]
    for axes, attribute in zip(panels, attributes, strict=True):
        rows = table[table["attribute"] == attribute]
        probes = rows["probe"].unique()
        looks = zip(probes, cycle(product(("-", "--", ":"), COLOURS)), strict=False)
        for place, (probe, (style, colour)) in enumerate(looks):
            of_probe = rows[rows["probe"] == probe]
            places = np.arange(len(of_probe)) + step * (place - (len(probes) - 1) / 2)
            reach = (of_probe["permuted_high"] - of_probe["permuted"]).to_numpy()
            band = {"color": "#dddddd", "zorder": 0, "label": None if place else "labels permuted"}
            axes.barh(places, 2 * reach, 0.8 * step, of_probe["permuted"] - reach, **band)
            ends = of_probe["balanced_accuracy_low"], of_probe["balanced_accuracy_high"]
            axes.hlines(places, *ends, color=colour, linestyle=style, linewidth=1.6, label=f"{probe} probe")
            faces = np.where(of_probe["leaks"].fillna(False), colour, "white")
            axes.scatter(of_probe["balanced_accuracy"], places, s=26, facecolor=faces, edgecolor=colour, zorder=3)
        axes.axvline(rows["chance"].iloc[0], color=GREY, linewidth=1, linestyle="--", zorder=1, label="chance")
        counts = "{faces:,} faces, {people:,} people,\n{families:,} families".format(**rows.iloc[0])
        axes.set_title(
            f"{write_plainly(attribute)}: {counts}: {write_plainly(rows['classes'].iloc[0])}", fontsize=9, loc="left"
        )
        axes.set_xlabel("balanced accuracy")
        tidy(axes, grid="x")
    many = len(tables["file"].unique()) > 1
    drawn = tables[["representation", "file"][: 1 + many]]
    names = ["\n".join(map(write_plainly, row)) for row in drawn.itertuples(index=False)]
    panels[0].set_yticks(np.arange(len(tables)), names, fontsize=8)
    panels[0].set_ylim(len(tables) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=4, loc="outside lower right")
    return figure


def draw_intervals(axes: Axes, table: pd.DataFrame, metric: str, places: np.ndarray, filled: np.ndarray) -> None:
    """One row per group: the point, and its interval where there is one."""
    axes.hlines(places, table[f"{metric}_low"], table[f"{metric}_high"], color=COLOURS[0], linewidth=1.3)
    for rows, face in ((filled, COLOURS[0]), (~filled, "white")):
        axes.scatter(table[metric][rows], places[rows], s=16, facecolor=face, edgecolor=COLOURS[0], zorder=3)


def write_plainly(name: str) -> str:
    """A name from a file as matplotlib draws it as it is: no formula, no control characters, no hidden label."""
    return ("" if not name.startswith("_") else " ") + printable(name).replace("$", r"\$")


def name_group(group: str, grouping: str) -> str:
    return write_plainly(in_words(group, grouping))


def count_families(group: tuple) -> str:
    """How many families a group has, as the end of a label; nothing where none is known."""
    known = "known " if group.units > group.families else ""
    return f", {group.families:,} {known}families" if group.families else ""


def tidy(axes: Axes, grid: str | None = None) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if grid:
        axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
