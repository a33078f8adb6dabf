"""The figure of the frontier: at most twelve methods are told apart, all others are grey."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kinface.report.plots import COLOURS, GREY
from swinface.files import InputError, printable

MOST = 12  # as many as there are colours and marks that are easily told apart


def choose_methods(table: pd.DataFrame, show: Sequence[str] = ()) -> list[str]:
    """The methods that a figure tells apart: ``none``, those asked for, then the best by ``tradeoff``.

    Raises
    ------
    InputError
        A method asked for is not there, or there are too many.
    """
    unknown = [name for name in show if name not in {*table["method"]}]
    if unknown or len({"none", *show}) > MOST:
        raise InputError(
            f"show: {', '.join(unknown or show)}: name at most {MOST - 1} of {', '.join(table['method'])}."
        )
    ranked = table.sort_values("tradeoff", ascending=False, kind="stable")["method"]
    return [*dict.fromkeys(["none", *show, *ranked])][:MOST]


def plot_methods(table: pd.DataFrame, about: dict, show: Sequence[str] = ()) -> Figure:
    """Plot AUC on both lists against what the best probe reads of each attribute, with 95% intervals.

    Better is up and to the left. Dotted lines are chance levels.

    Parameters
    ----------
    table, about, show
        See ``kinface.tradeoff.frontier.Frontier``.
    """
    attributes = [name.removesuffix("_best") for name in table if name.endswith("_best")]
    figure = Figure(figsize=(2 + 4 * len(attributes), 8), layout="constrained")
    panels = figure.subplots(2, len(attributes), sharex="col", sharey="row", squeeze=False)
    chosen = choose_methods(table, show)
    looks = dict(
        zip(chosen, [("black", "D"), *((colour, mark) for mark, colour in product("os", COLOURS))], strict=False)
    )
    order = [*(name for name in table["method"] if name not in looks), *chosen]  # grey lies below
    for (row, listed), (column, attribute) in product(enumerate(("matched", "standard")), enumerate(attributes)):
        axes, x, y = panels[row, column], f"{attribute}_best", f"auc_{listed}"
        for name in order:
            colour, mark = looks.get(name, (GREY, "."))
            of_method = table[table["method"] == name].iloc[0]
            told = name in looks
            bars = {
                f"{side}err": np.abs(of_method[[f"{it}_low", f"{it}_high"]].to_numpy(float) - of_method[it])[:, None]
                for side, it in (("x", x), ("y", y))
            }
            axes.errorbar(
                of_method[x],
                of_method[y],
                **(bars if told else {}),
                color=colour,
                marker=mark,
                linestyle="",
                elinewidth=0.8,
                label=" " * name.startswith("_") + printable(name).replace("$", r"\$") if told else None,
            )
        axes.axvline(about[attribute]["chance"], color=GREY, linestyle=":", linewidth=1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    for axes, listed in zip(panels[:, 0], ("matched", "standard"), strict=True):
        axes.set_ylabel(f"AUC, {listed} pairs ({about[listed]['pairs']:,} of {about[listed]['families']:,} families)")
    for axes, attribute in zip(panels[1], attributes, strict=True):
        axes.set_xlabel(
            f"{printable(attribute)}: balanced accuracy of the best probe\n"
            "({faces:,} faces of {families:,} families)".format(**about[attribute])
        )
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=6, loc="outside lower left"
    )
    others = f", the other {len(table) - len(chosen)} grey" if len(table) > len(chosen) else ""
    figure.suptitle(
        f"Told apart: none, methods asked for, the best by tradeoff{others}. Bars: 95% intervals.", fontsize=9
    )
    return figure
