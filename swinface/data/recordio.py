"""MXNet's RecordIO, without mxnet: a file of records (``.rec``) and the place of each in it (``.idx``).

A record is one or more parts, each ``magic, flag and length, data, padding to 4 bytes``; words are little-endian. If
the data contain the magic number, a writer ends the part there and omits the number; a reader inserts it again.
The data of an image record are a header, ``flag, label, id, id2``, then ``flag`` labels if it is not 0, then the
encoded image.

Reference: dmlc-core's ``recordio.h`` and ``mxnet.recordio``.
"""

from __future__ import annotations

import struct
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from swinface.files import InputError, name_reason

MAGIC = 0xCED7230A
WHOLE, FIRST, MIDDLE, LAST = range(4)  # what a part is of its record: the upper 3 bits of the word after the magic
LENGTH_BITS = 29  # the lower bits of that word
PART_HEADER = struct.Struct("<II")  # magic; flag and length
HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
WORD = 4  # bytes; parts start at multiples of it


class RecordFile:
    """Random access to the records of a file, by key. Any number of threads may read.

    Files are opened when first needed, and again by each process that a copy is sent to. ``path`` is the ``.rec`` file;
    the ``.idx`` of the same name must lie next to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> dict:
        return {"path": self.path}  # without the mapped file, which would be copied in full

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """The keys in the order of the ``.idx``, and where each record starts, in bytes: (N,) int64 each."""
        path = self.path.with_suffix(".idx")
        try:
            with np.errstate(invalid="raise"):  # infinite numbers
                keys, offsets = pd.read_csv(path, sep="\t", header=None, dtype=np.int64).to_numpy().T
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; it must lie next to {self.path.name}.") from None
        except (OSError, ValueError, TypeError, ArithmeticError) as error:
            raise InputError(f"{path}: not the index of a RecordIO file; lines must be `key<tab>offset`.") from error
        return keys, offsets

    @cached_property
    def _by_key(self) -> tuple[np.ndarray, np.ndarray]:
        """The keys in ascending order, and their offsets, for binary search: a hash table takes far more memory."""
        keys, offsets = self._index
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, offsets = keys[order], offsets[order]
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if len(twice):
            raise InputError(f"{self.path.with_suffix('.idx')}: record {keys[twice[0]]} is listed twice.")
        return keys, offsets

    def _locate(self, wanted: np.ndarray | int) -> np.ndarray:
        """Where the records of keys start, in bytes, of the shape of ``wanted``. Raises ``InputError`` if one is not
        there."""
        keys, offsets = self._by_key
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        lacking = np.extract(keys[place] != wanted, wanted)
        if len(lacking):
            raise InputError(f"{self.path.with_suffix('.idx')}: has no record {lacking[0]}.")
        return offsets[place]

    @cached_property
    def _bytes(self) -> np.ndarray:
        try:
            return np.memmap(self.path, dtype=np.uint8, mode="r")
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such RecordIO file.") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path}: not a readable RecordIO file ({name_reason(error)}).") from error

    def read(self, key: int) -> tuple[np.ndarray, bytes]:
        """The labels of a record, float32, and what follows them, such as an encoded image.

        Raises ``InputError`` if there is no such record, or the file is cut off or damaged there.
        """
        content = self._join_parts(key, int(self._locate(key)))
        if len(content) < HEADER.size:
            raise self._damaged(key, "its header is cut off")
        count, label, _, _ = HEADER.unpack_from(content)
        start = HEADER.size + WORD * count
        if len(content) < start:
            raise self._damaged(key, "its labels are cut off")
        if not count:
            return np.array([label], np.float32), content[start:]
        return np.frombuffer(content, "<f4", count, HEADER.size), content[start:]

    def _join_parts(self, key: int, start: int) -> bytes:
        parts: list[bytes] = []
        while True:
            header = self._bytes[start : start + PART_HEADER.size].tobytes() if start >= 0 else b""
            if len(header) < PART_HEADER.size:
                raise self._damaged(key, "the file ends before it")
            magic, word = PART_HEADER.unpack(header)
            place, length = word >> LENGTH_BITS, word & ((1 << LENGTH_BITS) - 1)
            if magic != MAGIC or place not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
                raise self._damaged(key, "no record starts or goes on there")
            start += PART_HEADER.size
            parts.append(self._bytes[start : start + length].tobytes())
            if len(parts[-1]) < length:
                raise self._damaged(key, "the file ends within it")
            if place in (WHOLE, LAST):
                return struct.pack("<I", MAGIC).join(parts)
            start += -(-length // WORD) * WORD

    def _damaged(self, key: int, what: str) -> InputError:
        where = f"record {key}, at byte {self._locate(key)}"
        return InputError(f"{self.path}: {where}: {what}; copy the .rec and its .idx again.")

    def image_keys(self) -> np.ndarray:
        """Keys of the image records, (N,) int64, in the order of the ``.idx``.

        In sets of faces record 0 has no image. Further records without an image, one per identity, follow the images;
        the labels of record 0 are the first key of these and the key after the last. So images are the records from 1
        to before its first label.
        """
        keys, _ = self._index
        if self._by_key[0][0] != 0:
            return keys
        labels, content = self.read(0)
        if content:  # an image, as in files that mxnet's im2rec makes
            return keys
        images = keys[(keys >= 1) & (keys < labels[0])]
        if len(images) != labels[0] - 1:
            raise InputError(f"{self.path}: record 0 announces {labels[0] - 1:.0f} images, the .idx has {len(images)}.")
        return images

    def read_labels(self, keys: np.ndarray, records: int = 1 << 16) -> np.ndarray:
        """The first label of each record, float32, read from their first bytes alone, ``records`` at a time.

        Raises ``InputError`` if the file is cut off or damaged at a record.
        """
        words = self._bytes[: len(self._bytes) // WORD * WORD].view("<u4")
        labels = np.empty(len(keys), np.float32)
        for first in range(0, len(keys), records):
            chunk = slice(first, first + records)
            labels[chunk], plain = _peek(words, self._locate(keys[chunk]))
            for row in first + np.flatnonzero(~plain):
                labels[row] = self.read(int(keys[row]))[0][0]
        return labels


def _peek(words: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first label of the records at some bytes, and whether it can be trusted.

    It cannot if a record is in parts, damaged or near the end of the file. This is rare: such records are then read one
    by one.
    """
    before = PART_HEADER.size // WORD
    extra = before + HEADER.size // WORD  # where labels are that have no room in the header
    within = (offsets >= 0) & (offsets % WORD == 0) & (offsets // WORD + extra < len(words))
    start = np.where(within, offsets // WORD, 0)
    if extra >= len(words):
        return np.zeros(len(offsets), np.float32), within
    # One gather reads each page of the file only once.
    heads = words[start[:, None] + np.arange(extra + 1)]
    place, length = heads[:, 1] >> LENGTH_BITS, heads[:, 1] & ((1 << LENGTH_BITS) - 1)
    count = heads[:, before].astype(np.int64)
    plain = within & (heads[:, 0] == MAGIC) & (place == WHOLE) & (length >= HEADER.size + WORD * count)
    plain &= start + before + (length + WORD - 1) // WORD <= len(words)
    return heads[np.arange(len(heads)), np.where(count > 0, extra, before + 1)].view("<f4"), plain
