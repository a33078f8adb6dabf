"""Arrays that are computed once, kept as files and mapped into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from swinface.files import replacing


def digest_files(files: Iterable[Path], *about: object) -> str:
    """A text of 16 characters, for the name of a file of ``map_computed``: it changes with ``about``, and when one of
    the files is written to, appears or is removed."""
    digest = hashlib.sha256("\0".join(map(str, about)).encode())
    for file in files:
        status = file.stat() if file.is_file() else None
        digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode() if status else b"- ")
    return digest.hexdigest()[:16]


def map_computed(
    path: Path,
    shape: tuple[int, ...],
    dtype: type,
    compute: Callable[[slice], np.ndarray],
    rows: int,
    what: str,
    writable: bool = False,
) -> np.ndarray:
    """An array mapped from a .npy file; if this is missing, ``compute`` gives its values first, some ``rows`` at a
    time.

    The name of the file must depend on what the array is computed from: a file that exists is not computed again.
    ``what`` is the title of the progress bar. An array that is ``writable`` in memory leaves the file as it is.
    """
    if not path.exists():
        with replacing(path) as partial:
            values = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
            for start in tqdm(range(0, shape[0], rows), desc=what, unit="part", leave=False, disable=None):
                part = slice(start, min(start + rows, shape[0]))
                values[part] = compute(part)
            values.flush()
            del values
    return np.load(path, mmap_mode="c" if writable else "r")
