"""Training from the command line: it learns, resumes to the same result, and says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from timm.scheduler import CosineLRScheduler

import swinface
from swinface.files import working_alone
from swinface.model import SwinFace
from swinface.tasks import PAPER_TASKS
from swinface.training.module import FaceTraining
from tests.commands import run_swinface
from tests.training_runs import CONFIGS, fit


@contextmanager
def interrupting(step: int) -> Iterator[None]:
    """Runs are interrupted in this step."""
    train = FaceTraining.training_step

    def interrupt(module, batch, number):
        if module.global_step == step:
            raise KeyboardInterrupt
        return train(module, batch, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaceTraining, "training_step", interrupt)
        yield


def check_alike(run: Path, unbroken: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(run / "metrics.csv"), pd.read_csv(unbroken / "metrics.csv"))
    resumed, whole = SwinFace.from_pretrained(run).state_dict(), SwinFace.from_pretrained(unbroken).state_dict()
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_a_run_leaves_a_model_and_a_table_of_losses(unbroken):
    model = SwinFace.from_pretrained(unbroken)
    assert model.untrained == []
    metrics = pd.read_csv(unbroken / "metrics.csv")
    assert list(metrics["epoch"]) == [0, 1, 2]
    losses = metrics[[f"train_{name}" for name in ("recognition", "distillation", *PAPER_TASKS)]]
    assert np.isfinite(losses.to_numpy()).all()
    assert (losses > 0).any().all()


def test_a_resumed_run_equals_an_unbroken_one(config, unbroken, tmp_path, capsys):
    """It stops where every stream is somewhere within its cycle."""
    run = tmp_path / "run"
    with interrupting(4):
        assert fit("--config", config, "--run", run) == 130
    assert "resumes from the last checkpoint" in capsys.readouterr().err
    assert not (run / "model.safetensors").exists()
    assert fit("--config", config, "--run", run) == 0
    check_alike(run, unbroken)


def test_a_run_that_was_moved_keeps_its_best_epoch(config, face_sets, tmp_path, monkeypatch):
    errors = iter([0.9, 0.1, 0.3, 0.2])  # the first is before training
    monkeypatch.setattr("swinface.training.module.validate_together", lambda *_: {"error_ages": next(errors)})
    source = {"class_path": "swinface.data.datasets.UTKFace", "init_args": {"root": str(face_sets / "UTKFace")}}
    ages = {"class_path": "swinface.benchmarks.protocols.Age", "init_args": {"source": source}}
    settings = yaml.safe_load(config.read_text())
    settings["data"]["validation"] = {"ages": ages}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    with interrupting(4):
        assert fit("--config", tmp_path / "config.yaml", "--run", tmp_path / "before") == 130
    (tmp_path / "before").rename(tmp_path / "after")
    best = torch.load(tmp_path / "after" / "best.ckpt", weights_only=True)["state_dict"]
    assert fit("--config", tmp_path / "config.yaml", "--run", tmp_path / "after") == 0
    kept = SwinFace.from_pretrained(tmp_path / "after").state_dict()
    assert all(torch.equal(kept[name], best[f"network.{name}"]) for name in kept)


@pytest.mark.slow
def test_a_run_goes_on_from_within_an_epoch_with_other_workers(config, unbroken, tmp_path):
    run = tmp_path / "run"
    options = ["--config", config, "--run", run, "--checkpoint_steps", 2]
    with interrupting(5):
        assert fit(*options) == 130
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 4  # the second epoch has 3 to 6
    assert fit(*options[:-1], 3, "--data.workers", 1) == 0
    check_alike(run, unbroken)


def test_a_run_that_goes_on_has_the_same_configuration(config, tmp_path, capsys):
    with interrupting(4):
        assert fit("--config", config, "--run", tmp_path / "run") == 130
    assert fit("--config", config, "--run", tmp_path / "run", "--model.optimizer.weight_decay", 0.1) == 2
    said = capsys.readouterr().err
    assert "model.optimizer.weight_decay was 0.05, not 0.1" in said
    assert "Restore it" in said and "may change only" in said


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
    monkeypatch.setattr("swinface.training.module.MOST_SKIPPED", 4)
    assert fit("--config", config, "--run", tmp_path / "run") == 2
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
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "kept epoch 1 (counted from 0), the best on the validation data error 0.2500 val_ages_MAE_years 5.0000" in said
    )
    (row,) = swinface.list_runs(tmp_path).to_dict("records")
    assert row == {
        "run": "run", "complete": True, "epochs": 3, "best epoch": 1, "error": 0.25, "val_ages_MAE_years": 5.0
    }  # fmt: skip
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
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


def test_training_fits_its_faces(config, tmp_path):
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
    overlay = ["--config", CONFIGS / "swinface" / "single_task.yaml", "--model.distillation", 0, "--model.relation", 0]
    assert fit("--config", config, *overlay, "--model.tasks", "[age]", "--run", tmp_path / "run") == 0
    model = SwinFace.from_pretrained(tmp_path / "run")
    assert model.untrained == [name for name in PAPER_TASKS if name != "age"]
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert [name for name in metrics if name.startswith("train_")] == ["train_age"]


def test_recognition_alone_comes_first_and_is_taken_over(config, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert fit("--config", config, "--model.tasks", "[]", "--trainer.max_epochs", 1, "--run", first) == 0
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


def test_a_head_is_trained_further_while_all_else_stays(config, unbroken, tmp_path):
    """To the bit, batch norms' statistics too; the model still answers every task."""
    options = ["--model.start", unbroken, "--model.start_whole", "true", "--model.tasks", "[age]"]
    options += ["--model.recognition", "null", "--model.distillation", 0, "--model.optimizer.trunk_rate", 0]
    assert fit("--config", config, *options, "--trainer.max_epochs", 1, "--run", tmp_path / "run") == 0
    before, after = (SwinFace.from_pretrained(run) for run in (unbroken, tmp_path / "run"))
    assert after.untrained == []
    others = after.state_dict()
    moved = {name for name, value in before.state_dict().items() if not torch.equal(value, others[name])}
    assert "heads.age.weight" in moved
    assert {name for name in moved if not name.startswith(("heads.age.", "subnets.age."))} == set()
    images = torch.randn(2, 3, 112, 112).clamp(-1, 1)
    was, now = before.eval()(images), after.eval()(images)
    assert {name for name in was if not torch.equal(was[name], now[name])} == {"age", "young"}


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


def test_tasks_beyond_the_papers_are_trained_by_another_stream(config, face_sets, unbroken, tmp_path, capsys):
    """A model without them is the start, and another comes after it."""
    settings = yaml.safe_load(config.read_text())
    names = sorted(path.name for path in (face_sets / "fiw" / "Train" / "train-faces" / "F0001" / "MID1").iterdir())
    rows = [f"{name} {10 * row - 10} 5 0" for row, name in enumerate(names)]
    root = tmp_path / "pose"
    root.mkdir()
    (root / "data").symlink_to(face_sets / "fiw" / "Train" / "train-faces" / "F0001" / "MID1")
    (root / "label.txt").write_text("\n".join(["name yaw pitch roll", *rows]) + "\n")
    source = {"class_path": "swinface.data.poses.PoseList", "init_args": {"root": str(root)}}
    settings["data"]["streams"]["pose"] = {"batch_size": 2, "augment": "photometric", "sources": [source]}
    settings["trainer"]["max_epochs"] = 1
    (tmp_path / "pose.yaml").write_text(yaml.safe_dump(settings))
    start = ["--model.start", unbroken, "--model.start_whole", "true", "--model.optimizer.learning_rate", 0]
    assert fit("--config", tmp_path / "pose.yaml", *start, "--run", tmp_path / "run") == 0
    model, before = SwinFace.from_pretrained(tmp_path / "run"), SwinFace.from_pretrained(unbroken)
    assert model.extra == ["yaw", "pitch", "roll"] and before.extra == []
    outputs = model(torch.zeros(1, 3, 112, 112))
    assert [tuple(outputs[angle].shape) for angle in model.extra] == [(1, 1)] * 3
    assert "pose" in model.subnets and "pose" not in before.subnets
    assert torch.allclose(model.heads["age"].weight, before.heads["age"].weight, atol=1e-3)
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert (metrics[["train_yaw", "train_pitch", "train_roll"]] > 0).all().all()
    assert fit("--config", config, "--model.start", tmp_path / "run", "--model.start_whole", "true",
               "--trainer.max_epochs", 1, "--run", tmp_path / "after") == 0  # fmt: skip
    assert SwinFace.from_pretrained(tmp_path / "after").extra == []


def test_a_run_with_pseudo_labels_resumes_to_the_same(config, tmp_path):
    settings = yaml.safe_load(config.read_text())
    asked = {"tasks": ["expression", "gender"], "confidence": 0.1, "after": 0.3}
    settings["data"]["streams"]["recognition"]["pseudo_labels"] = asked
    (tmp_path / "pseudo.yaml").write_text(yaml.safe_dump(settings))
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert fit("--config", tmp_path / "pseudo.yaml", "--run", whole) == 0
    metrics = pd.read_csv(whole / "metrics.csv")
    answered = metrics[["train_answered_expression", "train_answered_gender"]].to_numpy()
    assert (answered[0] == 0).all() and (answered[1:] > 0.5).all()
    with interrupting(7):
        assert fit("--config", tmp_path / "pseudo.yaml", "--run", resumed) == 130
    assert fit("--config", tmp_path / "pseudo.yaml", "--run", resumed) == 0
    pd.testing.assert_frame_equal(pd.read_csv(resumed / "metrics.csv"), metrics)
    first, second = (torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(name.startswith("pseudo.average.module.trunk") for name in first)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model.optimizer.learning_rate", -1),
        ("model.optimizer.warmup", 1.5),
        ("model.distillation", -0.1),
        ("data.epoch_size", 0),
        ("data.workers", -1),
    ],
)
def test_options_out_of_range_are_refused_by_name(option, value, tmp_path, capsys):
    assert run_swinface("fit", f"--{option}={value}", "--run", tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert option in line
    assert not (tmp_path / "run").exists()
