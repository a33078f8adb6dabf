"""The first screen, the section for readers of standards, the page of errors, and the page's script in a browser."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kinface.fairness.audit import Origin, audit_fairness
from kinface.fairness.standards import choose_threshold_at_fmr
from kinface.leakage.controls import controls
from kinface.report.build import build_report
from kinface.report.errors import find_errors, render_errors
from kinface.report.explore import trace_thresholds
from kinface.report.html import render
from swinface.files import InputError
from tests.commands import run_kinface
from tests.pages import BROWSER, run_in_browser, section

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.mark.usefixtures("no_figures")
def test_the_first_screen_says_what_matters(draw_scored):
    audit = audit_fairness(draw_scored(3000, shift={"African": -1.5}), 0.6, resamples=200)
    overall = audit.groups.iloc[0]
    short = section(render(build_report(audit)), "summary")
    accepted, wrong = (f"{100 * overall[name]:.0f}" for name in ("tpr", "fmr"))
    assert (
        f"Of 100 pairs of relatives the model accepts {accepted} ; of 100 pairs of strangers it takes {wrong}" in short
    )
    assert "Relatives are missed more often in the group African (race)" in short
    assert "all pairs would be right for 50." in short


@pytest.mark.usefixtures("no_figures")
def test_without_a_finding_the_first_screen_does_not_claim_equality(draw_scored):
    audit = audit_fairness(draw_scored(500, family_effect=0), 0.5, groupings=["race"], resamples=100)
    short = section(render(build_report(audit)), "summary")
    assert "No group is treated significantly worse" in short
    assert "does not prove that all are treated alike" in short


@pytest.mark.usefixtures("no_figures")
def test_a_model_that_guesses_is_named_first(draw_scored):
    pairs = draw_scored(600)
    audit = audit_fairness(pairs.assign(score=np.random.default_rng(0).random(600)), 0.5, resamples=100)
    assert "not significantly better than guessing" in section(render(build_report(audit)), "summary")


@pytest.mark.usefixtures("no_figures")
def test_predicted_types_without_true_ones_leave_the_section_out(draw_scored):
    pairs = draw_scored(600).assign(type=None, type_predicted="unrelated")
    report = build_report(audit_fairness(pairs, 0.5, resamples=100))
    assert report.record["types"] is None
    assert 'id="types"' not in render(report)


def test_the_section_of_standards_shows_what_the_record_has(draw_scored):
    audit = audit_fairness(draw_scored(2000), 0.6, resamples=100)
    validation = draw_scored(800, seed=1, prefix="V")
    acquisition = {
        "race": pd.DataFrame(
            [("African", 50, 5, 0.1, 0.02, 0.2)], columns=["group", "photos", "failed", "rate", "rate_low", "rate_high"]
        )
    }
    report = build_report(replace(audit, origin=Origin(validation=validation)), acquisition=acquisition)
    part = section(render(report), "standards")
    cell = next(
        cell for cell in report.record["across_groups"]["race"] if (cell["a"], cell["b"]) == ("African", "Asian")
    )
    assert f"{100 * cell['fmr']:.1f}" in part
    assert "FMR 10%" in part
    assert "10.0 2.0–20.0" in part
    assert len(report.record["operating_points"]) == 3 * 5
    assert "det_race" in report.pictures and "det_race_and_gender" not in report.pictures
    without = section(render(build_report(audit)), "standards")
    assert "Not measured: no table of photos was given" in without
    assert "--threshold-from" in without


def test_a_section_says_what_can_be_scored_without_kinship(draw_scored):
    pairs = draw_scored(1500).assign(age_a=30.0, age_b=np.tile([30.0, 60.0, 45.0], 500), split=None)
    audit = audit_fairness(pairs, 0.6, resamples=100)
    report = build_report(audit)
    found = controls(pairs).set_index("control")
    rows = {row["control"]: row for row in report.record["controls"]}
    assert [*rows] == ["same race", "same gender", "age gap", "photos per person"]
    assert all(rows[name]["auc"] == found["auc"][name] for name in rows)
    part = section(render(report), "controls")
    race = rows["same race"]
    assert race["significant"], "kin are of one race, strangers often of two"
    assert f"same race (AUC {race['auc']:.3f})" in part
    assert f"{race['model_alike']:.3f}" in part and f"{race['difference_low']:+.3f}".replace("-", "−") in part
    assert "measured where the report is given the faces" in part
    figure = report.figures["controls"]
    assert figure.axes[0].collections[0].get_segments()[0][:, 0] == pytest.approx([race["auc_low"], race["auc_high"]])


def test_without_any_control_there_is_no_such_section(draw_scored):
    pairs = draw_scored(400)[["face_a", "face_b", "kin", "score"]]
    report = build_report(audit_fairness(pairs, 0.5, resamples=100))
    assert "controls" not in report.figures
    assert 'id="controls"' not in render(report)


def write_faces(root, pairs):
    for number, face in enumerate(sorted({*pairs["face_a"], *pairs["face_b"]})):
        (root / face).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(root / face)


def test_errors_are_the_worst_of_each_group(draw_scored):
    audit = audit_fairness(draw_scored(900), 0.6, groupings=["race"], resamples=100)
    errors, pairs = find_errors(audit, "race", count=3), audit.pairs
    for (group, error), rows in errors.groupby(["group", "error"]):
        of_group = pairs[audit.labels["race"] == group]
        scores = of_group.loc[of_group["kin"] == (error == "rejected"), "score"].sort_values(
            ascending=error == "rejected"
        )
        assert rows["score"].tolist() == scores.head(3).tolist()
        assert ((rows["score"] >= 0.6) == (error == "accepted")).all()
    with pytest.raises(InputError, match="'age'"):
        find_errors(audit, "age")


def test_the_page_of_errors_shows_faces_and_escapes_names(draw_scored, tmp_path):
    evil = "<script>alert(1)</script>"
    pairs = draw_scored(300).replace({"African": evil})
    write_faces(tmp_path, pairs)
    audit = audit_fairness(pairs, 0.6, groupings=["race"], resamples=100)
    page = render_errors(audit, tmp_path, count=2)
    errors = find_errors(audit, "race", count=2)
    assert page.count('<img src="data:image/jpeg;base64,') == 2 * len(errors)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert all(face in page for face in errors["face_a"])
    (tmp_path / errors["face_a"][0]).unlink()
    with pytest.raises(InputError, match="no such face"):
        render_errors(audit, tmp_path, count=2)


@pytest.mark.usefixtures("no_figures")
def test_the_command_writes_errors_and_acquisition_only_if_asked(draw_scored, tmp_path):
    pairs = draw_scored(600)
    pairs.to_parquet(tmp_path / "scores.parquet")
    write_faces(tmp_path / "faces", pairs)
    log = pd.DataFrame({"photo": ["a", "b", "c"], "problem": [None, "no face", None], "race": ["x", "x", "y"]})
    log.to_csv(tmp_path / "aligned.csv", index=False)
    common = ["report", str(tmp_path / "scores.parquet"), "--threshold", "0.6", "--resamples", "100"]
    asked = ["--faces", str(tmp_path / "faces"), "--acquisition", str(tmp_path / "aligned.csv")]
    assert run_kinface(*common, *asked, "--out", tmp_path / "out") == 0
    assert 'href="errors.html"' in (tmp_path / "out/report.html").read_text()
    assert (tmp_path / "out/errors.html").exists()
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert [(row["group"], row["photos"], row["failed"]) for row in record["acquisition"]["race"]] == [
        ("x", 2, 1),
        ("y", 1, 0),
    ]
    assert "colour histogram" in {row["control"] for row in record["controls"]}
    assert run_kinface(*common, "--out", tmp_path / "out") == 0
    assert not (tmp_path / "out/errors.html").exists()
    assert "errors.html" not in (tmp_path / "out/report.html").read_text()
    log.drop(columns="race").to_csv(tmp_path / "aligned.csv", index=False)
    assert run_kinface(*common, *asked, "--out", tmp_path / "other") == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(BROWSER is None, reason="no chromium here to run the page's script in")
def test_tables_are_sorted_and_filtered_in_a_browser(draw_scored, tmp_path):
    page = render(build_report(audit_fairness(draw_scored(2000), 0.6, resamples=100)))
    use = """<script>
    const table = [...document.querySelectorAll("#findings table")].at(-1);
    const heading = [...table.tHead.rows[0].cells].findIndex(it => it.textContent == "difference");
    const first = () => [...table.tBodies[0].rows].map(row => row.cells[heading].textContent);
    const said = {};
    table.tHead.rows[0].cells[heading].click(); said.up = first();
    table.tHead.rows[0].cells[heading].click(); said.down = first();
    const key = new KeyboardEvent("keydown", { key: " ", cancelable: true });
    table.tHead.rows[0].cells[heading].dispatchEvent(key); said.again = first(); said.scrolls = !key.defaultPrevented;
    const field = table.parentElement.querySelector("input");
    field.value = "tpr (kin"; field.dispatchEvent(new Event("input"));
    said.shown = [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.textContent);
    said.all = table.tBodies[0].rows.length;
    document.documentElement.innerHTML = "<pre>" + JSON.stringify(said) + "</pre>";
    </script>"""
    said = run_in_browser(page, use, tmp_path)
    up = [float(text.split()[0].replace("−", "-")) for text in said["up"]]
    assert up == sorted(up)
    assert said["down"][0] == said["up"][-1]
    assert said["again"] == said["up"] and not said["scrolls"]
    assert 0 < len(said["shown"]) < said["all"]
    assert all("TPR (kin" in text for text in said["shown"])


def test_the_slider_has_the_rates_of_the_audit_and_of_every_other_threshold(draw_scored):
    pairs, validation = draw_scored(2000, shift={"African": -1.0}), draw_scored(800, seed=1, prefix="V")
    audit = audit_fairness(pairs, 0.6, resamples=50)
    traced = trace_thresholds(replace(audit, origin=Origin(validation=validation)), ["race"])
    race = traced["groupings"]["race"]
    groups = audit.groups[audit.groups["grouping"].isin(["overall", "race"])]
    chosen = traced["marks"]["Youden's J"]
    for metric in ("fmr", "fnmr"):
        known = [rates[chosen] for rates in race["one"][metric]]
        assert np.array(known, float) == pytest.approx(groups[metric].to_numpy(), abs=1e-4, nan_ok=True)
    disparities = audit.disparities.query("grouping == 'race'").set_index("disparity")["value"]
    for name, values in race["one"]["disparities"].items():
        assert values[chosen] == pytest.approx(disparities[name], rel=1e-3), name
    assert "AUC gap" not in race["one"]["disparities"]
    threshold = choose_threshold_at_fmr(validation, 0.05)
    assert race["one"]["threshold"][0][traced["marks"]["FMR 5%"]] == pytest.approx(threshold, rel=1e-3)
    african = pairs[(pairs["race_a"] == "African") & (pairs["race_b"] == "African")]
    for mode in ("one", "fmr", "tpr"):
        place, step = 1, 40
        assert race["groups"][place]["name"] == "African"
        at = race[mode]["threshold"][place][step]
        kin, strangers = (african.loc[african["kin"] == kind, "score"] for kind in (True, False))
        one = (
            1.1 / len(strangers),
            1.1 / len(kin),
        )  # the page's four digits of a threshold may move a pair to the other side
        assert race[mode]["fmr"][place][step] == pytest.approx((strangers >= at).mean(), abs=one[0])
        assert race[mode]["fnmr"][place][step] == pytest.approx((kin < at).mean(), abs=one[1])


def test_thresholds_of_groups_make_their_rates_alike(draw_scored):
    audit = audit_fairness(draw_scored(4000, shift={"African": -1.0}), 0.6, resamples=50)
    race = trace_thresholds(audit, ["race"])["groupings"]["race"]
    compared = [place for place, group in enumerate(race["groups"]) if group["compared"]][1:]
    assert len(compared) == 3
    for mode, rate in (("fmr", "fmr"), ("tpr", "fnmr")):
        spread = {it: np.ptp([race[it][rate][place][:101] for place in compared], axis=0) for it in ("one", mode)}
        assert spread[mode].max() < 0.02 < spread["one"].max()
    count = sum(len(race[mode][rate][0]) for mode in ("one", "fmr", "tpr") for rate in ("fmr", "fnmr"))
    assert count == 6 * 102


@pytest.mark.pictures
@pytest.mark.skipif(BROWSER is None, reason="no chromium here to run the page's script in")
def test_the_slider_moves_groups_and_models_together_in_a_browser(draw_scored, tmp_path):
    pairs = draw_scored(2000, shift={"African": -1.0})
    audits = [audit_fairness(pairs.assign(score=pairs["score"] * scale), 0.6, resamples=100) for scale in (1, 2)]
    report = build_report(audits[0], other=audits[1])
    use = """<script>
    const rows = () => [...document.querySelectorAll("#rates tbody tr")];
    const cells = () => rows().map(row => [...row.cells].map(cell => cell.textContent));
    setTimeout(() => {
      const said = { marked: cells() }, slider = document.getElementById("position");
      said.ticks = [...slider.list.options].map(it => +it.value); said.at = +slider.value;
      slider.value = 30; slider.dispatchEvent(new Event("input")); said.moved = cells();
      const mode = document.getElementById("mode");
      mode.value = "fmr"; mode.dispatchEvent(new Event("change")); said.alike = cells();
      setTimeout(() => {
        said.charts = document.querySelectorAll("[data-chart] .chart-wrapper > svg").length;
        said.wide = document.documentElement.scrollWidth;
        document.documentElement.innerHTML = "<pre>" + JSON.stringify(said) + "</pre>";
      }, 1000);
    }, 2000);
    </script>"""
    said = run_in_browser(render(report), use, tmp_path)
    race = [model["groupings"]["race"] for model in report.explored]
    for name, mode, step in (("marked", "one", 101), ("moved", "one", 30), ("alike", "fmr", 30)):
        assert len(said[name]) == 5
        for place, row in enumerate(said[name][:4]):
            for model, found in enumerate(race):
                shown = row[1 + model * (len(row) - 1) // 2 :]
                for rate, text in (("fmr", shown[1]), ("fnmr", shown[2])):
                    assert float(text) == pytest.approx(100 * found[mode][rate][place][step], abs=0.051)
    accepted = [race[0]["one"]["fmr"][0][step] for step in report.explored[0]["marks"].values()]
    assert said["ticks"] == [round(100 * fmr**0.5) for fmr in accepted] == [said["at"]]
    assert said["charts"] == 6
    assert said["wide"] <= 800
