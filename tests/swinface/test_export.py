"""An exported file gives what the model gives, for any number of faces, and says itself what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import swinface.export
from swinface.cli.export import export
from swinface.data.align import ARCFACE
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.model import SMALL, SwinFace
from swinface.tasks import PAPER_TASKS

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

# A small trunk of the published kind: attention in shifted windows on every level, and a stem of patches.
ATTENTION = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "width": 32, "embedding_size": 16}


@pytest.fixture(scope="module", params=[("uint8", SMALL), ("normalised", ATTENTION)], ids=["uint8", "normalised"])
def exported(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """The kind of input, the file, and the folder of its model."""
    kind, size = request.param
    torch.manual_seed(0)
    model = SwinFace(**size, untrained=["age", "goatee"])
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
    assert names == ["embedding", *(name for name in PAPER_TASKS if name not in ("age", "goatee"))]
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
    assert len(seen) > 40  # the model does not say the same of everything


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
    assert json.loads(metadata["size"]) == [112, 112]
    assert json.loads(metadata["mean"]) == json.loads(metadata["std"]) == [0.5, 0.5, 0.5]
    assert np.array_equal(json.loads(metadata["landmarks"]), ARCFACE)
    assert "terms" in metadata["licence"]
    tasks = json.loads(metadata["tasks"])
    assert list(tasks) == [output.name for output in session.get_outputs()][1:]
    assert tasks["gender"] == ["female", "male"]
    assert tasks["expression"] == list(PAPER_TASKS["expression"].labels)


def test_age_is_in_years():
    assert json.loads(swinface.export.describe(SwinFace(**SMALL), "uint8")["tasks"])["age"] == "years"


def test_a_wrong_ending_or_model_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"model\.pt: an exported model"):
        export(out=tmp_path / "model.pt")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        export(out=tmp_path / "model.onnx", model=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(swinface.export, "find_spec", lambda name: None if name == "onnxscript" else sys)
    with pytest.raises(InputError, match=r"^export needs onnxscript: .*'\.\[onnx\]'"):
        export(out=tmp_path / "model.onnx")
