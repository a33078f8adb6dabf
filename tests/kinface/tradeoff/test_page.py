"""The page of a frontier has the figures of its table, escapes names, and shows in a browser what is chosen."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from kinface.tradeoff.measure import Frontier, Protocol
from kinface.tradeoff.page import declare_chart
from swinface.files import InputError
from tests.pages import BROWSER, run_in_browser, text_of, without_scripts

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def found() -> Frontier:
    """Fifteen methods and two attributes, one of a name that is a trap."""
    rng = np.random.default_rng(0)
    rows = []
    for name in ("none", "leace", EVIL, *"abcdefghijkl"):
        row = {"method": name, "strength": 0.5 if name == "a" else np.nan}
        for column in ("tradeoff", "auc_standard", "auc_matched", *(f"{a}_{p}" for a in ("race", EVIL) for p in
                       ("linear", "mlp", "best"))):  # fmt: skip
            value = rng.uniform(0.4, 0.6)
            row |= {column: value, f"{column}_low": value - 0.05, f"{column}_high": value + 0.05}
            row |= {f"{column}_minus_none": 0.0, f"{column}_minus_none_low": 0.0, f"{column}_minus_none_high": 0.0}
        rows.append(row)
    lists = {name: {"pairs": 1000, "kin": 500, "families": 50} for name in ("standard", "matched")}
    known = {"classes": "a, b", "faces": 300, "people": 100, "families": 50, "chance": 0.5}
    about = lists | {"race": known, EVIL: known}
    return Frontier(pd.DataFrame(rows), about, Protocol(("race", EVIL), probes=("linear", "mlp")))


def test_the_chart_has_the_figures_of_the_table_by_numbers_of_what_is_chosen(found):
    chart = declare_chart(found.table, found.about, found.protocol.probes)
    choices = {param["name"]: param["bind"]["labels"] for param in chart["params"] if "bind" in param}
    assert choices == {
        "attribute": ["race", EVIL], "attacker": ["best", "linear", "mlp"], "list": ["matched", "standard"]
    }  # fmt: skip
    for row, drawn in zip(found.table.to_dict("records"), chart["datasets"]["methods"], strict=True):
        for attribute, attacker, end in ((0, 0, ""), (1, 2, "_low"), (0, 1, "_high")):
            column = f"{choices['attribute'][attribute]}_{choices['attacker'][attacker]}{end}"
            assert drawn[f"x{attribute}_{attacker}{end}"] == pytest.approx(row[column], abs=1e-4)
        assert drawn["y0"] == pytest.approx(row["auc_matched"], abs=1e-4)
        assert drawn["said_x0_0"] == "{:.3f} [{:.3f}, {:.3f}]".format(
            *(row[f"race_best{end}"] for end in ("", "_low", "_high"))
        )
    told = [row["name"] for row in chart["datasets"]["methods"] if row["told"]]
    assert len(told) == 12 and told[0] == "none"
    with pytest.raises(InputError, match="nobody"):
        declare_chart(found.table, found.about, found.protocol.probes, ["nobody"])


def test_the_line_of_the_figure_is_the_frontier(found):
    axes, table = found.plot().axes[0], found.table
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    points = list(zip(table["race_best"], table["auc_matched"], strict=True))
    ahead = [(x, y) for x, y in points if not any(a < x and b > y for a, b in points)]
    assert 1 < len(ahead) < len(points) and [*zip(*front.get_data(), strict=True)] == sorted(ahead)


def test_names_are_escaped_and_without_scripts_the_figure_and_the_table_stand(found):
    page = found.page()
    assert EVIL not in page and "&lt;img src=x" in without_scripts(page)
    assert re.search(r"<figure id=\"still\"><img [^>]*src=\"data:image/png;base64,", page)
    assert 'src="http' not in page and 'href="http' not in without_scripts(page)
    row = found.table.set_index("method").loc["a"]
    assert f"a, λ 0.5 {row['tradeoff']:.3f} [{row['tradeoff_low']:.3f}, {row['tradeoff_high']:.3f}]" in text_of(page)


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to run the page's script in")
def test_what_is_chosen_is_drawn_and_a_method_shows_its_row_in_a_browser(found, tmp_path):
    use = """<script>
    const choose = (name, label) => {
      const select = [...document.querySelectorAll("#choices select")].find(it => it.name.startsWith(name));
      select.value = [...select.options].find(it => it.label === label).value;
      select.dispatchEvent(new Event("change"));
    };
    const marks = () => [...document.querySelectorAll("#chart path[aria-roledescription=point]")];
    const places = () => [...new Set(marks().map(it => it.getAttribute("aria-label")))];
    setTimeout(() => {
      const said = { still: document.getElementById("still").hidden, before: places() };
      choose("attribute", "EVIL"); choose("attacker", "mlp"); choose("list", "standard");
      setTimeout(() => {
        said.after = places();
        const last = marks().at(-1), box = last.getBoundingClientRect();
        const at = { bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
        for (const kind of ["pointerover", "pointermove"]) last.dispatchEvent(new PointerEvent(kind, at));
        setTimeout(() => {
          const tooltip = document.getElementById("vg-tooltip-element");
          said.tooltip = tooltip.textContent; said.images = tooltip.querySelectorAll("img").length;
          said.wide = document.documentElement.scrollWidth;
          document.documentElement.innerHTML = "<pre></pre>";
          document.querySelector("pre").textContent = JSON.stringify(said);
        }, 500);
      }, 1000);
    }, 2000);
    </script>""".replace("EVIL", EVIL)
    said = run_in_browser(found.page(), use, tmp_path)
    assert said["still"]
    for when, x, y in (("before", "race_best", "auc_matched"), ("after", f"{EVIL}_mlp", "auc_standard")):
        drawn = {tuple(re.findall(r": (0\.\d+)", label)[:2]) for label in said[when]}
        expected = {tuple(f"{value:.4g}" for value in row) for row in found.table[[x, y]].to_numpy()}
        assert drawn == expected
    last = found.table.iloc[-1]
    assert f"{last['tradeoff']:.3f} [" in said["tooltip"] and "race, linear attacker" in said["tooltip"]
    assert said["images"] == 0 and said["wide"] <= 800
