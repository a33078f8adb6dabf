"""The frontier as a page: point at a method to see its row, and choose attribute, attacker and list.

The chart is Vega-Lite (``templates/frontier.json``), as those of the report are; the page needs no network.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from itertools import product

import pandas as pd
import vl_convert
from jinja2 import ChoiceLoader, PackageLoader
from matplotlib.figure import Figure

from kinface.data.tables import write_intervals
from kinface.report.explore import shorten
from kinface.report.html import make_environment
from kinface.report.plots import COLOURS
from kinface.tradeoff.figure import choose_rows, list_attributes, name_rows

LISTS = ("matched", "standard")


def render_page(
    table: pd.DataFrame, about: dict, attackers: Sequence[str], rule: str, figure: Figure, show: Sequence[str] = ()
) -> str:
    """Write a ``Frontier`` as a self-contained HTML page, with a choice of attackers besides the best of them.

    ``rule`` is what the column ``tradeoff`` is, and the figure what a browser without scripts shows.
    """
    figure.savefig(picture := io.BytesIO(), format="png", dpi=100)
    shown, attributes = _name_figures(table, ["best"]), list_attributes(table)
    said = "{name} pairs: {pairs:,}, {kin:,} of them kin, of {families:,} families"
    measured = [said.format(name=name, **about[name]) for name in LISTS]
    said = "{name}: {classes}; {faces:,} faces of {people:,} people and {families:,} families; chance {chance:.3f}"
    measured += [said.format(name=name, **about[name]) for name in attributes]
    ranked = table.sort_values("tradeoff", ascending=False, kind="stable")
    cells = zip(*(write_intervals(ranked, column) for column, _ in shown.values()), strict=True)
    ours = ChoiceLoader([PackageLoader("kinface.tradeoff"), PackageLoader("kinface.report")])
    return make_environment().overlay(loader=ours).get_template("frontier.html").render(
        chart=declare_chart(table, about, attackers, show),
        runtime=vl_convert.javascript_bundle(),
        picture=base64.b64encode(picture.getvalue()).decode(),
        rule=rule,
        measured=measured,
        titles=[title for _, title in shown.values()],
        rows=[*zip(name_rows(ranked), cells, strict=True)],
    )  # fmt: skip


def declare_chart(table: pd.DataFrame, about: dict, attackers: Sequence[str], show: Sequence[str] = ()) -> dict:
    """The chart in Vega-Lite with its data: a row per method.

    Names of methods, attributes and attackers are data alone, and no part of an expression: ``x0_1`` is what attacker 1
    reads of attribute 0, and ``y0`` the AUC on list 0.
    """
    chart = json.loads(files("kinface.tradeoff").joinpath("templates/frontier.json").read_text(encoding="utf-8"))
    choices = {"attribute": list_attributes(table), "attacker": ["best", *attackers], "list": [*LISTS]}
    figures, names, chosen = _name_figures(table, choices["attacker"]), name_rows(table), choose_rows(table, show)
    methods = [{"name": name, "told": place in chosen} for place, name in enumerate(names)]
    for key, (column, _) in figures.items():
        written = zip(methods, table.to_dict("records"), write_intervals(table, column), strict=True)
        for method, row, said in written:
            method |= {f"{key}{end}": shorten(row[f"{column}{end}"]) for end in ("", "_low", "_high")}
            method[f"said_{key}"] = said
    chances = [{"attribute": place, "chance": about[name]["chance"]} for place, name in enumerate(choices["attribute"])]
    chart["datasets"] = {"methods": methods, "chances": chances}
    chart["params"] = [
        *({"name": f"{name}s", "value": values} for name, values in choices.items()),
        *({"name": name, "value": 0, "bind": _bind(name, values)} for name, values in choices.items()),
    ]
    *_, points, above = chart["layer"]
    told, free = [names[row] for row in chosen], product(("circle", "square"), COLOURS)
    marks, colours = zip(*(("diamond", "#000000") if name == "none" else next(free) for name in told), strict=True)
    for layer in chart["layer"]:
        if "color" in (encoding := layer.get("encoding", {})):
            encoding["color"]["scale"] = {"domain": told, "range": colours}
    points["encoding"]["shape"]["scale"] = {"domain": told, "range": marks}
    titles = {"name": "method"} | {f"said_{key}": title for key, (_, title) in figures.items()}
    tooltip = [{"field": field, "type": "nominal", "title": title} for field, title in titles.items()]
    above["encoding"] = {"tooltip": tooltip}
    return chart


def _name_figures(table: pd.DataFrame, attackers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Key of a figure in the chart to its column and its title."""
    figures = {"tradeoff": ("tradeoff", "tradeoff")}
    figures |= {f"y{place}": (f"auc_{name}", f"AUC, {name} pairs") for place, name in enumerate(LISTS)}
    for (a, attribute), (k, attacker) in product(enumerate(list_attributes(table)), enumerate(attackers)):
        figures[f"x{a}_{k}"] = f"{attribute}_{attacker}", f"{attribute}, {attacker} attacker"
    return figures


def _bind(name: str, values: Sequence[str]) -> dict:
    numbers = [*range(len(values))]
    return {"input": "select", "element": "#choices", "name": f"{name} ", "options": numbers, "labels": values}
