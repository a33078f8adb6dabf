"""Labels as people have them, and the codes of their classes: the one place that says which labels are of one class,
and which are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from kinface.data.annotations import UNKNOWN
from kinface.data.arrays import from_tensors
from kinface.data.tables import NUMBER, canonical_text, warn_of_look_alikes
from kinface.data.vocabulary import fold_word
from swinface.files import InputError

MOST_NUMBERED = 30  # classes that are called by numbers; FairFace has 9 ranges of ages, Monk 10 tones of skin
Name = str | int | float | bool  # of a class, as a configuration has it


def name_labels(labels: Any, what: str) -> pd.Series:
    """The class of each of (N,) labels, as text, None where unknown.

    Labels are of one class where their ``canonical_text`` is the same, whatever they come in: a list, an array, masked
    or not, a series of any type. Unknown are None, NaN, pandas' NA, masked and empty values, negative numbers, and the
    texts that mark "no value" in annotations, such as ``nan``, which numpy makes of NaN beside texts. Raises
    ``InputError``, in which labels are called ``what``, if there is more than one value per label.
    """
    columns = split_columns(labels, what)
    if len(columns) != 1:
        raise InputError(f"{what}: one value for each is needed, not {len(columns)}.")
    texts = canonical_text(columns[0], what).reset_index(drop=True)
    return texts.where(texts.map({text: is_known(text) for text in texts.unique()}), None)


def encode_labels(labels: Any, classes: Iterable | None = None, what: str = "labels") -> tuple[np.ndarray, list[str]]:
    """Number the classes of labels, see :func:`name_labels`: (N,) codes, -1 where unknown, and the texts of the
    classes.

    ``classes`` are given in the order of their codes, and all others are then unknown. By default they are those that
    occur, in order; more than ``MOST_NUMBERED`` numbers are refused (``check_classes``).

    >>> encode_labels(["m", "f", float("nan"), -1, None, "m"])
    (array([ 1,  0, -1, -1, -1,  1]), ['f', 'm'])
    """
    codes, found = number_labels(labels, what)
    named = found if classes is None else name_classes(classes, what)
    warn_of_look_alikes({*named, *found}, f"{what}: classes", stacklevel=3)
    if classes is None:
        check_classes(found, what)
    place = {text: code for code, text in enumerate(named)}
    return np.array([*(place.get(text, -1) for text in found), -1])[codes], named


def check_classes(names: Iterable[str], what: str) -> None:
    """Refuse more than ``MOST_NUMBERED`` classes that are all numbers, such as ages: they are measured.

    >>> check_classes(map(str, range(90)), "age")
    Traceback (most recent call last):
    swinface.files.InputError: age: its 90 numbers are not classes; sort them into ranges first, such as an age_band.
    """
    names = [*names]
    if len(names) > MOST_NUMBERED and all(map(NUMBER.fullmatch, names)):
        raise InputError(
            f"{what}: its {len(names):,} numbers are not classes; sort them into ranges first, such as an age_band."
        )


def number_labels(labels: Any, what: str = "labels") -> tuple[np.ndarray, list[str]]:
    """As ``encode_labels`` without given classes, for names of people or families, which may well look alike."""
    codes, texts = pd.factorize(name_labels(labels, what))
    order = sorted(range(len(texts)), key=lambda code: _rank(texts[code]))
    return np.append(np.argsort(order), -1)[codes], [texts[code] for code in order]


def name_classes(classes: Iterable, what: str) -> list[str]:
    """The texts of classes that somebody lists. Raises ``InputError`` if one is unknown, or there twice."""
    listed = [*classes]
    texts = canonical_text(pd.Series(listed, dtype=object), what).tolist()
    if len({*texts}) < len(texts) or not all(map(is_known, texts)):
        raise InputError(
            f"{what}: each class is named once, and none is a mark of the unknown (empty, {', '.join(UNKNOWN)}, "
            f"below 0); not {listed}."
        )
    return texts


def split_columns(labels: Any, what: str) -> list[pd.Series]:
    """The columns of (N,) or (N, k) labels, whatever they come in.

    Raises ``InputError`` if they are of another shape.
    """
    if isinstance(labels, Mapping | set | frozenset | str):
        raise InputError(f"{what}: a {type(labels).__name__} has no order of samples; give a list or an array.")
    labels = from_tensors(labels)
    if not hasattr(labels, "__array__"):
        labels = np.array([*labels], dtype=object)  # in an array of texts, None and NaN would be texts too
    elif not isinstance(labels, pd.DataFrame | pd.Series | np.ma.MaskedArray):
        labels = np.asarray(labels)
    if labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise InputError(f"{what}: their shape is {labels.shape}; it must be (N,), or (N, k) for several at once.")
    table = pd.DataFrame(labels)
    return [table.iloc[:, place] for place in range(table.shape[1])]


def is_known(text: str | None) -> bool:
    """Whether a label, as ``canonical_text`` gives it, is no mark of the unknown."""
    return text is not None and fold_word(text) not in UNKNOWN and not (NUMBER.fullmatch(text) and float(text) < 0)


def _rank(text: str) -> tuple[bool, float, str]:
    """Numbers by their value, then texts."""
    return (False, float(text), text) if NUMBER.fullmatch(text) else (True, 0.0, text)
