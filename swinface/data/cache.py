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
