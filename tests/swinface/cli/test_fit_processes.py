"""Training in processes of their own: killed and resumed, and several at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from tests.training_runs import fit

KILLED = """
import os, signal, sys
import torch
from swinface.cli.main import main

save = torch.save

def save_and_die(checkpoint, file):
    save(checkpoint, file)
    if checkpoint["epoch"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = save_and_die
main()
"""


@pytest.mark.slow
def test_a_run_that_is_killed_as_it_writes_a_checkpoint_goes_on(config, unbroken, tmp_path):
    command = tmp_path / "command.py"
    command.write_text(KILLED)
    run, temporary = tmp_path / "runs" / "run", tmp_path / "temporary"
    temporary.mkdir()
    killed = subprocess.run(
        [sys.executable, command, "fit", f"--config={config}", f"--run={run}"],
        env={**os.environ, "TMPDIR": str(temporary)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(run / "last.ckpt", weights_only=True)["epoch"] == 0
    assert list(run.glob(".last.ckpt.*.partial"))
    assert list(temporary.glob("tmp*")) == []
    assert fit("--config", config, "--run", run) == 0
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in unbroken.iterdir())
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    pd.testing.assert_frame_equal(pd.read_csv(run / "metrics.csv"), pd.read_csv(unbroken / "metrics.csv"))


@pytest.mark.slow
def test_two_processes_train_one_model_and_resume_to_it(config, tmp_path):
    """Identity centres are shared out and sampled; a crash in the third epoch leaves the second's checkpoint."""
    script = tmp_path / "crashing.py"  # the engine starts the second process by the same command
    script.write_text(CRASHING)
    program = [sys.executable, script, "fit", f"--config={config}", "--trainer.devices=2"]
    program += ["--trainer.strategy=ddp", "--model.recognition.rate=0.6", "--data.epoch_size=72"]  # 3 steps

    def train(run: Path, crash: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"CRASH_AT": crash}
        return subprocess.run([*program, f"--run={run}"], capture_output=True, text=True, check=False, env=environment)

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    done = train(whole, "never")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote the model") == 1
    checkpoint = torch.load(whole / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["margin.centres"].shape == (8, 12)
    assert train(resumed, "7").returncode != 0
    assert not (resumed / "model.safetensors").exists()
    assert train(resumed, "never").returncode == 0
    pd.testing.assert_frame_equal(pd.read_csv(resumed / "metrics.csv"), pd.read_csv(whole / "metrics.csv"))
    again = torch.load(resumed / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in checkpoint["state_dict"].items():
        assert torch.equal(again[name], tensor), name


CRASHING = """
import os, sys
from swinface.cli.main import COMMANDS, run
from swinface.training.module import FaceTraining

step = FaceTraining.training_step

def crash(module, batch, number):
    if str(module.global_step) == os.environ["CRASH_AT"]:
        os._exit(1)
    return step(module, batch, number)

FaceTraining.training_step = crash
sys.exit(run("swinface", "", COMMANDS, sys.argv[1:]))
"""


@pytest.mark.slow
def test_two_processes_share_out_validation_and_end_together(config, face_sets, tmp_path):
    """One has a benchmark that fails: the other must not wait for it."""
    sources = {"UTKFace": "UTKFace", "RafDb": "RAF-DB"}
    names = {"UTKFace": "Age", "RafDb": "Expression"}
    settings = yaml.safe_load(config.read_text())
    settings["trainer"] |= {"devices": 2, "strategy": "ddp", "max_epochs": 1}

    def train(name: str, folders: dict[str, str]) -> subprocess.CompletedProcess:
        settings["data"]["validation"] = {
            kind.lower(): {
                "class_path": f"swinface.benchmarks.protocols.{names[kind]}",
                "init_args": {
                    "source": {
                        "class_path": f"swinface.data.datasets.{kind}",
                        "init_args": {"root": str(face_sets / folder)},
                    }
                },
            }
            for kind, folder in folders.items()
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        command = [Path(sys.executable).parent / "swinface", "fit", f"--config={tmp_path / name}.yaml"]
        return subprocess.run(
            [*command, f"--run={tmp_path / name}"], capture_output=True, text=True, check=False, timeout=120
        )

    done = train("both", sources)
    assert done.returncode == 0, done.stderr
    metrics = pd.read_csv(tmp_path / "both" / "metrics.csv")
    assert metrics["error"].item() == pytest.approx((metrics["error_utkface"] + metrics["error_rafdb"]).item() / 2)
    failed = train("failed", sources | {"RafDb": "nowhere"})
    assert failed.returncode == 2
    assert "data.validation.rafdb: no " in failed.stderr


@pytest.mark.parametrize("levels", ["[1]", pytest.param("[2, 3]", marks=pytest.mark.slow)])
def test_two_processes_wait_for_nothing_that_no_level_reads(config, tmp_path, levels):
    command = [Path(sys.executable).parent / "swinface", "fit", f"--config={config}", f"--run={tmp_path / 'run'}"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1", "--model.distillation=0"]
    command += [f"--model.swinface.levels={levels}", "--model.recognition=null", "--model.tasks=[age]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote the model") == 1
