"""Weights that ship, and how they are made small. What every model's folder must be is tested with the model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from swinface.choices import SHIPPED
from swinface.files import InputError
from swinface.model import SwinFace
from tests.commands import run_swinface

TINY = {"embed_dim": 8, "depths": (1, 1, 1), "num_heads": (1, 1, 1), "patch_size": 4, "width": 16, "embedding_size": 8}


@pytest.fixture
def model(tmp_path) -> Path:
    torch.manual_seed(0)
    SwinFace(**TINY, untrained=["bald"]).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def pack(*arguments) -> int:
    return run_swinface("pack", *arguments)


def test_a_packed_model_is_half_the_size_and_nearly_the_same(model, tmp_path, capsys):
    assert pack(model, tmp_path / "small") == 0
    assert "MB" in capsys.readouterr().out
    whole, half = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "small"))
    assert whole.keys() == half.keys()
    for name, tensor in whole.items():
        assert half[name].dtype == (torch.bfloat16 if tensor.ndim > 1 else tensor.dtype), name
        torch.testing.assert_close(half[name].to(tensor.dtype), tensor, rtol=2**-8, atol=0)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (model, tmp_path / "small")]
    assert sizes[1] < 0.65 * sizes[0]  # the names of the entries stay
    loaded = SwinFace.from_pretrained(tmp_path / "small")
    assert loaded.untrained == ["bald"]
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_what_is_no_model_is_refused_and_nothing_written(model, tmp_path, capsys):
    (model / "config.json").unlink()
    for folder, named in ((tmp_path / "none", "model.safetensors"), (model, "config.json")):
        assert pack(folder, tmp_path / "out") == 2
        assert named in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_shipped_weights_are_a_folder_of_the_package(model, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    model.rename(package / "weights")
    monkeypatch.setattr("swinface.pretrained.files", lambda name: {"swinface": package}[name])
    assert SwinFace.from_pretrained(SHIPPED).untrained == ["bald"]
    assert SwinFace.from_pretrained("shipped").untrained == ["bald"]


def test_a_model_is_not_packed_over_itself(model, tmp_path, capsys):
    before = (model / "model.safetensors").read_bytes()
    (tmp_path / "link").symlink_to(model)
    for out in (model, tmp_path / "link"):
        assert pack(model, out) == 2
        assert "whose full weights would be lost; name another folder" in capsys.readouterr().err
    assert (model / "model.safetensors").read_bytes() == before


def test_a_folder_of_that_name_comes_first(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.rename("shipped")
    assert SwinFace.from_pretrained(SHIPPED).untrained == ["bald"]


def test_a_package_may_have_weights_of_several_names(model, tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    shutil.copytree(model, package / "weights")
    shutil.copytree(model, package / "weights" / "other")
    monkeypatch.setattr("swinface.pretrained.files", lambda name: package)
    assert SwinFace.from_pretrained(Path("shipped-other")) is not None
    with pytest.raises(InputError, match=r"shipped-none: no released weights .*; choose from shipped, shipped-other"):
        SwinFace.from_pretrained("shipped-none")
    with pytest.raises(InputError, match=r"shipped-\.\./x"):
        SwinFace.from_pretrained(Path("shipped-../x"))


def test_a_package_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("swinface.pretrained.files", lambda name: tmp_path)
    with pytest.raises(InputError, match="has no weights"):
        SwinFace.from_pretrained(SHIPPED)
