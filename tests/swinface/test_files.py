"""Outputs appear whole or not at all, paths stay below their root, images are read in full or refused."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinface.files import InputError, inside, read_image, replacing, replacing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Writing


def test_replacing_makes_folders_and_replaces_the_file(tmp_path):
    target = tmp_path / "a" / "b.csv"
    for text in ("first", "second"):
        with replacing(target) as path:
            assert path.suffix == ".csv"
            path.write_text(text)
        assert target.read_text() == text
    assert names(tmp_path) == ["a", "a/b.csv"]


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "b.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["b.csv"]


def test_replacing_folder_replaces_its_files_and_keeps_others(tmp_path):
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "roc.png").write_text("old")
    (out / "notes.txt").write_text("mine")
    with replacing_folder(out) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "roc.png").write_text("new")
        assert (out / "figures" / "roc.png").read_text() == "old"
    assert (out / "figures" / "roc.png").read_text() == "new"
    assert (out / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out", "out/figures", "out/figures/roc.png", "out/notes.txt"]


def test_replacing_folder_leaves_nothing_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "out") as folder:
        (folder / "a.csv").write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file; name a folder"), replacing_folder(tmp_path / "file"):
        pass
    with pytest.raises(InputError, match=r"cannot write .*a\.csv"), replacing(tmp_path / "file" / "a.csv"):
        pass
    assert names(tmp_path) == ["file"]


# Paths


def test_inside_joins_paths_below_the_root(tmp_path):
    assert inside(tmp_path, "F0001/MID1/a.jpg", "list.csv row 3") == tmp_path / "F0001" / "MID1" / "a.jpg"


@pytest.mark.parametrize("path", ["", ".", "/etc/passwd", "../a.jpg", "F0001/../../a.jpg", "F0001\\a.jpg"])
def test_inside_refuses_paths_that_leave_the_root(path, tmp_path):
    with pytest.raises(InputError, match=r"^list.csv row 3: the path '.*' leaves the data root"):
        inside(tmp_path, path, "list.csv row 3")


# Images


def test_read_image_gives_rgb_whatever_the_mode(tmp_path):
    for mode, colour in (("RGB", (10, 20, 30)), ("RGBA", (10, 20, 30, 0)), ("L", 20), ("P", 0), ("LA", (20, 255))):
        Image.new(mode, (6, 4), colour).save(tmp_path / "a.png")
        image = read_image(tmp_path / "a.png")
        assert image.shape == (4, 6, 3)
        assert image.dtype == np.uint8
    Image.new("RGB", (6, 4), (10, 20, 30)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == [10, 20, 30]).all()


def test_read_image_turns_a_photo_upright(tmp_path):
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned clockwise
    image.save(tmp_path / "a.png", exif=exif)
    upright = read_image(tmp_path / "a.png")
    assert upright.shape == (6, 4, 3)
    assert upright[0, -1, 0] == 255


def jpeg() -> bytes:
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no image", jpeg()[:1500], jpeg()[:10]])
def test_read_image_refuses_damaged_files_by_name(content, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jpg: not a readable image"):
        read_image(tmp_path / "a.jpg")


def test_read_image_names_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"a\.jpg: no such image"):
        read_image(tmp_path / "a.jpg")
