from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from kinface.cli import demo
from swinface.files import InputError
from tests.commands import run_kinface

SMOKE = Path(__file__).resolve().parents[3] / "configs" / "smoke.yaml"


@pytest.mark.usefixtures("blank_pictures")
def test_the_whole_job_on_synthetic_families(tmp_path, capsys):
    demo.demo(out=tmp_path / "demo", families=24, config=[SMOKE])
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(f"report: {tmp_path / 'demo' / 'report' / 'report.html'}")
    assert "planted: faces of African people" in printed
    assert "too few families to compare races" in printed
    assert "balanced accuracy of a linear attacker" in printed
    for name in demo.MODELS:
        assert f"  {name}, gender: " in printed
    metrics = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text())
    assert metrics["compared_with"]
    groups = pd.read_csv(tmp_path / "demo" / "report" / "groups.csv")
    assert {"African", "Caucasian"} <= set(groups["group"])


def test_it_says_why_an_interval_that_excludes_0_is_not_significant(tmp_path, capsys):
    groups = {"grouping": "race", "group": "African", "reference": "Caucasian"}
    found = {"auc": (-0.156, -0.276, -0.037, False), "fmr": (0.28, 0.1, 0.47, True), "tpr": (0.04, -0.1, 0.2, False)}
    names = ("difference", "low", "high", "significant")
    rows = [
        groups | {"metric": metric, "p_adjusted": 0.06} | dict(zip(names, row, strict=True))
        for metric, row in found.items()
    ]
    (tmp_path / "metrics.json").write_text(json.dumps({"contrasts": rows}))
    demo._compare_with_truth(tmp_path)
    auc, fmr, tpr = capsys.readouterr().out.splitlines()[-3:]
    assert auc.endswith("<- not significant: p is 0.060 after correction for the number of races")
    assert fmr.endswith("[+0.100, +0.470]  <- significant") and tpr.endswith("[-0.100, +0.200]")


def test_an_earlier_demo_is_replaced_and_nothing_else(tmp_path):
    other, earlier = tmp_path / "other", tmp_path / "earlier"
    (earlier / "families" / "truth").mkdir(parents=True)
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    demo.clear(earlier)
    assert not earlier.exists()
    with pytest.raises(InputError, match="not an earlier demo"):
        demo.clear(other)
    assert (other / "thesis.tex").exists()
    with pytest.raises(InputError, match="not an earlier demo"):
        demo.clear(other / "thesis.tex")


@pytest.mark.parametrize("missing", ["torch", "lightning"])
def test_what_is_missing_is_said_before_any_work(missing, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None if name == missing else True)
    assert run_kinface("demo", "--out", tmp_path / "demo") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"kinface demo: error: {missing} is not installed; ") and not printed.out
    assert not (tmp_path / "demo").exists()


def test_it_is_a_command(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run_kinface("demo", "--out", tmp_path / "file") == 2
    assert "not an earlier demo" in capsys.readouterr().err
