"""Lists of pairs in the forms of the field (``FORMS``) -> pairs tables."""

from __future__ import annotations

import codecs
import csv
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from kinface.data.families import FAMILY_FOLDER, SPLITS, Families, name_prepared_lists, read_prepared_list
from kinface.data.pairs import read_pairs
from kinface.data.photos import list_people
from kinface.data.sampling import describe_pairs, sample_pairs
from kinface.data.tables import NUMBER, is_table
from kinface.data.vocabulary import RACES, TYPES
from swinface.files import InputError, expand_home, inside, name_reason, naming, one_line, printable, tidy_path

OFFICIAL_GRANDPARENTS = {"gmgs": "gfgd", "gfgd": "gmgs", "gfgs": "gmgd", "gmgd": "gfgs"}

# The fields of a line. Each form has its own number of them, or begins otherwise: with a number or not; of two, the
# first ends with a number. The similarity in FaCoRNet's training lists and the split in FIW_KRT's are not used; where
# lines have no type, the file's name may.
FORMS = {
    "RFIW": ("index", "path1", "path2", "type", "kin"),
    "FaCoRNet": ("index", "path1", "path2", "type", "kin", "similarity"),
    "KFC": ("path1", "path2", "type", "kin", "race"),
    "numbered KFC": ("index", "path1", "path2", "type", "kin", "race"),
    "FIW_KRT": ("split", "kin", "path1", "path2"),
    "plain": ("path1", "path2", "kin"),
}
KFC_RACES = {code: race for race, code in RACES.items()}


def read_any_list(
    name: str | Path,
    root: str | Path,
    families: Families,
    *,
    swap_grandparents: bool = False,
    people: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Read a list in any of its forms: a list of the prepared folder, a pairs table, or a list of one of ``FORMS``.

    ``name`` is that of a list of the prepared folder, such as ``tune``; or a split of ``SPLITS``, to draw pairs from
    (``kinface.data.sampling.sample_pairs``); or else a file: a pairs table if its ending is that of a table, unless it
    is a csv without a header. ``root`` is where ``families`` were read from. ``swap_grandparents`` is for files, see
    ``read_list``. With ``people`` each pair of people is there once (``kinface.data.photos.list_people``), and a table
    may name people (``person_a``, ``person_b``, ``kin``) in place of faces. Raises ``InputError`` if the file cannot be
    used, names a face or a person that is not there, or no pairs can be drawn.
    """
    pairs = _read_faces(name, root, families, swap_grandparents, people, seed)
    with naming(name):
        return list_people(pairs) if people else pairs


def _read_faces(
    name: str | Path, root: str | Path, families: Families, swap_grandparents: bool, people: bool, seed: int
) -> pd.DataFrame:
    prepared = read_prepared_list(Path(root), str(name))
    if swap_grandparents and (prepared is not None or names_split(name)):
        raise InputError(f"{name}: swap_grandparents is for a file; a list of a prepared folder, or a draw, has ours.")
    if prepared is not None:
        return prepared
    if names_split(name):
        return sample_pairs(families, str(name), seed=seed)
    if not Path(name).exists():
        lists = name_prepared_lists(Path(root))
        there = f"; its lists are {one_line(', '.join(lists))}" if lists else ""
        raise InputError(f"{name}: no such file, and no list of {root}{there}.")
    if not is_table(name) or _lacks_header(Path(name)):
        return read_list(name, families, swap_grandparents=swap_grandparents)
    pairs = _take_types(read_pairs(name), swap_grandparents)
    if pairs["face_a"].eq(pairs["person_a"].map(tidy_path, na_action="ignore")).all():
        if not people:
            raise InputError(f"{name}: names people, not faces; score them by all of their photos.")
        return _picture_people(pairs, str(name), families)
    pairs = check_faces(pairs, ("face_a", "face_b"), str(name), families)
    with naming(name):
        listed = pairs["list"].fillna(printable(Path(name).stem))
        pairs = complete(pairs, lambda known: describe_pairs(known.assign(list=listed), families))
    _warn_of_grandparents(pairs, Path(name), swap_grandparents)
    return pairs


def complete(stated: pd.DataFrame, describe: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """What a table says of its pairs and, where it has no value in any row, what ``describe`` knows of their people.

    Columns of one thing, such as ``race_a``, ``race_b`` and ``race_source``, go together.
    """

    def stem(column: str) -> str:
        return re.sub(r"_(a|b|m|source)$", "_", column)  # a column "race" alone is a custom one of the pair

    said = {stem(column) for column in stated if stated[column].notna().any()}
    partly = {stem(column) for column in stated if stated[column].isna().any()} & said - {"type"}
    if said == {stem(column) for column in stated}:
        return stated
    known = describe(stated.drop(columns=[column for column in stated if stem(column) in partly]))
    return stated.assign(**{column: known[column] for column in known if stem(column) not in said})


def names_split(name: str | Path) -> bool:
    """Whether a split is meant, and no file of its name."""
    return str(name) in SPLITS and not Path(name).is_file()


def _picture_people(pairs: pd.DataFrame, where: str, families: Families) -> pd.DataFrame:
    """A list of people with the first photo of each as its face, and what is known of them."""
    first = families.faces.sort_values("face").groupby("person")["face"].first()
    persons = pairs[["face_a", "face_b"]].set_axis(["person_a", "person_b"], axis="columns")  # as paths are written
    pairs = pairs.assign(**persons, **{f"face_{side}": persons[f"person_{side}"].map(first) for side in "ab"})
    for side in "ab":
        missing = pairs[f"face_{side}"].isna()
        if missing.any():
            row, person = int(missing.argmax()) + 1, pairs.loc[missing, f"person_{side}"].iloc[0]
            raise InputError(f"{where}: row {row}: no photo of a person {one_line(person)}, as in F0001/MID1.")
    with naming(where):
        return describe_pairs(pairs.assign(list=printable(Path(where).stem)), families)


def _lacks_header(path: Path) -> bool:
    """Whether a csv begins with a pair."""
    if path.suffix.lower() != ".csv":
        return False
    _, fields = next(read_fields(path))
    form = _find_form(fields)
    return form is not None and fields[FORMS[form].index("kin")] in ("0", "1")


def read_list(path: str | Path, families: Families, *, swap_grandparents: bool = False) -> pd.DataFrame:
    """Read a list of pairs in one of ``FORMS``, as a pairs table with a row per pair of the list, in its order.

    RFIW Track 1 writes ``index path1 path2 type kin``, KFC ``path1 path2 type kin race``; one file has one form, and
    blanks or commas between fields. KFC's race (``AA``, ``A``, ``C``, ``I``, or ``C&AA`` for the first and second face
    of a cross-race pair) goes before the annotated one. Paths are relative to the root of ``families``, but may lie
    elsewhere below it than in a family's folder, as RFIW's test faces do (``Test/test-faces/face3118.jpg``): person and
    family are missing then.

    With ``swap_grandparents``, grandparent types carry the names of the official RFIW lists, which swap them: their
    ``gmgs`` is grandfather-granddaughter, ``gfgd`` grandmother-grandson, and ``gfgs`` and ``gmgd`` likewise. A warning
    says if persons' genders contradict most of them.

    Raises ``InputError`` that names the file and line that cannot be used.
    """
    path = Path(path)
    pairs = pd.DataFrame(_parse_list(path, families)).assign(list=printable(path.stem))
    pairs = describe_pairs(_take_types(pairs, swap_grandparents), families)
    _warn_of_grandparents(pairs, path, swap_grandparents)
    return pairs


def _parse_list(path: Path, families: Families) -> list[dict[str, str | None]]:
    """One row per pair: face_a, face_b, type, kin and, in KFC's form, race_a, race_b, race_source."""
    persons = persons_of_faces(families)
    lines = [*read_fields(path)]
    form = _find_form(lines[0][1])
    if form is None:
        known = "; ".join(f"'{' '.join(names)}' ({name})" for name, names in FORMS.items())
        raise InputError(f"{lines[0][0]}: expected the fields of a list, {known}; got {' '.join(lines[0][1])!r}.")
    of_file = path.stem.partition("_")[0]
    rows = []
    for where, fields in lines:
        if _find_form(fields) != form:
            wanted = f"{len(FORMS[form])} fields '{' '.join(FORMS[form])}' of the {form} form"
            raise InputError(f"{where}: expected the {wanted}, got {' '.join(fields)!r}.")
        row = dict(zip(FORMS[form], fields, strict=True))
        face_a, face_b = check_row([row["path1"], row["path2"]], row["kin"], where, families.root, persons)
        kin_type = row.get("type", of_file if of_file in TYPES else None)
        if kin_type is not None and kin_type not in TYPES:
            raise InputError(f"{where}: unknown type {kin_type!r}; the types are {' '.join(TYPES)}.")
        pair = {"face_a": face_a, "face_b": face_b, "type": kin_type, "kin": row["kin"]}
        rows.append(pair | (_parse_race(row["race"], where) if "race" in row else {}))
    return rows


def _find_form(fields: list[str]) -> str | None:
    numbered = fields[0].isdecimal()
    forms = [form for form, of in FORMS.items() if len(of) == len(fields) and (of[0] == "index") == numbered]
    return forms[NUMBER.fullmatch(fields[-1]) is None] if len(forms) > 1 else next(iter(forms), None)


def read_fields(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The fields of each line of a list, and where they stand: the file and line, for messages.

    In a csv, and in a line without blanks, fields lie between commas, semicolons or tabs, and may be quoted. In other
    lines they lie between blanks; a comma before a blank is ignored. Raises ``InputError`` if the file cannot be read
    as text, or has no line.
    """
    commas, found = path.suffix.lower() == ".csv", False
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with path.open(encoding="utf-16" if wide else "utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if "\0" in line:
                    raise UnicodeError("UTF-16 without its mark")
                if line.strip():
                    found = True
                    yield f"{path}:{number}", _split(line, commas)
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: not a readable list ({name_reason(error)}).") from error
    except UnicodeError as error:
        raise InputError(f"{path}: not a readable list (it is not in UTF-8); save it in UTF-8.") from error
    if not found:
        raise InputError(f"{path}: the list is empty.")


def _split(line: str, commas: bool) -> list[str]:
    fields = re.split(r"\s*,\s+|\s+", line.strip())
    if not commas and len(fields) > 1:
        return fields
    separator = max(",;\t", key=line.count)
    return [field.strip() for field in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]


def persons_of_faces(families: Families) -> dict[str, str | None]:
    """Face to person."""
    return dict(zip(families.faces["face"], families.faces["person"], strict=True))


def check_faces(pairs: pd.DataFrame, sides: Sequence[str], where: str, families: Families) -> pd.DataFrame:
    """A table of pairs, or triplets, whose columns of faces have been through ``check_face``."""
    persons = persons_of_faces(families)
    checked = pairs.copy()
    for side in sides:
        faces = [
            check_face(face, f"{where}: row {row}", families.root, persons)
            for row, face in enumerate(pairs[side], start=1)
        ]
        checked[side] = pd.Series(faces, pairs.index, dtype=object)
    return checked


def check_face(face: str, where: str, root: Path, persons: dict[str, str | None]) -> str:
    """The path of a face that a list names, below the root, as ``tidy_path`` gives it.

    A face that lies outside of all family folders joins ``persons`` as None. Raises ``InputError`` if there is no such
    face below the root.
    """
    face = below(root, face)
    if face in persons:
        return face
    path = inside(root, face, where)
    if FAMILY_FOLDER.match(path.relative_to(root).as_posix()) or not os.path.isfile(path):  # false if too long a name
        example = f", as in {next(iter(persons))}" if persons else ""
        raise InputError(f"{where}: no face {face} below {root}. Paths start there{example}.")
    persons[face] = None
    return face


def below(root: Path, path: str) -> str:
    """A path that a list names, as ``tidy_path`` gives it, and from the root on if it is whole."""
    path = tidy_path(expand_home(path.strip()))
    if not Path(path).is_absolute():
        return path
    above = [it for it in (root.absolute(), root.resolve()) if Path(path).is_relative_to(it)]  # of Windows too
    return tidy_path(os.path.relpath(path, above[0])) if above else path


def check_row(faces: Sequence[str], kin: str, where: str, root: Path, persons: dict[str, str | None]) -> list[str]:
    """Faces that a row of a list names, as ``check_face`` gives them.

    Raises ``InputError`` too if ``kin`` is neither 1 nor 0, or two are of one person, or of two families and kin.
    """
    if kin not in ("0", "1"):
        pair = any(face in persons for face in faces)
        hint = "" if pair else "; leave out a line that is no pair, such as a header or a comment"
        hint = "; triplets are not pairs, they are for Track 2" if kin in ("FMD", "FMS") else hint
        raise InputError(f"{where}: kin is 1 or 0, got {kin!r}{hint}.")
    faces = [check_face(face, where, root, persons) for face in faces]
    people = [persons[face] or face for face in faces]
    two, several = ("both", "two") if len(faces) == 2 else ("two", "several")
    if len({*people}) < len(people):
        person = max(people, key=people.count)
        raise InputError(f"{where}: {two} faces are of {person}; they must not be of one person.")
    of_families = {persons[face].split("/")[0] for face in faces if persons[face]}
    if kin == "1" and len(of_families) > 1:
        raise InputError(f"{where}: {' and '.join(people)} are of {several} families and cannot be kin.")
    return faces


def _parse_race(code: str, where: str) -> dict[str, str]:
    sides = code.split("&")
    if len(sides) > 2 or not set(sides) <= KFC_RACES.keys():
        raise InputError(f"{where}: unknown race {code!r}; a race is AA, A, C or I, a cross-race pair such as C&AA.")
    return {"race_a": KFC_RACES[sides[0]], "race_b": KFC_RACES[sides[-1]], "race_source": "KFC list"}


def _take_types(pairs: pd.DataFrame, swapped: bool) -> pd.DataFrame:
    return pairs.assign(type=pairs["type"].replace(OFFICIAL_GRANDPARENTS)) if swapped else pairs


def _warn_of_grandparents(pairs: pd.DataFrame, path: Path, swapped: bool) -> None:
    rows = pairs[pairs["type"].isin(OFFICIAL_GRANDPARENTS) & pairs["gender_a"].notna() & pairs["gender_b"].notna()]
    stated = rows["gender_a"] + rows["gender_b"]
    wrong = int((stated != rows["type"].map({code: t.gender_a + t.gender_b for code, t in TYPES.items()})).sum())
    if 2 * wrong > len(rows):  # fewer are slips of single pairs, not another naming
        advice = "read it without" if swapped else "official RFIW lists swap the grandparents' names: read them with"
        warnings.warn(
            f"{path}: genders contradict the type of {wrong} of {len(rows)} grandparent pairs; "
            f"{advice} swap_grandparents.",
            stacklevel=3,
        )
