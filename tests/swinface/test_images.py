"""Images of a folder are listed, all else is accounted for; an image is read in full or refused."""

from __future__ import annotations

import contextlib
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from swinface.files import InputError
from swinface.images import check_pixels, find_images, list_images, read_image, take_images

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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_is_left_out_as_reading_it_may_never_end(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert list_images(tmp_path) == ([], {"a.jpg": "a pipe or device"})


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
    write(tmp_path, os.fsdecode(b"a\xff.jpg"), "b\n.jpg", *["c\\d.jpg"] * (os.sep == "/"))
    found = list_images(tmp_path)
    assert found.names == ["b\n.jpg"]
    assert found.left_out[os.fsdecode(b"a\xff.jpg")] == "with a name that is not UTF-8"
    assert os.sep != "/" or found.left_out["c\\d.jpg"] == "with a backslash in its name"


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


# Images


def test_read_image_gives_rgb_whatever_the_mode(tmp_path):
    for mode, colour in (("RGB", (10, 20, 30)), ("RGBA", (10, 20, 30, 0)), ("L", 20), ("P", 0), ("LA", (20, 255))):
        Image.new(mode, (6, 4), colour).save(tmp_path / "a.png")
        image = read_image(tmp_path / "a.png")
        assert image.shape == (4, 6, 3)
        assert image.dtype == np.uint8
    Image.new("RGB", (6, 4), (10, 20, 30)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == [10, 20, 30]).all()


@pytest.mark.parametrize(("bits", "read"), [(16, True), (13, True), (12, False), (8, False), (0, True)])
def test_an_image_of_few_bits_in_16_is_refused_as_it_would_be_black(bits, read, tmp_path):
    Image.fromarray(np.full((4, 6), (1 << bits) - 1, np.uint16)).save(tmp_path / "a.png")
    if read:
        assert (read_image(tmp_path / "a.png") == ((1 << bits) - 1) >> 8).all()
    else:
        with pytest.raises(InputError, match=rf"a\.png: .*brightest pixel is {(1 << bits) - 1} of 65,535"):
            read_image(tmp_path / "a.png")


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is empty"), (b"no image", "format"), (jpeg()[:1500], "truncated"), (jpeg()[:10], "")],
)
def test_read_image_refuses_damaged_files_by_name(content, reason, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.jpg: not a readable image \(.*{reason}"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("ending", ["heic", "HEIF", "jpg"])
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


# Kinds of images


@pytest.mark.parametrize(
    ("mode", "colour", "ending", "expected"),
    [
        ("RGBA", (0, 0, 0, 0), "png", (255, 255, 255)),
        ("RGBA", (100, 0, 0, 128), "png", (177, 127, 127)),
        ("LA", (0, 128), "png", (127, 127, 127)),
        ("L", 77, "png", (77, 77, 77)),
        ("I;16", 77 * 256 + 255, "png", (77, 77, 77)),
        ("I;16", 77 * 256 + 255, "tif", (77, 77, 77)),
        ("CMYK", (0, 255, 255, 0), "jpg", (255, 0, 0)),
        ("1", 1, "png", (255, 255, 255)),
    ],
)
def test_images_of_every_mode_are_read_right(mode, colour, ending, expected, tmp_path):
    Image.new(mode, (8, 8), colour).save(tmp_path / f"a.{ending}")
    image = read_image(tmp_path / f"a.{ending}")
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= 1


def test_transparent_palette_entries_are_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "a.png", transparency=bytes([0, 255]))
    pixels = read_image(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [0, 255, 0]
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_pixels_without_a_range_are_refused(tmp_path):
    Image.new("F", (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: not a readable image .*mode F"):
        read_image(tmp_path / "a.tif")


def test_large_images_are_read_up_to_a_stated_size(tmp_path):
    """Pillow warns from 89 million pixels and refuses from 179; its own limit is as before afterwards."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("L", (10_000, 10_000)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (10_000, 10_000, 3)
    Image.new("1", (20_000, 10_001)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: 20000x10001 pixels; at most 200 million"):
        read_image(tmp_path / "b.png")
    assert limit == Image.MAX_IMAGE_PIXELS
