"""Triplets of faces, father, mother and child: RFIW's Track 2.

A triplet is a row of the pairs table (``kinface.data.pairs``), ``face_a`` the father's and ``face_b`` the child's, with
three columns more: ``face_m`` and ``person_m`` for the mother, and ``triplet``, ``FMD`` or ``FMS``. Whatever reads a
pairs table, the fairness audit for example, so reads triplets. ``race_a`` is that of both parents: missing where one is
unknown, ``mixed`` where they differ. ``type`` and ``gender_a`` are missing, as ``a`` stands for two people.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.cosines import compare_rows, to_unit_length
from kinface.data.families import Families
from kinface.data.lists import check_row, complete, persons_of_faces, read_fields
from kinface.data.pairs import COLUMNS, PATHS, check_pairs, find_rows
from kinface.data.sampling import add_non_kin, describe_pairs, picture_relations
from kinface.data.tables import is_table, list_names, read_table
from swinface.bootstrap import start_drawing
from swinface.files import InputError, naming, printable, replacing

TRIPLETS = {"FMD": "f", "FMS": "m"}  # RFIW's names, and the gender of the child
FACES = ("face_a", "face_m", "face_b")  # father, mother, child: the order of RFIW's lists
ROLES = {"father": "face_a", "mother": "face_m", "child": "face_b"}  # what tables of others call them
PER_CHILD = 3  # triplets that are drawn, so that people with many faces do not dominate


def read_triplets(path: str | Path, families: Families) -> pd.DataFrame:
    """Read a list of triplets in the form of RFIW, or a table of triplets (.parquet or .csv).

    RFIW's form is ``father mother child FMD|FMS kin`` with or without an index before it, also as a csv. Raises
    ``InputError`` that names the file and line that cannot be used.
    """
    path, persons = Path(path), persons_of_faces(families)
    if is_table(path) and not _lacks_header(path):
        triplets = check_pairs(_name_as_ours(read_table(path, "table of triplets", (*COLUMNS, *PATHS))), str(path))
        lacking = [name for name in ("face_m", "triplet") if name not in triplets or triplets[name].isna().any()]
        if lacking:
            raise InputError(f"{path}: a table of triplets has {' and '.join(lacking)} in every row.")
        fields = triplets[[*FACES, "triplet"]].assign(kin=triplets["kin"].map({True: "1", False: "0"})).to_numpy()
        rows = [
            _parse_triplet([*row], f"{path}: row {number}", families.root, persons)
            for number, row in enumerate(fields, start=1)
        ]
        listed = pd.DataFrame(rows, dtype=object)
        triplets, listed = triplets.assign(**listed[[*FACES]]), listed.assign(list=triplets["list"])
        with naming(path):
            return complete(triplets, lambda _: describe_triplets(listed, families))
    rows = [_parse_triplet(fields, where, families.root, persons) for where, fields in read_fields(path)]
    return describe_triplets(pd.DataFrame(rows).assign(list=printable(path.stem)), families)


def _name_as_ours(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose faces have the names of ``ROLES``, and whose triplets that of types, with our names of columns."""
    table = table.rename(columns=ROLES)
    named = [name for name in ("type", "ptype") if name in table and table[name].isin([*TRIPLETS]).all()]
    return table if "triplet" in table or not named else table.rename(columns={named[0]: "triplet"})


def _lacks_header(path: Path) -> bool:
    """Whether a csv begins with a triplet."""
    return path.suffix.lower() == ".csv" and next(read_fields(path))[1][-2:-1] in ([name] for name in TRIPLETS)


def _parse_triplet(fields: list[str], where: str, root: Path, persons: dict[str, str | None]) -> dict[str, object]:
    if len(fields) == 6 and fields[0].isdecimal():
        fields = fields[1:]
    if len(fields) != 5:
        raise InputError(f"{where}: expected 'father mother child FMD|FMS kin', got {' '.join(fields)!r}.")
    *faces, triplet, kin = fields
    if triplet not in TRIPLETS:
        raise InputError(f"{where}: unknown type {triplet!r}; a triplet is {' or '.join(TRIPLETS)}.")
    faces = check_row(faces, kin, where, root, persons)
    return dict(zip(FACES, faces, strict=True), triplet=triplet, kin=kin == "1")


def describe_triplets(triplets: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Complete triplets, columns ``FACES``, ``triplet``, ``kin`` and ``list``, with what is known of their persons."""
    described = describe_pairs(triplets.assign(type=None), families)
    person = triplets["face_m"].map(persons_of_faces(families)).reset_index(drop=True)
    race, gender = (person.map(families.people.set_index("person")[name]) for name in ("race", "gender"))
    of_child = triplets["triplet"].map(TRIPLETS).reset_index(drop=True)
    known = {"father": described["gender_a"], "mother": gender, "child": described["gender_b"]}
    roles = {"father": "m", "mother": "f", "child": of_child}
    wrong = {who: int((known[who].notna() & (known[who] != role)).sum()) for who, role in roles.items()}
    if most := [who for who in wrong if 2 * wrong[who] > known[who].notna().sum()]:
        counts = ", ".join(f"of {wrong[who]:,} the {who}" for who in most)
        warnings.warn(
            f"triplets: {counts} has another gender than FIW says; their order is father, mother, child, and FMD has a "
            "daughter, FMS a son.",
            stacklevel=3,
        )
    shared = described["race_a"].where(described["race_a"] == race, "mixed")
    described["race_a"] = shared.where(described["race_a"].notna() & race.notna(), None)
    described["gender_a"] = None
    described["gender_b"] = of_child
    described["gender_source"] = "role in the list"
    person = person.astype(object).where(person.notna(), None)
    face, triplet = (triplets[name].astype(object).reset_index(drop=True) for name in ("face_m", "triplet"))
    return check_pairs(described.assign(face_m=face, person_m=person, triplet=triplet), "triplets")


def sample_triplets(families: Families, split: str, *, match: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
    """Draw a balanced list of triplets from one split, which is the name of the list.

    Each child with two known parents gives at most ``PER_CHILD`` triplets of faces. Each is then copied with the face
    of another family's child of the same gender, as in RFIW's lists; with a ``match`` of ``race``, that child is also
    of the same race, which must be known. A triplet without such a child is left out. The same seed draws the same
    triplets, in whatever order the tables' rows are.

    Raises ``InputError`` if no triplet of the split has a counterpart, or ``match`` names something else.
    """
    match = list_names(match)
    if not set(match) <= {"race"}:
        raise InputError(f"triplets are matched by race alone; got {', '.join(match)}.")
    generator = start_drawing(seed)
    kin = _draw_kin(families, split, generator)
    kin["race"] = kin["child"].map(families.people.set_index("person")["race"])
    triplets = add_non_kin(kin.dropna(subset=[*match]), ["triplet", *match], generator)
    if triplets.empty:
        raise InputError(
            f"no triplets can be drawn from split {split!r}: it needs two families of parents and a child."
        )
    return describe_triplets(triplets[[*FACES, "triplet", "kin"]].reset_index(drop=True).assign(list=split), families)


def _draw_kin(families: Families, split: str, generator: np.random.Generator) -> pd.DataFrame:
    """Up to ``PER_CHILD`` different triplets of faces of every child whose father and mother have faces."""
    faces, relations = picture_relations(families, split)
    gender = families.people.set_index("person")["gender"]
    rows = []
    for child, group in relations[relations["relation"] == "parent"].groupby("person_b", sort=True):
        by_gender = {gender[person]: person for person in sorted(group["person_a"], reverse=True)}
        if gender[child] not in TRIPLETS.values() or not {"m", "f"} <= by_gender.keys():
            continue
        of_three = [faces[person] for person in (by_gender["m"], by_gender["f"], child)]
        possible = [len(some) for some in of_three]
        name = next(name for name, of_child in TRIPLETS.items() if of_child == gender[child])
        for choice in generator.choice(np.prod(possible), size=min(PER_CHILD, np.prod(possible)), replace=False):
            chosen = [some[place] for some, place in zip(of_three, np.unravel_index(choice, possible), strict=True)]
            rows.append((*chosen, name, True, child, child.split("/")[0]))
    return pd.DataFrame(rows, columns=[*FACES, "triplet", "kin", "child", "family"])


def score_triplets(triplets: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
    """As ``kinface.data.pairs.score_pairs``, by the mean of two cosines, father and child, mother and child: RFIW's
    baseline."""
    unit = to_unit_length(faces, embedding)
    return triplets.assign(score=compare_rows(unit, *find_rows(triplets, faces, FACES)))


def write_triplet_list(triplets: pd.DataFrame, path: Path) -> None:
    """Write triplets in the form of RFIW's lists."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for row in triplets.itertuples():
            file.write(f"./{row.face_a} ./{row.face_m} ./{row.face_b} {row.triplet} {int(row.kin)}\n")
