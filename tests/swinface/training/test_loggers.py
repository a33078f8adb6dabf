"""What trackio is told of a run."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from swinface.training.loggers import make_logger


class Recorder:
    """Takes trackio's place, and notes its calls."""

    def __init__(self):
        self.calls = []

    def init(self, project, name, **options):
        self.calls.append(("init", project, name, options))
        return SimpleNamespace(log=lambda metrics, step: self.calls.append(("log", metrics, step)))

    def finish(self):
        self.calls.append(("finish",))


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", made := Recorder())
    monkeypatch.setenv("TRACKIO_DIR", "unset")  # so that it is as before when the test has ended
    monkeypatch.delenv("TRACKIO_DIR")
    return made


def test_trackio_is_told_of_a_run_and_goes_on_with_it(recorder, tmp_path):
    for epoch in range(2):  # the second process resumes the run
        logger = make_logger("trackio", tmp_path / "debiased")
        logger.log_hyperparams({"width": 16})
        logger.log_metrics({"auc": 0.7}, step=epoch)
        logger.finalize("success")
        logger.finalize("success")
    begun = ("init", "training", "debiased", {"config": {"width": 16}, "resume": "allow"})
    logged = [("log", {"auc": 0.7}, epoch) for epoch in range(2)]
    assert recorder.calls == [begun, logged[0], ("finish",), begun, logged[1], ("finish",)]
    assert os.environ["TRACKIO_DIR"] == str(tmp_path / "debiased" / "trackio")


def test_a_trackio_folder_of_the_user_is_kept(recorder, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", "elsewhere")
    make_logger("trackio", tmp_path / "run").log_metrics({"auc": 0.7}, step=0)
    assert os.environ["TRACKIO_DIR"] == "elsewhere"
    assert recorder.calls == [("init", "training", "run", {"config": {}, "resume": "allow"}), ("log", {"auc": 0.7}, 0)]
