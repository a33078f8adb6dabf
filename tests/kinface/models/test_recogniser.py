"""Recognisers of others: made-up ONNX files of every shape, and functions, against numpy."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto
from PIL import Image

from kinface.data.fiw import read_families
from kinface.models import recogniser as module
from kinface.models.faces import read_faces
from kinface.models.recogniser import Pixels, Recogniser
from swinface.data.embeddings import Embeddings
from swinface.files import InputError
from tests.commands import run_kinface
from tests.own.recogniser import WEIGHTS, write_onnx


def naive(faces: np.ndarray, mean=127.5, scale=127.5) -> np.ndarray:
    """What the made-up file makes of (B, S, S, 3)."""
    return ((faces[:, : faces.shape[1] // 2].astype(np.float64) - mean) / scale).mean(axis=(1, 2)) @ WEIGHTS


def draw(count: int, size: int = 112) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        (("faces", 3, 112, 112), 112),
        (("faces", 3, "rows", "columns"), 112),
        ((1, 3, 112, 112), 112),
        ((4, 3, 96, 96), 96),
        (("faces", 112, 112, 3), 112),
        ((2, 160, 160, 3), 160),
    ],
)
def test_every_shape_of_file_gives_what_numpy_gives(shape, size, tmp_path):
    recogniser = Recogniser(str(write_onnx(tmp_path / "arcface.onnx", shape)))
    assert recogniser.size == size
    assert recogniser.batch == (shape[0] if isinstance(shape[0], int) else module.BATCH)
    for count in {1, min(3, recogniser.batch), recogniser.batch, recogniser.batch + 1}:
        faces = draw(count, size)
        assert np.allclose(recogniser(faces), naive(faces), atol=1e-4)


def test_pixels_are_given_in_the_order_and_scale_that_are_asked_for(tmp_path):
    path, faces = str(write_onnx(tmp_path / "r.onnx")), draw(2)
    ours = Recogniser(path, Pixels(channels="bgr", mean=10, scale=-2.0))(faces)
    assert np.allclose(ours, naive(faces[..., ::-1], 10, -2.0), atol=1e-3)
    for kind, atol in ((TensorProto.DOUBLE, 1e-4), (TensorProto.FLOAT16, 1e-2)):
        path = str(write_onnx(tmp_path / "kind.onnx", kind=kind))
        assert np.allclose(Recogniser(path)(faces), naive(faces), atol=atol)
    path = str(write_onnx(tmp_path / "bytes.onnx", kind=TensorProto.UINT8))
    assert np.allclose(Recogniser(path)(faces), naive(faces, 0, 1), rtol=1e-4)


def test_an_order_of_colours_of_another_name_is_refused():
    with pytest.raises(InputError, match="channels: 'RGB' is no choice; choose from rgb, bgr"):
        Pixels(channels="RGB")


def test_one_of_several_outputs_is_named(tmp_path):
    path, faces = str(write_onnx(tmp_path / "r.onnx", outputs=("embedding", "norm"))), draw(2)
    assert np.allclose(Recogniser(path, Pixels(output="norm"))(faces), 2 * naive(faces), atol=1e-4)
    for output in (None, "none"):
        with pytest.raises(InputError, match="its outputs are embedding, norm; name the embedding"):
            Recogniser(path, Pixels(output=output))


@pytest.mark.parametrize(
    ("options", "pixels", "message"),
    [
        ({"inputs": ("data", "mask")}, {}, r"has 2 inputs \(data, mask\)"),
        ({"shape": ("faces", 4, 112, 112)}, {}, "must be .faces, 3, size, size"),
        ({"shape": ("faces", 3, 112, 96)}, {}, "must be .faces, 3, size, size"),
        ({"kind": TensorProto.INT64}, {}, "of floating-point numbers or bytes"),
        ({}, {"size": 160}, "takes faces of 112x112, not of size 160"),
        ({}, {"output": "features"}, "its outputs are embedding"),
        ({}, {"scale": 0.0}, "a scale is not 0"),
    ],
)
def test_files_that_are_no_recogniser_of_faces(options, pixels, message, tmp_path):
    write_onnx(tmp_path / "r.onnx", **options)
    with pytest.raises(InputError, match=message) as refusal:
        Recogniser(str(tmp_path / "r.onnx"), Pixels(**pixels))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x08\x07\x12", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_refused_in_one_line(content, tmp_path, capfd):
    (tmp_path / "r.onnx").write_bytes(content)
    with pytest.raises(InputError, match="not an ONNX model that can be run") as refusal:
        Recogniser(str(tmp_path / "r.onnx"))
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


OWN = """
import numpy as np

def colours(faces):
    assert faces.dtype == np.uint8 and faces.shape[1:] == (64, 64, 3)
    return faces.mean(axis=(1, 2))

def convolved(faces):
    return colours(faces)[:, :, None, None]

def maps(faces):
    return faces

def fails(faces):
    raise ValueError("no such\\nnetwork")

def infinite(faces):
    return np.full((len(faces), 2), np.inf)

def training(faces):  # as batch norm
    return faces.mean(axis=(1, 2)) - faces.mean(axis=(0, 1, 2))

class Network:
    def __call__(self, faces):
        return colours(faces)

network = Network()
"""


def test_a_function_of_ones_own_embeds_a_folder_of_faces(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_recognisers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces" / "a").mkdir(parents=True)
    for number, value in enumerate((10, 200, 90)):
        Image.new("RGB", (80, 80), (value, 0, 255)).save(tmp_path / "faces" / "a" / f"{number}.png")
    options = ["embed", "--root", "faces", "--out", "own.npz", "--size", 64, "--channels", "bgr"]
    assert run_kinface(*options, "--recogniser", "my_recognisers.colours") == 0
    assert "3 faces, 3 numbers each" in capsys.readouterr().out
    for name in ("network", "convolved"):  # an object that is called; (B, D, 1, 1)
        assert run_kinface(*options, "--recogniser", f"my_recognisers.{name}") == 0
        assert "3 faces, 3 numbers each" in capsys.readouterr().out
    table = Embeddings(tmp_path / "own.npz")
    assert [*table.rows] == ["a/0.png", "a/1.png", "a/2.png"]
    assert np.allclose(table.values, [[255, 0, 10], [255, 0, 200], [255, 0, 90]])
    for name, message in (
        ("maps", "embeddings are (faces, D)"),
        ("fails", "ValueError: no such network"),
        ("infinite", "a/0.png is not finite"),
        ("nothing", "has no 'nothing'"),
        ("training", "a face's embedding changes with what else is embedded, as in training mode; set evaluation mode"),
    ):
        assert run_kinface(*options, "--recogniser", f"my_recognisers.{name}") == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        gc.collect()  # frees the lock of the folder, as the end of the command's process does
    (tmp_path / "none").mkdir()
    for model in ([], ["--recogniser", "my_recognisers.colours"]):
        assert run_kinface("embed", "--root", "none", "--out", "own.npz", *model) == 2
        assert "none: no images; name FIW's folder, or" in capsys.readouterr().err


def test_families_are_embedded_and_the_table_is_read_by_all_others(synthetic, tmp_path):
    path, out = write_onnx(tmp_path / "arcface.onnx", (8, 3, 112, 112)), tmp_path / "arcface.npz"
    assert run_kinface("embed", "--recogniser", path, "--root", synthetic, "--out", out) == 0
    faces = pd.read_parquet(synthetic / "faces.parquet")["face"].tolist()
    table = Embeddings(out)
    assert [*table.rows] == faces
    embedding = table[faces[:3]]
    assert not out.with_name("arcface.npz.parts").exists()
    read = read_faces(synthetic.parent / "families", faces[:3]).permute(0, 2, 3, 1).numpy()
    assert np.allclose(embedding, naive(read), atol=1e-4)
    scored = ["--embeddings", out, "--root", synthetic, "--list", "tune", "--out", tmp_path / "scores.parquet"]
    assert run_kinface("score", *scored) == 0


def test_an_interrupted_command_goes_on_from_its_parts(synthetic, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("swinface.inference.Shards.compute.__defaults__", (40,))
    path, out = write_onnx(tmp_path / "arcface.onnx"), tmp_path / "arcface.npz"
    command = ["embed", "--recogniser", path, "--root", synthetic, "--out", out]
    call, seen = Recogniser.__call__, []

    def interrupt(recogniser, faces):
        seen.append(len(faces))
        if len(seen) == 5:  # two before the parts, of a face beside itself and beside another
            raise KeyboardInterrupt
        return call(recogniser, faces)

    monkeypatch.setattr(Recogniser, "__call__", interrupt)
    assert run_kinface(*command) == 130
    assert not out.exists()
    assert run_kinface(*command, "--mean", 0) == 2  # another computation
    assert "parts of a computation on other faces or of another model" in capsys.readouterr().err
    families = read_families(synthetic)
    face = families.root / families.faces["face"][0]
    state = face.stat()
    os.utime(face, (0, 0))  # as if another face had been written there
    assert run_kinface(*command) == 2
    assert "parts of a computation on other faces" in capsys.readouterr().err
    os.utime(face, ns=(state.st_atime_ns, state.st_mtime_ns))
    seen.clear()
    seen.extend([0] * 5)
    assert run_kinface(*command) == 0
    count = len(Embeddings(out).rows)
    assert sum(seen) == count - 2 * 40 + 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mean", "0"], "are for a --recogniser"),
        (["--recogniser", "r.onnx", "--model", "shipped"], "are for a kinship model"),
        (["--recogniser", "r.onnx", "--features"], "are for a kinship model"),
        (["--recogniser", "missing.onnx"], "no such file"),
        (["--recogniser", "r.onnx", "--scale", "0"], "a scale is not 0"),
        (["--recogniser", "bytes.onnx", "--mean", "0"], "takes bytes"),
        (["--recogniser", "math.sqrt", "--mean", "0"], "are for ONNX files"),
        (["--recogniser", "arcface"], "recogniser 'arcface'"),
    ],
)
def test_options_that_do_not_go_together(options, message, synthetic, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_onnx(tmp_path / "r.onnx")
    write_onnx(tmp_path / "bytes.onnx", kind=TensorProto.UINT8)
    assert run_kinface("embed", "--root", synthetic, "--out", "out.npz", *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("out.npz").exists()
