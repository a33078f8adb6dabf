"""Weights go out and come back, and those of other models are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import swinface.pretrained
from swinface.files import InputError
from swinface.model import SwinFace
from tests.swinface.tiny import faces, tiny


def test_saved_model_comes_back_the_same(tmp_path):
    model = tiny(drop_path=0.2)
    model(faces(4))  # moves the running statistics of the batch norms
    model.eval().save_pretrained(tmp_path / "model")
    loaded = SwinFace.from_pretrained(tmp_path / "model")
    assert not loaded.training
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert json.loads((tmp_path / "model" / "config.json").read_text())["drop_path"] == 0.2
    for name, output in model(faces(2)).items():
        assert torch.equal(output, loaded(faces(2))[name]), name


@pytest.fixture
def saved(tmp_path) -> Path:
    tiny().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_missing_surplus_and_misshapen_entries_are_named(saved):
    def spoil(tensors):
        del tensors["heads.age.bias"]
        tensors["heads.pose.bias"] = torch.zeros(2)
        tensors["heads.gender.weight"] = torch.zeros(3, 32)

    change_weights(saved, spoil)
    with pytest.raises(InputError) as error:
        SwinFace.from_pretrained(saved)
    assert str(error.value) == (
        f"{saved / 'model.safetensors'}: not the weights of this model; entries 1 missing (heads.age.bias); "
        "1 surplus (heads.pose.bias); 1 of another shape (heads.gender.weight [3, 32] instead of [2, 32])."
    )


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_weights_of_a_wrapped_network_are_its_own(saved, wrapper):
    weights = load_file(saved / "model.safetensors")
    save_file({wrapper + name: tensor for name, tensor in weights.items()}, saved / "model.safetensors")
    state = SwinFace.from_pretrained(saved).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("change", [lambda it: it * float("nan"), lambda it: it / 0, lambda it: it.to(torch.int8)])
def test_weights_that_are_no_finite_real_numbers_are_refused(saved, change):
    weights = load_file(saved / "model.safetensors")
    weights["heads.age.weight"] = change(weights["heads.age.weight"])
    save_file(weights, saved / "model.safetensors")
    with pytest.raises(InputError, match=r"entries 1 without finite real numbers \(heads\.age\.weight\)"):
        SwinFace.from_pretrained(saved)


def test_many_missing_entries_are_counted_and_three_named(saved):
    change_weights(saved, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("heads.")])
    with pytest.raises(InputError, match=r"84 missing \((heads\.\w+\.\w+, ){3}\.\.\.\)\.$"):
        SwinFace.from_pretrained(saved)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "config.json: not the configuration"),
        ("[]", "config.json: not the configuration"),
        ('{"colour": 3}', "colour"),
        ('{"embed_dim": "wide"}', "config.json: not the configuration"),
        ('{"patch_size": 16}', "does not end at 7x7"),
    ],
)
def test_a_config_of_another_model_is_refused(saved, config, message):
    (saved / "config.json").write_text(config)
    with pytest.raises(InputError, match=message):
        SwinFace.from_pretrained(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(InputError, match=name) as refused:
        SwinFace.from_pretrained(saved)
    assert "Errno" not in str(refused.value)


def test_truncated_weights_are_refused(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"model\.safetensors: not readable"):
        SwinFace.from_pretrained(saved)


def no_download(*arguments, **options):
    raise AssertionError("went to the network")


def test_a_missing_folder_is_not_sought_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(swinface.pretrained, "snapshot_download", no_download)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for source in (tmp_path / "none", Path("owner/name"), "none", "./owner/name", "runs/none", str(tmp_path / "none")):
        with pytest.raises(InputError, match="no such folder"):
            SwinFace.from_pretrained(source)


def test_a_name_on_the_hub_is_downloaded(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = {}
    monkeypatch.setattr(
        swinface.pretrained,
        "snapshot_download",
        lambda name, **options: asked.update(name=name, **options) or str(saved),
    )
    SwinFace.from_pretrained("owner/name", revision="v1")
    assert asked["name"] == "owner/name"
    assert asked["revision"] == "v1"


def test_a_name_that_the_hub_does_not_give_is_named(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise FileNotFoundError("cannot connect\nmore")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(swinface.pretrained, "snapshot_download", fail)
    with pytest.raises(InputError, match=r"^owner/name: neither a folder .*\(cannot connect\)\.$"):
        SwinFace.from_pretrained("owner/name")
