"""The label files that authors of face data sets publish, read by the names in their headers, never by position.

A file becomes a table of text with a row per face; the index is the line in the file. ``decode`` turns a column into
numbers and names the line of an invalid value.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from swinface.files import InputError, one_line, read_lines, tidy_path
from swinface.tasks import EXPRESSIONS, TASKS, task_name

# CelebA's 40 attributes: every task but age and expression. The files say -1 and 1.
ATTRIBUTES = tuple(name for name, task in TASKS.items() if "celeba" in task.streams)
ATTRIBUTE_CLASSES = {-1: 0, 1: 1}
GENDER_CLASSES = {0: 0, 1: 1}  # in authors' lists of ages: 1 is male
UNKNOWN_RACE = ("unk", "unknown", "nan")  # written where nothing is known of a face; others are groups
UNKNOWN = (*UNKNOWN_RACE, "na", "n/a", "none", "null", "-1")
MARKED = ("age", "gender", "expression")  # tasks, of which these say so; to others -1 is a value
YEARS = (0.0, 130.0)  # an age; more is a year of birth, or months
DEGREES = (-180.0, 180.0)

# From a class's number in a file to its place in EXPRESSIONS. AffectNet's contempt (7), none, uncertain and no face
# (8 to 10) are not among the paper's seven.
RAF_DB_CLASSES = {number: number - 1 for number in range(1, 8)}
AFFECTNET_ORDER = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")

AFFECTNET_CLASSES = {
    **{number: EXPRESSIONS.index(name) for number, name in enumerate(AFFECTNET_ORDER)},
    **{number: None for number in range(7, 11)},
}


def read_labels(
    path: Path,
    columns: Sequence[str],
    *,
    header: bool = True,
    others: bool = False,
    skip: int = 0,
    separator: str | None = None,
) -> pd.DataFrame:
    """Read a list with a face per line: text in ``columns``; the index is the line, counted from 1.

    The file must have these columns: in any order if a ``header`` names them (names as ``task_name`` gives them), else
    in this order. The first is the image, whose name a header may leave out. A header may name ``others`` too, which
    are ignored, and stands after ``skip`` lines. A ``separator`` of None is any white space; between others fields may
    be quoted, and a column without a name, such as pandas writes, is ignored. A line that is repeated is read once,
    with a warning.

    Raises ``InputError`` if the file is missing, its header lacks a column or has others, a line has more or fewer
    fields, or two lines say different things of one image.
    """
    rows = {
        number: _split(line, separator, f"{path}: line {number}")
        for number, line in enumerate(read_lines(path, "label file"), start=1)
        if number > skip and line.strip()
    }
    names, parted = list(columns), "white space" if separator is None else repr(separator)
    if header:
        number = min(rows, default=skip + 1)
        names = _read_header(f"{path}: line {number}", rows.pop(number, []), columns, others, parted)
    for number, fields in rows.items():
        if len(fields) != len(names):
            raise InputError(
                f"{path}: line {number} has {len(fields)} fields, not {len(names)}: {' '.join(names)}, separated by "
                f"{parted}."
            )
    if not rows:
        raise InputError(f"{path}: no faces; each line must hold {' '.join(columns)}.")
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=names, dtype=str)[list(columns)]
    twice = table[table[columns[0]].duplicated(keep=False)].drop_duplicates()
    again = twice[columns[0]].duplicated()
    if again.any():
        line = again.idxmax()
        raise InputError(f"{path}: line {line}: {twice[columns[0]][line]!r} is listed twice, with different labels.")
    repeated = table.duplicated()
    if repeated.any():  # otherwise such a face would count twice in figures
        some = f"{repeated.sum():,} lines, such as line {repeated.idxmax()}, repeat another line"
        warnings.warn(f"{path}: {some}; each image is used once.", stacklevel=2)
    return table[~repeated]


def _split(line: str, separator: str | None, where: str) -> list[str]:
    if separator is None:
        return line.split()
    try:
        return [it.strip() for it in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    except csv.Error as error:
        raise InputError(f"{where}: not readable ({error}).") from error


def _read_header(where: str, fields: list[str], columns: Sequence[str], others: bool, parted: str) -> list[str]:
    names = [task_name(field) for field in fields]
    if len(names) == len(columns) - 1 and columns[0] not in names:
        fields, names = [columns[0], *fields], [columns[0], *names]
    lacking = [name for name in columns if name not in names]
    unknown = [it for it, name in zip(fields, names, strict=True) if it and name not in columns and not others]
    twice = [name for name in columns if names.count(name) > 1]
    faults = {"no": lacking, "unknown": unknown, "twice": twice}
    found = "; ".join(f"{fault} {', '.join(which)}" for fault, which in faults.items() if which)
    if found:
        order = "in any order and among others" if others else "in any order"
        raise InputError(
            f"{where}, the header, has {found}; expected, {order}: {' '.join(columns)}, separated by {parted}."
        )
    return names


def look_up_labels(task: str, path: Path, faces: pd.DataFrame) -> pd.Series:
    """Labels of faces, with ``image`` and ``identity``, from a table with a row per image or per person; nan where it
    has none.

    The task is one of ``TASKS``, or ``race``, a group that benchmarks report by. The .csv or .parquet file has a column
    of its name, years or classes by name or first letter; another column, ``image``, ``face``, ``identity`` or
    ``person``, says whose label it is. Names are compared as ``tidy_path`` gives them. Ages, genders and expressions
    may be ``UNKNOWN``, races ``UNKNOWN_RACE``, and an age of 0 beside such a mark is. Gives years or the index of the
    class as float64; race as text.

    Raises ``InputError`` if the task or the file does not exist, the table has no such columns, states something twice
    or knows none of the faces, or a label is neither a class nor a number of ``YEARS`` or ``DEGREES``.
    """
    if task not in (*TASKS, "race"):
        raise InputError(f"labels: no task {task!r}; choose from {', '.join(TASKS)}, or race.")
    texts = {"dtype": str, "keep_default_na": False, "na_values": [""], "skipinitialspace": True}
    table = read_columns(path, "table of labels", **texts).rename(columns=lambda name: str(name).strip())
    keys = {"image": "image", "face": "image", "identity": "identity", "person": "identity"}
    key = next((name for name in keys if name in table), None)
    if key is None or task not in table:
        raise InputError(f"{path}: a table of labels needs a column {task!r} and one of {', '.join(keys)}.")
    table = table[[name for name in dict.fromkeys((key, task, *MARKED, "race")) if name in table]].astype(object)
    table = table.map(_spell, na_action="ignore")
    marked = table.drop(columns=key).map(lambda text: text.lower() in UNKNOWN, na_action="ignore").eq(True)
    if task in MARKED:
        table[task] = table[task].mask(marked[task])
        if task == "age":  # 0 beside a mark is one, too
            table[task] = table[task].mask(pd.to_numeric(table[task], errors="coerce").eq(0) & marked.any(axis=1))
    if task == "race":
        table[task] = table[task].mask(table[task].str.lower().isin(UNKNOWN_RACE))
    named = table.dropna(subset=[key, task])
    stated = named.set_index(named[key].map(tidy_path))[task]
    if not stated.index.is_unique:
        raise InputError(f"{path}: {key} {stated.index[stated.index.duplicated()][0]!r} has two rows; keep one.")
    found = faces[keys[key]].map(stated)
    if found.isna().all():
        raise InputError(f"{path}: has no {task} of these faces, such as {key} {faces[keys[key]].iloc[0]!r}.")
    if task == "race":
        return found
    numbers, expected = _read_classes(stated, task)
    if numbers.isna().any():
        raise InputError(f"{path}: {task} is {stated[numbers.isna()].iloc[0]!r}; expected {expected}.")
    return faces[keys[key]].map(numbers)


def _spell(value: Any) -> str:
    """A value as text: 1 and 1.0, which parquet has, are 1."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _read_classes(stated: pd.Series, task: str) -> tuple[pd.Series, str]:
    """The labels of a task as float64, nan where one is none, and which there are, for messages."""
    names = TASKS[task].labels
    if names:
        first = [name[0] for name in names]
        words = {name: place for place, name in enumerate(names)}
        words |= {letter: place for place, letter in enumerate(first) if first.count(letter) == 1}
        return stated.str.lower().map(words).astype("float64"), f"one of {', '.join(names)}"
    numbers, ends = pd.to_numeric(stated, errors="coerce").astype("float64"), YEARS if task == "age" else DEGREES
    return numbers.where(numbers.between(*ends)), _name_range(ends)


def _name_range(ends: tuple[float, float]) -> str:
    return f"a number from {ends[0]:g} to {ends[1]:g}"


def decode(
    path: Path, texts: pd.Series, classes: Mapping[int, int | None] | None = None, ends: tuple[float, float] = YEARS
) -> pd.Series:
    """Turn a column that ``read_labels`` read into float64; nan stays nan.

    ``classes`` is from each number that may occur to the index of the class, or to None for no class (nan). Without it,
    any number between two ``ends`` is kept. Raises ``InputError``, which names file and line, if a value is
    anything else.
    """
    numbers = pd.to_numeric(texts, errors="coerce").astype("float64")
    unknown = texts.str.lower() == "nan"
    meant = numbers.isin(list(classes)) if classes else numbers.between(*ends)
    if not (meant | unknown).all():
        line = (meant | unknown).idxmin()
        expected = f"one of {', '.join(map(str, classes))}" if classes else _name_range(ends)
        raise InputError(f"{path}: line {line}: {texts.name} is {texts[line]!r}; expected {expected}, or nan.")
    return numbers.map(dict(classes)).astype("float64") if classes else numbers


def read_columns(path: Path, what: str, **options: Any) -> pd.DataFrame:
    """Read a .csv in UTF-8, or a .parquet file; ``what`` says what it should be, ``options`` are those of pandas' csv.

    Raises ``InputError`` if the file is missing or not readable.
    """
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, **options)
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a readable {what} (not in UTF-8); save it as CSV UTF-8.") from None
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a readable {what} ({one_line(error)}).") from error


def read_celeba(path: Path, columns: Sequence[str], **options) -> pd.DataFrame:
    """Read one of CelebA's lists: its authors' text, or Kaggle's .csv, whose header begins with ``image_id``.

    The table is that of ``read_labels``, ``name`` and ``columns``; ``options`` are those for the authors' text.
    """
    if path.suffix != ".csv":
        return read_labels(path, ["name", *columns], **options)
    return read_labels(path, ["image_id", *columns], separator=",").rename(columns={"image_id": "name"})


def read_attributes(path: Path, skip: int = 0) -> pd.DataFrame:
    """Read a list of CelebA's 40 attributes: columns ``image`` and a 0 or 1 for each, float64."""
    labels = read_celeba(path, ATTRIBUTES, skip=skip)
    columns = {name: decode(path, labels[name], ATTRIBUTE_CLASSES) for name in ATTRIBUTES}
    return pd.DataFrame({"image": labels["name"], **columns})
