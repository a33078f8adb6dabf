"""A kinship model taken elsewhere, as an ONNX file or packed to ship, gives and erases what it did."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import swinface.export
from kinface.cli.export import export
from kinface.models.kinface import KinFace
from swinface.cli.pack import pack
from swinface.data.align import ARCFACE
from swinface.files import InputError
from tests.commands import run_kinface

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}
SIZE = 10  # numbers of an embedding that is read
STEPS = [{"attributes": {"gender": ["f", "m"]}, "method": method} for method in ("leace", "transport")]
KINDS = {
    "images": {"trunk": TINY, "heads": {"race": ["African", "Asian"]}, "types": True},
    "embeddings": {"embedding_size": SIZE, "domains": 2},
}


def draw_faces(kind: str, count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if kind == "images":  # each of its own colour
        colour, noise = (torch.rand(count, 3, *size, generator=generator) for size in ((1, 1), (112, 112)))
        return (200 * colour + 55 * noise).byte()
    return torch.randn(count, SIZE, generator=generator)


def make_model(kind: str) -> KinFace:
    """A model whose batch norms' statistics have moved, and from which two things are erased."""
    torch.manual_seed(0)
    model = KinFace(**KINDS[kind], width=16, size=8, erase=STEPS)
    for seed in range(5):
        model(draw_faces(kind, 16, seed))
    model.threshold.fill_(0.25)
    erase(model.eval(), draw_faces(kind, 64))
    return model


@torch.no_grad()
def erase(model: KinFace, faces: torch.Tensor, labels: torch.Tensor | None = None) -> None:
    """Erase labels from the embedding, by default whether a number in it is large, and then of another number."""
    embedding = model.project(model(faces)["features"])
    for number, erasure in enumerate(model.erasures):
        given = (embedding[:, number] > embedding[:, number].median()).long() if labels is None else labels
        erasure.fit(embedding, {"gender": given}, torch.ones(len(faces)), torch.arange(len(faces)))
        embedding = model.to_unit_length(erasure(embedding))


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory) -> tuple[str, KinFace, Path]:
    """What the model reads, the model, and its file."""
    pytest.importorskip("onnxscript")
    folder, model = tmp_path_factory.mktemp(request.param), make_model(request.param)
    model.save_pretrained(folder / "model")
    export(out=folder / "model.onnx", model=folder / "model")
    return request.param, model, folder / "model.onnx"


def open_session(file: Path):
    return pytest.importorskip("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])


def test_the_file_gives_the_models_embeddings_of_any_number_of_faces(exported):
    kind, model, file = exported
    session = open_session(file)
    for count in (1, 2, 5):
        faces = draw_faces(kind, count, seed=count)
        (found,) = session.run(None, {session.get_inputs()[0].name: faces.numpy()})
        with torch.no_grad():
            wanted = model(faces)["embedding"].numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.01  # the model does not say the same of all


def test_the_file_erases(exported):
    kind, model, file = exported
    session, faces = open_session(file), draw_faces(kind, 5)
    (found,) = session.run(None, {session.get_inputs()[0].name: faces.numpy()})
    with torch.no_grad():
        model.erasures.train()  # in which they do nothing
        kept = model(faces)["embedding"].numpy()
        model.erasures.eval()
    assert np.abs(found - kept).max() > 0.02


def test_the_file_says_what_it_is(exported):
    kind, _, file = exported
    session = open_session(file)
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    name, kept, shape = (
        ("images", "tensor(uint8)", [3, 112, 112]) if kind == "images" else ("inputs", "tensor(float)", [SIZE])
    )
    assert (given.name, given.type, given.shape[1:]) == (name, kept, shape)
    assert (output.name, output.shape[1:]) == ("embedding", [8])
    assert isinstance(given.shape[0], str) and isinstance(output.shape[0], str)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["threshold"]) == 0.25
    assert "terms" in metadata["licence"]
    if kind == "images":
        assert (metadata["input"], metadata["colours"]) == ("uint8, 0 to 255", "RGB")
        assert np.array_equal(json.loads(metadata["landmarks"]), ARCFACE)
    else:
        assert metadata.keys() == {"threshold", "licence", "precision"}


def test_int8_is_the_trunk_and_what_erases_stays_as_it_is(exported, tmp_path):
    onnx, (kind, model, _) = pytest.importorskip("onnx"), exported
    file, faces = tmp_path / "model.onnx", draw_faces(kind, 32)
    if kind == "embeddings":
        with pytest.raises(InputError, match="only a trunk is quantised"):
            model.export(file, int8=faces)
        return
    model.export(file, int8=faces)
    (found,) = open_session(file).run(None, {"images": faces.numpy()})
    with torch.no_grad():
        wanted = model(faces)["embedding"].numpy()
    assert 0 < np.linalg.norm(found - wanted) < 0.1 * np.linalg.norm(wanted)
    arrays = {it.name: onnx.numpy_helper.to_array(it) for it in onnx.load(file).graph.initializer}
    rounded = {name for name, array in arrays.items() if array.dtype == np.int8 and array.size > 1}
    assert {"model.trunk.swin.patch_embed.proj.weight_quantized"} < rounded
    assert not [name for name in rounded if "neck" in name or "projection" in name or "erasures" in name]
    for step in model.erasures:
        for part in step.maps:
            assert any(
                np.array_equal(array, turned) for turned in (part.numpy(), part.numpy().T) for array in arrays.values()
            )


def test_a_model_without_a_threshold_says_so(tmp_path):
    pytest.importorskip("onnxscript")
    KinFace(embedding_size=SIZE, width=16, size=8).save_pretrained(tmp_path / "model")
    export(out=tmp_path / "model.onnx", model=tmp_path / "model")
    metadata = open_session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["threshold"], parse_constant=pytest.fail) is None


@pytest.mark.parametrize(
    ("out", "model", "said"),
    [
        ("model.pt", "model", ["model.pt", ".onnx"]),
        ("model.onnx", "nowhere", ["nowhere: no such folder"]),
        ("model.onnx", "run", ["run: this run is not complete"]),
    ],
)
def test_what_cannot_be_exported_is_one_message_and_leaves_nothing(out, model, said, tmp_path, capsys):
    KinFace(embedding_size=SIZE, width=16, size=8).save_pretrained(tmp_path / "model")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").touch()
    options = ["--out", str(tmp_path / out), "--model", str(tmp_path / model)]
    assert run_kinface("export", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("kinface export: error: ") and error.count("\n") == 1
    assert all(text in error for text in said), error
    assert {path.name for path in tmp_path.iterdir()} == {"model", "run"}


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    KinFace(embedding_size=SIZE, width=16, size=8).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(swinface.export, "find_spec", lambda name: None if name == "onnx" else sys)
    with pytest.raises(InputError, match=r"^export needs onnx: .*'\.\[onnx\]'"):
        export(out=tmp_path / "model.onnx", model=tmp_path / "model")


def test_a_packed_model_erases_as_it_did(tmp_path):
    """Of layers that bfloat16 holds exactly, so that whatever leaks leaks from the erasure."""
    torch.manual_seed(0)
    model = KinFace(embedding_size=SIZE, width=64, size=32, erase=STEPS).eval()
    faces, labels = torch.randn(500, SIZE), torch.arange(500) % 2
    faces[:, 0] += 5 * labels
    model.threshold.fill_(0.3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    erase(model, faces, labels)
    model.save_pretrained(tmp_path / "run")
    pack(tmp_path / "run", tmp_path / "packed")
    packed = KinFace.from_pretrained(tmp_path / "packed")
    with torch.no_grad():
        before = packed.project(packed(faces)["features"])
        after = packed.erasures[0](before)
    apart = [(it[labels == 0].mean(dim=0) - it[labels == 1].mean(dim=0)).abs().max() for it in (before, after)]
    assert apart[0] > 0.1
    assert apart[1] < 1e-5
    tensors = load_file(tmp_path / "packed" / "model.safetensors")
    small = {name for name, tensor in tensors.items() if tensor.dtype == torch.bfloat16}
    assert small == {"neck.0.weight", "projection.weight"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensors[name].to(tensor.dtype), tensor), name
