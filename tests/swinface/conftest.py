"""Small face sets in the formats of the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinface.labels import ATTRIBUTES


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
