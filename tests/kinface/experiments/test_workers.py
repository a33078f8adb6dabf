"""Runs share the devices there are; one that is killed is told, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kinface.experiments.ablation import Run
from kinface.experiments.runner import Job
from kinface.experiments.workers import _stop, assign_devices, carry_out_all, find_devices

SAY_DEVICE = [sys.executable, "-c", "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], end=''); sys.exit(1)"]


def make_jobs(out: Path, names: str) -> list[Job]:
    return [Job(Run(name, None, 0, (), {}), out) for name in names]


@pytest.fixture
def devices(monkeypatch) -> None:
    """Two CUDA devices, as far as anybody asks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("visible", "named"), [(None, ["0", "1"]), ("3,5", ["3", "5"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])]
)
def test_devices_are_named_as_they_are_visible(visible, named, devices, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_devices() == named


def test_without_cuda_there_are_no_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_devices() == []


def test_workers_are_by_default_one_on_each_device_or_core():
    assert assign_devices(None, ["3", "5"], cores=8) == ["3", "5"]
    assert assign_devices(None, [], cores=3) == [None, None, None]
    assert assign_devices(1, ["3", "5"], cores=8) == ["3"]
    assert assign_devices(5, ["3", "5"], cores=2) == ["3", "5", "3", "5", "3"]
    assert assign_devices(2, [], cores=8) == [None, None]


def test_each_worker_keeps_to_its_device(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(command, env, **options):
        assert env["CUDA_VISIBLE_DEVICES"] not in {device for device, other in started if other.poll() is None}
        process = popen(SAY_DEVICE, env=env, **options)
        started.append((env["CUDA_VISIBLE_DEVICES"], process))
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    told = {}
    carry_out_all(make_jobs(tmp_path, "abcde"), ["3", "5"], lambda job, error: told.update({job.run.method: error}))
    assert {*told} == {*"abcde"}
    assert (told["a"], told["b"]) == ("3", "5")
    assert {*told.values()} == {"3", "5"}


def test_without_devices_the_environment_is_as_it_was(tmp_path, monkeypatch):
    popen = subprocess.Popen

    def start(command, env, **options):
        assert env == dict(os.environ)
        return popen([sys.executable, "-c", ""], env=env, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    told = []
    carry_out_all(make_jobs(tmp_path, "a"), [None], lambda job, error: told.append(error))
    assert told == [None]


def test_a_killed_process_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(*arguments, **options):
        started.append(popen(*arguments, **options))
        if len(started) == 1:
            started[0].kill()
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    told = {}
    carry_out_all(make_jobs(tmp_path, "ab"), [None], lambda job, error: told.update({job.run.method: error}))
    assert told["a"] == "ended by SIGKILL, as where memory runs out"
    assert "data.root" in told["b"]
    assert "Traceback" in (tmp_path / "runs" / "b-0" / "log.txt").read_text()


def test_a_process_that_has_ended_by_itself_can_be_stopped(tmp_path):
    job = make_jobs(tmp_path, "a")[0]
    job.folder.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait()
    _stop(ended, job)


def test_a_run_that_another_process_has_is_left_to_it(tmp_path, monkeypatch):
    popen, told = subprocess.Popen, []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: popen([sys.executable, "-c", ""], **options))
    jobs = make_jobs(tmp_path, "abc")
    with jobs[1].take() as ours:
        assert ours
        carry_out_all(jobs, [None], lambda job, error: told.append(job.run.method))
    assert told == ["a", "c"]
