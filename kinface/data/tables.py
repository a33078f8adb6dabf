"""Tables as people have them, csv, parquet or Excel, and the one text that each of their values has.

Two values are the same id, cluster or group where ``canonical_text`` gives the same text, whatever their types were.
"""

from __future__ import annotations

import math
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.vocabulary import fold_word
from swinface.files import InputError, expand_home, one_line, tidy_path

BLANKS = " \t\r\n\f\v\xa0\u200b\u2060\ufeff"  # what nobody sees at the end of a text; the last three have no width

# Options of pandas: every cell as it stands, whatever others its column has, and only an empty one missing.
AS_TEXT = {"header": None, "dtype": "object", "keep_default_na": False, "na_values": [""]}
TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
UNEVEN = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # as pandas says it
LONGEST_HEADER = 1_000_000  # characters in which the separator is looked for

# A number without leading zeros and with a sign in its exponent, as programs write it: 007 and 12e3 are codes.
PLAIN = re.compile(r"[A-Za-z_][!-~]*")  # is its own one text, as most of a million ids are
PLAIN_PATH = re.compile(r"[A-Za-z_][\w.-]*(/\w[\w.-]*)*", re.ASCII)
NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]\d+)?", re.IGNORECASE | re.ASCII)


def is_table(path: str | Path) -> bool:
    """Whether a file's ending, in small or capital letters, is one that ``read_table`` reads."""
    return Path(path).suffix.lower() in READERS


def read_table(path: Path, what: str, text: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table, called ``what``, from a .parquet, .csv or .xlsx file, without checks of its content.

    A csv may be in UTF-8 or UTF-16, separated by commas, or by tabs or semicolons and then with decimal commas or
    points. Only an empty cell is missing: NA, None, null and nan are texts. Blanks around the names of columns are
    removed. Text columns are ``object``, with None where missing: in a csv or xlsx those named ``text``, others become
    numbers if all their values are; by default all.

    Raises ``InputError`` if the file is missing, of another kind or broken, or two of its columns have one name.
    """
    if not is_table(path):
        raise InputError(f"{path}: the {what} must be a {', '.join([*READERS][:-1])} or {[*READERS][-1]} file.")
    path = Path(expand_home(str(path)))
    try:
        table = READERS[path.suffix.lower()](path, what)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (InputError, Warning):  # a warning that Python was told to raise is no broken file
        raise
    except Exception as error:  # on broken bytes pyarrow and pandas raise exceptions of many kinds
        reason = one_line(error) or type(error).__name__
        if uneven := UNEVEN.search(reason):
            raise InputError(
                f"{path}: line {uneven[2]} has {uneven[3]} values, and those before it {uneven[1]}: remove lines above "
                "the names of columns, name each column (in R, row.names = FALSE), and put quotes around a value with "
                "a separator in it."
            ) from None
        raise InputError(f"{path}: not a readable {what} ({reason}).") from error
    names = pd.Index([_tidy(str(name)) or f"column {place}" for place, name in enumerate(table, start=1)])
    if names.has_duplicates:
        twice = one_line(names[names.duplicated()][0])
        raise InputError(f"{path}: two columns have the name {twice!r}; rename or remove one.")
    table.columns = names
    if text is not None and path.suffix.lower() != ".parquet":  # parquet states what is a number
        for column in table.columns.difference(text, sort=False):
            table[column] = infer_type(table[column])
    return table


def _read_csv(path: Path, what: str) -> pd.DataFrame:
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as file:
            above = 0  # empty lines
            while (header := file.readline(LONGEST_HEADER)) and not header.strip():
                above += 1
        if "\0" in header:
            raise UnicodeError("UTF-16 without its mark")
        separator = max(",;\t", key=header.count)
        form = {"sep": separator, "encoding": encoding, "skiprows": above, "skip_blank_lines": False}
        table = pd.read_csv(path, skipinitialspace=True, **form, **AS_TEXT)
    except UnicodeError:
        reason = "not in UTF-8, nor in UTF-16 with its mark"
        raise InputError(f"{path}: not a readable {what} ({reason}); save it as CSV UTF-8.") from None
    if separator != ",":
        table = table.replace(r"^([+-]?\d*),(\d+(?:[eE][+-]?\d+)?)\s*$", r"\1.\2", regex=True)
    return _take_header(table, path)


def _read_excel(path: Path, what: str) -> pd.DataFrame:
    try:
        sheets = pd.read_excel(path, engine="openpyxl", sheet_name=None, **AS_TEXT)
    except ImportError:
        raise InputError(f"{path}: to read it, `pip install openpyxl`; or save the {what} as .csv.") from None
    first, *others = sheets
    if filled := [name for name in others if not sheets[name].empty]:
        warnings.warn(f"{path}: only its first sheet, {first!r}, is read, not {name_few(filled)}.", stacklevel=2)
    return _take_header(sheets[first], path)


def _take_header(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows below the first, which names the columns, without empty ones; missing values are None. Warns of empty
    ones between others, as rows are counted without them."""
    filled = table.dropna(how="all")
    if filled.empty:
        raise ValueError("it is empty")
    header, table = filled.iloc[0].fillna(""), filled.iloc[1:].reset_index(drop=True)
    if empty := int(filled.index[-1] - filled.index[0]) - len(table):
        warnings.warn(f"{path}: empty rows ({empty:,}) are left out; messages count rows without them.", stacklevel=4)
    return table.set_axis(header, axis="columns").where(table.notna().to_numpy(), None)


def as_pandas(table: object) -> object:
    """A table of polars, pyarrow or the like as one of pandas; anything else as it is."""
    return table.to_pandas() if hasattr(table, "to_pandas") else table


def take_index(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what its index names, such as the faces of a ``groupby``, among its columns."""
    named = [name for name in table.index.names if name is not None and name not in table]
    return table.reset_index(named)


def _read_parquet(path: Path, what: str) -> pd.DataFrame:
    table = take_index(pd.read_parquet(path))
    for column in filter(lambda name: pd.api.types.is_object_dtype(table[name]), table):
        plain = table[column].map(pd.api.types.is_hashable)
        if not plain.all():
            row = int((~plain).to_numpy().argmax()) + 1
            raise InputError(f"{path}: row {row}: {one_line(column)} must be one value, and holds several.")
    for column in table.select_dtypes("string"):  # decoded only here, and its bytes may be broken
        codes, found = pd.factorize(table[column])
        table[column] = pd.Series(np.append(np.asarray(found, object), None)[codes], table.index, dtype=object)
    return table


def infer_type(column: pd.Series) -> pd.Series:
    """The column as numbers or truth values if all its values are, and none is another one then; else as it is."""
    known = column.dropna().drop_duplicates()
    if known.map(str).isin(["True", "False"]).all():
        typed = column.map(lambda value: None if value is None else str(value) == "True")
    elif known.map(lambda value: bool(NUMBER.fullmatch(str(value).strip(BLANKS)))).all():
        typed = pd.to_numeric(column)
    else:
        return column
    # Whole numbers beside missing values become floats, and long ones lose digits.
    alike = [*map(_spell, known)] == [_spell(value) for value in typed[known.index]]
    return typed if alike and len(known) and not isinstance(typed.dtype, pd.StringDtype) else column


READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".xlsx": _read_excel}


def canonical_text(values: pd.Series, where: str, *, paths: bool = False) -> pd.Series:
    """The one text of each value: ids, clusters and groups are compared, named and printed by it.

    A number is the same as an integer, as a float and as text: ``1``, ``1.0``, ``"1"`` and ``"1.0"`` are ``1``. Text is
    in Unicode's form NFC, without blanks around it and with single ones within; names of files, ``paths``, are as
    ``tidy_path`` gives them. None, NaN and blank text are missing: None.

    Raises ``InputError`` if a value is a list, or anything else that is not one value. Warns if texts that differ are
    one value, but for numbers, whose value is plain. ``where`` names the file and column in both.

    >>> canonical_text(pd.Series([1.0, "2", 2.0, "Asian ", None, "NA"]), "column race").tolist()
    ['1', '2', '2', 'Asian', None, 'NA']
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        values = values.astype(str).where(values.notna(), None)  # days without an hour if all are
    try:
        codes, found = _factorize(values)
    except TypeError:
        raise InputError(f"{where}: each row must hold one value, not a list of several.") from None
    plain = (PLAIN_PATH if paths else PLAIN).fullmatch
    texts = np.append(np.asarray(found, object), None)  # a missing value has the code -1
    others = [place for place, value in enumerate(texts[:-1]) if not (isinstance(value, str) and plain(value))]
    if others:
        spelt = [_spell(value, paths) for value in texts[others]]
        texts[others] = [text and tidy_path(text) for text in spelt] if paths else spelt
        _warn_of_merged(found, texts[:-1], where)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def to_numbers(values: pd.Series) -> pd.Series:
    """Values as float64, of whatever type they are; NaN where a value is no number, as days and complex ones are."""
    values = values.astype(str) if values.dtype.kind in "mMc" else values
    plain = values.map(_unwrap) if values.dtype == object else values
    return pd.to_numeric(plain, errors="coerce").astype("float64")


def _factorize(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The codes of values and what these stand for, as of ``pandas.factorize``, also of tensors of one number."""
    try:
        codes, found = pd.factorize(values)
    except TypeError:  # arrays have no hash, and tensors one each, whatever their number is
        return pd.factorize(values.map(_unwrap))
    if values.dtype != object or pd.api.types.infer_dtype(found) == "string":
        return codes, found
    wrapped = any(_unwrap(value) is not value for value in found)
    return pd.factorize(values.map(_unwrap)) if wrapped else (codes, found)


def _unwrap(value: object) -> object:
    """A tensor or an array of one number, which models leave in a table, as that number."""
    one = hasattr(value, "ndim") and math.prod(value.shape) == 1 and not isinstance(value, np.generic)
    return value.item() if one else value


def _spell(value: object, path: bool = False) -> str | None:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = text.strip(BLANKS) if path else _tidy(text)
    if (path and isinstance(value, str)) or not NUMBER.fullmatch(text):
        return text or None
    if text.lstrip("+-").isdecimal():  # a whole number keeps its digits, however many
        return "0" if text == "-0" else text.lstrip("+")
    number = float(text)
    if number.is_integer() and abs(number) < 2**63:
        return str(int(number))
    return str(number) if np.isfinite(number) else text


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.strip(BLANKS).split()))


def _warn_of_merged(found: Sequence[object], spelt: Sequence[str | None], where: str) -> None:
    if len(set(spelt)) == len(spelt):
        return  # as it is of most columns, also of a million values
    texts: dict[str, list[str]] = {}
    for value, text in zip(found, spelt, strict=True):
        if isinstance(value, str) and text is not None and not NUMBER.fullmatch(value.strip(BLANKS)):
            texts.setdefault(text, []).append(value)
    merged = [" and ".join(map(_quote, names)) for names in texts.values() if len(names) > 1]
    if merged:
        warnings.warn(f"{where}: read as one value: {name_few(merged)}.", stacklevel=3)


def warn_of_look_alikes(names: Iterable[str], where: str, stacklevel: int) -> None:
    """Warn of names that differ only in capital letters, blanks, hyphens or underscores; ``where`` says of what."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(fold_word(name), []).append(repr(name))
    alike = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    if alike:
        warnings.warn(f"{where} that look alike, yet differ: {name_few(alike)}.", stacklevel=stacklevel + 1)


def list_names(given: str | Iterable[str]) -> list[str]:
    """Names; one alone may be given as a text, whose letters are none."""
    return [given] if isinstance(given, str) else [*given]


def name_few(names: Sequence[str], most: int = 3, between: str = "; ") -> str:
    """The first of many, and how many more there are, for a message."""
    return between.join([*names[:most], *[f"{len(names) - most} more"] * (len(names) > most)])


def _quote(text: str) -> str:
    """With signs for what cannot be seen, and for a form of Unicode that looks like another."""
    return repr(text) if unicodedata.is_normalized("NFC", text) else ascii(text)


def truth(values: pd.Series, where: str) -> pd.Series:
    """Whether each value says yes: ``object``, True for 1, yes and true, False for 0, no and false, else None.

    ``where`` names the file and column, for messages.
    """
    texts = canonical_text(values, where)
    found = texts.map({text: TRUTH.get(text.lower()) for text in texts.dropna().unique()})
    return found.astype(object).where(found.notna(), None)


def write_intervals(table: pd.DataFrame, name: str, form: str = "{:.3f}") -> list[str]:
    """The figure ``name`` of each row as text, with its interval, ``name_low`` and ``name_high``, where it has one.

    >>> write_intervals(pd.DataFrame({"auc": [0.7, 0.8], "auc_low": [0.6, None], "auc_high": [0.75, None]}), "auc")
    ['0.700 [0.600, 0.750]', '0.800']
    """
    rows = table[[name, f"{name}_low", f"{name}_high"]].astype(float).itertuples(index=False, name=None)
    written = [[form.format(number) if np.isfinite(number) else "" for number in row] for row in rows]
    return [f"{value} [{low}, {high}]" if low and high else value for value, low, high in written]
