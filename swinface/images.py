"""Images: which files of a folder are images, and their pixels, read in full or refused."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from swinface.files import InputError, inside, one_line, printable

MOST_PIXELS = 200_000_000  # of an image; reading one of this size needs 3 GB
UNREADABLE = (".heic", ".heif")  # photos of iPhones: Pillow cannot read them, so they are refused by name
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".jpx"),  # of older sets of faces, such as ORL's and FERET's
    *UNREADABLE,
)
HIDDEN = "hidden"  # reason for which a file is left out
BESIDE = (".csv", ".db", ".ini", ".json", ".mat", ".md", ".txt")  # common beside images; Windows writes .db and .ini
_opening = threading.Lock()


class Images(NamedTuple):
    """The files of a folder."""

    names: list[str]  #: paths of the images, below the root
    left_out: dict[str, str]  #: path to reason, of each other file, and of each folder that was not entered

    def describe_left_out(self) -> str:
        """What was left out and why, in one line; empty if nothing was.

        >>> Images([], {"._a.jpg": "hidden", "b.txt": "not named as an image", ".c": "hidden"}).describe_left_out()
        '3 files left out: 2 hidden (such as ._a.jpg), 1 not named as an image (such as b.txt)'
        """
        groups: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            groups.setdefault(reason, []).append(name)
        parts = [f"{len(names):,} {reason} (such as {printable(names[0])})" for reason, names in groups.items()]
        many = "1 file" if len(self.left_out) == 1 else f"{len(self.left_out):,} files"
        return f"{many} left out: {', '.join(parts)}" if parts else ""


def list_images(root: str | os.PathLike, below: str = ".") -> Images:
    """The images in the folder ``below`` of a root, however deep, and what else is there.

    A file is an image if its name has one of ``IMAGE_ENDINGS``. Hidden files and folders, whose names begin with a dot,
    are left out; macOS writes such beside each image. Links to folders are followed, wherever they lead. A folder that
    can be reached in several ways is listed once, under its own name if it lies within the one that is listed.

    Paths are below ``root``, in the order of their names; those in linked folders are last. Raises ``InputError`` if a
    folder is missing, cannot be read, or lies outside ``root``.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be read ({error.strerror}).") from error

    start = Path(root) if below == "." else inside(root, below, "below")
    if not start.is_dir():
        raise InputError(f"{start}: no such folder of images.")
    found, listed, to_list = Images([], {}), set(), [start]
    for top in to_list:  # grows by the links that are found
        for place, folders, files in os.walk(top, onerror=refuse):
            if (real := os.path.realpath(place)) in listed:
                folders.clear()
                continue
            listed.add(real)
            relative = Path(place).relative_to(root)
            found.left_out.update({(relative / name).as_posix(): HIDDEN for name in folders if name.startswith(".")})
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            to_list += [path for path in (Path(place, name) for name in folders) if path.is_symlink()]
            for name in sorted(files):
                path, reason = (relative / name).as_posix(), _refuse_name(name)
                if reason is None and not os.path.isfile(at := os.path.join(place, name)) and os.path.exists(at):
                    reason = "a pipe or device"  # reading it might never end
                if reason is None:
                    found.names.append(path)
                else:
                    found.left_out[path] = reason
    return found


def take_images(root: str | os.PathLike, below: str = ".") -> list[str]:
    """The images of ``list_images``; a warning counts the files that are left out.

    Hidden files and ``BESIDE`` do not count.
    """
    names, left_out = list_images(root, below)
    others = {name: why for name, why in left_out.items() if why != HIDDEN and not name.lower().endswith(BESIDE)}
    if others:
        warnings.warn(f"{root}: {Images(names, others).describe_left_out()}.", stacklevel=2)
    return names


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and the images in folders that are named, as ``take_images`` finds them.

    Raises ``InputError`` if there are none.
    """
    files = []
    for path in paths:
        files += [path / name for name in take_images(path)] if path.is_dir() else [path]
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no images; name images, or a folder of them.")
    return files


def name_saved(name: str) -> str:
    """The name under which what was made of an image is saved, as JPEG or PNG: the image's own if it ends so, or else
    with .png appended.

    >>> name_saved("a/b.JPG"), name_saved("b.webp")
    ('a/b.JPG', 'b.webp.png')
    """
    return name if name.lower().endswith((".jpg", ".jpeg", ".png")) else f"{name}.png"


def _refuse_name(name: str) -> str | None:
    """Why a file is not taken for an image; None if it is."""
    if name.startswith("."):
        return HIDDEN
    if not name.lower().endswith(IMAGE_ENDINGS):
        return "not named as an image"
    if "\\" in name:  # as unzip makes of a zip from Windows; in lists it parts folders
        return "with a backslash in its name"
    try:
        name.encode()
    except UnicodeEncodeError:  # no table or list could hold it
        return "with a name that is not UTF-8"
    return None


def read_image(image: str | os.PathLike | bytes, name: str = "the image") -> np.ndarray:
    """Decode an image, a file or its content, in full: (height, width, 3) uint8 RGB, other modes converted by
    ``upright_rgb``.

    Raises ``InputError``, in which content is called ``name``, if it is missing, empty, truncated, too large or not an
    image.
    """
    name = name if isinstance(image, bytes) else os.fspath(image)
    try:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()  # Pillow would read what lengths say
        if not content:
            raise InputError(f"{name}: not a readable image (it is empty); copy it again, or remove it.")
        with _open_image(content) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise InputError(
                    f"{name}: {opened.width}x{opened.height} pixels; at most {MOST_PIXELS // 10**6} million are read: "
                    "make it smaller."
                )
            return upright_rgb(opened)
    except FileNotFoundError:
        raise InputError(f"{name}: no such image.") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder; name an image in it.") from None
    except InputError:
        raise
    except UnidentifiedImageError as error:
        of_phone = name.lower().endswith(UNREADABLE) or content[4:8] == b"ftyp"  # HEIC under any name
        do = "save it as JPEG" if of_phone else "replace or remove it"
        raise InputError(f"{name}: not a readable image (its format is not supported); {do}.") from error
    except Exception as error:  # Pillow's readers fail in any way on damaged bytes
        reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        raise InputError(f"{name}: not a readable image ({reason}); replace or remove it.") from error


def check_pixels(image: np.ndarray, name: str = "the image") -> None:
    """Refuse what is not an array of pixels, (H, W, 3) uint8, with ``InputError``; ``name`` is for the message."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"{name}: pixels must be an array, (H, W, 3) uint8, not a {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"{name}: pixels must be (H, W, 3) uint8, not {image.shape} {image.dtype}.")


def _open_image(content: bytes) -> Image.Image:
    """Read an image's header, without Pillow's limit, which is lower than ours and at first only a warning."""
    with _opening:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(BytesIO(content))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def upright_rgb(image: Image.Image) -> np.ndarray:
    """An image as pixels, (height, width, 3) uint8 RGB: turned upright by its EXIF orientation, transparent parts
    white, 16 bits reduced to 8.

    Raises ``ValueError`` if the image's numbers have no fixed range that could be brought to 8 bits, or use 12 bits or
    fewer of 16, so that it would be black.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I"):
        raise ValueError(f"its pixels have 32 bits (Pillow's mode {image.mode}); save it with 8 bits")
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        if 0 < values.max() < 1 << 12:
            raise ValueError(
                f"its brightest pixel is {values.max()} of 65,535, as from a 12-bit camera; save it with 8 bits"
            )
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(colours)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
