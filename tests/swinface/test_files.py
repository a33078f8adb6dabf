"""Outputs appear whole or not at all, paths stay below their root, images are read in full or refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from swinface.files import (
    InputError,
    check_pixels,
    find_images,
    inside,
    list_images,
    printable,
    read_image,
    replacing,
    replacing_folder,
    take_images,
    working_alone,
)


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


def test_files_of_two_writers_of_one_folder_do_not_mix(tmp_path):
    names = [f"{number}.txt" for number in range(200)]

    def write(text: str) -> None:
        with replacing_folder(tmp_path / "out") as folder:
            for name in names:
                (folder / name).write_text(text)
            barrier.wait()

    for _ in range(5):
        barrier = Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(write, text) for text in ("one", "two")]:
                done.result()
        assert len({(tmp_path / "out" / name).read_text() for name in names}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file; name a folder"), replacing_folder(tmp_path / "file"):
        pass
    with pytest.raises(InputError, match=r"cannot write .*a\.csv"), replacing(tmp_path / "file" / "a.csv"):
        pass
    assert names(tmp_path) == ["file"]


INSIDE = """
import sys
from pathlib import Path
from threading import Barrier
from swinface.files import replacing, replacing_folder, working_alone

with {block} as place:
    if place is not None:
        (place / "part.txt" if place.is_dir() else place).write_text("half")
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def inside_of() -> Iterator[Callable[[str], subprocess.Popen]]:
    """Start a process that stays within a block until it is killed."""
    started = []

    def start(block: str) -> subprocess.Popen:
        command = [sys.executable, "-c", INSIDE.format(block=block)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "inside\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_writer_left_goes_when_the_same_is_written_again(tmp_path, inside_of):
    out, table = tmp_path / "out", tmp_path / "[a].csv"
    for block in (f"replacing_folder({str(out)!r})", f"replacing({str(table)!r})"):
        killed = inside_of(block)
        killed.kill()
        killed.wait()
    assert len(list(tmp_path.glob(".*.partial"))) == 2
    with replacing(tmp_path / "other.csv") as path:
        path.write_text("other")
    assert len(list(tmp_path.glob(".*.partial"))) == 2
    with replacing_folder(out) as folder:
        (folder / "b.txt").write_text("whole")
    with replacing(table) as path:
        path.write_text("whole")
    assert names(tmp_path) == ["[a].csv", "other.csv", "out", "out/b.txt"]


def test_a_writer_that_is_at_work_is_left_alone(tmp_path, inside_of):
    out = tmp_path / "out"
    other = inside_of(f"replacing_folder({str(out)!r})")
    with replacing_folder(out) as folder:
        (folder / "ours.txt").write_text("ours")
    other.communicate()
    assert other.returncode == 0
    assert names(tmp_path) == ["out", "out/ours.txt", "out/part.txt"]


def test_a_folder_is_one_process_at_a_time_and_free_when_it_is_killed(tmp_path, inside_of):
    out = tmp_path / "runs" / "out"
    writer = inside_of(f"replacing({str(out / 'a.csv')!r})")
    other = inside_of(f"working_alone({str(out)!r})")
    with pytest.raises(InputError, match=r"runs/out: another process is at work here"), working_alone(out):
        pass
    for process in (other, writer):
        process.kill()
        process.wait()
    assert len(names(out)) > 0
    with working_alone(out):
        assert names(out) == []
        (out / "a.csv").write_text("whole")
    assert names(tmp_path) == ["runs", "runs/out", "runs/out/a.csv"]


# Paths


def test_inside_joins_paths_below_the_root(tmp_path):
    for path in ("F0001/MID1/a.jpg", "./F0001/MID1/a.jpg", "F0001\\MID1\\a.jpg", ".\\F0001/MID1\\a.jpg"):
        assert inside(tmp_path, path, "list.csv row 3") == tmp_path / "F0001" / "MID1" / "a.jpg"


@pytest.mark.parametrize("path", ["", ".", "/etc/passwd", "../a.jpg", "F0001/../../a.jpg", "..\\a.jpg", "\\a.jpg"])
def test_inside_refuses_paths_that_leave_the_root(path, tmp_path):
    with pytest.raises(InputError, match=r"^list.csv row 3: the path '.*' leaves the data root"):
        inside(tmp_path, path, "list.csv row 3")


# Images in folders


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_images_are_listed_by_their_endings_and_all_else_with_a_reason(tmp_path):
    images = [
        f"a.{ending}"
        for ending in ["JPG", "avif", "bmp", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "png", "tif", "tiff", "webp"]
    ]
    write(tmp_path, *images, "b/c/d.jpg", "._a.JPG", "b/.DS_Store", "b/.cache/e.jpg", "notes.txt", "jpg")
    found = list_images(tmp_path)
    assert found.names == [*images, "b/c/d.jpg"]
    assert found.left_out == {
        "._a.JPG": "hidden",
        "b/.DS_Store": "hidden",
        "b/.cache": "hidden",
        "notes.txt": "not named as an image",
        "jpg": "not named as an image",
    }
    assert list_images(tmp_path, "b/c") == (["b/c/d.jpg"], {})


def test_links_to_folders_are_followed_once_and_not_round_in_circles(tmp_path):
    root = tmp_path / "root"
    write(root, "z/1.jpg", "z/y/2.jpg")
    write(tmp_path, "elsewhere/3.jpg")
    for place, target in {"a": root / "z", "b": tmp_path / "elsewhere", "z/c": root, "z/d": tmp_path / "no"}.items():
        (root / place).symlink_to(target)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)
    assert list_images(root) == (["z/1.jpg", "z/y/2.jpg", "b/3.jpg"], {"z/d": "not named as an image"})
    (tmp_path / "link").symlink_to(root)
    assert list_images(tmp_path / "link").names == ["z/1.jpg", "z/y/2.jpg", "b/3.jpg"]


@pytest.mark.parametrize(("below", "fault"), [("no", "no: no such folder"), ("..", "leaves the data root")])
def test_a_folder_that_is_not_there_or_not_below_is_refused(below, fault, tmp_path):
    with pytest.raises(InputError, match=fault):
        list_images(tmp_path, below)


def test_readers_warn_of_what_they_leave_out_but_for_what_belongs_there(tmp_path):
    write(tmp_path, "a/1.jpg", "a/mid.csv", "a/1.mat", "a/.DS_Store", "a/Thumbs.db", "README.md")
    assert take_images(tmp_path) == ["a/1.jpg"]
    write(tmp_path, "a/2.cr2", "b/3.CR2")
    with pytest.warns(UserWarning, match=r": 2 files left out: 2 not named as an image \(such as a/2\.cr2\)\.$"):
        assert find_images([tmp_path, tmp_path / "a" / "2.cr2"]) == [tmp_path / "a/1.jpg", tmp_path / "a/2.cr2"]


def test_a_name_that_no_table_can_hold_is_left_out(tmp_path):
    write(tmp_path, os.fsdecode(b"a\xff.jpg"), "b\n.jpg")
    found = list_images(tmp_path)
    assert found.names == ["b\n.jpg"]
    assert found.describe_left_out() == "1 file left out: 1 with a name that is not UTF-8 (such as a\\udcff.jpg)"


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/".join(parts)),
        st.sampled_from(["", ".png", ".TIFF", ".txt"]),
        max_size=8,
    )
)
def test_every_file_is_an_image_or_left_out(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("root")
    for name, ending in files.items():
        with contextlib.suppress(OSError):  # a name is a folder already
            write(root, name + ending)
    found = list_images(root)
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert not {*found.names} & found.left_out.keys()
    assert len(found.names) == len({*found.names})
    below_hidden = {name for name in there if any(folder.startswith(".") for folder in name.split("/")[:-1])}
    assert {*found.names} | {name for name in found.left_out if (root / name).is_file()} == there - below_hidden
    assert all(any(name.startswith(f"{folder}/") for folder in found.left_out) for name in below_hidden)
    assert "\n" not in found.describe_left_out()


@given(st.text(st.characters()))
def test_messages_cannot_steer_a_terminal(text):
    shown = printable(text)
    assert shown == printable(shown) == str(InputError(text))
    shown.encode()
    assert len(f"{shown}.".splitlines()) == 1
    assert not {"\x1b", "\r", "\x9b", "\u202e"} & {*shown}


def test_names_in_any_script_are_printed_as_they_are():
    name = "photos/Åsa 顔\u202f3.jpg 💥"
    assert printable(name) == name


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


@pytest.mark.parametrize("ending", ["heic", "HEIF"])
def test_a_format_that_is_not_read_is_refused_with_what_to_do(ending, tmp_path):
    (tmp_path / f"a.{ending}").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match=rf"a\.{ending}: not a readable image \(.*\); save it as JPEG\.$"):
        read_image(tmp_path / f"a.{ending}")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match=rf"^{tmp_path}: is a folder; name an image in it\.$"):
        read_image(tmp_path)


def test_an_exception_of_any_kind_is_an_input_error(tmp_path):
    """A DDS image of a format that Pillow knows by name alone."""
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "DDS")
    content = bytearray(buffer.getvalue())
    content[84:88] = b"ABCD"  # the compression
    content[80:84] = (4).to_bytes(4, "little")  # there is one
    (tmp_path / "a.dds").write_bytes(content)
    with pytest.raises(NotImplementedError), Image.open(tmp_path / "a.dds"):
        pass
    with pytest.raises(InputError, match=r"a\.dds: not a readable image \(.*; replace or remove it"):
        read_image(tmp_path / "a.dds")


def test_read_image_names_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"a\.jpg: no such image"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4, 3)), r"\(4, 4, 3\) float64"),
        (np.zeros((4, 4), np.uint8), r"\(4, 4\) uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\) uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\) uint8"),
    ],
)
def test_pixels_of_another_form_are_refused(image, found):
    with pytest.raises(InputError, match=rf"^photo: pixels must be \(H, W, 3\) uint8, not {found}\.$"):
        check_pixels(image, "photo")
    assert check_pixels(np.zeros((4, 5, 3), np.uint8)) is None
