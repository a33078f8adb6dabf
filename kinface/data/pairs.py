"""The pairs table: one tidy row per pair of faces, the input of all bias analysis.

Reading a list and sampling write it, scoring adds ``score``, and fairness, plots and report read only it.
Scores of any other model can be audited by writing the same columns (``COLUMNS``) to parquet or csv.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as shorten

import numpy as np
import pandas as pd

from kinface.data.annotations import choose_marks
from kinface.data.cosines import compare_rows, to_unit_length
from kinface.data.labels import is_known
from kinface.data.tables import (
    as_pandas,
    canonical_text,
    infer_type,
    name_few,
    read_table,
    take_index,
    to_numbers,
    truth,
    warn_of_look_alikes,
)
from kinface.data.vocabulary import MEANINGS, TYPES, fold_word
from swinface.files import InputError, check_ending, one_line, replacing, to_plain

COLUMNS: dict[str, str] = {
    "face_a": "path of the first image below the data root",
    "face_b": "path of the second image",
    "person_a": "person of the first image, such as F0001/MID1; may be missing",
    "person_b": "person of the second image; may be missing",
    "family_a": "family of the first person, such as F0001; may be missing",
    "family_b": "family of the second person; may be missing",
    "type": "one of the 11 types; for a non-kin pair the type it imitates; may be missing",
    "kin": "1 when the two persons are kin, else 0",
    "race_a": "race of the first person; may be missing",
    "race_b": "race of the second person; may be missing",
    "race_source": "who said so, such as 'predicted by deepface'; may be missing",
    "gender_a": "gender of the first person, m or f; may be missing",
    "gender_b": "gender of the second person, m or f; may be missing",
    "gender_source": "who said so; may be missing",
    "split": "train, tune, val or test; missing where the two persons are in different ones",
    "list": "name of the list the pair came from",
    "score": "the model's score, higher for kin; missing until scored",
}
PAIRS_ENDINGS = (".parquet", ".csv")
REQUIRED_VALUES = ("face_a", "face_b")
TEXT_COLUMNS = tuple(column for column in COLUMNS if column not in ("kin", "score"))
ONE_FAMILY = "a kin pair must lie in one family"
ONE_PERSON = "the two faces are of the same person"
OF_PEOPLE = tuple(f"{name}_{side}" for name in ("person", "family", "race", "gender") for side in "ab")
PATHS = (*REQUIRED_VALUES, "face_m")  # of triplets (kinface.data.triplets)
SIDES = ("p", "path", "img", "image", "face")  # what others call a face, with 1 and 2 behind it, p in RFIW's csv lists
OTHER_NAMES = {
    "face_a": tuple(f"{name}1" for name in SIDES),
    "face_b": tuple(f"{name}2" for name in SIDES),
    "type": ("ptype",),
    "kin": ("label",),
}


def check_kinds(kin: pd.Series | np.ndarray, source: str) -> None:
    """Raise ``InputError`` if pairs, which messages call ``source``, are all kin or all non-kin; ``kin`` is bool."""
    for missing, name in ((not kin.any(), "kin"), (kin.all(), "non-kin")):
        if missing:
            raise InputError(f"{source}: column kin: there are no {name} pairs; both kinds are needed.")


def check_pairs(pairs: pd.DataFrame, source: str, scored: bool = False) -> pd.DataFrame:
    """Check a pairs table, which messages call ``source``, and bring it into its one form.

    It has the columns ``face_a``, ``face_b`` and ``kin``; if it is ``scored``, also a score in every row. Others of
    ``COLUMNS`` are added, without values, where they are missing; further columns, such as custom groups, are
    kept behind them. A list of people (``kinface.data.photos``) has ``person_a`` and ``person_b`` in place of faces,
    which then stand for them.

    Text columns, and those of others that hold any text, become ``object`` with the one text of each value
    (``kinface.data.tables.canonical_text``), None where missing; ``kin`` bool, read from 1 and 0, yes and no or true
    and false; ``score`` float64; rows count from 0. Warns if columns have ``OTHER_NAMES``, texts that differ are one
    value, families look alike, genders are written otherwise than m and f, people, families, races or genders are
    marked as unknown, and then missing, or have a column for one person of a pair alone.

    Raises ``InputError`` if this is not a table, or that names the column that is missing, there twice or of one person
    where two are needed, or the first row (counted from 1, without a header) that is wrong.
    """
    pairs = as_pandas(pairs)
    if not isinstance(pairs, pd.DataFrame):
        named = isinstance(pairs, str | Path)
        given = repr(str(pairs)) if named else f"a {type(pairs).__name__}"
        advice = "read it first, with kinface.read_pairs" if named else "make a DataFrame of it, as of pandas"
        raise InputError(f"{source}: {given} is not a table; {advice}.")
    if pairs.columns.nlevels > 1:
        raise InputError(f"{source}: its columns have names of {pairs.columns.nlevels} levels; give each one name.")
    pairs = take_index(pairs).rename(columns=str)
    if names_people(pairs):
        pairs = pairs.assign(face_a=pairs["person_a"], face_b=pairs["person_b"])
    pairs = _read_other_names(pairs, source)
    _check_columns(pairs, source, scored)
    extra = [column for column in pairs if column not in COLUMNS]
    pairs = pairs.reset_index(drop=True).reindex(columns=[*COLUMNS, *extra])
    of_text = [column for column in extra if _holds_text(pairs[column])]
    for column in (*TEXT_COLUMNS, *of_text):
        pairs[column] = canonical_text(pairs[column], f"{source}: column {column}", paths=column in PATHS)
    own = [{name, f"{name[:-2]}_b"} for name in extra if name.endswith("_a")]
    of_people = [*OF_PEOPLE, *(name for both in own if both <= {*extra} for name in sorted(both & {*of_text}))]
    marked = ["type", "split", *of_people]
    pairs[marked] = drop_marks(pairs[marked], source)
    families = {*pairs["family_a"].unique(), *pairs["family_b"].unique()} - {None}
    warn_of_look_alikes(families, f"{source}: families", stacklevel=2)
    pairs[["gender_a", "gender_b"]] = _read_genders(pairs[["gender_a", "gender_b"]], source)
    kin = truth(pairs["kin"], f"{source}: column kin")
    gender = pairs[["gender_a", "gender_b"]]
    no_gender = ~(gender.isin(["m", "f"]) | gender.isna())
    score, given = to_numbers(pairs["score"]), pairs[["type", "kin", "score"]]
    given = given.assign(gender=gender.where(no_gender).bfill(axis="columns")["gender_a"])
    one_person = pairs["person_a"] == pairs["person_b"]
    two_families = (pairs["family_a"] != pairs["family_b"]) & families_known(pairs)
    rules = {
        **{f"{column} is missing": pairs[column].isna() for column in REQUIRED_VALUES},
        "kin must be 0 or 1, yes or no, true or false": kin.isna(),
        f"type must be one of {' '.join(TYPES)} or missing": ~(pairs["type"].isin(TYPES) | pairs["type"].isna()),
        "gender must be m, f or missing": no_gender.any(axis="columns"),
        ONE_PERSON: one_person | (pairs["face_a"] == pairs["face_b"]),
        ONE_FAMILY: (kin == True) & two_families,  # noqa: E712
        "score must be a finite number": ~np.isfinite(score) & (scored | pairs["score"].notna()),
    }
    for rule, broken in rules.items():
        if broken.any():
            row, column = int(broken.to_numpy().argmax()), rule.partition(" ")[0]
            faces = one_line(f"{pairs['face_a'][row]}, {pairs['face_b'][row]}")
            if column in given and pd.notna([given[column][row]]).any():
                rule += f", not {shorten(to_plain(given[column][row]))}"
            elif column in given:
                rule += ", and is missing; leave such pairs out"
            elif broken is rules[ONE_PERSON] and one_person[row] and two_families[row]:
                rule += (
                    f", {pairs['person_a'][row]!r}, in two families; name people of all families apart, as F0001/MID1"
                )
            elif broken is rules[ONE_FAMILY]:
                named = " and ".join(repr(pairs[side][row]) for side in ("family_a", "family_b"))
                rule += f", not in {named}; correct these or kin, or leave the family empty that is not known"
            more = f"; {int(broken.sum()) - 1} more rows like it" if broken.sum() > 1 else ""
            raise InputError(f"{source}: row {row + 1}: {rule} ({faces}{more}).")
    pairs["kin"], pairs["score"] = kin.astype(bool), score
    return pairs


def names_people(pairs: pd.DataFrame) -> bool:
    """Whether a table names people, ``person_a`` and ``person_b``, and no faces."""
    given = [*pairs.columns]
    return given.count("person_a") == given.count("person_b") == 1 and not {"face_a", "face_b"} & {*given}


def _read_other_names(pairs: pd.DataFrame, source: str) -> pd.DataFrame:
    """The table with our names of columns, if it has all that are needed by those of ``OTHER_NAMES``; a warning says
    so."""
    known = {
        name: column
        for column, others in OTHER_NAMES.items()
        if column not in pairs
        for name in [other for other in others if other in pairs][:1]
    }
    if not known or not {*REQUIRED_VALUES, "kin"} <= {*pairs.columns, *known.values()}:
        return pairs
    said = ", ".join(f"{name} as {column}" for name, column in known.items())
    warnings.warn(f"{source}: columns are read by other names: {said}.", stacklevel=4)
    return pairs.rename(columns=known)


def _check_columns(pairs: pd.DataFrame, source: str, scored: bool) -> None:
    missing = [column for column in (*REQUIRED_VALUES, "kin", *["score"] * scored) if column not in pairs]
    if missing:
        described = ", ".join(f"{column} ({COLUMNS[column]})" for column in missing)
        has = f"It has {name_few([repr(str(column)) for column in pairs], 20, ', ')}."
        has += "".join(f" {name!r}: did you mean {column}?" for name, column in _find_similar(pairs, missing).items())
        if pairs.shape[1] == 1:
            has = f"It has one column, {pairs.columns[0]!r}; are its values separated by commas?"
        raise InputError(f"{source}: a pairs table needs the column{'s' * (len(missing) > 1)} {described}. {has}")
    if not pairs.columns.is_unique:
        twice = pairs.columns[pairs.columns.duplicated()][0]
        raise InputError(f"{source}: two columns have the name {twice!r}; rename or remove one.")
    if pairs.empty:
        raise InputError(f"{source}: the table has no pairs.")
    for name, column in _find_misspelt(pairs, [column for column in COLUMNS if column not in pairs]).items():
        warnings.warn(f"{source}: column {name!r} is taken as one of your own; did you mean {column}?", stacklevel=4)
    for name in pairs.columns.intersection(OF_PEOPLE) if scored else ():  # in a list, families fill in the other
        other = name[:-1] + ("b" if name.endswith("a") else "a")
        if other not in pairs:
            warnings.warn(f"{source}: column {name} needs {other}, which is missing; add it.", stacklevel=4)
    for name in ("race", "gender") if scored else ():  # whoever only scores the pairs needs neither
        of_people = pairs.columns.intersection([f"{name}_a", f"{name}_b"])
        if name in pairs and pairs[of_people].isna().all(axis=None):
            raise InputError(
                f"{source}: column {name}: a pair has two people; name the columns {name}_a and {name}_b, the same "
                "value in both where they share it."
            )


def _find_misspelt(pairs: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """Custom columns to those of ``columns`` from which they differ in capitals and separators alone."""
    folded = {re.sub(r"[\W_]", "", column): column for column in columns}
    given = {str(column): re.sub(r"[\W_]", "", str(column).casefold()) for column in pairs if column not in COLUMNS}
    return {name: folded[text] for name, text in given.items() if text in folded}


def _find_similar(pairs: pd.DataFrame, columns: Sequence[str]) -> dict[str, str]:
    """As ``_find_misspelt``, and those that differ in a few letters."""
    found, others = _find_misspelt(pairs, columns), [str(column) for column in pairs if column not in COLUMNS]
    for column in columns:
        near = [] if column in found.values() else get_close_matches(column, others, 1, 0.75)
        found |= {name: column for name in near if name not in found}
    return found


def _holds_text(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False  # its order is kept for groups
    return pd.api.types.is_string_dtype(column) or any(isinstance(value, str) for value in column)


def drop_marks(people: pd.DataFrame, source: str) -> pd.DataFrame:
    """Attributes without marks of "no value": two people of unknown race are not of one.

    A custom column that then holds numbers alone becomes numbers, as with an empty cell in the place of the mark.
    NA, None and null, as R, Excel and Python write it, are marks too in such a column, and in ``COLUMNS``, also those
    of one person such as ``race``, where negative numbers are as well.
    """
    people, said = people.copy(), {}
    for column in people:
        texts = pd.Series([it for it in people[column].unique() if isinstance(it, str)], dtype=object)
        ours = not {column, f"{column}_a"}.isdisjoint(COLUMNS)
        marks = choose_marks(texts, ours)
        words = [text for text in texts if fold_word(text) in marks or (ours and not is_known(text))]
        if words:
            kept = people[column].astype(object)
            kept = kept.where(kept.notna() & ~kept.isin(words), None)
            people[column] = kept if ours else infer_type(kept)
            said |= dict.fromkeys((column.removesuffix("_a").removesuffix("_b"), word) for word in words)
    if said:
        named = name_few([f"{word!r} of {name} is read as missing" for name, word in said], between=", ")
        warnings.warn(f"{source}: {named}.", stacklevel=3)
    return people


def _read_genders(genders: pd.DataFrame, source: str) -> pd.DataFrame:
    """With m and f for male and female, man and woman; other words stay, and are refused."""
    words = sorted({*genders.to_numpy().ravel()} - {None, "m", "f"})
    known = {word: MEANINGS["gender"][fold_word(word)] for word in words if fold_word(word) in MEANINGS["gender"]}
    if known:
        said = ", ".join(f"{word!r} is read as {meaning}" for word, meaning in known.items())
        warnings.warn(f"{source}: gender: {said}.", stacklevel=3)
    return genders.replace(known) if known else genders


def read_pairs(path: str | Path, scored: bool = False) -> pd.DataFrame:
    """Read and check a pairs table, of faces or of people, from a .parquet, .csv or .xlsx file.

    Raises
    ------
    InputError
        The file is missing, of another kind or broken, or its table is wrong (see ``check_pairs``).

    Examples
    --------
    >>> import tempfile, kinface, pandas as pd
    >>> file = f"{tempfile.mkdtemp()}/scores.csv"
    >>> pd.DataFrame({"face_a": ["a.jpg"], "face_b": ["b.jpg"], "kin": [1], "score": [0.7]}).to_csv(file, index=False)
    >>> kinface.read_pairs(file, scored=True)[["face_a", "face_b", "kin", "score"]]
      face_a face_b   kin  score
    0  a.jpg  b.jpg  True    0.7
    """
    return check_pairs(read_table(Path(path), "pairs table", (*COLUMNS, *PATHS)), str(path), scored)


def write_pairs(pairs: pd.DataFrame, path: str | Path) -> None:
    """Check a pairs table and write it, whole or not at all, to a .parquet or .csv file."""
    path = Path(path)
    check_ending(path, PAIRS_ENDINGS, "a pairs table")
    pairs = check_pairs(pairs, str(path))
    with replacing(path) as partial:
        if path.suffix == ".parquet":
            pairs.to_parquet(partial, index=False)
        else:
            pairs.assign(kin=pairs["kin"].astype(int)).to_csv(partial, index=False)


def families_known(pairs: pd.DataFrame) -> pd.Series:
    """Whether the families of both persons are known."""
    return pairs["family_a"].notna() & pairs["family_b"].notna()


def list_known(pairs: pd.DataFrame, what: str) -> set[str]:
    """All that are known of one kind in a list of pairs: ``family``, ``person`` or ``face``."""
    columns = pairs.columns.intersection([f"{what}_a", f"{what}_b"])
    found = (canonical_text(pairs[it], it, paths=what == "face").dropna().unique() for it in columns)
    return set().union(*found)


def factorize_sides(pairs: pd.DataFrame, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The codes of what the first persons have of a kind, then of the second ones', and what they stand for."""
    return pd.factorize(pd.concat([pairs[f"{what}_a"], pairs[f"{what}_b"]]))


def resampling_units(pairs: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """What is resampled where a pair is: its two families, which are one where the pair lies in one.

    A pair with one known family belongs to that one alone. A pair without any is a unit of its own, named by its two
    images, as if it were independent of all other pairs.
    """
    first, second = (canonical_text(pairs[side], f"column {side}") for side in ("family_a", "family_b"))
    first, second = first.where(first.notna(), second), second.where(second.notna(), first)
    unknown = first.isna()
    if unknown.any():
        images = np.sort(pairs.loc[unknown, ["face_a", "face_b"]].to_numpy(str), axis=1)
        own = pd.Series([" and ".join(pair) for pair in images], pairs.index[unknown], dtype=object)
        first, second = (side.where(~unknown, own.reindex(pairs.index)) for side in (first, second))
    return first, second


def race_group(pairs: pd.DataFrame) -> pd.Series:
    """The race both persons share, else ``cross-race``; missing where either is unknown."""
    shared = pairs["race_a"].where(pairs["race_a"] == pairs["race_b"], "cross-race")
    return _where_known(shared, pairs, "race").rename("race")


def race_crossing(pairs: pd.DataFrame) -> pd.Series:
    """``same-race`` or ``cross-race``; missing where either race is unknown."""
    same = pairs["race_a"] == pairs["race_b"]
    return _where_known(same.map({True: "same-race", False: "cross-race"}), pairs, "race").rename("race crossing")


def gender_pair(pairs: pd.DataFrame) -> pd.Series:
    """``mm``, ``mf`` or ``ff``, whichever face comes first; missing where either gender is unknown."""
    ordered = (pairs["gender_a"] + pairs["gender_b"]).replace("fm", "mf")
    return _where_known(ordered, pairs, "gender").rename("gender pair")


def generation_gap(pairs: pd.DataFrame) -> pd.Series:
    """Generations between the two roles (0, 1 or 2) as nullable integers; missing where the type is."""
    gaps = {code: kin_type.generation_gap for code, kin_type in TYPES.items()}
    return pairs["type"].map(gaps).astype("Int64").rename("generation gap")


def _where_known(group: pd.Series, pairs: pd.DataFrame, attribute: str) -> pd.Series:
    known = pairs[f"{attribute}_a"].notna() & pairs[f"{attribute}_b"].notna()
    return group.astype(object).where(known, None)


def find_rows(
    pairs: pd.DataFrame, faces: Sequence[str], sides: Sequence[str] = ("face_a", "face_b")
) -> tuple[np.ndarray, ...]:
    """(pairs,) places in ``faces`` of the first and of the second face of each pair, or of other columns of faces.

    Raises ``InputError`` if a face of the pairs is not among them.
    """
    return tuple(find_places(pairs[side], faces, "it is in a pair but not embedded; embed it too") for side in sides)


def find_places(names: Sequence[str], faces: Sequence[str], otherwise: str) -> np.ndarray:
    """(names,) places in ``faces``; both are paths, in any form.

    Raises ``InputError``, the name and ``otherwise``, if one is not among the faces, or if a face is there twice.
    """
    wanted, there = pd.Index(names), pd.Index(faces)
    if there.is_unique and not ((places := there.get_indexer(wanted)) < 0).any():
        return places  # mostly both have one form
    wanted, there = (
        pd.Index(canonical_text(pd.Series([*given], dtype=object), "faces", paths=True)) for given in (names, faces)
    )
    if not there.is_unique:
        raise InputError(f"faces: {there[there.duplicated()][0]} is listed twice; keep one row of it.")
    places = there.get_indexer(wanted)
    if lost := int((places < 0).sum()):
        several = f" (one of {lost:,})" if lost > 1 else ""
        raise InputError(f"{wanted[int((places < 0).argmax())]}{several}: {otherwise}.")
    return places


def score_pairs(pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
    """Score each pair by the cosine of the embeddings, (N, D), of its faces, which are among ``faces``, (N,) paths.

    Raises ``InputError`` if one is not, or an embedding has no direction: its length is zero or not finite.
    """
    unit = to_unit_length(faces, embedding)
    return pairs.assign(score=compare_rows(unit, *find_rows(pairs, faces)))
