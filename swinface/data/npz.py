"""Files of arrays, ``.npz``, made by others: sizes are checked before any work, and numpy unpickles nothing."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from swinface.data.pickles import read_objects
from swinface.files import InputError, naming

# A few compressed kilobytes can fill the memory. Embeddings are compressed to a half or so, paths of faces to a tenth.
MOST_BYTES, MOST_TIMES = 1 << 30, 100
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class ArrayFile:
    """The arrays of a ``.npz``, each read when it is asked for.

    ``names`` are those of the arrays, in the order of the file. Raises ``InputError`` if the file is missing, is no
    ``.npz``, or unpacks to far more than it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            packed = os.path.getsize(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such table of embeddings, a .npz.") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); name a .npz.") from error
        except Exception as error:  # damaged bytes make it fail in any way
            raise InputError(f"{path}: not a .npz, arrays as numpy.savez writes them.") from error
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > max(MOST_BYTES, MOST_TIMES * packed):
            raise InputError(f"{path}: unpacks from {packed:,} to {unpacked:,} bytes; write it without compression.")
        self.names = [entry.filename.removesuffix(".npy") for entry in entries if entry.filename.endswith(".npy")]

    def describe(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """The shape and the type of an array; raises ``InputError`` if it is damaged."""
        with self._open(name) as (_, shape, dtype, _):
            return shape, dtype

    def read(self, name: str) -> np.ndarray:
        """An array; also one of Python's objects, if they are texts, bytes or numbers.

        Raises ``InputError`` if it is damaged, or holds other objects.
        """
        with self._open(name) as (file, shape, dtype, by_column):
            content = file.read()
        if not dtype.hasobject:
            return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
        with naming(f"{self.path}: `{name}` holds Python's objects"):
            return np.fromiter(read_objects(content), dtype=object)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype, bool]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
                shape, by_column, dtype = HEADERS[npy.read_magic(file)](file)
                left = archive.getinfo(f"{name}.npy").file_size - file.tell()
                if not dtype.hasobject and (not dtype.itemsize or math.prod(shape) * dtype.itemsize != left):
                    raise ValueError(f"{left} bytes for {shape} {dtype}")
                yield file, shape, dtype, by_column
        except InputError:
            raise
        except Exception as error:  # damaged bytes make numpy, and what unpacks for it, fail in any way
            raise InputError(f"{self.path}: the array `{name}` is damaged; write the file again.") from error
