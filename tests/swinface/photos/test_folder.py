"""A folder of photos becomes a folder of aligned faces, whatever is in it and however often it is interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import swinface.photos.folder
from swinface.data.align import align
from swinface.files import InputError, working_alone
from swinface.images import list_images, read_image
from swinface.photos.detect import detect
from swinface.photos.folder import COLUMNS, align_folder
from tests.commands import run_swinface

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

OTHERS = {"._none.jpg": "left out: hidden", "notes.txt": "left out: not named as an image"}
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """One face, two with the smaller in the middle, none, a broken file, one in a folder, a bitmap, two other files."""
    root = tmp_path_factory.mktemp("photos")
    face = Image.open(HOPPER).convert("RGB")
    (root / "a").mkdir()
    face.save(root / "a" / "hopper.jpg", quality=95)
    face.resize((256, 300)).save(root / "bitmap.bmp")
    two = Image.new("RGB", (1400, 700), "grey")
    two.paste(face, (0, 50))
    two.paste(face.resize((256, 300)), (620, 200))
    two.save(root / "two.png")
    Image.new("RGB", (200, 200), "green").save(root / "none.jpg")
    (root / "broken.jpg").write_text("no image")
    (root / "notes.txt").write_text("not a photo")
    (root / "._none.jpg").write_bytes(b"\0\5\x16\7")
    return root


@pytest.fixture(scope="module")
def unbroken(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "faces"
    align_folder(photos, out, chunk=2)
    return out


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_file_has_a_row_and_every_face_a_file(photos, unbroken):
    log = pd.read_csv(unbroken / "aligned.csv")
    assert list(log.columns) == list(COLUMNS)
    assert list(log["photo"]) == ["bitmap.bmp", "broken.jpg", "none.jpg", "two.png", "a/hopper.jpg", *OTHERS]
    rows = log.set_index("photo")
    assert rows["face"].dropna().to_dict() == {
        "bitmap.bmp": "bitmap.bmp.png",
        "two.png": "two.png",
        "a/hopper.jpg": "a/hopper.jpg",
    }
    assert set(read_tree(unbroken)) == {"aligned.csv", *rows["face"].dropna()}
    expected = {"bitmap.bmp": 1, "broken.jpg": 0, "none.jpg": 0, "two.png": 2, "a/hopper.jpg": 1}
    assert rows["faces"].to_dict() == expected | dict.fromkeys(OTHERS, 0)
    assert rows["problem"][[*OTHERS]].to_dict() == OTHERS
    assert rows["problem"]["none.jpg"] == "no face found"
    assert "broken.jpg: not a readable image" in rows["problem"]["broken.jpg"]
    image = read_image(photos / "a" / "hopper.jpg")
    (found,) = detect(image)
    assert rows.loc["a/hopper.jpg", ["left", "top", "right", "bottom"]].tolist() == pytest.approx(found.box, abs=0.01)
    assert rows.loc["a/hopper.jpg", ["x1", "y1"]].tolist() == pytest.approx(found.landmarks[0], abs=0.01)
    written = read_image(unbroken / "a" / "hopper.jpg").astype(int)
    assert written.shape == (112, 112, 3)
    assert np.abs(written - align(image, found.landmarks)).mean() < 2, "JPEG changes little"


def test_photos_in_older_formats_are_read(tmp_path):
    for ending in ("j2k", "jp2", "pgm", "ppm"):
        Image.new("L" if ending == "pgm" else "RGB", (8, 8), 128).save(tmp_path / f"a.{ending}")
    names, left_out = list_images(tmp_path)
    assert names == ["a.j2k", "a.jp2", "a.pgm", "a.ppm"] and not left_out
    assert [read_image(tmp_path / name).shape for name in names] == [(8, 8, 3)] * 4


def test_of_several_faces_the_largest_or_the_most_central_is_taken(photos, unbroken, tmp_path):
    largest = pd.read_csv(unbroken / "aligned.csv").set_index("photo").loc["two.png"]
    central = align_folder(photos, tmp_path / "faces", "central").set_index("photo").loc["two.png"]
    assert largest["right"] < 620 < central["left"]
    assert largest["right"] - largest["left"] > central["right"] - central["left"]


def test_an_interrupted_call_goes_on_to_the_same_result(photos, unbroken, tmp_path, monkeypatch, capsys):
    out, names = tmp_path / "faces", []

    def interrupt(path):
        names.append(path)
        if len(names) == 4:
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr(swinface.photos.folder, "read_image", interrupt)
    with pytest.raises(KeyboardInterrupt):
        align_folder(photos, out, chunk=2)
    assert len(pd.read_csv(out / "aligned.csv")) == 2
    assert not list(tmp_path.glob(".*"))
    assert run_swinface("labels", "pose", out / "aligned.csv", "--faces", out, "--out", tmp_path / "label.txt") == 2
    assert "aligned.csv: `swinface align` was interrupted, so photos are missing; run the" in capsys.readouterr().err
    names.clear()
    monkeypatch.setattr(swinface.photos.folder, "read_image", lambda path: names.append(path) or read_image(path))
    align_folder(photos, out, chunk=2)
    assert len(names) == 3, "photos that are done are not read again"
    assert read_tree(out) == read_tree(unbroken)


def test_photos_that_were_replaced_are_read_again(photos, tmp_path):
    """One that could not be read and now can, one the other way round, and one that shows another face."""
    copy, out, new = tmp_path / "photos", tmp_path / "faces", tmp_path / "new"
    shutil.copytree(photos, copy)
    align_folder(copy, out)
    (copy / "broken.jpg").write_bytes((photos / "a" / "hopper.jpg").read_bytes())
    (copy / "two.png").write_text("no image")
    Image.open(HOPPER).convert("RGB").crop((60, 0, 452, 400)).save(copy / "a" / "hopper.jpg")
    align_folder(copy, out)
    align_folder(copy, new)
    assert read_tree(out) == read_tree(new)


def test_faces_of_other_photos_do_not_stay_among_these(photos, tmp_path):
    copy, out = tmp_path / "photos", tmp_path / "faces"
    shutil.copytree(photos, copy)
    align_folder(copy, out)
    (copy / "two.png").unlink()
    with pytest.raises(InputError, match=r"faces of photos that are not in .*, such as .*two\.png; delete"):
        align_folder(copy, out)
    (out / "two.png").unlink()
    assert "two.png" not in {*align_folder(copy, out)["photo"]}


def test_a_killed_call_has_no_row_without_its_face(photos, tmp_path, monkeypatch):
    moved = []

    def kill(source, target):
        moved.append(Path(target).name)
        os.rename(source, target)
        if len(moved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("swinface.files.os.replace", kill)
    with pytest.raises(KeyboardInterrupt):
        align_folder(photos, tmp_path / "faces")
    assert "aligned.csv" not in moved


def test_the_command_says_what_it_did(photos, tmp_path, capsys):
    assert run_swinface("align", photos, "--out", tmp_path / "faces") == 0
    said = capsys.readouterr().out
    assert "5 photos: 3 faces written, 1 without a face, 1 not readable; 2 other files left out\n" in said
    assert "1 photos have several faces; the largest was taken" in said


def test_what_cannot_be_is_refused(photos, unbroken, tmp_path):
    with pytest.raises(InputError, match="no photos below"):
        (tmp_path / "empty").mkdir()
        align_folder(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        align_folder(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="lies within"):
        align_folder(photos, photos / "a" / "faces")
    for name in ("a.webp", "a.webp.png"):  # what is made of the first is named as the second
        (tmp_path / "empty" / name).touch()
    with pytest.raises(InputError, match=r"faces of a\.webp and a\.webp\.png would be one file; rename"):
        align_folder(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "link").symlink_to(unbroken.parent)
    with pytest.raises(InputError, match="lies within"):
        align_folder(tmp_path / "linked", unbroken)
    with pytest.raises(InputError, match="chosen by 'largest', not 'central'"):
        align_folder(photos, unbroken, "central")
    with working_alone(unbroken), pytest.raises(InputError, match="another process"):
        align_folder(photos, unbroken)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "aligned.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"not a (readable )?log"):
        align_folder(photos, tmp_path / "other")
