"""Arrays that are computed once, kept as files and mapped into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from swinface.files import replacing


def map_computed(
    path: Path,
    shape: tuple[int, ...],
    dtype: type,
    compute: Callable[[slice], np.ndarray],
    rows: int,
    what: str,
    writable: bool = False,
) -> np.ndarray:
    """An array from a file. If the file is missing, the array is computed first; the file is written in full or not.

    Parameters
    ----------
    path
        Ends in .npy. The name must depend on what the array is computed from: a file that exists is not computed again.
    shape, dtype
        Of the array.
    compute
        From some rows of the array to their values.
    rows
        Rows that are computed at once.
    what
        Title of the progress bar.
    writable
        Whether the array in memory may be written to; the file stays as it is.

    Returns
    -------
    np.ndarray
        Mapped from the file: parts are read when they are used.
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
