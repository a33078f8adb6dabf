"""Figures carry their data: axes are named, groups are counted, intervals and the threshold are drawn."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from scipy.spatial.distance import pdist

from kinface.data.vocabulary import TYPES
from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits
from kinface.fairness.distributions import describe_scores
from kinface.report.curves import _thin, plot_det, plot_roc
from kinface.report.plots import (
    COLOURS,
    COLUMN,
    plot_confusions,
    plot_differences,
    plot_leakage,
    plot_placed_scores,
    plot_rates,
    plot_scores,
    plot_verdict,
)
from kinface.tradeoff.figure import plot_changes, plot_methods
from swinface.files import InputError


@pytest.fixture
def result(draw_scored):
    return audit_fairness(draw_scored(1200), 0.5, resamples=50)


def drawn(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    return buffer.getvalue()


def test_rates_show_every_group_with_its_size_and_interval(result):
    figure = plot_rates(result, "race")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [name.split("\n")[0] for name in names] == ["African", "Asian", "Caucasian", "two races"]
    african = result.groups[(result.groups["grouping"] == "race")].iloc[0]
    assert names[0].endswith(f"{african['pairs']:,} pairs, {african['families']} families")
    assert [axes.get_xlabel() for axes in figure.axes][1] == "TPR\n(kin accepted)"
    low, high = figure.axes[1].collections[0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((african["tpr_low"], african["tpr_high"]))
    assert drawn(figure).startswith(b"\x89PNG")


def test_confusions_show_shares_of_each_true_type(draw_scored):
    pairs = draw_scored(600)
    right = pairs["type"].where(pairs["kin"], "unrelated")
    pairs["type_predicted"] = right.mask(right == "gmgs", "ms")
    axes = plot_confusions(audit_fairness(pairs, 0.5, resamples=10)).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    number = [*TYPES].index("gmgs")
    assert labels[number] == f"grandmother and grandson: {(right == 'gmgs').sum()} pairs"
    assert labels[-1] == "unrelated: 300 pairs"
    places = {text.get_position(): text.get_text() for text in axes.texts}
    assert set(places.values()) == {"100"} and len(places) == 12
    assert ([*TYPES].index("ms"), number) in places and (number, number) not in places


def test_the_verdict_marks_groups_that_differ_from_all_pairs(draw_scored):
    audit = audit_fairness(draw_scored(3000, shift={"African": -1.5}), 0.5, resamples=100)
    figure = plot_verdict(audit)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[:4] == ["all pairs", "African", "Asian", "Caucasian"] and "grandmother and granddaughter" in names
    groups = audit.groups[
        audit.groups["not_compared"].isna() & audit.groups["grouping"].isin(["race", "gender pair", "type"])
    ]
    for axes, metric in zip(figure.axes, ("fnmr", "fmr"), strict=True):
        value = audit.groups[metric][0]
        differ = groups[(groups[f"{metric}_low"] > value) | (groups[f"{metric}_high"] < value)]
        marked = axes.collections[3].get_offsets()[:, 0]
        assert sorted(marked) == pytest.approx(sorted(differ[metric]))
        assert ("African" in set(differ["group"])) == (metric == "fnmr")  # scores of kin pairs alone were moved
    assert drawn(figure)


def test_the_verdict_of_a_column_has_the_same_points_one_panel_above_the_other(draw_scored):
    audit = audit_fairness(draw_scored(3000, shift={"African": -1.5}), 0.5, resamples=100)
    wide, narrow = plot_verdict(audit), plot_verdict(audit, column=True)
    drawn(narrow)
    for one, other in zip(wide.axes, narrow.axes, strict=True):
        names = [label.get_text() for label in other.get_yticklabels()]
        points = [
            [sorted(axes.collections[place].get_offsets()[:, 0].tolist()) for place in (1, 3)] for axes in (one, other)
        ]
        assert points[0] == points[1] and sum(map(len, points[1])) == len(names), "no row is empty"
    relatives, strangers = (axes.get_tightbbox() for axes in narrow.axes)
    assert relatives.y0 >= strangers.y1
    box = narrow.get_tightbbox()
    assert box.x0 >= 0 and box.x1 <= narrow.get_figwidth() == COLUMN


def test_roc_draws_compared_groups_and_their_operating_points(result):
    figure = plot_roc(result, "race")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.split(":")[0] for text in texts] == ["all pairs", "African", "Asian", "Caucasian"]
    assert "non-kin" in texts[0]
    assert [axes.get_xscale() for axes in figure.axes] == ["linear", "log"]
    assert all(axes.get_xlabel().startswith("FMR") for axes in figure.axes)
    assert drawn(figure)


def test_scores_mark_the_threshold(result):
    figure = plot_scores(result, "race")
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert any(np.allclose(line.get_xdata(), 0.5) for line in axes.lines)
    assert "accepted are" in figure.axes[0].get_title(loc="left")
    assert "and" not in figure.axes[3].get_title(loc="left")  # cross-race has no kin pairs
    assert drawn(figure)


def test_many_groups_are_told_apart(draw_scored):
    result = audit_fairness(draw_scored(3000), 0.5, resamples=20)
    curves = [line for line in plot_roc(result, "type").axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert len(curves) == 12
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 12
    figure = plot_scores(result, "type")
    titles = [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes]
    assert titles == [*(TYPES[code].name for code in result.labels["type"].cat.categories), ""]
    assert drawn(figure)


def test_more_groups_than_looks_have_no_curves(draw_scored):
    pairs = draw_scored(4000)
    pairs["batch"] = np.arange(len(pairs)) // 2 % 25
    result = audit_fairness(pairs, 0.5, groupings=["batch"], resamples=20)
    for plot in (plot_roc, plot_det):
        with pytest.raises(InputError, match="batch: curves of 25 groups"):
            plot(result, "batch")


def test_differences_of_a_model_with_itself_lie_on_zero(result):
    figure = plot_differences(compare_audits(result, result), "race")
    for axes in figure.axes:
        points = np.ma.filled(axes.collections[1].get_offsets(), np.nan)[:, 0]
        assert np.nanmax(np.abs(points)) == 0
    assert drawn(figure)


def test_figures_do_without_race(draw_scored):
    pairs = draw_scored(400).assign(race_a=None, race_b=None)
    result = audit_fairness(pairs, 0.5, resamples=20)
    assert len(plot_roc(result, "race").legends[0].get_texts()) == 1
    assert drawn(plot_scores(replace(result, threshold=9.0), "overall"))
    assert drawn(plot_scores(audit_fairness(pairs.assign(score=1.0), 1.0, resamples=20), "overall"))


HOSTILE = ["$\\frac{", "$a$ \x1b[31m", "_x\n"]


def test_leakage_draws_names_of_files_and_classes_as_they_are():
    rows = [{"attribute": name, "file": name, "representation": name, "probe": "linear"} for name in HOSTILE]
    rows = [row | {"file": other, "representation": other} for row in rows for other in HOSTILE]
    figures = {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.7, "leaks": True}
    figures |= {"permuted": 0.5, "permuted_high": 0.55, "chance": 0.5, "faces": 9, "people": 3, "families": 2}
    figure = plot_leakage(pd.DataFrame(rows).assign(classes=", ".join(HOSTILE), **figures))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[1] == "\\$a\\$ \\x1b[31m\n\\$a\\$ \\x1b[31m" and names[2] == " _x\\n\n _x\\n"
    assert "\x1b" not in "".join(axes.get_title(loc="left") for axes in figure.axes)
    assert drawn(figure)


def test_leakage_of_many_attackers_has_a_look_and_a_place_for_each():
    names = [f"attacker {number}" for number in range(8)]
    rows = [{"probe": name, "file": "e", "representation": it} for it in ("embedding", "features") for name in names]
    figures = {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.7, "leaks": True}
    figures |= {"permuted": 0.5, "permuted_high": 0.55, "chance": 0.5, "faces": 9, "people": 3, "families": 2}
    figure = plot_leakage(pd.DataFrame(rows).assign(attribute="race", classes="a, b", **figures))
    marks = [drawn for drawn in figure.axes[0].collections if isinstance(drawn, PathCollection)]
    bars = [drawn for drawn in figure.axes[0].collections if isinstance(drawn, LineCollection)]
    assert len({(*bar.get_color()[0], str(bar.get_linestyle())) for bar in bars}) == len(names)
    places = np.array([mark.get_offsets()[:, 1] for mark in marks])
    assert places[:, 0].max() < 0.5 < places[:, 1].min()  # marks of one representation stay in its row
    assert drawn(figure)


def test_changes_and_frontiers_draw_names_of_methods_as_they_are():
    columns = ["tradeoff", "auc_matched", "auc_standard", "race_best", "gender_best"]
    table = pd.DataFrame({"method": [*HOSTILE, "$"], "strength": [np.nan, 1, 2, np.nan], "seeds": 3})
    for name in columns:
        for end, value in (("", 0.6), ("_low", 0.5), ("_high", 0.7)):
            table[f"{name}{end}"] = table[f"{name}_minus_${end}"] = value
    about = {name: {"pairs": 9, "families": 2, "faces": 9} for name in ("matched", "standard")}
    about |= {name: {"faces": 9, "families": 2, "chance": 0.5, "classes": "$, $\\x"} for name in ("race", "gender")}
    changes = plot_changes(table, "$", about)
    names = [label.get_text() for label in changes.axes[0].get_yticklabels()]
    assert names == ["\\$\\frac{", "\\$a\\$ \\x1b[31m, λ 1", " _x\\n, λ 2"]
    assert drawn(changes) and drawn(plot_methods(table, about))


def test_a_score_is_placed_among_those_of_each_group(draw_scored):
    pairs = draw_scored(1500)
    rows = describe_scores(pairs.assign(score=np.tanh(pairs["score"] / 2)), 0.2)[:2]
    figure = plot_placed_scores(rows, 0.2, {"father": 0.7, "mother": -0.95})
    panels = figure.axes
    assert [axes.get_title(loc="left").partition(":")[0] for axes in panels] == ["all pairs", "African"]
    assert f"{rows[1]['fmr']:.0%} of {rows[1]['non_kin']:,} non-kin pairs" in panels[1].get_title(loc="left")
    for axes, row in zip(panels, rows, strict=True):
        assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.2, 0.7, -0.95]
        low, high = axes.get_xlim()
        assert low < -0.95 < 0.7 < high
        non_kin, _, kin, _ = (patch.get_data() for patch in axes.patches)
        for (density, edges, _), kind in ((non_kin, "non_kin"), (kin, "kin")):
            shares = density * np.diff(edges)
            np.testing.assert_allclose(shares * row[kind], row[f"{kind}_scores"], atol=1e-9)
    assert drawn(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("column", [False, True])
def test_what_is_drawn_of_placed_scores_lies_in_the_figure(column, draw_scored):
    pairs = draw_scored(1500)
    rows = describe_scores(pairs.assign(score=np.tanh(pairs["score"] / 2)), 0.2)[:2]
    figure = plot_placed_scores(rows, 0.2, {"score": 0.7}, "triplets", column=column)
    assert figure.axes[0].get_title(loc="left").startswith("all triplets:")
    assert "kin triplets missed" in figure.axes[1].get_title(loc="left")
    drawn(figure)
    box = figure.get_tightbbox()
    assert box.x0 >= 0 and box.x1 <= figure.get_figwidth() and box.y0 >= 0 and box.y1 <= figure.get_figheight()


# Linear RGB as it is seen without red, green and blue cones (Machado, Oliveira & Fernandes, IEEE TVCG 15(6), 2009).
WITHOUT_CONES = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("sight", WITHOUT_CONES)
def test_colours_are_told_apart_by_the_colour_blind(sight):
    shown = np.array([to_rgb(colour) for colour in ("black", *COLOURS)])
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(WITHOUT_CONES[sight]), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(seen @ np.transpose(to_xyz) / [0.9505, 1, 1.089], 0.008856)).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    assert pdist(lab).min() > 15  # CIE 1976, where 2.3 is just noticeable


def test_a_curve_of_many_points_is_drawn_by_those_that_can_be_told_apart():
    fmr = np.linspace(0, 1, 500_001)
    tpr = np.sqrt(fmr)
    x, y = _thin(fmr, tpr)
    assert len(x) < 20_000
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    lost = np.interp(fmr, x, y) - tpr
    assert np.abs(lost).max() < 1e-3
    few = fmr[::100_000]
    np.testing.assert_array_equal(_thin(few, few), (few, few))
