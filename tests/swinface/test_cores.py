"""Threads sleep while they wait, and are no more than the cores that are left to a process."""

from __future__ import annotations

import os
import sys
import types
from types import SimpleNamespace

import pytest

from kinface.training.data import KinshipData
from swinface import cores
from swinface.cli.main import Command, Options, run
from swinface.training.data import FaceData


@pytest.fixture
def environment(monkeypatch):
    """Neither variable is set, and both are afterwards as they were."""
    for name in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return os.environ


def test_a_commands_threads_sleep_while_they_wait(environment, monkeypatch):
    """As it is set before the command, and torch with it, is imported; what a user has set stays."""
    module, seen = types.ModuleType("looking"), []
    module.look = lambda arguments: seen.append(environment.get("OMP_WAIT_POLICY"))
    monkeypatch.setitem(sys.modules, "looking", module)
    commands = {"look": Command("looking:look", "", "", Options.OWN)}
    assert run("program", "", commands, ["look"]) == 0
    environment["OMP_WAIT_POLICY"] = "active"
    assert run("program", "", commands, ["look"]) == 0
    assert seen == ["passive", "active"]


def test_a_containers_quota_limits_threads(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(8)}, raising=False)
    monkeypatch.setattr(cores, "count_cores", lambda: 3)
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    cores.share_cores()
    assert "OMP_NUM_THREADS" not in environment  # on no container, torch counts itself
    (tmp_path / "cpu.max").touch()
    cores.share_cores()
    assert environment["OMP_NUM_THREADS"] == "3"
    environment["OMP_NUM_THREADS"] = "5"
    cores.share_cores()
    assert environment["OMP_NUM_THREADS"] == "5"


def test_sessions_of_onnxruntime_do_not_spin():
    pytest.importorskip("onnxruntime")
    options = cores.make_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("data", [FaceData, KinshipData])
def test_loaders_have_no_more_processes_than_there_are_cores(data, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=SimpleNamespace(type="cpu")))
    for wanted, found in ((0, 0), (1, 1), (8, 1)):
        given = SimpleNamespace(workers=wanted, steps=1, batches=[0], trainer=trainer)
        assert data.train_dataloader(given).num_workers == found
