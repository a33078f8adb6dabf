"""Arrays and names as people have them at hand. This module imports neither torch nor pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from typing import Any

import numpy as np

from swinface.files import InputError, one_line


def as_array(values: Any) -> np.ndarray:
    """What holds numbers as an array, tensors as of ``from_tensors``. Raises ``InputError`` if some are masked, or rows
    are of several lengths."""
    if np.ma.is_masked(values):
        raise InputError("an array has masked values, which would count; fill them, or leave out their rows.")
    values = from_tensors(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"not an array: all rows must have the same length ({one_line(error)}).") from error


def from_tensors(values: Any) -> Any:
    """Tensors of torch, or a list of them, as an array: also those on a GPU, with a gradient or in bfloat16, of which
    numpy makes none. Anything else stays as it is.

    >>> import torch
    >>> from_tensors([torch.ones(2, requires_grad=True), torch.zeros(2).bfloat16()]).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values[:1]):
        return np.asarray([from_tensors(value) for value in values])
    if not hasattr(values, "detach"):
        return values
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() and values.dtype.itemsize < 4 else values).numpy()


def check_row_order(values: Any, names: Any, what: str) -> None:
    """Refuse a table of pandas whose index has the names of ``what``, or their index, in another order: rows would be
    taken for others.

    >>> import pandas as pd
    >>> check_row_order(pd.DataFrame({"x": [1, 2]}, index=["b.jpg", "a.jpg"]), ["a.jpg", "b.jpg"], "faces")
    Traceback (most recent call last):
    swinface.files.InputError: faces: the embedding has its rows in another order, by its index; sort one as the other.
    """
    index, theirs = (getattr(it, "index", None) for it in (values, names))
    for order in (names, theirs) if hasattr(index, "tolist") else ():
        if isinstance(order, Sized) and (rows := index.tolist()) != [*order] and {*rows} == {*order}:
            raise InputError(
                f"{what}: the embedding has its rows in another order, by its index; sort one as the other."
            )


def as_number(value: Any, what: str) -> float:
    """A finite number, called ``what``; a text that says one too. Raises ``InputError`` of anything else."""
    try:
        number = math.nan if isinstance(value, bool | np.bool_) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{what}: {value!r} is not a finite number.")
    return number


def list_in_order(names: Any, what: str) -> list:
    """Names of the rows of something, called ``what``, each in its place.

    Raises ``InputError`` if they are a text, a set, which has no order, or a table, whose rows are no names.

    >>> list_in_order((name for name in ["a.jpg", "b.jpg"]), "faces")
    ['a.jpg', 'b.jpg']
    """
    columns = np.ndim(names) if hasattr(names, "ndim") else 1
    if isinstance(names, str | bytes | set | frozenset) or not isinstance(names, Iterable) or columns != 1:
        raise InputError(f"{what}: a {type(names).__name__} is not a list of names in their order; give one.")
    return [*names]
