"""Attributes of faces from csv files, each with its source, and the attributes of people that follow from them.

A file has a column ``face`` (a path below the data root) and columns ``<attribute>_<source>``: ``race_deepface``,
``age_mivolo``, ``gender_human``, or a custom attribute such as ``age_band_human``. The source is the part after
the last underscore: ``self`` is self-described, ``human`` is human annotated, any other name is a model that predicted
the value. Race and gender here are what a source says about a face, not facts about a person.

Race and gender come in many words, which ``MEANINGS`` maps to a few. Age is in years, 30 or "30 years"; a range such as
FairFace's 20-29, Adience's (25, 32) or pandas' (20, 30] counts as its middle, and one without an end, "more than 70" or
70+, as its beginning. A custom attribute is a category, also if it is written in whole numbers (glasses 0 and 1,
Fitzpatrick's 1 to 6). It is a measurement if it is declared as one, or has numbers with fractions.

A model that finds no face has to write something all the same: ``unk``, -1, an age of 0. Where it says of a face that
something is unknown, nothing that it says of this face is used.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.matrices import Problem
from kinface.data.tables import NUMBER, canonical_text, list_names, name_few, read_table, warn_of_look_alikes
from kinface.data.vocabulary import MEANINGS, fold_word
from swinface.files import InputError, tidy_path

ATTRIBUTES = ("race", "age", "gender")  # every table has these, others only where they are annotated
SOURCES = {"self": "self-described", "human": "human annotated"}  # in order of trust; then come predictions
PREDICTED = "predicted by "

# Marks of "no value", as ``fold_word`` gives them. A custom category may well be called none.
UNKNOWN = ("nan", "unk", "unknown")
EMPTY = ("nan", "none", "null", "na", "n/a", "#n/a")  # what Python, R and Excel make of an empty cell
UNKNOWN_OF_THREE = (*UNKNOWN, *EMPTY, "-1")  # of race, age and gender

# Columns of the tables that are no attributes of a face.
TAKEN = ("face", "faces", "family", "kin", "list", "mid", "name", "person", "race_agreement", "score", "split", "type")
OLDEST = 130  # years
YEARS = r"(\d{1,3})(?:\.0)?"
AGES = re.compile(rf"{YEARS}\s*(?:[-–]|to)\s*{YEARS}|[(\[]{YEARS}\s*[-–,]\s*{YEARS}[)\]]")  # from, to
AGES_FROM = re.compile(r"more than (\d{1,3})|(\d{1,3})\s*(?:\+|(?:years?|yrs?|y)(?:[ -]old)?)")
Columns = dict[str, tuple[str, str]]  # column to its attribute and source


def read_annotations(
    paths: Iterable[Path],
    faces: pd.Series,
    *,
    meanings: Mapping[str, Mapping[str, str]] | None = None,
    measurements: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame, list[Problem]]:
    """Read annotation files for the given faces, paths below the data root.

    Where several columns state an attribute of a face, the most trusted source counts: self-described, then human
    annotated, then predicted; among equals the first column of the first file. Raises ``InputError`` if a file is
    unreadable or has no column ``face``, an attribute has the name of another column of the tables or one that ends in
    ``_source``, or ``meanings`` or ``measurements`` do not fit what the files have.

    Parameters
    ----------
    meanings
        Attribute to words and what they mean, such as ``{"race": {"Latino_Hispanic": "Latino"}}``, before those of
        ``MEANINGS``; an empty meaning is unknown. Words are compared by ``fold_word``.
    measurements
        Custom attributes that are measured, though all their values are whole numbers: a person's value is the
        median.

    Returns
    -------
    tuple
        A row per face, in the order of ``faces``, with race, race_source, age, age_source, gender, gender_source, and
        likewise two columns for each custom attribute: a category as text, a measurement as float64. What was
        found in the files, as ``kinface.data.families.TABLES`` says. And the problems: faces that are not there, are
        annotated twice, or that a model marks as unknown, and values that cannot be read.
    """
    measurements = list_names(measurements)
    wanted = {name: {fold_word(word): value for word, value in of.items()} for name, of in (meanings or {}).items()}
    _check_meanings(wanted)
    problems: list[Problem] = []
    strange, found, stated, unmet = [], [], [], {(name, word) for name, words in wanted.items() for word in words}
    paths = [*paths]
    for path in paths:
        table, known = _read_table(path, faces, problems)
        columns = _parse_columns(table, path, problems)
        for column in columns:
            table[column] = canonical_text(table[column], f"{path}: {column}")
        _drop_marked(table, columns, path.name, problems)
        for column in table:
            attribute, source = columns.get(column, (None, None))
            values, mapped = table[column], {}
            if attribute:
                words = MEANINGS.get(attribute, {}) | wanted.get(attribute, {})
                unmet -= {(attribute, word) for word in _fold(values).dropna().unique()}
                values, mapped = _read_values(values, attribute, words, path.name, problems)
                stated.append((attribute, source, values.reset_index(drop=True)))
            said = ", ".join(f"{word} as {meaning} ({count:,})" for (word, meaning), count in mapped.items()) or None
            found.append((path.name, column, attribute, source, int(values.notna().sum()), said))
        if not known:
            have = f", as in {faces.iloc[0]}" if len(faces) else ""
            strange.append(f"{path}: has no row of a face below the root, where paths start{have}.")
    if 0 < len(strange) == len(paths):
        raise InputError(strange[-1])
    for text in strange:
        warnings.warn(text, stacklevel=2)
    if unmet:
        name, word = min(unmet)
        raise InputError(f"meanings: no annotation of {name} is {word!r}; leave it out.")
    absent = sorted(set(measurements) - {attribute for attribute, *_ in stated})
    if absent:
        raise InputError(f"measurements: no annotation file has {absent[0]}; leave it out.")
    merged = _merge(stated, len(faces), measurements)
    return merged, pd.DataFrame(found, columns=["file", "column", "attribute", "source", "faces", "mapped"]), problems


def _check_meanings(wanted: Mapping[str, Mapping[str, str]]) -> None:
    if "age" in wanted:
        raise InputError("meanings: an age is a number of years, and no word.")
    genders = sorted(set(wanted.get("gender", {}).values()) - {"m", "f", ""})
    if genders:
        raise InputError(f"meanings: gender is m, f or nothing (unknown), not {genders[0]!r}.")


def _read_table(path: Path, faces: pd.Series, problems: list[Problem]) -> tuple[pd.DataFrame, bool]:
    """The file's columns besides ``face``, a row per face, and whether it names any of them."""
    table = read_table(path, "annotation file")
    if "face" not in table:
        has = name_few([repr(column) for column in table], 20, ", ")
        raise InputError(
            f"{path}: an annotation file needs a column 'face', the image's path below the data root; it has {has}."
        )
    table["face"] = table["face"].fillna("").map(tidy_path)
    absent = table["face"][~table["face"].isin(faces)]
    if len(absent):
        message = f"{len(absent)} rows such as {absent.iloc[0]}: ignored"
        problems.append(("annotation without face", path.name, message))
    twice = table["face"][table["face"].duplicated()]
    if len(twice):
        message = f"{len(twice)} rows such as {twice.iloc[0]}: the first is used"
        problems.append(("face annotated twice", path.name, message))
    return table.drop_duplicates("face").set_index("face").reindex(faces), len(absent) < len(table) or table.empty


def _parse_columns(table: pd.DataFrame, path: Path, problems: list[Problem]) -> Columns:
    """The columns that state an attribute."""
    columns = {}
    for column in table:
        match = re.fullmatch(r"(\w+)_([A-Za-z0-9-]+)", column)
        if match and match[1] not in ATTRIBUTES and match[1].lower() in ATTRIBUTES:
            meant = f"{match[1].lower()}_{match[2]}"
            raise InputError(f"{path}: column {column!r} would be another attribute; name it {meant}.")
        if column.lower() in ATTRIBUTES or (match and match[2] in ATTRIBUTES):
            meant = column.lower() if column.lower() in ATTRIBUTES else match[2]
            message = f"column {column}: does not say who states it, as {meant}_deepface does: ignored"
            problems.append(("annotation without source", path.name, message))
            continue
        if not match:
            if "_" in column:
                message = f"column {column}: a name has letters, digits and _ alone, as in skin_tone_human: ignored"
                problems.append(("annotation with another name", path.name, message))
            continue
        attribute, name = match.groups()
        if attribute in TAKEN:
            raise InputError(f"{path}: column {column!r}: {attribute!r} is a column of the tables; rename it.")
        if attribute.endswith("_source"):
            raise InputError(f"{path}: column {column!r}: {attribute!r} would be the source of another; rename it.")
        columns[column] = (attribute, SOURCES.get(name, f"{PREDICTED}{name}"))
    return columns


def _drop_marked(table: pd.DataFrame, columns: Columns, file: str, problems: list[Problem]) -> None:
    """Take out marks of "no value", and with them all that the same model says of that face.

    An age of 0 is a mark too, unless the model says something else of the face that is not 0 either. A person who
    annotates knows some things and not others.
    """
    marked = pd.DataFrame(index=table.index)
    for column, (attribute, _) in columns.items():
        texts = table[column]
        if not (pd.to_numeric(texts, errors="coerce") % 1 > 0).any():  # then 0, 1 and none may be categories
            texts = texts[:0]
        marked[column] = _fold(table[column]).isin(choose_marks(texts, attribute in ATTRIBUTES))
    for source in dict.fromkeys(source for _, source in columns.values() if source.startswith(PREDICTED)):
        own = [column for column, (_, of) in columns.items() if of == source]
        ages = [column for column in own if columns[column][0] == "age"]
        told = (table[own].notna() & ~marked[own] & (table[own] != "0")).any(axis="columns")
        unknown = marked[own].any(axis="columns") | ((table[ages] == "0").any(axis="columns") & ~told)
        if unknown.any():
            name, named = source.removeprefix(PREDICTED), ", ".join(columns[column][0] for column in own)
            faces = f"{_count_faces(int(unknown.sum()))} such as {table.index[unknown.to_numpy().argmax()]}"
            problems.append(("no prediction", file, f"{name} marks {faces} as unknown: its {named} left out"))
        marked.loc[unknown, own] = True
    for column in columns:
        table[column] = table[column].where(~marked[column], None)


def choose_marks(texts: pd.Series, ours: bool) -> Collection[str]:
    """Marks of "no value", as ``fold_word`` gives them, among the texts of an attribute of ``ours`` or a custom one.

    NA, None and null, as R, Excel and Python write it, are marks too beside numbers.
    """
    if ours:
        return UNKNOWN_OF_THREE
    words = [text for text in texts.dropna().unique() if not NUMBER.fullmatch(text)]
    beside_numbers = len(words) < texts.nunique() and {*map(fold_word, words)} <= {*UNKNOWN, *EMPTY}
    return (*UNKNOWN, *EMPTY) if beside_numbers else UNKNOWN


def _read_values(
    texts: pd.Series, attribute: str, words: Mapping[str, str], file: str, problems: list[Problem]
) -> tuple[pd.Series, dict[tuple[str, str], int]]:
    """What the texts of a column mean, as text, and which of them were read as something else, with their numbers."""
    folded = _fold(texts)
    if attribute == "age":
        values = texts.map(_take_middle, na_action="ignore").astype(object)
        years = pd.to_numeric(values, errors="coerce")
        if 2 * (years > OLDEST).sum() > texts.notna().sum():
            raise InputError(
                f"{file}: {texts.name}: most ages are above {OLDEST}; give years, not months or years of birth."
            )
        values = values.where(years.between(0, OLDEST), None)
    else:
        values = folded.map(words).astype(object)
        if attribute not in MEANINGS:
            values = values.where(folded.isin(words), texts)
        values = values.where(values.notna() & (values != ""), None)
    emptied = folded.isin([word for word, meaning in words.items() if not meaning])
    changed = (values.notna() & (values != texts)) | emptied
    meant = values.where(~emptied, "unknown")
    mapped = pd.DataFrame({"word": texts[changed], "meaning": meant[changed]}).value_counts().sort_index()
    unread = texts[values.isna() & texts.notna() & ~folded.isin(words)]
    for text, count in unread.value_counts().items():
        message = f"{texts.name} {text!r} of {_count_faces(count)}: {attribute} unknown"
        problems.append(("unknown annotation", file, message))
    return values, mapped.to_dict()


def _take_middle(age: str) -> str:
    """The middle of a range of ages, or where one without an end begins; any other text stays."""
    match = AGES.fullmatch(age) or AGES_FROM.fullmatch(age)
    ends = [int(end) for end in match.groups() if end] if match else [0]
    return f"{sum(ends) / len(ends):g}" if match and ends == sorted(ends) else age


def _fold(texts: pd.Series) -> pd.Series:
    return texts.map({text: fold_word(text) for text in texts.dropna().unique()}).astype(object)


def _count_faces(count: int) -> str:
    return f"{count:,} face{'s' * (count > 1)}"


def _merge(stated: list[tuple[str, str, pd.Series]], faces: int, measurements: Collection[str]) -> pd.DataFrame:
    """Of each attribute the value of the most trusted source, and the source."""
    merged = pd.DataFrame(index=range(faces))
    for attribute in dict.fromkeys([*ATTRIBUTES, *(attribute for attribute, *_ in stated)]):
        value, origin = (pd.Series(None, merged.index, dtype=object) for _ in range(2))
        for _, source, values in sorted((s for s in stated if s[0] == attribute), key=lambda s: _distrust(s[1])):
            fill = value.isna() & values.notna()
            value, origin = value.mask(fill, values), origin.mask(fill, source)
        measured = attribute == "age" or (attribute not in ATTRIBUTES and _is_measured(value, attribute, measurements))
        if not measured and attribute not in ATTRIBUTES:
            warn_of_look_alikes(value.dropna().unique(), f"annotations: values of {attribute}", stacklevel=3)
        merged[attribute] = pd.to_numeric(value).astype("float64") if measured else value.where(value.notna(), None)
        merged[f"{attribute}_source"] = origin.where(origin.notna(), None)
    return merged


def _is_measured(values: pd.Series, attribute: str, measurements: Collection[str]) -> bool:
    known = values.dropna()
    numbers = pd.to_numeric(known, errors="coerce").astype("float64")
    numeric = np.isfinite(numbers)
    if attribute in measurements and not numeric.all():
        text = known[~numeric].iloc[0]
        raise InputError(
            f"measurements: {attribute} of a face is {text!r}, which is not a number; correct the annotation."
        )
    parts = bool((numbers[numeric] % 1 != 0).any())
    if parts and not numeric.all():
        warnings.warn(
            f"{attribute}: {known[~numeric].iloc[0]!r} of a face is not a number, as others are, so all values count "
            "as classes; correct it, or leave it empty.",
            stacklevel=4,
        )
    return attribute in measurements or (parts and bool(numeric.all()))


def _distrust(source: str) -> int:
    return [*SOURCES.values(), source].index(source)


def describe_people(people: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Add to each person what is known of their faces.

    Race is the majority over the person's faces. Only faces with a value of the most trusted source are counted, and a
    tie goes to the race that comes first in the alphabet. ``race_agreement`` is the majority's share. Age is the
    median. Custom attributes are treated like race if they are categories, and like age if they are measured.
    """
    person = people["person"]
    described = people.assign(faces=person.map(faces["person"].value_counts()).fillna(0).astype("int64"))
    described["race"], described["race_source"], described["race_agreement"] = _find_majority(faces, "race", person)
    described["age"], described["age_source"] = _find_median(faces, "age", person)
    for attribute in list_own_attributes(faces):
        find = _find_median if is_measurement(faces[attribute]) else _find_majority
        value, source, *_ = find(faces, attribute, person)
        described[attribute], described[f"{attribute}_source"] = value, source
    return described


def list_own_attributes(table: pd.DataFrame) -> list[str]:
    """The attributes besides race, age and gender in a table of faces or of people."""
    named = [column.removesuffix("_source") for column in table if column.endswith("_source")]
    return [name for name in named if name not in ATTRIBUTES and name in table]


def is_measurement(values: pd.Series) -> bool:
    """Whether a column of a table of faces or people is measured; else it has categories."""
    return pd.api.types.is_numeric_dtype(values)


def _find_majority(faces: pd.DataFrame, attribute: str, person: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Each person's commonest value, its source, and the share of faces that carry it."""
    counts = _most_trusted(faces, attribute).groupby(["person", attribute], as_index=False)
    counts = counts.agg(count=("face", "size"), source=(f"{attribute}_source", "first"))
    majority = counts.sort_values(["count", attribute], ascending=[False, True]).drop_duplicates("person")
    majority = majority.set_index("person")
    share = majority["count"] / counts.groupby("person")["count"].sum()
    return person.map(majority[attribute]), person.map(majority["source"]), person.map(share)


def _find_median(faces: pd.DataFrame, attribute: str, person: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The median of each person's values, and its source."""
    values = _most_trusted(faces, attribute).groupby("person")
    values = values.agg(value=(attribute, "median"), source=(f"{attribute}_source", "first"))
    return person.map(values["value"]), person.map(values["source"])


def _most_trusted(faces: pd.DataFrame, attribute: str) -> pd.DataFrame:
    """The faces whose value comes from the most trusted source that the person has a value of."""
    known = faces[faces[attribute].notna()].sort_values("face")
    rank = known[f"{attribute}_source"].map(_distrust)
    return known[rank == rank.groupby(known["person"]).transform("min")]
