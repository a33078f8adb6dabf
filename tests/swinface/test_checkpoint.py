"""The published checkpoint converts to a model that gives the authors' numbers; any other file is refused by name."""

from __future__ import annotations

import collections
import datetime
import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from swinface.checkpoint import PARTS, official_name
from swinface.cli.convert import convert
from swinface.files import InputError
from swinface.model import SwinFace
from swinface.tasks import task_name
from tests.commands import run_swinface

TOLERANCE = 1e-4


# Parity with the authors' model


@pytest.fixture(scope="module")
def official(shared_parity):
    """The script that writes a file in the published format."""
    spec = importlib.util.spec_from_file_location("official_checkpoint", shared_parity / "official_checkpoint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(official) -> SwinFace:
    """The converted model. Its two files of 270 MB go when it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, out = Path(folder, "checkpoint_step_79999_gpu_0.pt"), Path(folder, "model")
        state = collections.OrderedDict(official.checkpoint(), epoch=0, global_step=79999, local_step=0)
        torch.save(state, checkpoint)
        assert run_swinface("convert", checkpoint, out) == 0
        assert {path.name for path in out.iterdir()} == {"README.md", "config.json", "model.safetensors"}
        return SwinFace.from_pretrained(out)


@pytest.fixture(scope="module")
def golden(shared_parity) -> dict[str, np.ndarray]:
    with np.load(shared_parity / "golden.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def images(official, golden) -> torch.Tensor:
    images = official.images()
    assert np.allclose(images.sum(dim=(1, 2, 3)).numpy(), golden["image_sum"], rtol=0, atol=1e-2)
    return images


def assert_close(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def test_every_output_equals_the_authors(model, images, golden):
    outputs = model(images)
    expected = {task_name(key.removeprefix("output/")): value for key, value in golden.items() if "output/" in key}
    assert outputs.keys() == expected.keys()
    for name, output in outputs.items():
        assert_close(output, expected[name])


@torch.inference_mode()
def test_levels_and_attention_equal_the_authors(model, images, golden):
    levels, _ = model.trunk(images)
    early, last = levels[:, :1344], levels[:, 1344:]  # the authors keep the first three levels and the fourth apart
    assert_close(early.mean(dim=(2, 3)), golden["backbone/local_mean"])
    assert_close(last.mean(dim=(2, 3)), golden["backbone/global_mean"])
    assert_close(early[:, :, 0, 0], golden["backbone/local_00"])
    assert_close(last[:, :, 3, 6], golden["backbone/global_36"])
    attention = torch.stack([subnet.attention(levels) for subnet in model.subnets.values()])
    assert_close(attention, golden["mlca/subnets"])


def test_names_are_the_published_ones(model, shared_parity):
    keys = json.loads((shared_parity / "keys.json").read_text())
    published = {f"{part}.{entry['name']}" for part in keys for entry in keys[part] if not entry["derived"]}
    unused = {"state_dict_backbone.head.weight", "state_dict_backbone.head.bias"}
    names = [official_name(name) for name in model.state_dict()]
    assert len(names) == len(set(names))
    assert set(names) == published - unused


# Other files


@pytest.fixture
def stub() -> dict[str, dict[str, torch.Tensor]]:
    """The published file's entries, each a single number seen through its shape: a file of a few kB."""
    with torch.device("meta"):
        state = SwinFace().state_dict()
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in PARTS}
    for name, tensor in state.items():
        part, _, entry = official_name(name).partition(".")
        parts[part][entry] = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return parts


def refuse(content: object, folder: Path) -> str:
    """Convert a file with this content, which must fail and leave nothing, and return the message."""
    checkpoint, out = folder / "checkpoint.pt", folder / "out"
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    else:
        torch.save(content, checkpoint)
    with pytest.raises(InputError) as error:
        convert(checkpoint, out)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    message = str(error.value)
    assert message.startswith(f"{checkpoint}: ")
    return message


def test_missing_surplus_and_misshapen_entries_are_named(stub, tmp_path):
    del stub["state_dict_fam"]["nets.4.norm.bias"]
    stub["state_dict_tss"]["nets.11.feature.0.bias"] = torch.zeros(512)
    stub["state_dict_om"]["output_fcs.3.weight"] = torch.zeros(8, 512)
    stub["state_dict_om"]["output_fcs.3.bias"] = None
    message = refuse(stub, tmp_path)
    assert "1 missing (state_dict_fam.nets.4.norm.bias)" in message
    assert "1 surplus (state_dict_tss.nets.11.feature.0.bias)" in message
    assert "state_dict_om.output_fcs.3.weight [8, 512] instead of [7, 512]" in message
    assert "state_dict_om.output_fcs.3.bias a NoneType instead of [7]" in message


def test_derived_buffers_and_the_unused_classifier_are_ignored(stub, tmp_path):
    stub["state_dict_backbone"] |= {
        "layers.0.blocks.1.attn_mask": torch.zeros(1),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(1),
        "head.weight": torch.zeros(1),
        "head.bias": torch.zeros(1),
    }
    stub["state_dict_om"]["head.weight"] = torch.zeros(1)  # only the trunk's is known to be unused
    assert refuse(stub, tmp_path).endswith("entries 1 surplus (state_dict_om.head.weight).")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    message = refuse({"state_dict_backbone": {"weight": torch.zeros(3)}}, tmp_path)
    assert "it has no state_dict_fam, state_dict_tss, state_dict_om" in message
    assert "not the published SwinFace checkpoint" in refuse(torch.zeros(3), tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    message = refuse({"date": datetime.date(2023, 8, 22)}, tmp_path)
    assert "it would run datetime.date, which weights do not need" in message


def test_a_truncated_file_is_refused(stub, tmp_path):
    torch.save(stub, tmp_path / "checkpoint.pt")
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    assert "damaged" in refuse(whole[: len(whole) // 2], tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"a text file\n", b"\xff\xd8\xff\xe0 a jpeg"])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    assert "damaged, or no torch file" in refuse(content, tmp_path)


def test_a_missing_file_ends_the_command_with_code_2(tmp_path, capsys):
    assert run_swinface("convert", tmp_path / "none.pt", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "none.pt: cannot be read (No such file or directory)" in error
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_file_is_refused(stub, tmp_path):
    checkpoint, out = tmp_path / "checkpoint.pt", tmp_path / "out"
    torch.save(stub, checkpoint)
    out.write_text("mine")
    with pytest.raises(InputError, match="out is a file"):
        convert(checkpoint, out)
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "out"]
