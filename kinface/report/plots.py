"""Figures of an audit. Each function takes results and returns a matplotlib Figure, without showing or saving it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, cycle, product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import norm
from sklearn.metrics import det_curve, roc_curve

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.groups import compared_groups
from swinface.files import printable

# Okabe & Ito's palette, which people with any kind of colour vision can tell apart (Color Universal Design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


GREY = "#6e6e6e"


RATES = {"accuracy": "Accuracy", "tpr": "TPR (kin accepted)", "fmr": "FMR (non-kin accepted)", "auc": "AUC"}


def plot_rates(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot accuracy, TPR, FMR and AUC of every group of a grouping with 95% intervals; the dashed line is all pairs.

    Open points are groups that are not compared, mostly because they have too few pairs.
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
    names = [f"{_plain(g.group)}\n{g.pairs:,} pairs{_count_families(g)}" for g in groups.itertuples()]
    panels[0].set_yticks(places, names, fontsize=8)
    panels[0].set_ylim(len(groups) - 0.4, -0.6)
    return figure


def plot_roc(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot the ROC curve of each group, on a linear and on a logarithmic FMR axis.

    A point shows the FMR and TPR of a group at the threshold, with 95% intervals. All pairs are black; groups with too
    few pairs to be compared have no curve.
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
        label = f"{_plain(group.group)}: AUC {group.auc:.3f}{interval}, "
        label += f"{group.kin:,} kin, {group.non_kin:,} non-kin{_count_families(group)}"
        curve = {"color": colour, "linestyle": style, "linewidth": 1.5, "drawstyle": "steps-post"}
        linear.plot(fmr, tpr, **curve, label=label)
        reached = fmr > 0  # zero has no place on a logarithmic axis
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


def plot_det(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot FNMR against FMR of each group on normal deviate scales (Martin et al., Eurospeech 1997).

    A point is a group at the threshold. All pairs are black; groups with too few pairs to be compared have no curve.
    """
    drawn = audit.groups.iloc[[0, *compared_groups(audit.groups, grouping, ("auc",))]]
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    shares = np.array([0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99])
    styles = chain([("-", "black")], product(("-", "--", ":"), COLOURS))
    for (style, colour), group in zip(styles, drawn.itertuples(), strict=False):
        pairs = audit.pairs[audit.labels[group.grouping] == group.group]
        fmr, fnmr, _ = det_curve(pairs["kin"], pairs["score"])
        inside = (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)  # 0 and 1 are infinitely far away
        curve = {"color": colour, "linestyle": style, "linewidth": 1.5, "drawstyle": "steps-post"}
        axes.plot(norm.ppf(fmr[inside]), norm.ppf(fnmr[inside]), **curve, label=_plain(group.group))
        if 0 < group.fmr < 1 and 0 < group.fnmr < 1:
            point = norm.ppf([group.fmr, group.fnmr])
            axes.plot(*point, color=colour, marker="o", markeredgecolor="black", zorder=3)
    for axis, name in (
        (axes.xaxis, "FMR (share of non-kin pairs accepted)"),
        (axes.yaxis, "FNMR (share of kin pairs rejected)"),
    ):
        axis.set_ticks(norm.ppf(shares), [f"{share:.0%}" for share in shares])
        axis.set_label_text(name)
    ends = norm.ppf([0.005, 0.995])
    axes.set(xlim=ends, ylim=ends)
    axes.plot(ends, ends[::-1], color=GREY, linewidth=0.8, linestyle=":")
    _tidy(axes, grid="both")
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_scores(audit: FairnessAudit, grouping: str) -> Figure:
    """Plot the score distributions of kin and non-kin pairs of each group, and the threshold."""
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
        axes.set_title(f"{_plain(group.group)}: accepted are {' and '.join(accepted)} pairs", fontsize=9, loc="left")
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
        _tidy(axes)
    for axes in panels[len(groups) - columns : len(groups)]:
        axes.tick_params(labelbottom=True)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=3, loc="outside upper right")
    figure.supxlabel("score (a higher score means more likely kin)", fontsize=10)
    figure.supylabel("density of pairs", fontsize=10)
    return figure


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
    figure = Figure(figsize=(10, 1.1 + 0.34 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(RATES), sharey=True)
    for axes, (metric, title) in zip(panels, RATES.items(), strict=True):
        table = rows[rows["metric"] == metric].rename(
            columns={"difference": metric, "low": f"{metric}_low", "high": f"{metric}_high"}
        )
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=0)
        _draw_intervals(axes, table, metric, np.arange(len(names)), table[f"{metric}_low"].notna().to_numpy())
        axes.set_xlabel(f"difference in\n{title}")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _tidy(axes, grid="x")
    panels[0].set_yticks(np.arange(len(names)), map(_plain, names), fontsize=8)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def plot_leakage(table: pd.DataFrame) -> Figure:
    """Plot the balanced accuracy of fresh probes with 95% intervals, a panel per attribute.

    The dashed line is chance. 95 of 100 probes on permuted labels lie in the grey band.
    Filled points find leakage (``leakage.RULE``), open points do not.

    Parameters
    ----------
    table
        Rows of ``leakage.Leakage.table`` with the columns ``file`` and ``representation``; every attribute has the
        same of them.
    """
    attributes, tables = list(table["attribute"].unique()), table[["file", "representation"]].drop_duplicates()
    figure = Figure(figsize=(10, 1.7 + 0.5 * len(tables)), layout="constrained")
    panels = figure.subplots(1, len(attributes), sharey=True, squeeze=False)[0]
    for axes, attribute in zip(panels, attributes, strict=True):
        rows = table[table["attribute"] == attribute]
        probes = rows["probe"].unique()
        for place, probe in enumerate(probes):
            of_probe = rows[rows["probe"] == probe]
            places, colour = np.arange(len(of_probe)) + 0.36 * (place - (len(probes) - 1) / 2), COLOURS[place]
            reach = (of_probe["permuted_high"] - of_probe["permuted"]).to_numpy()
            band = {"color": "#dddddd", "zorder": 0, "label": None if place else "labels permuted"}
            axes.barh(places, 2 * reach, 0.3, of_probe["permuted"] - reach, **band)
            ends = of_probe["balanced_accuracy_low"], of_probe["balanced_accuracy_high"]
            axes.hlines(places, *ends, color=colour, linewidth=1.6, label=f"{probe} probe")
            faces = np.where(of_probe["leaks"].fillna(False), colour, "white")
            axes.scatter(of_probe["balanced_accuracy"], places, s=26, facecolor=faces, edgecolor=colour, zorder=3)
        axes.axvline(rows["chance"].iloc[0], color=GREY, linewidth=1, linestyle="--", zorder=1, label="chance")
        counts = "{faces:,} faces, {people:,} people,\n{families:,} families".format(**rows.iloc[0])
        axes.set_title(f"{_plain(attribute)}: {counts}: {_plain(rows['classes'].iloc[0])}", fontsize=9, loc="left")
        axes.set_xlabel("balanced accuracy")
        _tidy(axes, grid="x")
    many = len(tables["file"].unique()) > 1
    drawn = tables[["representation", "file"][: 1 + many]]
    names = ["\n".join(map(_plain, row)) for row in drawn.itertuples(index=False)]
    panels[0].set_yticks(np.arange(len(tables)), names, fontsize=8)
    panels[0].set_ylim(len(tables) - 0.5, -0.5)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=4, loc="outside lower right")
    return figure


def _draw_intervals(axes: Axes, table: pd.DataFrame, metric: str, places: np.ndarray, filled: np.ndarray) -> None:
    """One row per group: the point, and its interval where there is one."""
    axes.hlines(places, table[f"{metric}_low"], table[f"{metric}_high"], color=COLOURS[0], linewidth=1.6)
    for rows, face in ((filled, COLOURS[0]), (~filled, "white")):
        axes.scatter(table[metric][rows], places[rows], s=26, facecolor=face, edgecolor=COLOURS[0], zorder=3)


def _lengths(group: tuple, metric: str) -> np.ndarray:
    """Lengths of an interval on both sides of its value, as matplotlib needs them: (2, 1)."""
    value, low, high = (getattr(group, metric + end) for end in ("", "_low", "_high"))
    return np.array([[max(value - low, 0)], [max(high - value, 0)]])


def _plain(name: str) -> str:
    """A name from a file as matplotlib draws it as it is: no formula, no control characters, no hidden label."""
    return ("" if not name.startswith("_") else " ") + printable(name).replace("$", r"\$")


def _count_families(group: tuple) -> str:
    """How many families a group has, as the end of a label; nothing where none is known."""
    known = "known " if group.units > group.families else ""
    return f", {group.families:,} {known}families" if group.families else ""


def _tidy(axes: Axes, grid: str | None = None) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.tick_params(axis="y", length=0)
    if grid:
        axes.grid(axis=grid, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)


def plot_frontier(table: pd.DataFrame, attribute: str, about: dict, targets: Mapping[str, float]) -> Figure:
    """Plot AUC on the matched and on the standard list against the balanced accuracy of fresh probes of an attribute.

    A point is a method with one lambda, the mean over seeds, with 95% intervals in both directions. A line joins the
    lambdas of a method; its points grow with lambda. Better is up and to the left.

    Parameters
    ----------
    table, about
        See ``kinface.experiments.tradeoff.tabulate`` and ``write_frontier``.
    targets
        Figure such as ``race_linear`` to the value that it should not exceed.
    """
    figure = Figure(figsize=(10, 9.5), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    lists, probes = ("matched", "standard"), {"linear": "linear", "mlp": "MLP"}
    drawn = [
        (axes, f"{attribute}_{probe}", f"auc_{listed}")
        for row, listed in zip(panels, lists, strict=True)
        for axes, probe in zip(row, probes, strict=True)
    ]
    for axes, x, y in drawn:
        _draw_methods(axes, table, x, y)
        _mark_leakage(axes, {"chance": about[attribute]["chance"], "target": targets.get(x)})
        _tidy(axes, grid="both")
    for axes, listed in zip(panels[:, 0], lists, strict=True):
        counts = about[listed]
        axes.set_ylabel(f"AUC, {listed} list\n({counts['pairs']:,} pairs of {counts['families']:,} families)")
    for axes, probe in zip(panels[1], probes.values(), strict=True):
        axes.set_xlabel(f"balanced accuracy of a fresh {probe} probe of {_plain(attribute)}")
    seeds = " to ".join(str(count) for count in sorted({table["seeds"].min(), table["seeds"].max()}))
    probed = "{faces:,} faces of {families:,} families; ".format(**about[attribute])
    probed += _plain(about[attribute]["classes"])
    note = f"Points: means over seeds ({seeds}). Bars: 95% intervals over families. Probes: {probed}."
    figure.suptitle(note, fontsize=9)
    figure.draw_without_rendering()  # puts the axes in their place, by which names are placed
    for axes, x, y in drawn:
        _name_methods(axes, table, x, y)
    return figure


def plot_changes(table: pd.DataFrame, reference: str, about: dict) -> Figure:
    """What each method of a sweep keeps of kinship and leaves of race and gender, less what a reference does.

    Differences are paired, with 95% intervals; filled points are those whose interval excludes 0.

    Parameters
    ----------
    table, reference, about
        See ``kinface.experiments.tradeoff.tabulate``, one of its references, and ``write_frontier``.
    """
    rows = table[table["method"] != reference]
    titles = {f"auc_{name}": f"AUC, {name} list\n{about[name]['pairs']:,} pairs" for name in ("matched", "standard")}
    for attribute, (probe, name) in product(("race", "gender"), (("linear", "linear"), ("mlp", "MLP"))):
        titles[f"{attribute}_{probe}"] = f"{attribute}, {name} probe\n{about[attribute]['faces']:,} faces"
    figure = Figure(figsize=(11, 1.5 + 0.3 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(titles), sharey=True)
    for place, (axes, (name, title)) in enumerate(zip(panels, titles.items(), strict=True)):
        column = f"{name}_minus_{reference}"
        if place not in (0, 2):  # AUCs have one scale, and probes another
            axes.sharex(panels[2 if place > 2 else 0])
        shown = (rows[f"{column}_low"] > 0) | (rows[f"{column}_high"] < 0)
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=0)
        _draw_intervals(axes, rows, column, np.arange(len(rows)), shown.to_numpy())
        axes.set_xlabel(title, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        _tidy(axes, grid="x")
    methods, strengths = map(_plain, rows["method"]), rows["strength"]
    names = [name if np.isnan(at) else f"{name}, λ {at:g}" for name, at in zip(methods, strengths, strict=True)]
    panels[0].set_yticks(np.arange(len(rows)), names, fontsize=8)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    families = about["matched"]["families"]
    about_all = f"95% intervals over {families} families; probes: balanced accuracy"
    figure.suptitle(f"Less {_plain(reference)}, {about_all}", fontsize=9)
    return figure


def _list_methods(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, str, str]]:
    """Each method with its rows by lambda, its colour and its marker; no two of the first 24 are alike."""
    styles = zip(cycle(COLOURS), cycle("osD^vPX*"), strict=False)
    for (method, rows), (colour, marker) in zip(table.groupby("method", sort=False), styles, strict=False):
        yield method, rows.sort_values("strength"), colour, marker


def _draw_methods(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    for _, rows, colour, marker in _list_methods(table):
        axes.plot(rows[x], rows[y], color=colour, linewidth=1.2, zorder=2)
        for place, row in enumerate(rows.itertuples()):
            point, bars = (getattr(row, x), getattr(row, y)), {"xerr": _lengths(row, x), "yerr": _lengths(row, y)}
            axes.errorbar(*point, **bars, color=colour, elinewidth=0.8, alpha=0.45, zorder=1)
            face = {"color": colour, "markersize": 5.5 + 1.3 * place, "markeredgecolor": "black"}
            axes.plot(*point, marker, **face, markeredgewidth=0.6, zorder=3)


def _mark_leakage(axes: Axes, values: dict[str, float | None]) -> None:
    for (name, value), style in zip(values.items(), (":", "--"), strict=True):
        if value is not None:
            axes.axvline(value, color=GREY, linewidth=1, linestyle=style, zorder=0)
            low = axes.get_xaxis_transform()
            axes.text(
                value, 0.01, f"{name} {value:.2f}", transform=low, rotation=90, fontsize=7, color=GREY, ha="right"
            )


def _name_methods(axes: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Write each method's name next to its last point, as near as points and other names allow."""
    unit, size = 72 / axes.figure.dpi, 7.5  # of lengths in points
    frame = axes.get_window_extent().extents * unit
    places = axes.transData.transform(table[[x, y]].to_numpy()) * unit
    taken = [np.concatenate([place - 5, place + 5]) for place in places]
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    for method, rows, colour, _ in _list_methods(table):
        strengths = rows["strength"].dropna()
        name = _plain(method)
        if len(strengths) > 1:
            name += f", λ {strengths.min():g} to {strengths.max():g}"
        point = rows[[x, y]].iloc[-1].to_numpy()
        if not np.isfinite(point).all():
            continue
        half = np.array([0.27 * size * len(name), 0.6 * size])
        offsets = [(half + reach) * direction for reach in range(6, 150, 6) for direction in directions]
        middle = axes.transData.transform(point) * unit
        boxes = [np.concatenate([middle + offset - half, middle + offset + half]) for offset in offsets]
        free = (number for number, box in enumerate(boxes) if _is_free(box, taken, frame))
        chosen = next(free, 0)
        taken.append(boxes[chosen])
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0} if chosen >= len(angles) else None
        text = {"fontsize": size, "ha": "center", "va": "center", "textcoords": "offset points"}
        written = axes.annotate(name, point, offsets[chosen], **text, arrowprops=line, zorder=4)
        written.set_path_effects([withStroke(linewidth=2, foreground="white")])
        written.set_in_layout(False)


def _is_free(box: np.ndarray, taken: list[np.ndarray], frame: np.ndarray) -> bool:
    """Whether a box (left, bottom, right, top) lies within the frame and overlaps no box that is taken."""
    inside = (box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all()
    return inside and not any((box[:2] < other[2:]).all() and (box[2:] > other[:2]).all() for other in taken)
