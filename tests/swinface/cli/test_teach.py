from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from swinface.cli.teach import teach
from swinface.data.datasets import ImageFolder
from swinface.data.embeddings import Embeddings
from tests.commands import run_swinface


def command(*arguments) -> int:
    return run_swinface("teach", *arguments)


def test_a_table_has_every_face_of_the_source(face_sets, tmp_path, capsys):
    out = tmp_path / "table.npz"
    assert command("--source", "UTKFace", "--source.root", face_sets / "UTKFace", "--out", out) == 0
    assert "10 faces, 128 numbers each" in capsys.readouterr().out
    assert len(Embeddings(out).rows) == 10


def test_a_data_set_is_named_without_its_module(tmp_path):
    """In a process of its own: here its module is imported already."""
    command = [sys.executable, "-c", "from swinface.cli.main import main; main()", "teach"]
    options = ["--source", "UTKFace", "--source.root", "nowhere", "--out", tmp_path / "table.npz"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert "nowhere: no such folder of images" in ended.stderr


def test_it_is_the_teacher_whose_embeddings_of_fiw_are_known(shared_data, tmp_path):
    source = ImageFolder(shared_data / "fiw", below="Validation/val-faces/F0004")
    source.table = source.table[:24]
    teach(source=source, out=tmp_path / "table.npz")
    faces = list(source.table["image"])
    ours, known = (
        torch.from_numpy(Embeddings(path)[faces])
        for path in (tmp_path / "table.npz", shared_data / "teacher" / "dlib_fiw.npz")
    )
    cosine = (ours * known).sum(dim=1) / ours.norm(dim=1) / known.norm(dim=1)
    strangers = (ours * known.roll(7, dims=0)).sum(dim=1) / ours.norm(dim=1) / known.roll(7, dims=0).norm(dim=1)
    assert np.median(cosine) > 0.99
    assert cosine.mean() > strangers.mean() + 0.03


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--source", "UTKFace", "--source.root", "nowhere", "--out", "table.npz"], "nowhere"),
        (["--source", "UTKFace", "--source.root", "nowhere", "--out", "table.csv"], "table.csv"),
        (["--source", "Nothing", "--out", "table.npz"], "Nothing"),
    ],
)
def test_bad_input_is_named(arguments, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
