"""Figures of the frontier: at most twelve methods have a colour, all others are grey; and what each changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kinface.report.plots import COLOURS, GREY, SPREAD, draw_intervals, tidy, write_plainly
from swinface.files import InputError, printable

MOST = 12  # as many as there are colours and marks that are easily told apart


def name_rows(table: pd.DataFrame) -> list[str]:
    """The name of each row: its method, with lambda where it has one."""
    rows = zip(table["method"], table["strength"], strict=True)
    return [method if np.isnan(strength) else f"{method}, λ {strength:g}" for method, strength in rows]


def list_attributes(table: pd.DataFrame) -> list[str]:
    """The attributes that a table of methods is about."""
    return [name.removesuffix("_best") for name in table if name.endswith("_best")]


def choose_rows(table: pd.DataFrame, show: Sequence[str] = ()) -> list[int]:
    """The rows that a figure highlights: ``none``, requested methods, then the best by ``tradeoff``.

    Raises ``InputError`` if a requested method is missing, or there are too many.
    """
    methods = [*table["method"]]
    asked = [row for name in ("none", *show) for row, method in enumerate(methods) if method == name]
    unknown = [name for name in show if name not in methods]
    if unknown or len({*asked}) > MOST:
        known = ", ".join(dict.fromkeys(methods))
        raise InputError(f"show: {', '.join(unknown or show)}: name methods of {known}, with {MOST} rows at most.")
    ranked = np.argsort(-table["tradeoff"].to_numpy(), kind="stable")
    return [*dict.fromkeys([*asked, *map(int, ranked)])][:MOST]


def plot_methods(table: pd.DataFrame, about: dict, show: Sequence[str] = ()) -> Figure:
    """Plot AUC on both lists against the balanced accuracy of the best attacker on each attribute, with 95% intervals.

    ``table`` and ``about`` are those of a ``kinface.tradeoff.measure.Frontier``; ``show`` names methods to highlight.
    Better is up and to the left. The line is the frontier: no method keeps more kinship and leaves less of the
    attribute than one on it. Dotted lines are chance levels. A legend names the methods: the best lie close together,
    where names beside the points need lines to tell whose they are (adjustText was considered).
    """
    attributes = list_attributes(table)
    figure = Figure(figsize=(2 + 4 * len(attributes), 8), layout="constrained")
    panels = figure.subplots(2, len(attributes), sharex="col", sharey="row", squeeze=False)
    chosen, names = choose_rows(table, show), name_rows(table)
    methods = [table["method"].iloc[row] for row in chosen]
    marks = ((colour, mark) for mark, colour in product("os", COLOURS))
    looks = {row: ("black", "D") if name == "none" else next(marks) for row, name in zip(chosen, methods, strict=True)}
    for (row, listed), (column, attribute) in product(enumerate(("matched", "standard")), enumerate(attributes)):
        axes, x, y = panels[row, column], f"{attribute}_best", f"auc_{listed}"
        others = table.drop(index=table.index[chosen])
        axes.plot(others[x], others[y], ".", color=GREY)
        front = table.sort_values([x, y], ascending=[True, False])
        front = front[front[y] == front[y].cummax()]
        axes.plot(front[x], front[y], color="black", drawstyle="steps-post", linewidth=1)
        for place, (colour, mark) in looks.items():
            point = table.iloc[place]
            bars = {
                f"{side}err": np.abs(point[[f"{it}_low", f"{it}_high"]].to_numpy(float) - point[it])[:, None]
                for side, it in (("x", x), ("y", y))
            }
            look = {"color": colour, "ecolor": (colour, 0.5), "marker": mark, "linestyle": "", "elinewidth": 0.8}
            axes.errorbar(point[x], point[y], **bars, **look, label=write_plainly(names[place]))
        axes.axvline(about[attribute]["chance"], color=GREY, linestyle=":", linewidth=1)
        tidy(axes, grid="both")
    for axes, listed in zip(panels[:, 0], ("matched", "standard"), strict=True):
        axes.set_ylabel(f"AUC, {listed} pairs ({about[listed]['pairs']:,} of {about[listed]['families']:,} families)")
    for axes, attribute in zip(panels[1], attributes, strict=True):
        axes.set_xlabel(
            f"{printable(attribute)}: balanced accuracy of the best attacker\n"
            "({faces:,} faces of {families:,} families)".format(**about[attribute])
        )
    named = panels[0, 0].get_legend_handles_labels()
    figure.legend(*named, fontsize=8, frameon=False, ncols=6, loc="outside lower left")
    others = f" (the other {len(table) - len(chosen)} grey)" if len(table) > len(chosen) else ""
    title = f"Requested methods and the best by tradeoff{others}, with 95% intervals."
    title += " Line: the frontier; better is up and left."
    figure.suptitle(title, fontsize=9)
    return figure


@rc_context(SPREAD)
def plot_changes(table: pd.DataFrame, reference: str, about: dict) -> Figure:
    """How much more or less kinship and attributes each method leaves than a reference.

    ``table`` and ``about`` are those of a ``kinface.tradeoff.measure.Frontier``, which was compared with the reference.
    Differences are paired, with 95% intervals; filled points are those whose interval excludes 0.
    """
    rows = table[table["method"] != reference]
    titles = {f"auc_{name}": f"AUC, {name} list\n{about[name]['pairs']:,} pairs" for name in ("matched", "standard")}
    for attribute in list_attributes(table):
        titles[f"{attribute}_best"] = f"{write_plainly(attribute)}, best attacker\n{about[attribute]['faces']:,} faces"
    figure = Figure(figsize=(11, 1.5 + 0.3 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(titles), sharey=True)
    for place, (axes, (name, title)) in enumerate(zip(panels, titles.items(), strict=True)):
        column = f"{name}_minus_{reference}"
        if place not in (0, 2):  # AUCs have one scale, and probes another
            axes.sharex(panels[2 if place > 2 else 0])
        significant = (rows[f"{column}_low"] > 0) | (rows[f"{column}_high"] < 0)
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--", zorder=0)
        draw_intervals(axes, rows, column, np.arange(len(rows)), significant.to_numpy())
        axes.set_xlabel(title, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        tidy(axes, grid="x")
    names = name_rows(rows.assign(method=rows["method"].map(write_plainly)))
    panels[0].set_yticks(np.arange(len(rows)), names, fontsize=8)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    about_all = f"95% intervals over {about['matched']['families']} families; attackers: balanced accuracy"
    figure.suptitle(f"Difference from {write_plainly(reference)}, {about_all}", fontsize=9)
    return figure
