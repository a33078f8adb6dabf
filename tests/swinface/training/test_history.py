"""Runs side by side: what differs, the figures of the best epoch, curves; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import kinface
from swinface.cli.runs import format_runs
from swinface.files import InputError
from swinface.training.history import FACES, History, is_free, list_runs
from tests.commands import run_swinface

TUNED = History("selection", True, ("tune_*",), {"loss": "train_*", "AUC": "tune_*"})


def write_run(folder: Path, config: dict, epochs: dict, complete: bool = True) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    pd.DataFrame(epochs).rename_axis("epoch").reset_index().to_csv(folder / "metrics.csv", index=False)
    if complete:
        (folder / "model.safetensors").touch()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three runs of which two differ in what their results depend on, and one is below another folder."""
    model = {"model": {"hide": {}, "optimizer": {"rate": 1e-4}}, "data": {"workers": 2}, "run": "a"}
    hidden = {"model": {"hide": {"race": {"method": "reversal"}}, "optimizer": {"rate": 1e-4}}, "data": {"workers": 4}}
    write_run(tmp_path / "plain", model, {"train_a": [2, 1], "error": [0.2, 0.3], "val_x_AUC": [0.8, 0.7]})
    write_run(tmp_path / "sweep" / "hidden", hidden, {"error": [0.4, 0.1]}, complete=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.csv").write_text("of another program")
    return tmp_path


def test_runs_are_listed_by_what_differs_with_the_figures_of_their_best_epochs(folder):
    table = list_runs(folder)
    assert [*table] == [
        "run", "complete", "epochs", "best epoch", "model.hide", "model.hide.race.method", "error", "val_x_AUC",
    ]  # fmt: skip
    assert table["run"].tolist() == ["plain", "sweep/hidden"]
    assert table["complete"].tolist() == [True, False]
    assert table["best epoch"].tolist() == [0, 1]
    assert table["error"].tolist() == [0.2, 0.1]
    assert table["model.hide.race.method"][1] == "reversal"
    assert pd.isna(table["model.hide.race.method"][0]) and pd.isna(table["val_x_AUC"][1])


def test_the_command_prints_names_that_cannot_steer_a_terminal(folder, capsys):
    (folder / "plain").rename(folder / "plain\x1b[2J")
    assert run_swinface("runs", folder) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said and "plain\\x1b[2J" in said
    assert said.splitlines()[0].split()[-4:] == ["hide", "method", "error", "val_x_AUC"]
    assert said.splitlines()[2].split() == ["sweep/hidden", "no", "2", "1", "reversal", "0.1"]


def test_settings_of_other_programs_are_told_from_the_columns_of_a_run(folder, capsys):
    write_run(folder / "theirs", {"epochs": 30, "complete": True}, {"loss": [0.4, 0.1]})
    table = list_runs(folder).set_index("run")
    assert table.columns.is_unique and table["epochs"].tolist() == [2, 2, 2]
    assert table.loc["theirs", ["setting epochs", "setting complete"]].tolist() == [30, True]
    assert run_swinface("runs", folder) == 0
    assert "setting epochs" in capsys.readouterr().out


def test_runs_of_another_package_are_left_out(folder):
    write_run(folder / "kinship", {}, {"selection": [0.7, 0.6], "tune_auc": [0.7, 0.6]})
    table = kinface.list_runs(folder)
    assert table["run"].tolist() == ["kinship"] and table["best epoch"].tolist() == [0]


def test_keys_are_shortened_as_far_as_they_can_be_told_apart():
    table = pd.DataFrame([[1, 2, 3]], columns=["model.race.method", "model.gender.method", "data.size"])
    assert format_runs(table).splitlines()[0].split() == ["race.method", "gender.method", "size"]


def test_of_equal_epochs_the_first_is_the_best_and_without_a_rule_the_last(tmp_path):
    epochs = pd.DataFrame({"epoch": [0, 1, 2], "selection": [0.0, 0.7, 0.7], "tune_auc": [0.9, 0.7, 0.7]})
    assert TUNED.find_best(epochs)["epoch"] == 1
    assert FACES.find_best(epochs)["epoch"] == 2
    assert TUNED.pick_figures(TUNED.find_best(epochs)).to_dict() == {"tune_auc": 0.7}


def test_curves_have_a_panel_for_losses_and_one_for_figures_and_mark_the_best_epoch():
    losses = {f"train_{name}": [900.0, 9.0] for name in "abcdefghi"}
    epochs = pd.DataFrame({"epoch": [0, 1], **losses, "tune_$auc": [0.5, 0.6], "selection": [0.5, 0.6], "rate": [1, 2]})
    loss, auc = TUNED.plot(epochs).axes
    assert [len(axes.lines) for axes in (loss, auc)] == [10, 2]  # the last is the best epoch
    assert loss.get_title(loc="left") == "loss; 2 more are grey" and loss.get_yscale() == "log"
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [f"train_{name}" for name in "abcdefg"]
    assert [text.get_text() for text in auc.get_legend().get_texts()] == [r"tune_\$auc"]
    assert [*auc.lines[-1].get_xdata()] == [1, 1]


@pytest.mark.parametrize("content", ["", "epoch,error\n", "a,b\n1,2\n", "epoch,error\n0,high\n", "\x00\n1"])
def test_broken_tables_are_named(folder, content):
    (folder / "plain" / "metrics.csv").write_text(content)
    with pytest.raises(InputError, match=r"plain/metrics\.csv"):
        list_runs(folder)


def test_a_run_that_goes_on_may_have_another_logger():
    assert is_free("logger") and is_free("trainer.logger") and is_free("trainer.logger.init_args.save_dir")
    assert not is_free("trainer.log") and not is_free("data.cached")


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(InputError, match="no run"):
        list_runs(tmp_path / "missing")
