"""Every reader refuses malformed files with one message that names the file, and raises nothing else."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save as save_tensors
from torch import nn

from swinface.benchmarks.templates import embed_templates, read_ijb
from swinface.benchmarks.verification import read_bin, read_pairs_folder
from swinface.checkpoint import PARTS, read_checkpoint
from swinface.data.datasets import (
    AffectNetList,
    AgeGenderList,
    CelebA,
    CelebAList,
    Clap2015,
    FgNetList,
    ImageFolder,
    RafDb,
    RecordIO,
)
from swinface.data.embeddings import Embeddings, read_arrays
from swinface.data.labels import ATTRIBUTES
from swinface.files import InputError
from swinface.images import read_image
from swinface.pretrained import Pretrained
from tests.commands import run_swinface
from tests.malformed import mutated, mutated_text, refuse_all, refuse_command


def picture(seed: int, kind: str = "PNG", side: int = 8) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def place(tmp_path) -> Callable[[], Path]:
    """A new folder each time: a file that is mapped into memory must not be written to."""
    numbers = count()

    def make() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return folder

    return make


# RecordIO


@pytest.mark.parametrize("file", ["train.rec", "train.idx"])
def test_records(file, tries, place, paper_sets):
    valid = paper_sets / "data/faces_emore"
    content = (valid / file).read_bytes()
    inputs = mutated(content) if file == "train.rec" else mutated_text(content.decode())

    def read(mutant: bytes) -> None:
        root = place()
        for name in ("train.rec", "train.idx"):
            (root / name).write_bytes(mutant if name == file else (valid / name).read_bytes())
        source = RecordIO(root)
        for row in range(len(source)):
            source.read(row)

    refuse_all(inputs, read, tries, "train.", bounded=True)


# Label files

ANSWERS = " ".join(ATTRIBUTES) + "\n" + "".join(f"{n}.jpg {' '.join(['1', '-1'] * 20)}\n" for n in range(1, 4))
LABELS = {
    "RafDb": (RafDb, "basic/EmoLabel/list_patition_label.txt", "train_00001.jpg 5\ntrain_00002.jpg 7\ntest_1.jpg 1\n"),
    "CelebA": (CelebA, "list_attr_celeba.txt", f"3\n{ANSWERS}"),
    "CelebA's people": (CelebA, "identity_CelebA.txt", "1.jpg 7\n2.jpg 7\n3.jpg 9\n"),
    "CelebA's parts": (CelebA, "list_eval_partition.txt", "1.jpg 0\n2.jpg 1\n3.jpg 0\n"),
    "CelebA of Kaggle": (CelebAList, "label.csv", f"image_id {ANSWERS}".replace(" ", ",")),
    "AgeGenderList": (AgeGenderList, "label.txt", "name age gender\n1.jpg 3 1.0\n2.jpg 40.5 0\n3.jpg nan 1\n"),
    "CelebAList": (CelebAList, "label.txt", f"name {ANSWERS}"),
    "AffectNetList": (AffectNetList, "label.txt", "name valence expression\n1.jpg 0.1 0\n2.jpg -3 6\n3.jpg 1 2\n"),
    "FgNetList": (FgNetList, "label.txt", "name age\n001A02.JPG 2\n001A16.JPG 16\n002A01.JPG 1\n"),
    "Clap2015": (Clap2015, "label.csv", "1.jpg;20.3;4.1\n2.jpg;55;0\n3.jpg;7.5;1\n"),
    "ImageFolder": (ImageFolder, "names.txt", "F0001/MID1\nF0002\n"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_label_files(kind, tries, tmp_path):
    source, file, valid = LABELS[kind]
    options = {"without": tmp_path / file} if source is ImageFolder else {}
    if source is CelebAList:
        options["labels"] = file
    if source is CelebA:
        options["subset"] = "train"
        for name in ("CelebA", "CelebA's people", "CelebA's parts"):
            (tmp_path / LABELS[name][1]).write_text(LABELS[name][2])
    if source is ImageFolder:
        for person in ("F0001/MID1", "F0001/MID2", "F0002/MID1"):
            (tmp_path / person).mkdir(parents=True)
            (tmp_path / person / "1.jpg").touch()
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        for name in source(tmp_path, **options).table["image"]:
            assert ".." not in Path(name).parts or source(tmp_path, **options).read(0) is None

    refuse_all(mutated_text(valid), read, tries, str(tmp_path), bounded=True)


# Verification sets


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_pairs(protocol, tries, tmp_path):
    valid = pickle.dumps(([picture(n) for n in range(4)], [True, False]), protocol)

    def read(mutant: bytes) -> None:
        (tmp_path / "lfw.bin").write_bytes(mutant)
        read_bin(tmp_path / "lfw.bin")

    refuse_all(mutated(valid), read, tries, "lfw.bin", bounded=True)


def test_lists_of_pairs(tries, tmp_path):
    for name, number in (("Ann", 1), ("Ann", 2), ("Bo", 1), ("Bo", 2)):
        path = tmp_path / name / f"{name}_{number:04}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number))
        path.rename(path.with_suffix(".jpg"))
    valid = "2 1\nAnn 1 2\nAnn 1 Bo 2\nBo 1 2\nBo 2 Ann 1\n"

    def read(mutant: bytes) -> None:
        (tmp_path / "pairs.txt").write_bytes(mutant)
        read_pairs_folder(tmp_path, tmp_path / "pairs.txt")

    refuse_all(mutated_text(valid), read, tries, str(tmp_path), bounded=True)


POINTS = "30 40 60 41 45 60 33 75 58 76"
TEMPLATES = {
    "face_tid_mid": "1.jpg 1 5\n2.jpg 1 6\n3.jpg 2 7\n",
    "name_5pts_score": "".join(f"{n}.jpg {POINTS} 0.9\n" for n in range(1, 4)),
    "template_pair_label": "1 2 0\n1 1 1\n",
}


@pytest.mark.parametrize("file", TEMPLATES)
def test_templates(file, tries, tmp_path):
    for folder in ("meta", "loose_crop"):
        (tmp_path / folder).mkdir()
    for number in range(1, 4):
        (tmp_path / f"loose_crop/{number}.jpg").write_bytes(picture(number, side=100))
    for name, content in TEMPLATES.items():
        (tmp_path / f"meta/ijbc_{name}.txt").write_text(content)

    def read(mutant: bytes) -> None:
        (tmp_path / f"meta/ijbc_{file}.txt").write_bytes(mutant)
        embed_templates(lambda faces: np.ones((len(faces), 2), np.float32), read_ijb(tmp_path, "ijbc"))

    refuse_all(mutated_text(TEMPLATES[file]), read, tries, str(tmp_path), bounded=True)


# Embeddings


def archive(arrays: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in arrays.items():
            packed.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


ARRAYS = {
    "face": npy(np.array(["a.jpg", "b.jpg", "c.jpg"])),
    "embedding": npy(np.arange(6, dtype=np.float32).reshape(3, 2)),
    "FM1": npy(np.ones((3, 4), np.float32)),
}


@pytest.mark.parametrize("part", ["archive", *ARRAYS])
def test_embeddings(part, tries, tmp_path):
    inputs = mutated(archive(ARRAYS) if part == "archive" else ARRAYS[part])

    def read(mutant: bytes) -> None:
        path = tmp_path / "faces.npz"
        path.write_bytes(mutant if part == "archive" else archive(ARRAYS | {part: mutant}))
        Embeddings(path)
        read_arrays(path)

    refuse_all(inputs, read, tries, "faces.npz", bounded=True)


# Models


class Tiny(nn.Module, Pretrained, library_name="swinface"):
    """As little as a folder can hold."""

    def __init__(self, width: int = 4, names: list[str] | None = None) -> None:
        super().__init__()
        if not 0 < width < 100:
            raise ValueError("a width that no test needs")
        self.layer = nn.Linear(width, len(names or []) + 1)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_model_folders(file, tries, tmp_path):
    contents = {
        "config.json": json.dumps({"width": 4, "names": ["a", "b"]}).encode(),
        "model.safetensors": save_tensors(Tiny(4, ["a", "b"]).state_dict()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    inputs = mutated_text(contents[file].decode(), ' ,:{}[]"') if file == "config.json" else mutated(contents[file])

    def read(mutant: bytes) -> None:
        (tmp_path / file).write_bytes(mutant)
        Tiny.from_pretrained(tmp_path)

    refuse_all(inputs, read, tries, str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_published_checkpoints(zipped, tries, tmp_path):
    stream = io.BytesIO()
    content = {part: {"layer.weight": torch.ones(2, 3)} for part in PARTS}
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)

    def read(mutant: bytes) -> None:
        (tmp_path / "published.pt").write_bytes(mutant)
        read_checkpoint(tmp_path / "published.pt")

    refuse_all(mutated(stream.getvalue()), read, tries, "published.pt")


# Images


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "AVIF", "DDS", "ICO", "JPEG2000", "PCX", "SGI", "TGA"]
)
def test_images(kind, tries, tmp_path):
    def read(mutant: bytes) -> None:
        (tmp_path / "face.img").write_bytes(mutant)
        read_image(tmp_path / "face.img")

    refuse_all(mutated(picture(0, kind)), read, tries, "face.img", bounded=True)


# Commands: one message, exit code 2, nothing left behind


EVALUATION = """
benchmarks:
  lfw:
    class_path: swinface.benchmarks.protocols.Verification
    init_args: {path: data/lfw.bin, paper: {accuracy %: 99.87}}
  raf_db:
    class_path: swinface.benchmarks.protocols.Expression
    init_args:
      source: {class_path: swinface.data.datasets.RafDb, init_args: {root: data/RAF-DB, subset: test}}
      labels: [surprise, fear]
"""


def test_evaluate_refuses_a_configuration(tries, tmp_path):
    """Those that are sound name a model that is not there."""
    config, out = tmp_path / "evaluate.yaml", tmp_path / "out"

    def read(mutant: bytes) -> None:
        config.write_bytes(mutant)
        command = ["evaluate", "--config", str(config), "--model", str(tmp_path / "none"), "--out", str(out)]
        raise InputError(refuse_command(lambda: run_swinface(*command), out))

    refuse_all(mutated_text(EVALUATION, " :,{}[]\n"), read, tries)


TRAINING = """
trainer: {max_epochs: 1, fast_dev_run: true, accelerator: cpu}
model:
  optimizer: {learning_rate: 0.001}
  loss_weights: {age: 0.5}
  recognition: {kind: arcface, margin: 0.5}
data:
  epoch_size: 8
  streams:
    age_gender:
      batch_size: 4
      sources:
        - class_path: swinface.data.datasets.UTKFace
          init_args: {root: nowhere, part: train, held_out: 0.2}
"""


def test_fit_refuses_a_configuration(tries, tmp_path):
    """Those that are sound ask for a run that leaves no model."""
    config, out = tmp_path / "fit.yaml", tmp_path / "out"

    def read(mutant: bytes) -> None:
        config.write_bytes(mutant)
        command = ["fit", "--config", str(config), "--run", str(out)]
        raise InputError(refuse_command(lambda: run_swinface(*command), out))

    refuse_all(mutated_text(TRAINING, " :,{}[]\n"), read, tries)


def test_convert_refuses_a_checkpoint(tries, tmp_path):
    stream = io.BytesIO()
    torch.save({"state_dict_backbone": {"layer.weight": torch.ones(2, 3)}}, stream)
    out = tmp_path / "out"

    def read(mutant: bytes) -> None:
        (tmp_path / "published.pt").write_bytes(mutant)
        command = ["convert", str(tmp_path / "published.pt"), str(out)]
        raise InputError(refuse_command(lambda: run_swinface(*command), out))

    refuse_all(mutated(stream.getvalue()), read, tries, "published.pt")


def test_pack_refuses_weights(tries, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    out = tmp_path / "out"
    valid = save_tensors(Tiny().state_dict())

    def read(mutant: bytes) -> None:
        (tmp_path / "model.safetensors").write_bytes(mutant[: len(valid) - 1])  # too short for its own header, always
        command = ["pack", str(tmp_path), str(out)]
        raise InputError(refuse_command(lambda: run_swinface(*command), out))

    refuse_all(mutated(valid), read, tries, "model.safetensors")
