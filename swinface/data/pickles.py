"""The verification sets of insightface, ``.bin`` files: pickles of encoded images, and of a label per pair.

Arrays of Python's texts, which ``numpy.save`` pickles too, are read in the same way.

A pickle may name any function and call it. This reader knows the few names that are needed for bytes, and for numpy's
arrays and numbers. It calls functions of its own instead, which make none of numpy's objects, and refuses other names.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from swinface.files import InputError, naming


class _Refused(Exception):
    """The pickle names a function that images and labels do not need."""


class _Unknown(Exception):
    """The pickle has values of a kind that is neither images nor labels."""


class _StandIn:
    """A function that a pickle may call but not change (pickles can set attributes)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise _Refused(f"{self._function.__name__} with attributes of its own")


class _Dtype:
    """A type of numpy's numbers or texts, or O for any value; the pickle sets the order of its bytes."""

    __slots__ = ("_name", "_order")

    def __init__(self, name: str | bytes, *_: Any) -> None:
        self._name, self._order = _text(name), "="
        if self._name[:1] not in tuple("biufOSU"):
            raise _Unknown(self._name)

    def __setstate__(self, state: tuple) -> None:
        self._order = _text(state[1])

    def read(self, content: bytes | list) -> np.ndarray | list:
        """The values of an array's content in one row."""
        if self._name[0] == "O":
            return content if isinstance(content, list) else []
        return np.frombuffer(content, np.dtype(self._name).newbyteorder(self._order))


class _Array:
    """An array that a pickle makes and fills."""

    __slots__ = ("shape", "values")

    def __setstate__(self, state: tuple) -> None:
        *_, self.shape, dtype, _, content = state
        self.values = dtype.read(content)


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _encode(text: str | bytes = b"", *_: str) -> bytes:
    """How Python 3 pickles bytes for Python 2, and ``bytearray``."""
    return text.encode("latin1") if isinstance(text, str) else b"" + text


def _make_array(*_: Any) -> _Array:
    return _Array()


def _read_array(content: bytes, dtype: _Dtype, shape: tuple[int, ...], *_: Any) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, False, content))
    return array


def _read_scalar(dtype: _Dtype, content: bytes) -> bool | int | float:
    return dtype.read(content)[0].item()


STAND_INS: dict[str, _StandIn | None] = {
    "_codecs.encode": _StandIn(_encode),
    "builtins.bytearray": _StandIn(_encode),
    "builtins.bytes": _StandIn(_encode),
    "numpy.dtype": _StandIn(_Dtype),
    "numpy.ndarray": None,  # named as an argument of the next, which does not need it
    "numpy.core.multiarray._reconstruct": _StandIn(_make_array),
    "numpy.core.multiarray.scalar": _StandIn(_read_scalar),
    "numpy.core.numeric._frombuffer": _StandIn(_read_array),
}


class _Lines(BytesIO):
    def readline(self, *_: Any) -> bytes:
        line = super().readline()
        if not line.endswith(b"\n"):
            raise EOFError("the file ends within a name")
        return line


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler, not that in C: a few damaged bytes can make that one ask for 34 GB."""

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> _StandIn | None:
        called = f"{module}.{name}"
        known = called.replace("numpy._core.", "numpy.core.", 1)  # numpy 2 renamed it
        known = known.replace("__builtin__.", "builtins.", 1)  # so did Python 3
        if known not in STAND_INS:
            raise _Refused(called)
        return STAND_INS[known]

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(length))

    dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray  # theirs takes the memory before it reads


def read_pickled_pairs(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Read a verification set as insightface packs it, in Python 2 or 3.

    Gives 2 N encoded images (JPEG or PNG), of which 2 i and 2 i + 1 are pair i, and whether each pair shows one person,
    (N,) bool. Images may be bytes or arrays of uint8; labels booleans or the numbers 0 and 1, of Python or numpy.
    Raises ``InputError`` if the file is missing, damaged, holds anything else, or would run anything.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a verification set, a .bin file.") from None
    with naming(f"{path}: not a verification set"):
        content = _unpickle(packed)
    if not (isinstance(content, tuple | list) and len(content) == 2):
        raise InputError(f"{path}: not a verification set; it must hold a list of images and one of labels.")
    same = _check_labels(content[1], path)
    images = _check_images(content[0], path)
    if len(images) != 2 * len(same):
        raise InputError(f"{path}: {len(images)} images for {len(same)} pairs; there must be two for each.")
    return images, same


def read_objects(content: bytes) -> list:
    """The values of an array of Python's objects, of one axis, as ``numpy.save`` pickles it: texts and numbers alone.

    Raises ``InputError``, which names no file, if it is damaged, holds anything else, or would run anything.
    """
    array = _unpickle(content)
    if not isinstance(array, _Array) or not isinstance(array.values, list) or len(array.shape) != 1:
        raise InputError("it holds no array of one axis.")
    return array.values


def _unpickle(content: bytes) -> Any:
    try:
        return _Unpickler(_Lines(content), encoding="bytes").load()
    except _Unknown as unknown:
        raise InputError(
            f"it has values of numpy's type {unknown}; save texts as bytes or str, numbers as numbers."
        ) from None
    except _Refused as refused:
        raise InputError(
            f"it would run {refused}, which texts and numbers do not need. Take it from a source that you trust."
        ) from None
    except Exception as error:  # damaged bytes make an unpickler fail in any way
        raise InputError("it is damaged, or no pickle; get it again.") from error


def _check_images(images: Any, path: Path) -> list[bytes]:
    if isinstance(images, _Array):
        images = images.values
    if not isinstance(images, tuple | list):
        raise InputError(f"{path}: the images are {_name_kind(images)}; they must be a list of encoded images.")
    encoded = []
    for number, image in enumerate(images):
        if isinstance(image, _Array) and getattr(image.values, "dtype", None) == np.uint8:
            image = image.values.tobytes()
        if not isinstance(image, bytes):
            raise InputError(f"{path}: image {number} is {_name_kind(image)}; it must be an encoded image.")
        encoded.append(image)
    return encoded


def _check_labels(labels: Any, path: Path) -> np.ndarray:
    if isinstance(labels, _Array):
        if len(labels.shape) != 1:
            raise InputError(f"{path}: the labels are an array of shape {labels.shape}; it must have one axis.")
        labels = labels.values if isinstance(labels.values, list) else labels.values.tolist()
    if not isinstance(labels, tuple | list) or len(labels) == 0:
        raise InputError(f"{path}: it has no pairs; the labels must be a list, True for one person and False for two.")
    for number, label in enumerate(labels):
        if not isinstance(label, bool | int | float) or label not in (0, 1):
            raise InputError(f"{path}: label {number} is {_name_kind(label)}; it must be True or False.")
    return np.array(labels, dtype=bool)


def _name_kind(value: Any) -> str:
    """A value in a message: short numbers and texts as they are, else its type."""
    if isinstance(value, str | bytes | float) or (isinstance(value, int) and abs(value) < 10**9):
        return repr(value)[:40]
    return f"a {'numpy array' if isinstance(value, _Array) else type(value).__name__}"
