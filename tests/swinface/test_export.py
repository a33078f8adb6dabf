"""An exported file gives what the model gives, for any number of faces, and says itself what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import swinface.export
from swinface.cli.export import export
from swinface.data.align import ARCFACE
from swinface.data.faces import scale_pixels
from swinface.export import read_calibration
from swinface.files import InputError
from swinface.model import SMALL, SwinFace
from swinface.tasks import PAPER_TASKS

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

# A small trunk of the published kind: attention on every level, in shifted windows on the first, and a stem of patches.
ATTENTION = {"embed_dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 4, 8), "width": 32, "embedding_size": 16}

MIXED = {"embed_dim": 8, "depths": (0, 0, 1, 1), "num_heads": (1, 2, 4, 8), "convolutions": (1, 1, 1, 0), "width": 16}


# As each subnet costs time, these have three of them; test_trunk.py exports all tasks.
UNTRAINED = [*{*PAPER_TASKS} - {"gender", "expression", "smiling", "bald"}]


@pytest.fixture(scope="module", params=[("uint8", SMALL), ("normalised", ATTENTION)], ids=["uint8", "normalised"])
def exported(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """The kind of input, the file, and the folder of its model."""
    kind, size = request.param
    torch.manual_seed(0)
    model = SwinFace(**size, untrained=UNTRAINED)
    for layer in [*model.subnets.modules(), *model.heads.values()]:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    for _ in range(10):  # moves the batch norms' running statistics
        model(torch.randn(8, 3, 112, 112))
    folder = tmp_path_factory.mktemp(kind)
    model.save_pretrained(folder / "model")
    export(out=folder / "model.onnx", model=folder / "model", input=kind)
    return kind, folder / "model.onnx", folder / "model"


def test_the_file_gives_what_the_model_gives(exported):
    kind, out, folder = exported
    model = SwinFace.from_pretrained(folder)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == ["embedding", *(name for name in PAPER_TASKS if name not in UNTRAINED)]
    seen = set()
    for count in (1, 3):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 112, 112), dtype=np.uint8)
        given = pixels if kind == "uint8" else (pixels.astype(np.float32) / 255 - 0.5) / 0.5
        answers = dict(zip(names, session.run(None, {"images": given}), strict=True))
        with torch.no_grad():
            expected = model(scale_pixels(torch.from_numpy(pixels)))
        for name, output in expected.items():
            assert answers[name].shape == tuple(output.shape)
            assert np.abs(answers[name] - output.numpy()).max() < 1e-4, name
            seen.add(round(float(output.abs().max()), 3))
    assert len(seen) > 0.9 * len(names)  # the model does not say the same of everything


def test_the_file_says_what_it_is(exported):
    kind, out, _ = exported
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1:]) == ("images", [3, 112, 112])
    assert isinstance(given.shape[0], str)
    assert given.type == {"uint8": "tensor(uint8)", "normalised": "tensor(float)"}[kind]
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["input"].startswith({"uint8": "uint8", "normalised": "float32"}[kind])
    assert metadata["colours"] == "RGB"
    assert metadata["precision"] == "float32"
    assert json.loads(metadata["size"]) == [112, 112]
    assert json.loads(metadata["mean"]) == json.loads(metadata["std"]) == [0.5, 0.5, 0.5]
    assert np.array_equal(json.loads(metadata["landmarks"]), ARCFACE)
    assert "terms" in metadata["licence"]
    tasks = json.loads(metadata["tasks"])
    assert list(tasks) == [output.name for output in session.get_outputs()][1:]
    assert tasks["gender"] == ["female", "male"]
    assert tasks["expression"] == list(PAPER_TASKS["expression"].labels)


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """A folder of 24 aligned faces: noise of several colours and contrasts."""
    folder, random = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for number in range(24):
        pixels = random.normal(random.uniform(60, 190, 3), random.uniform(5, 60), (112, 112, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("kind", ["uint8", pytest.param("normalised", marks=pytest.mark.slow)])
def test_int8_is_all_but_the_heads_and_near_to_float32(kind, faces, tmp_path):
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = SwinFace(**MIXED, untrained=[name for name in PAPER_TASKS if name not in ("gender", "age")])
    pixels = read_calibration(faces)
    model.trunk(scale_pixels(pixels))  # moves the batch norms' running statistics
    model.save_pretrained(tmp_path / "model")
    export(out=tmp_path / "model.onnx", model=tmp_path / "model", input=kind, int8=faces)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    given = pixels if kind == "uint8" else scale_pixels(pixels)
    with torch.no_grad():
        expected = model.eval()(scale_pixels(pixels))
    for output, rounded in zip(session.get_outputs(), session.run(None, {"images": given.numpy()}), strict=True):
        exact = expected[output.name].numpy()
        assert 0 < np.linalg.norm(rounded - exact) < 0.1 * np.linalg.norm(exact), output.name
    kept = {it.name: it.data_type for it in onnx.load(tmp_path / "model.onnx").graph.initializer}
    layers = [name for name in kept if name.removesuffix("_quantized").endswith(".weight") and "norm" not in name]
    assert len(layers) > 20
    for name in layers:
        assert kept[name] == (onnx.TensorProto.FLOAT if "heads." in name else onnx.TensorProto.INT8), name
    assert session.get_modelmeta().custom_metadata_map["precision"].startswith("int8 in ")


def test_ranges_come_from_at_most_512_faces_of_the_folder(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(swinface.export, "CALIBRATED_ON", 3)
    read = read_calibration(faces)
    chosen = [np.asarray(Image.open(faces / f"{number:02}.png")) for number in (0, 12, 23)]
    assert np.array_equal(read.permute(0, 2, 3, 1).numpy(), np.stack(chosen))
    with pytest.raises(InputError, match="no images"):
        export(out=tmp_path / "model.onnx", int8=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_age_is_in_years():
    assert json.loads(swinface.export.describe(SwinFace(**SMALL), "uint8")["tasks"])["age"] == "years"


def test_a_wrong_ending_or_model_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"model\.pt: an exported model"):
        export(out=tmp_path / "model.pt")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        export(out=tmp_path / "model.onnx", model=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="input: 'uint16' is no choice; choose from uint8, normalised"):
        swinface.export.export(SwinFace(**SMALL), tmp_path / "model.onnx", "uint16")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(swinface.export, "find_spec", lambda name: None if name == "onnxscript" else sys)
    with pytest.raises(InputError, match=r"^export needs onnxscript: .*'\.\[onnx\]'"):
        export(out=tmp_path / "model.onnx")
