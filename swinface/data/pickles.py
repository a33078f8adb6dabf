"""The verification sets of insightface, ``.bin`` files: pickles of encoded images, and of a label per pair.

A pickle may name any function and call it. This reader knows the few names that are needed for bytes, numpy arrays and
numpy booleans, calls functions of its own instead, and refuses every other name.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from swinface.files import InputError


class _Refused(Exception):
    """The pickle names a function that images and labels do not need."""


def _encode(text: str, _: str) -> bytes:
    return text.encode("latin1")  # how Python 3 pickles bytes for Python 2


def _make_dtype(name: str | bytes, *_: Any) -> np.dtype:
    text = name.decode("latin1") if isinstance(name, bytes) else str(name)
    if text not in ("u1", "b1"):
        raise _Refused(f"numpy.dtype({text})")
    return np.dtype(text)


def _make_array(*_: Any) -> np.ndarray:
    return np.empty(0, dtype=np.uint8)  # the pickle goes on to set its shape and bytes, of a type made above


def _read_array(content: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _read_scalar(dtype: np.dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, dtype)[0]


class _StandIn:
    """A function that a pickle may call but not change (pickles can set attributes)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, _: Any) -> None:
        raise _Refused(f"{self._function.__name__} with attributes of its own")


STAND_INS: dict[str, _StandIn | None] = {
    "_codecs.encode": _StandIn(_encode),
    "numpy.dtype": _StandIn(_make_dtype),
    "numpy.ndarray": None,  # named as an argument of the next, which does not need it
    "numpy.core.multiarray._reconstruct": _StandIn(_make_array),
    "numpy.core.multiarray.scalar": _StandIn(_read_scalar),
    "numpy.core.numeric._frombuffer": _StandIn(_read_array),
}


def _check_memory(path: Path) -> None:
    """Refuse a pickle that needs far more memory than its values: it numbers those that it uses again, and the list of
    them is as long as the highest number. A few damaged bytes can make it 34 GB.
    """
    with open(path, "rb") as file:
        for place, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > place:
                raise ValueError(f"value {argument} of {place}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _StandIn | None:
        called = f"{module}.{name}"
        known = called.replace("numpy._core.", "numpy.core.", 1)  # numpy 2 renamed it
        if known not in STAND_INS:
            raise _Refused(called)
        return STAND_INS[known]


def read_pickled_pairs(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Read a verification set as insightface packs it, in Python 2 or 3.

    Returns
    -------
    images : list of bytes
        2 N encoded images (JPEG or PNG); images 2 i and 2 i + 1 are pair i.
    same : np.ndarray
        (N,), bool: whether the pair shows one person.

    Raises
    ------
    InputError
        The file is missing, damaged, holds anything else, or would run anything.
    """
    try:
        _check_memory(path)
        with open(path, "rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a verification set, a .bin file.") from None
    except _Refused as refused:
        raise InputError(
            f"{path}: not a verification set: it would run {refused}, which images and labels do not need. "
            "Take the file from a source that you trust."
        ) from None
    except Exception as error:  # damaged bytes make an unpickler fail in any way
        raise InputError(f"{path}: not a verification set (damaged, or no pickle); download it again.") from error
    if not (isinstance(content, tuple | list) and len(content) == 2):
        raise InputError(f"{path}: not a verification set; it must hold a list of images and one of labels.")
    same = _check_labels(content[1], path)
    images = _check_images(content[0], path)
    if len(images) != 2 * len(same):
        raise InputError(f"{path}: {len(images)} images for {len(same)} pairs; there must be two for each.")
    return images, same


def _check_images(images: Any, path: Path) -> list[bytes]:
    if not isinstance(images, tuple | list):
        raise InputError(f"{path}: the images are a {type(images).__name__}; they must be a list of encoded images.")
    encoded = []
    for number, image in enumerate(images):
        if isinstance(image, np.ndarray) and image.dtype == np.uint8:
            image = image.tobytes()
        if not isinstance(image, bytes):
            raise InputError(f"{path}: image {number} is a {type(image).__name__}; it must be an encoded image.")
        encoded.append(image)
    return encoded


def _check_labels(labels: Any, path: Path) -> np.ndarray:
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(plain, tuple | list) or len(plain) == 0:
        raise InputError(f"{path}: it has no pairs; the labels must be a list, True for one person and False for two.")
    for number, label in enumerate(plain):
        if not isinstance(label, bool | int | np.bool_ | np.uint8) or label not in (0, 1):
            raise InputError(f"{path}: label {number} is {str(label)[:40]}; it must be True or False.")
    return np.array(plain, dtype=bool)
