"""Files, for both packages: the exception for bad input, text that is safe to print, outputs that appear whole or not
at all, locks on folders, and paths that stay below their root.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from unicodedata import category

from filelock import FileLock, Timeout


class InputError(ValueError):
    """The input cannot be used. The message names the file, row or option and says what to do.

    The command line prints it as one line and exits with code 2. As it may quote a file, it is made ``printable``.

    >>> import swinface
    >>> try:
    ...     swinface.SwinFace.from_pretrained("no/such/folder")
    ... except swinface.InputError as error:
    ...     print(isinstance(error, ValueError))
    True
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """A text that cannot move a terminal's cursor or break a line, as names in other people's files might.

    Control characters, invisible ones, and bytes of a file's name that are not UTF-8 are written as escapes.

    >>> print(printable("a\\x1b[2J\\n.jpg é"))
    a\\x1b[2J\\n.jpg é
    """
    hidden = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")  # Unicode's categories
    return "".join(s.encode("unicode_escape").decode() if category(s) in hidden else s for s in text)


@contextmanager
def naming(where: object) -> Iterator[None]:
    """Put what is wrong, such as an option or a file, before the message of an ``InputError`` from the block.

    >>> with naming("--size"):
    ...     raise InputError("0 is too small.")
    Traceback (most recent call last):
    swinface.files.InputError: --size: 0 is too small.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error.__cause__  # so that a failure of a user's code can be traced


@contextmanager
def running(what: str) -> Iterator[None]:
    """Run a user's code, which may fail in any way: all that it raises, also ``SystemExit``, becomes an ``InputError``
    that names it.

    >>> with running("eraser 'mine.Half'"):
    ...     1 / 0
    Traceback (most recent call last):
    swinface.files.InputError: eraser 'mine.Half': it fails (ZeroDivisionError: division by zero).
    """
    with naming(what):
        try:
            yield
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"it fails ({type(error).__name__}: {one_line(error)}).") from error


def drop_output() -> None:
    """Discard further output: the program that read it, such as ``head``, has ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(text: object) -> str:
    """A text, such as that of an exception, on one line: each run of white space becomes one blank."""
    return " ".join(str(text).split())


def name_reason(error: Exception) -> str:
    """What went wrong, on one line; of the system's errors without their number and file, for messages that name it."""
    return one_line(getattr(error, "strerror", None) or error)


def describe_install(extra: str) -> str:
    """The command that installs an extra. It names no package, as ours is on no index: ``pip install NAME`` would
    install someone else's package.

    >>> describe_install("photos")
    "`pip install '.[photos]'` in this project's folder"
    """
    return f"`pip install '.[{extra}]'` in this project's folder"


def expand_home(text: str) -> str:
    """An argument or a setting with the home folder in the place of a ``~/`` that it begins with.

    A shell does so in ``--out ~/runs``, but not in ``--out=~/runs``, in quotes or in a configuration.

    >>> expand_home("--out=~/runs").endswith("~/runs"), expand_home("a~/b")
    (False, 'a~/b')
    """
    return re.sub(r"\A(--[\w.-]+=)?~(?=/)", lambda match: (match[1] or "") + os.path.expanduser("~"), text)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file next to ``path``, and rename it when the block ends without an error; otherwise leave nothing.

    Yields where to write: in the folder of ``path`` (made if missing) and with its ending.
    """
    path = Path(expand_home(os.fspath(path)))
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file to write to.")
    with _partial_folder(path) as partial:
        yield partial / path.name
        _move(partial / path.name, path)


@contextmanager
def replacing_folder(path: str | os.PathLike, owned: Sequence[str] = (), last: str = "") -> Iterator[Path]:
    """Write files into a folder next to ``path``, and move them there when the block ends without an error.

    Yields the folder to write into. Files of the same name in ``path`` are replaced, all others stay, but for those of
    the patterns ``owned``: only this writer uses such names, and those of earlier runs are deleted, so that old and new
    files are not mixed. The file ``last``, which says that all are there, is moved last: a process may be killed
    before.
    """
    path = Path(expand_home(os.fspath(path)))
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder to write to.")
    place = _find_place(path)
    with _partial_folder(place) as partial, ExitStack() as stack:
        yield partial
        stack.enter_context(_holding(place.parent / f".{place.name}.moving.lock"))  # files of two processes do not mix
        for earlier in {file for pattern in owned for file in path.glob(pattern) if file.is_file()}:
            if not (partial / earlier.name).exists():
                earlier.unlink()
        for source in sorted((p for p in partial.rglob("*") if p.is_file()), key=lambda p: (p == partial / last, p)):
            target = path / source.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(source, target)


def check_place(path: str | os.PathLike) -> None:
    """Refuse an output that has no place where it should be written, before any work is done for it."""
    place = Path(path).absolute()
    above = place if place.is_dir() else next(it for it in place.parents if it.exists())
    if not above.is_dir():
        raise InputError(f"cannot write {path}: {above} is a file. Choose another place.")
    if not os.access(above, os.W_OK):
        raise InputError(f"cannot write {path}: you may not write in {above}. Choose another place.")


def _find_place(folder: str | os.PathLike) -> Path:
    """A folder behind its links, beside which its files can be made; a name in it where they cannot.

    They are renamed, on one disk alone: another may be mounted here, or the folder above may not be written.
    """
    place = Path(folder).resolve()
    within = place.is_dir() and (os.path.ismount(place) or not os.access(place.parent, os.W_OK))
    return place / place.name if within else place


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

    The system frees it when the process ends, also when it is killed. The file may stay behind; a lock file
    without a holder is free.
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
            with suppress(PermissionError):  # Windows deletes no file that is open
                file.unlink(missing_ok=True)  # before the lock is freed: the next process then makes a new file
            lock.release()


@contextmanager
def working_alone(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes out of ``folder`` during the block, and delete what killed processes left half-written.

    Raises ``InputError`` if another process works there.
    """
    place = _find_place(folder)
    with ExitStack() as stack:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(_holding(place.parent / f".{place.name}.lock", timeout=0))
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}. Choose another place.") from error
        if not held:
            raise InputError(f"{folder}: another process is at work here; wait for it or choose another folder.")
        _clear_partial(place.parent, glob.escape(place.name))
        _clear_partial(Path(folder))
        yield


def digest_file(path: str | os.PathLike) -> str:
    """The SHA-256 digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a text file in UTF-8; ``what`` says what it should be, for messages.

    Raises ``InputError`` if the file is missing or not readable.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable {what} ({one_line(error)}).") from error


def write_json(path: Path, record: object) -> None:
    """Write a record as JSON, with its values converted by ``to_plain``."""
    path.write_text(json.dumps(to_plain(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def to_plain(value: object) -> object:
    """For JSON, which has no such values: NaN becomes null, infinity the text Infinity, a path its text."""
    if hasattr(value, "tolist"):  # a numpy scalar or array
        value = value.tolist()
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def check_ending(path: str | os.PathLike, endings: Sequence[str], what: str) -> None:
    """Refuse an output whose name does not end as its format does, before any work is done for it."""
    if Path(path).suffix not in endings:
        raise InputError(f"{path}: {what} is written to a file that ends in {' or '.join(endings)}.")


def tidy_path(path: str) -> str:
    r"""A path below a root as all tables here have it: with single slashes, also from Windows, and no ``./`` in it.

    >>> tidy_path(r".\Train\train-faces\a.jpg"), tidy_path("Train//./a.jpg")
    ('Train/train-faces/a.jpg', 'Train/a.jpg')
    """
    path = path.strip().replace("\\", "/")
    return PurePosixPath(path).as_posix() if "//" in path or "./" in path else path


def inside(root: str | os.PathLike, relative: str, where: str) -> Path:
    """The path of ``relative`` below ``root``. Backslashes, of Windows, are slashes.

    Raises ``InputError`` if ``relative``, which stands ``where`` (a file and row), is empty, absolute or climbs out of
    ``root``.
    """
    path = PurePosixPath(relative.replace("\\", "/"))
    if not path.parts or ".." in path.parts or path.is_absolute() or Path(path).drive:  # one of Windows
        raise InputError(f"{where}: the path {relative!r} leaves the data root; paths must lie below it.")
    return Path(root, path)
