"""Files, for both packages: one exception for bad input, names that can be printed, outputs that are written completely
or not at all, paths that stay below their root, which files of a folder are images, images that are read in full or
refused, and locks on folders.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import category

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 200_000_000  # of an image; reading one of this size needs 3 GB


# Of the files that are taken for images. Photos of iPhones are among them, though Pillow cannot read them: they are
# refused by name, not overlooked.
UNREADABLE = (".heic", ".heif")
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif"),
    *UNREADABLE,
)

_opening = threading.Lock()


class InputError(ValueError):
    """The input cannot be used. The message names the file, row or option and says what to do.

    The command line prints it as one line and exits with code 2. As it may quote a file, it is made ``printable``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """A text in which nothing can move a terminal's cursor or break a line: names come from files of others.

    Control characters, invisible ones, and bytes of a file's name that are not UTF-8 are written as escapes.

    >>> print(printable("a\\x1b[2J\\n.jpg é"))
    a\\x1b[2J\\n.jpg é
    """
    hidden = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode's categories
    return "".join(s.encode("unicode_escape").decode() if category(s) in hidden else s for s in text)


def describe_install(extra: str) -> str:
    """The command that brings an extra: the package is on no index, so its name would find another's.

    >>> describe_install("photos")
    "`pip install '.[photos]'` in this project's folder"
    """
    return f"`pip install '.[{extra}]'` in this project's folder"


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file next to ``path``, and rename it when the block ends without an error; otherwise leave nothing.

    Yields
    ------
    Path
        Where to write: in the folder of ``path`` (made if missing) and with its ending.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file to write to.")
    with _partial_folder(path) as partial:
        yield partial / path.name
        _move(partial / path.name, path)


@contextmanager
def replacing_folder(path: str | os.PathLike, owned: Sequence[str] = ()) -> Iterator[Path]:
    """Write files into a folder next to ``path``, and move them there when the block ends without an error.

    Files of the same name in ``path`` are replaced, all others stay. Yields the folder to write into.

    Parameters
    ----------
    owned
        Patterns of names that only this writer uses. Such files of earlier runs are deleted, so that old and new files
        are not mixed.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder to write to.")
    with _partial_folder(path) as partial, ExitStack() as stack:
        yield partial
        stack.enter_context(_holding(path.parent / f".{path.name}.moving.lock"))  # files of two processes do not mix
        for earlier in {file for pattern in owned for file in path.glob(pattern) if file.is_file()}:
            if not (partial / earlier.name).exists():
                earlier.unlink()
        for source in sorted(p for p in partial.rglob("*") if p.is_file()):
            target = path / source.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)


def _move(source: Path, target: Path) -> None:
    """Rename, with the permissions a file made in place would have had; some writers make theirs private."""
    mask = os.umask(0)
    os.umask(mask)
    source.chmod(0o666 & ~mask)
    os.replace(source, target)


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, next to ``path``. Its lock is taken before the folder is made and freed after it is gone:
    if the lock of a folder is free, a killed process left it."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear_partial(path.parent, glob.escape(path.name))
            folder = path.parent / f".{path.name}.{secrets.token_hex(4)}.partial"
            stack.enter_context(_holding(Path(f"{folder}.lock")))
            folder.mkdir(0o700)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}. Choose another place.") from error
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _clear_partial(parent: Path, name: str = "*") -> None:
    """Delete what killed processes left when they wrote to ``parent / name``, a pattern."""
    for lock in parent.glob(f".{name}.*.partial.lock"):
        with suppress(PermissionError), _holding(lock, timeout=0) as held:  # another user's are left alone
            if held:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


@contextmanager
def _holding(file: Path, timeout: float = -1) -> Iterator[bool]:
    """Hold a lock, and yield whether it was free within ``timeout`` seconds.

    The system frees it when the process ends, also when it is killed. The file is then left, and means nothing.
    """
    lock, held = FileLock(file), True
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        held = False
    try:
        yield held
    finally:
        if held:
            file.unlink(missing_ok=True)  # before the lock is freed: the next process then makes a new file
            lock.release()


@contextmanager
def working_alone(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes out of ``folder`` during the block, and delete what killed processes left half-written.

    Raises
    ------
    InputError
        Another process works there.
    """
    place = Path(folder).resolve()
    with ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(_holding(place.parent / f".{place.name}.lock", timeout=0))
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}. Choose another place.") from error
        if not held:
            raise InputError(f"{folder}: another process is at work here; wait for it or choose another folder.")
        _clear_partial(place.parent, glob.escape(place.name))
        _clear_partial(place)
        yield


def check_ending(path: str | os.PathLike, endings: Sequence[str], what: str) -> None:
    """Refuse an output whose name does not end as its format does, before any work is done for it."""
    if Path(path).suffix not in endings:
        raise InputError(f"{path}: {what} is written to a file that ends in {' or '.join(endings)}.")


def inside(root: str | os.PathLike, relative: str, where: str) -> Path:
    """The path of ``relative`` below ``root``, refused when it would leave it. Backslashes, of Windows, are slashes.

    Parameters
    ----------
    where
        Where the path comes from (a file and row), for the message.

    Raises
    ------
    InputError
        ``relative`` is empty, absolute or climbs out of ``root``.
    """
    path = PurePosixPath(relative.replace("\\", "/"))
    if not path.parts or ".." in path.parts or path.is_absolute():
        raise InputError(f"{where}: the path {relative!r} leaves the data root; paths must lie below it.")
    return Path(root, path)


HIDDEN = "hidden"  # why such files are left out


class Images(NamedTuple):
    """The files of a folder.

    Attributes
    ----------
    names
        Paths of the images, below the root.
    left_out
        Path to reason, of each other file, and of each folder that was not entered.
    """

    names: list[str]
    left_out: dict[str, str]

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
    """The images in a folder, however deep, and what else is there.

    Images are told by ``IMAGE_ENDINGS``. Hidden files and folders, whose names begin with a dot, are left out; macOS
    writes such beside each image. Links to folders are followed, wherever they lead. A folder that can be reached in
    several ways is listed once, under its own name if it lies within the one that is listed.

    Parameters
    ----------
    below
        The folder to list, from ``root``.

    Returns
    -------
    Images
        Paths below ``root``, in the order of their names; those in linked folders are last.

    Raises
    ------
    InputError
        A folder is missing, cannot be read, or lies outside ``root``.
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
                if reason is None:
                    found.names.append(path)
                else:
                    found.left_out[path] = reason
    return found


BESIDE = (".csv", ".db", ".ini", ".json", ".mat", ".md", ".txt")  # usually lie among images; two are written by Windows


def take_images(root: str | os.PathLike, below: str = ".") -> list[str]:
    """``list_images`` for a reader that needs the images alone; a warning counts what is left out.

    Hidden files and ``BESIDE`` do not count.
    """
    names, left_out = list_images(root, below)
    others = {name: why for name, why in left_out.items() if why != HIDDEN and not name.lower().endswith(BESIDE)}
    if others:
        warnings.warn(f"{root}: {Images(names, others).describe_left_out()}.", stacklevel=2)
    return names


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and the images in folders that are named, as ``take_images`` finds them.

    Raises
    ------
    InputError
        There are none.
    """
    files = []
    for path in paths:
        files += [path / name for name in take_images(path)] if path.is_dir() else [path]
    if not files:
        raise InputError(f"{', '.join(map(str, paths))}: no images; name images, or a folder of them.")
    return files


def _refuse_name(name: str) -> str | None:
    """Why a file is not taken for an image; None if it is."""
    if name.startswith("."):
        return HIDDEN
    if not name.lower().endswith(IMAGE_ENDINGS):
        return "not named as an image"
    try:
        name.encode()
    except UnicodeEncodeError:  # no table or list could hold it
        return "with a name that is not UTF-8"
    return None


def read_image(image: str | os.PathLike | bytes, name: str = "the image") -> np.ndarray:
    """Decode an image in full; ``upright_rgb`` describes how other modes are converted.

    Parameters
    ----------
    image
        A file, or its content.
    name
        Of an image that is no file, for messages.

    Returns
    -------
    np.ndarray
        (height, width, 3), uint8, RGB.

    Raises
    ------
    InputError
        The file is missing, empty, truncated, too large or not an image.
    """
    name = name if isinstance(image, bytes) else os.fspath(image)
    try:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()  # Pillow would read what lengths say
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
        do = "save it as JPEG" if name.lower().endswith(UNREADABLE) else "replace or remove it"
        raise InputError(f"{name}: not a readable image (in no format that is read); {do}.") from error
    except Exception as error:  # Pillow's readers fail in any way on damaged bytes
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: not a readable image ({reason}); replace or remove it.") from error


def check_pixels(image: np.ndarray, name: str = "the image") -> None:
    """Refuse an array that is not pixels, (H, W, 3) uint8, with ``InputError``; ``name`` is for the message."""
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
    """An image as pixels: turned upright by its EXIF orientation, transparent parts white, 16 bits reduced to 8.

    Returns
    -------
    np.ndarray
        (height, width, 3), uint8, RGB.

    Raises
    ------
    ValueError
        The image's numbers have no fixed range that could be brought to 8 bits.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode in ("F", "I"):
        raise ValueError(f"its pixels are of Pillow's mode {image.mode}, 32 bits; save it with 8")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(colours)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
