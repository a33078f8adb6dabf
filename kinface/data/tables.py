"""Tables in .parquet or .csv files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swinface.files import InputError


def read_table(path: Path, what: str, text: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table from a .parquet or .csv file, without checks of its content.

    Parameters
    ----------
    what
        What the table is called, for messages.
    text
        Columns that are text whatever a csv has in them, such as a person called 7; by default all.

    Raises
    ------
    InputError
        The file is missing, of another kind or broken.
    """
    if path.suffix == ".parquet":
        return read_parquet(path, what)
    if path.suffix == ".csv":
        return read_csv(path, what, "object" if text is None else dict.fromkeys(text, "object"))
    raise InputError(f"{path}: a {what} is a .parquet or .csv file.")


def read_csv(path: Path, what: str, dtype: object = None, keep_default_na: bool = True) -> pd.DataFrame:
    """Read a csv file; ``dtype`` and ``keep_default_na`` are those of ``pandas.read_csv``.

    Raises
    ------
    InputError
        The file is missing or broken.
    """
    try:
        table = pd.read_csv(path, dtype=dtype, keep_default_na=keep_default_na, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (OSError, ValueError, OverflowError) as error:
        raise _unreadable(path, what, error) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first fields as names of the rows
        raise InputError(f"{path}: not a readable {what} (its rows have more fields than its header).")
    return table


def read_parquet(path: Path, what: str) -> pd.DataFrame:
    """Read a parquet file.

    Raises
    ------
    InputError
        The file is missing or broken.
    """
    try:
        table = pd.read_parquet(path)
        for column in table.select_dtypes("string"):  # decoded only here, and its bytes may be broken
            text = table[column].astype(object)
            table[column] = text.where(text.notna(), None)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except Exception as error:  # on broken bytes pyarrow and pandas raise exceptions of many kinds
        raise _unreadable(path, what, error) from error
    for column in filter(lambda name: pd.api.types.is_object_dtype(table[name]), table):
        plain = table[column].map(pd.api.types.is_hashable)
        if not plain.all():
            row = int((~plain).to_numpy().argmax()) + 1
            raise InputError(f"{path}: row {row}: {one_line(column)} must be one value, and holds several.")
    return table


def one_line(text: object) -> str:
    """A text on one line, as a message needs it: a value may hold line breaks of many kinds."""
    return " ".join(str(text).split())


def _unreadable(path: Path, what: str, error: Exception) -> InputError:
    reason = one_line(error) or type(error).__name__
    return InputError(f"{path}: not a readable {what} ({reason}).")
