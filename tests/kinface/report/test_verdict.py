"""What a report says of two models in its first lines."""

from __future__ import annotations

import pytest

from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits
from kinface.fairness.contrasts import GAPS
from kinface.report.build import DOTS_PER_INCH, build_report
from kinface.report.html import render, render_comparison, render_lines
from tests.pages import BROWSER, DRIVER, open_window, section

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def opposed(draw_scored) -> list:
    """Audits of two models: the first accepts strangers of one race, the second misses relatives of the same race.

    Of another race, the list has ten pairs of strangers.
    """
    pairs = draw_scored(3000)
    races = [(pairs[["race_a", "race_b"]] == race).all(axis="columns") for race in ("African", "Asian")]
    pairs = pairs.drop(index=pairs.index[races[1] & ~pairs["kin"]][10:]).reset_index(drop=True)
    african, shift = (pairs[["race_a", "race_b"]] == "African").all(axis="columns"), 1.5
    scores = [pairs["score"] + shift * (african & ~pairs["kin"]), pairs["score"] - shift * (african & pairs["kin"])]
    return [audit_fairness(pairs.assign(score=score), 0.5, resamples=200) for score in scores]


@pytest.mark.usefixtures("no_figures")
def test_gaps_that_move_against_each_other_are_both_said(opposed):
    verdict = build_report(opposed[0], other=opposed[1]).verdict["comparison"]
    (race,) = verdict["fairness"]
    rows = compare_audits(*opposed).query("grouping == 'race'").set_index("metric")
    found = {gap["rate"]: gap for gap in race["gaps"]}
    for rate, fairer in (("tpr", "this model"), ("fmr", "the other model")):
        assert found[rate]["fairer"] == fairer
        assert found[rate]["difference"] == pytest.approx(rows["difference"][f"{rate.upper()} gap"])
    one = rows.loc["equalized odds difference"]
    assert one["low"] < 0 < one["high"], "one number for both hides both"


@pytest.mark.usefixtures("no_figures")
def test_groups_that_a_gap_leaves_out_are_named(opposed):
    verdict = build_report(opposed[0], other=opposed[1]).verdict["comparison"]
    assert verdict["fairness"][0]["left_out"] == {"Asian": ["fmr"]}
    for lines in (render_lines(build_report(opposed[0], other=opposed[1])), render_comparison(*opposed, ["x", "y"])):
        assert "Left out for too few pairs: Asian (FMR)." in " ".join(" ".join(lines).split())


@pytest.mark.usefixtures("no_figures")
def test_comparisons_that_a_small_group_misses_are_named(opposed):
    report = build_report(opposed[0])
    (asian,) = report.verdict["small"]
    assert (asian["group"], asian["missing"]) == ("Asian", ["accuracy", "fmr", "auc"])
    gaps = opposed[0].disparities.query("grouping == 'race'").set_index("disparity")["compared"]
    assert [name for name in GAPS if "Asian" not in gaps[name]] == ["accuracy gap", "FMR gap", "AUC gap"]
    told = section(render(report), "summary")
    assert "Asian (10 non-kin pairs; not compared in accuracy, FMR, AUC)" in told


@pytest.mark.pictures
@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="no Chromium with its driver at hand")
def test_a_narrow_screen_has_a_first_figure_of_its_own(opposed, tmp_path):
    report = build_report(opposed[0])
    (tmp_path / "page.html").write_text(render(report), encoding="utf-8")
    with open_window() as window:
        for width, name in ((1280, "verdict"), (400, "verdict_column")):
            window.resize(width, 900)
            window.go((tmp_path / "page.html").as_uri())
            drawn = report.figures[name].get_figwidth() * DOTS_PER_INCH
            shown = "const it = document.querySelector('#summary img'); return it.complete && "
            assert window.wait(f"{shown} it.naturalWidth") == pytest.approx(drawn, abs=1)
            assert drawn / 2.2 < window.run(f"{shown} it.clientWidth") <= width, "its letters have 8 pixels or more"
            assert window.run("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.usefixtures("no_figures")
def test_changes_of_rates_are_said_where_no_auc_changes(opposed):
    audit = opposed[1]
    moved = audit.pairs.assign(score=audit.pairs["score"] + 0.6 * (audit.labels["race"] == "Caucasian"))
    other = audit_fairness(moved, audit.threshold, resamples=200)
    comparison = build_report(audit, other=other).verdict["comparison"]
    assert comparison["groups"] == {"this model": [], "the other model": []}
    changes = compare_audits(audit, other).query("grouping == 'race' and metric in ['tpr', 'fmr']")
    expected = changes[changes["group"] == "Caucasian"].sort_values("difference")
    told = [(row["group"], row["metric"]) for row in comparison["changed"]]
    assert told == [("Caucasian", metric) for metric in expected["metric"]]
    text = " ".join(" ".join(render_comparison(audit, other, ["x", "y"])).split())
    assert "By AUC, neither model is significantly better for any group of people" in text
    row = expected.iloc[0]
    change = f"{100 * row['difference']:+.1f}".replace("-", "−")
    assert f"At their own thresholds, x minus y: {row['metric'].upper()} of Caucasian {change} points" in text
