"""Training from the command line: it learns, resumes to the same result, and says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from timm.scheduler import CosineLRScheduler

from swinface.cli.main import COMMANDS
from swinface.cli.main import run as run_command
from swinface.files import working_alone
from swinface.model import SwinFace
from swinface.tasks import PAPER_TASKS
from swinface.training.module import FaceTraining

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
CPU = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "enable_progress_bar": False}
TINY = {
    "embed_dim": 8,
    "depths": [0, 0, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "convolutions": [0, 0, 0, 0],
    "width": 16,
    "embedding_size": 12,
}


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


def fit(*arguments) -> int:
    return run_command("swinface", "", COMMANDS, ["fit", *map(str, arguments)])


@pytest.fixture(scope="module")
def config(face_sets, tmp_path_factory) -> Path:
    """The configuration that ships, on small sets, small and short."""
    settings = yaml.safe_load((CONFIGS / "swinface" / "small.yaml").read_text())
    settings["trainer"] |= {**CPU, "max_epochs": 3}
    settings["model"]["swinface"] = {**TINY, "dropout": 0.2}
    settings["data"] |= {"epoch_size": 36, "cache": None}  # 3 steps of 12 faces
    for stream in settings["data"]["streams"].values():
        stream["batch_size"] = 3
        for source in stream["sources"]:
            options = source["init_args"]
            options["root"] = str(face_sets / Path(options["root"]).name)
            options["part"] = "all"
            options.pop("without", None)
            if "teacher" in options:
                options.pop("teacher")
                if "fiw" in options["root"]:
                    options["teacher"] = str(face_sets / "teacher.npz")
    path = tmp_path_factory.mktemp("configs") / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory) -> Path:
    """A run without interruption."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert fit("--config", config, "--run", run) == 0
    return run


def test_a_run_leaves_a_model_and_a_table_of_losses(unbroken):
    model = SwinFace.from_pretrained(unbroken)
    assert model.untrained == []
    metrics = pd.read_csv(unbroken / "metrics.csv")
    assert list(metrics["epoch"]) == [0, 1, 2]
    losses = metrics[[f"train_{name}" for name in ("recognition", "distillation", *PAPER_TASKS)]]
    assert np.isfinite(losses.to_numpy()).all()
    assert (losses > 0).any().all()


def test_a_resumed_run_equals_an_unbroken_one(config, unbroken, tmp_path, monkeypatch, capsys):
    """It stops where every stream is somewhere within its cycle."""
    run, step = tmp_path / "run", FaceTraining.training_step

    def interrupt(module, batch, number):
        if module.global_step == 4:
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(FaceTraining, "training_step", interrupt)
    assert fit("--config", config, "--run", run) == 130
    assert "goes on" in capsys.readouterr().err
    assert not (run / "model.safetensors").exists()
    monkeypatch.setattr(FaceTraining, "training_step", step)
    assert fit("--config", config, "--run", run) == 0
    pd.testing.assert_frame_equal(pd.read_csv(run / "metrics.csv"), pd.read_csv(unbroken / "metrics.csv"))
    resumed, whole = SwinFace.from_pretrained(run).state_dict(), SwinFace.from_pretrained(unbroken).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_run_goes_on_from_within_an_epoch_with_other_workers(config, unbroken, tmp_path, monkeypatch):
    run, step = tmp_path / "run", FaceTraining.training_step
    options = ["--config", config, "--run", run, "--checkpoint_steps", 2]

    def interrupt(module, batch, number):
        if module.global_step == 5:
            raise KeyboardInterrupt
        return step(module, batch, number)

    monkeypatch.setattr(FaceTraining, "training_step", interrupt)
    assert fit(*options) == 130
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 4  # the second epoch has 3 to 6
    monkeypatch.setattr(FaceTraining, "training_step", step)
    assert fit(*options[:-1], 3, "--data.workers", 1) == 0
    pd.testing.assert_frame_equal(pd.read_csv(run / "metrics.csv"), pd.read_csv(unbroken / "metrics.csv"))
    resumed, whole = SwinFace.from_pretrained(run).state_dict(), SwinFace.from_pretrained(unbroken).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_run_that_goes_on_has_the_same_configuration(config, tmp_path, monkeypatch, capsys):
    def interrupt(module, batch, number):
        if module.global_step == 4:
            raise KeyboardInterrupt
        return step(module, batch, number)

    step = FaceTraining.training_step
    monkeypatch.setattr(FaceTraining, "training_step", interrupt)
    assert fit("--config", config, "--run", tmp_path / "run") == 130
    assert fit("--config", config, "--run", tmp_path / "run", "--model.optimizer.weight_decay", 0.1) == 2
    said = capsys.readouterr().err
    assert "model.optimizer.weight_decay was 0.05, not 0.1" in said
    assert "may change only" in said


def test_a_step_without_a_finite_gradient_leaves_the_model_as_it_was(config, tmp_path, monkeypatch):
    states, step = [], FaceTraining.training_step

    def overflow(module, batch, number):
        states.append({name: tensor.clone() for name, tensor in module.network.state_dict().items()})
        loss = step(module, batch, number)
        return loss * float("inf") if number == 1 else loss

    monkeypatch.setattr(FaceTraining, "training_step", overflow)
    assert fit("--config", config, "--trainer.max_epochs", 1, "--run", tmp_path / "run") == 0
    before, at, after = states
    changed = [name for name in before if not torch.equal(before[name], at[name])]
    assert len(changed) > 100
    floating = [name for name, tensor in at.items() if tensor.is_floating_point()]
    assert all(torch.equal(at[name], after[name]) for name in floating)
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert list(metrics["skipped_steps"]) == [1]


def test_many_steps_without_a_finite_gradient_end_the_run(config, tmp_path, monkeypatch, capsys):
    step = FaceTraining.training_step
    monkeypatch.setattr(FaceTraining, "training_step", lambda *given: step(*given) * float("nan"))
    options = ["--data.epoch_size", 360, "--run", tmp_path / "run"]
    assert fit("--config", config, *options) == 2
    assert "no gradient was finite" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_the_epoch_with_the_lowest_error_on_validation_data_is_kept(config, face_sets, tmp_path, monkeypatch, capsys):
    """In the second epoch the model is best; a class of its own says so."""
    errors, networks = iter([0.1, 0.5, 0.25, 0.375]), []  # the first is before training

    def judge(benchmarks, network):
        networks.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        assert not network.training
        assert list(benchmarks) == ["ages"]
        return {"val_ages_MAE_years": 5.0, "error_ages": next(errors)}

    monkeypatch.setattr("swinface.training.module.validate_together", judge)
    settings = yaml.safe_load(config.read_text())
    source = {"class_path": "swinface.data.datasets.UTKFace", "init_args": {"root": str(face_sets / "UTKFace")}}
    ages = {"class_path": "swinface.benchmarks.protocols.Age", "init_args": {"source": source}}
    settings["data"]["validation"] = {"ages": ages}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert fit("--config", tmp_path / "config.yaml", "--run", tmp_path / "run") == 0
    assert "mean error on the validation data 0.2500" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["error"].tolist() == [0.5, 0.25, 0.375]
    kept = SwinFace.from_pretrained(tmp_path / "run").state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in networks[2].items())
    assert not torch.equal(kept["heads.age.weight"], networks[3]["heads.age.weight"])


def test_what_is_wrong_with_validation_data_is_said_before_training(config, face_sets, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FaceTraining, "training_step", lambda *_: pytest.fail("it trains"))
    settings = yaml.safe_load(config.read_text())
    source = {"class_path": "swinface.data.datasets.CKPlus", "init_args": {"root": str(face_sets / "CK")}}
    ages = {"class_path": "swinface.benchmarks.protocols.Expression", "init_args": {"source": source}}
    settings["data"]["validation"] = {"faces": ages}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    assert fit("--config", tmp_path / "config.yaml", "--run", tmp_path / "run") == 2
    assert "data.validation.faces: no " in capsys.readouterr().err


def test_a_run_is_trained_by_one_process_at_a_time(config, tmp_path, capsys):
    run, options = tmp_path / "run", ["--config", config, "--trainer.max_epochs", 1]
    with working_alone(run):
        assert fit(*options, "--run", run) == 2
    assert "run: another process is at work here" in capsys.readouterr().err
    assert not run.exists()
    assert fit(*options, "--run", run) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


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


def test_training_learns_what_it_is_shown(config, tmp_path):
    longer = [
        "--model.swinface.dropout",
        0,
        "--model.optimizer.warmup",
        0.1,
        "--trainer.max_epochs",
        12,
        "--data.epoch_size",
        120,  # 10 steps
        "--model.optimizer.learning_rate",
        0.1,
    ]
    plain = [f"--data.streams.{name}.augment=none" for name in ("recognition", "age_gender", "celeba", "expression")]
    assert fit("--config", config, "--run", tmp_path / "run", *longer, *plain) == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    for name in ("recognition", "distillation", "expression", "smiling", "age"):
        assert metrics[f"train_{name}"].iloc[-1] < 0.9 * metrics[f"train_{name}"].iloc[0], name


def test_one_task_alone_leaves_the_others_out(config, tmp_path):
    overlay = ["--config", CONFIGS / "swinface" / "single_task.yaml", "--model.distillation", 0]
    assert fit("--config", config, *overlay, "--model.tasks", "[age]", "--run", tmp_path / "run") == 0
    model = SwinFace.from_pretrained(tmp_path / "run")
    assert model.untrained == [name for name in PAPER_TASKS if name != "age"]
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert [name for name in metrics if name.startswith("train_")] == ["train_age"]


def test_recognition_alone_comes_first_and_is_taken_over(config, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert fit("--config", config, "--model.tasks", "[]", "--run", first) == 0
    assert SwinFace.from_pretrained(first).untrained == list(PAPER_TASKS)
    still = [f"--model.optimizer.{rate}=0" for rate in ("trunk_rate", "warmup_rate", "final_rate")]
    still += ["--model.start", first, "--trainer.max_epochs", 1]
    assert fit("--config", config, *still, "--run", second) == 0
    before, after = (SwinFace.from_pretrained(run) for run in (first, second))
    for (name, a), b in zip(before.trunk.named_parameters(), after.trunk.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(before.heads["age"].weight, after.heads["age"].weight)


def test_the_whole_model_is_a_start_for_fine_tuning(config, unbroken, tmp_path):
    still = [f"--model.optimizer.{rate}=0" for rate in ("learning_rate", "warmup_rate", "final_rate")]
    options = [
        "--model.start",
        unbroken,
        "--model.start_whole",
        "true",
        "--model.tasks",
        "[age]",
        "--trainer.max_epochs",
        1,
    ]
    assert fit("--config", config, *still, *options, "--model.recognition", "null", "--run", tmp_path / "run") == 0
    before, after = (SwinFace.from_pretrained(run) for run in (unbroken, tmp_path / "run"))
    for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_ablation_of_attention_is_an_option(config, tmp_path):
    options = ["--model.swinface.levels", "[4]", "--model.swinface.channel_attention", "false"]
    assert fit("--config", config, *options, "--trainer.max_epochs", 1, "--run", tmp_path / "run") == 0
    attention = SwinFace.from_pretrained(tmp_path / "run").subnets["age"].attention
    assert attention.levels == [4]
    assert isinstance(attention.gate, torch.nn.Identity)


def test_rates_follow_the_papers_schedule(config, tmp_path, monkeypatch):
    """As timm's schedule gives them where the authors' loop calls it, and by hand."""
    seen, step = [], FaceTraining.training_step

    def watch(module, batch, number):
        seen.append([group["lr"] for group in module.trainer.optimizers[0].param_groups])
        return step(module, batch, number)

    monkeypatch.setattr(FaceTraining, "training_step", watch)
    rates = {"learning_rate": 0.1, "warmup_rate": 0.02, "final_rate": 0.01, "trunk_rate": 0.1, "warmup": 0.25}
    options = [f"--model.optimizer.{name}={value}" for name, value in rates.items()]
    options += ["--trainer.max_epochs", 4, "--data.epoch_size", 24]
    assert fit("--config", config, *options, "--run", tmp_path / "run") == 0
    scale = 12 / 512  # four streams of three faces
    for group, peak in enumerate((0.01, 0.1)):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=scale * peak)
        schedule = CosineLRScheduler(
            optimizer, t_initial=8, lr_min=scale * 0.01, warmup_t=2, warmup_lr_init=scale * 0.02, t_in_epochs=False
        )  # as the authors call it
        expected = []
        for update in range(8):
            expected.append(optimizer.param_groups[0]["lr"])
            schedule.step_update(update)
        np.testing.assert_allclose(np.array(seen)[:, group], expected, rtol=1e-6)
    # Of 8 steps 2 rise, from 0.02 towards 0.1; then 0.01 + 0.09 * (1 + cos(pi * k / 8)) / 2 for k = 2 to 6.
    by_hand = [0.02, 0.02, 0.06, 0.0868198, 0.0722208, 0.055, 0.0377792, 0.0231802]
    np.testing.assert_allclose(np.array(seen)[:, 1], scale * np.array(by_hand), rtol=1e-5)


def test_only_the_trunk_is_clipped(config, tmp_path, monkeypatch):
    norms, step = [], torch.optim.AdamW.step

    def watch(optimizer, closure=None):
        if closure is not None:
            closure()
        grads = [
            [p.grad.norm() ** 2 for p in group["params"] if p.grad is not None] for group in optimizer.param_groups
        ]
        norms.append([float(sum(squares)) ** 0.5 for squares in grads])
        return step(optimizer)

    monkeypatch.setattr("swinface.recognition.optimiser.SampledAdamW.step", watch)
    options = ["--model.optimizer.trunk_clip", 0.01, "--trainer.max_epochs", 1]
    assert fit("--config", config, *options, "--run", tmp_path / "run") == 0
    assert all(trunk == pytest.approx(0.01, rel=1e-3) and rest > 0.1 for trunk, rest in norms)


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
    assert done.stdout.count("model written") == 1
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


@pytest.mark.parametrize("levels", ["[1]", "[2, 3]"])
def test_two_processes_wait_for_nothing_that_no_level_reads(config, tmp_path, levels):
    command = [Path(sys.executable).parent / "swinface", "fit", f"--config={config}", f"--run={tmp_path / 'run'}"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1", "--model.distillation=0"]
    command += [f"--model.swinface.levels={levels}", "--model.recognition=null", "--model.tasks=[age]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_papers_two_stages_run_on_its_formats(paper_sets, paper_configurations, tmp_path, monkeypatch):
    monkeypatch.chdir(paper_sets)
    smoke = ["--config", CONFIGS / "swinface" / "smoke.yaml", "--trainer.accelerator", "cpu"]
    first, second = tmp_path / "pretrain", tmp_path / "multitask"
    assert fit("--config", paper_configurations / "pretrain.yaml", *smoke, "--run", first) == 0
    multitask = ["--config", paper_configurations / "multitask.yaml", *smoke]
    assert fit(*multitask, "--run", tmp_path / "alone") == 0  # as the overlay's header says
    assert fit(*multitask, "--model.start", first, "--run", second) == 0
    assert SwinFace.from_pretrained(second).untrained == []
    metrics = pd.read_csv(second / "metrics.csv")
    losses = metrics[[f"train_{name}" for name in ("recognition", *PAPER_TASKS)]]
    assert (losses.to_numpy() > 0).all()


def test_the_papers_configurations_are_its_protocol():
    pretrain, multitask = (
        yaml.safe_load((CONFIGS / "swinface" / f"{name}.yaml").read_text()) for name in ("pretrain", "multitask")
    )
    assert pretrain["trainer"]["max_epochs"] == 40
    assert 128 * pretrain["trainer"]["devices"] == 512
    assert round(pretrain["data"]["epoch_size"] / 512) == 11_372
    assert pretrain["model"]["optimizer"]["warmup"] == 5 / 40
    assert 4 * 32 * multitask["trainer"]["devices"] == 512
    assert multitask["trainer"]["max_epochs"] * multitask["data"]["epoch_size"] == 80_000 * 512
    assert multitask["model"]["optimizer"]["warmup"] * 80_000 == 8_000
    assert {name: stream["batch_size"] for name, stream in multitask["data"]["streams"].items()} == {
        "recognition": 32,
        "age_gender": 32,
        "celeba": 32,
        "expression": 32,
    }
    for settings in (pretrain["model"]["optimizer"], multitask["model"]["optimizer"]):
        assert (settings["learning_rate"], settings["warmup_rate"], settings["final_rate"]) == (5e-4, 5e-7, 5e-6)
        assert (settings["weight_decay"], settings["trunk_clip"]) == (0.05, 5.0)
    assert (pretrain["model"]["optimizer"]["trunk_rate"], multitask["model"]["optimizer"]["trunk_rate"]) == (1.0, 0.1)


@pytest.mark.parametrize("name", ["pretrain", "multitask", "small"])
def test_every_configuration_is_read_in_full(name, capsys, tmp_path, monkeypatch):
    """Up to the data, which is not there: the first thing that is missing is named."""
    path = CONFIGS / "swinface" / f"{name}.yaml"
    settings = yaml.safe_load(path.read_text())["model"]
    start = ["--model.start", "null"] if "start" in settings else []
    cpu = [f"--trainer.{option}={value}" for option, value in CPU.items()]
    monkeypatch.chdir(tmp_path)
    assert fit("--config", path, *cpu, *start, "--run", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "data/" in error
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model.optimizer.learning_rat", "1"], "learning_rat"),
        (["--trainer.max_steps", "5"], "max_steps"),
        (["--model.tasks", "[beauty]"], "beauty"),
        (["--model.loss_weights", "{beauty: 1}"], "beauty"),
        (["--model.start", "nowhere"], "nowhere"),
        (["--data.streams.celeba.augment", "cutout"], "cutout"),
        (["--model.swinface.patch_size", "4"], "7x7"),
        (["--model.tasks", "[]", "--model.recognition", "null", "--model.distillation", "0"], "nothing to train"),
    ],
)
def test_bad_options_are_named(config, options, named, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fit("--config", config, "--run", tmp_path / "run", *options) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()
