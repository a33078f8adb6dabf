"""The page of an audit alone: what it says, and what it must not contain."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import kinface
from kinface.fairness.audit import Origin, audit_fairness
from kinface.report.build import build_report, name_files
from kinface.report.html import render
from swinface.files import InputError
from tests.pages import text_of, without_scripts

pytestmark = pytest.mark.usefixtures("blank_pictures")

SCRIPTS = 4  # the data of the slider, what draws charts, the slider, and the tables


@pytest.mark.usefixtures("no_figures")
def test_five_lines_audit_a_csv(draw_scored, tmp_path):
    for name, prefix, seed in (("scores", "F", 0), ("validation", "V", 1)):
        table = draw_scored(600, seed=seed, prefix=prefix)[["face_a", "face_b", "kin", "score"]]
        table.assign(age_band=np.resize(["5-9", "5-9", "10-14"], 600)).to_csv(tmp_path / f"{name}.csv", index=False)
    pairs = kinface.read_pairs(tmp_path / "scores.csv", scored=True)
    validation = kinface.read_pairs(tmp_path / "validation.csv", scored=True)
    with pytest.warns(UserWarning, match=r"families of 600 of the 600 pairs .* \(columns family_a and family_b\)"):
        audit = kinface.audit(pairs, validation, groupings=["age_band"], resamples=100)
    assert audit.groups["group"].tolist() == ["all pairs", "5-9", "10-14"]
    assert audit.gaps["metric"].tolist() == ["accuracy", "tpr", "fmr", "auc"]
    with pytest.raises(InputError, match="other: a DataFrame is no audit; give a result of"):
        audit.report(other=audit.pairs)
    page = audit.report(title="Mine")
    assert '<option value="age_band" selected>' in page, "the slider opens on groups whose disparities move with it"
    page = text_of(page)
    assert "A model gave each of 600 pairs of faces a score" in page
    assert "Scores: a table of 600 pairs." in page
    assert not re.search(r"\b(None|nan|no file)\b", page)
    assert "Pairs of unknown families were taken" in page and "that pairs have in common" not in page


@pytest.mark.usefixtures("no_figures")
def test_parts_come_with_what_they_are_given(draw_scored):
    pairs = draw_scored(800)
    ours = audit_fairness(pairs, 0.5, resamples=100)
    page = render(build_report(ours, other=audit_fairness(pairs.assign(score=-pairs["score"]), 0.5, resamples=100)))
    assert '<option value="race" selected>' in page
    assert "It allows for families that pairs have in common." in text_of(page)
    assert 'id="comparison"' in page and 'id="matched"' not in page
    validation = draw_scored(300, seed=1, prefix="V")
    report = build_report(replace(ours, origin=Origin(validation=validation)))
    assert report.record["threshold"]["pairs"] == 300
    assert "It was chosen on 300 validation pairs of 60 families" in text_of(render(report))
    with pytest.raises(InputError, match="the validation pairs: 800 of its pairs are also in the audited pairs"):
        build_report(replace(ours, origin=Origin(validation=pairs)))


def test_hostile_names_stay_text(draw_scored):
    evil = "<script>alert(1)</script>"
    pairs = draw_scored(800).replace({"African": evil})
    pairs = pairs.assign(**{f"family_{side}": evil + pairs[f"family_{side}"] for side in "ab"}, race_source=evil)
    page = render(build_report(audit_fairness(pairs, 0.5, resamples=100, origin=Origin(file=evil)), title=evil))
    assert page.count("<script") == SCRIPTS
    assert "<script>alert" not in page
    assert without_scripts(page).count("&lt;script&gt;") > 10


@pytest.mark.usefixtures("no_figures")
def test_pairs_without_dependence_and_clusters_of_ones_own_are_named(draw_scored):
    pairs = draw_scored(600).assign(studio=np.arange(600) % 30)
    page = text_of(render(build_report(audit_fairness(pairs, 0.5, clusters=["studio"], resamples=100))))
    assert "allows for clusters (studio) that pairs have in common" in page
    page = text_of(render(build_report(audit_fairness(pairs, 0.5, clusters=None, resamples=100))))
    assert "Pairs of unknown families were taken as independent." in page


def test_pictures_have_file_names_of_their_own():
    assert name_files(["race and gender", "age band", "age_band", "a/b"]) == {
        "race and gender": "race_and_gender", "age band": "age_band", "age_band": "age_band_", "a/b": "a_b",
    }  # fmt: skip
    long = name_files(["é" * 300 + "a", "é" * 300 + "b"])
    assert len({*long.values()}) == 2 and all(
        len(f"table_disparities_{name}.tex".encode()) < 255 for name in long.values()
    )
