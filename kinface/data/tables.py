"""Tables in .parquet or .csv files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swinface.files import InputError


def read_table(path: Path, what: str, text: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table from a .parquet or .csv file, and check nothing of it.

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
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype="object" if text is None else dict.fromkeys(text, "object"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:  # ValueError: broken parquet, csv or encoding
        raise InputError(f"{path}: not a readable {what} ({str(error).splitlines()[0]}).") from error
    raise InputError(f"{path}: a {what} is a .parquet or .csv file.")
