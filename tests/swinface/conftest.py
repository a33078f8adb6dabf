"""Small face sets in the formats of the real ones."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinface.data.labels import ATTRIBUTES

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "swinface"


def _write(path: Path, size: tuple[int, int], random: np.random.Generator) -> None:
    """A face-sized image of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    noise.resize(size, Image.Resampling.BILINEAR).save(path)


@pytest.fixture(scope="session")
def face_sets(tmp_path_factory) -> Path:
    """``fiw`` (3 people, 7 faces), ``UTKFace`` (10), ``RAF-DB`` (10), ``CelebA`` (8 of 5 people), ``teacher.npz``."""
    root, random = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    fiw = [f"Train/train-faces/F0001/MID{1 + i % 3}/P{i:05}_face0.jpg" for i in range(7)]
    for name in fiw:
        _write(root / "fiw" / name, (112, 112), random)
    for i in range(10):
        _write(root / "UTKFace" / f"{5 + 7 * i}_{i % 2}_{i % 4}_2017010917{i:04}.jpg", (200, 200), random)
        _write(root / "RAF-DB" / "basic" / "Image" / "aligned" / f"train_{i + 1:05}_aligned.jpg", (100, 100), random)
    (root / "RAF-DB" / "basic" / "EmoLabel").mkdir()
    labels = "".join(f"train_{i + 1:05}.jpg {1 + i % 7}\n" for i in range(10))
    (root / "RAF-DB" / "basic" / "EmoLabel" / "list_patition_label.txt").write_text(labels)
    names = [f"{i + 1:06}.jpg" for i in range(8)]
    for name in names:
        _write(root / "CelebA" / "img_align_celeba" / name, (89, 109), random)
    rows = [f"{name} " + " ".join(random.choice(["-1", " 1"], len(CELEBA_HEADER))) for name in names]
    table = "\n".join(["8", " ".join(CELEBA_HEADER), *rows]) + "\n"
    (root / "CelebA" / "list_attr_celeba.txt").write_text(table)
    people = "".join(f"{name} {100 + i % 5}\n" for i, name in enumerate(names))
    (root / "CelebA" / "identity_CelebA.txt").write_text(people)
    np.savez(root / "teacher.npz", face=fiw[:5], embedding=random.normal(size=(5, 6)).astype(np.float16))
    return root


CELEBA_HEADER = sorted(
    {"five_oclock_shadow": "5_o_Clock_Shadow", "gender": "Male"}.get(name, name.title()) for name in ATTRIBUTES
)


@pytest.fixture(scope="session")
def paper_sets(face_sets, tmp_path_factory) -> Path:
    """A folder with ``data`` in it, which holds small sets in the formats and places that the configurations name."""
    root, random = tmp_path_factory.mktemp("paper"), np.random.default_rng(1)
    data = root / "data"
    data.mkdir()
    for name in ("fiw", "UTKFace", "RAF-DB"):
        (data / name).symlink_to(face_sets / name)
    for name in ("Adience", "MORPH", "IMDB", "WIKI"):
        _write_list(data / name, "name age gender", [f"{20 + i} {i % 2}.0" for i in range(6)], random)
    _write_list(data / "AffectNet", "name valence expression", [f"0.1 {i}" for i in range(7)], random)
    answers = [" ".join(random.choice(["-1", "1"], len(ATTRIBUTES))) for _ in range(6)]
    _write_list(data / "CelebA_aligned", "name " + " ".join(CELEBA_HEADER), answers, random)
    for name in ("train", "validation"):
        _write_list(data / "CLAP2015" / name, None, [f"{20.5 + i};{1 + i % 3}" for i in range(6)], random)
    _write_records(data / "faces_emore", 4, 3, random)
    return root


@pytest.fixture(scope="session")
def paper_configurations(tmp_path_factory) -> Path:
    """A folder of the shipped configurations that set so many faces aside that the small sets here have some."""
    folder = tmp_path_factory.mktemp("configurations")
    for path in CONFIGS.glob("*.yaml"):
        (folder / path.name).write_text(re.sub(r"held_out: 0\.\d+", "held_out: 0.4", path.read_text()))
    return folder


def _write_list(root: Path, header: str | None, rows: list[str], random: np.random.Generator) -> None:
    """A set as the authors list theirs: ``label.txt``, without a header ``label.csv``, and the images in ``data``."""
    for number in range(len(rows)):
        _write(root / "data" / f"{number}.jpg", (112, 112), random)
    if header is None:
        (root / "label.csv").write_text("".join(f"{i}.jpg;{row}\n" for i, row in enumerate(rows)))
        return
    (root / "label.txt").write_text("\n".join([header, *(f"{i}.jpg {row}" for i, row in enumerate(rows))]) + "\n")


def _write_records(root: Path, people: int, each: int, random: np.random.Generator) -> None:
    """MS1MV2's form: record 0 tells where the identities' own records begin, which follow the images."""
    root.mkdir(parents=True)
    count = people * each
    content = {0: struct.pack("<IfQQ2f", 2, 0.0, 0, 0, count + 1, count + 1 + people)}
    for number in range(count):
        _write(root / "face.jpg", (112, 112), random)
        header = struct.pack("<IfQQ", 0, float(number // each), number + 1, 0)
        content[number + 1] = header + (root / "face.jpg").read_bytes()
    for person in range(people):
        first = 1 + person * each
        content[count + 1 + person] = struct.pack("<IfQQ2f", 2, 0.0, 0, 0, first, first + each)
    (root / "face.jpg").unlink()
    index, place = [], 0
    with open(root / "train.rec", "wb") as records:
        for key, record in content.items():
            index.append(f"{key}\t{place}\n")
            padded = record + b"\0" * (-len(record) % 4)
            place += records.write(struct.pack("<II", 0xCED7230A, len(record)) + padded)
    (root / "train.idx").write_text("".join(index))
