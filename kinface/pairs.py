"""The pairs table: one tidy row per pair of faces, the seam of all bias analysis.

Reading a list and sampling write it, scoring adds ``score``, and fairness, plots and report read only it.
Scores of any other model can be audited by writing the same columns (``COLUMNS``) to parquet or csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from swinface.files import InputError, check_ending, replacing

if TYPE_CHECKING:
    from kinface.families import Families


@dataclass(frozen=True)
class KinType:
    """One of the 11 kinship types of FIW: who face a and face b are to each other.

    Attributes
    ----------
    relation
        What person a is to person b; siblings are symmetric.
    generation_gap
        Generations between the two persons.
    gender_a, gender_b
        Gender of each role; a brother comes before his sister.
    """

    code: str
    name: str
    relation: str
    generation_gap: int
    gender_a: str
    gender_b: str


TYPES: dict[str, KinType] = {
    kin_type.code: kin_type
    for kin_type in (
        KinType("bb", "brother-brother", "sibling", 0, "m", "m"),
        KinType("ss", "sister-sister", "sibling", 0, "f", "f"),
        KinType("sibs", "brother-sister", "sibling", 0, "m", "f"),
        KinType("fd", "father-daughter", "parent", 1, "m", "f"),
        KinType("fs", "father-son", "parent", 1, "m", "m"),
        KinType("md", "mother-daughter", "parent", 1, "f", "f"),
        KinType("ms", "mother-son", "parent", 1, "f", "m"),
        KinType("gfgd", "grandfather-granddaughter", "grandparent", 2, "m", "f"),
        KinType("gfgs", "grandfather-grandson", "grandparent", 2, "m", "m"),
        KinType("gmgd", "grandmother-granddaughter", "grandparent", 2, "f", "f"),
        KinType("gmgs", "grandmother-grandson", "grandparent", 2, "f", "m"),
    )
}

# Roles whose gender a list can be trusted on, by side of the pair; see describe_pairs.
ROLE_GENDER = {
    "a": {code: kin_type.gender_a for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
    "b": {code: kin_type.gender_b for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
}

RACES = {"African": "AA", "Asian": "A", "Caucasian": "C", "Indian": "I"}  # name to KFC's code

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


def check_pairs(pairs: pd.DataFrame, source: str, scored: bool = False) -> pd.DataFrame:
    """Check a pairs table and bring it into its one form.

    Parameters
    ----------
    pairs
        A table with ``COLUMNS``; further columns are kept behind them.
    source
        Where the table came from (a file), for messages.
    scored
        Whether every row must have a score. Otherwise ``score`` may be missing altogether.

    Returns
    -------
    pd.DataFrame
        Text columns as ``object`` with None where missing, ``kin`` as bool, ``score`` as float64, rows from 0.

    Raises
    ------
    InputError
        Names the column that is missing or the first row (counted from 1, without a header) that is wrong.
    """
    missing = [column for column in COLUMNS if column not in pairs and (scored or column != "score")]
    if missing:
        described = ", ".join(f"{column} ({COLUMNS[column]})" for column in missing)
        raise InputError(f"{source}: a pairs table needs the column{'s' * (len(missing) > 1)} {described}.")
    if pairs.empty:
        raise InputError(f"{source}: the table has no pairs.")
    extra = [column for column in pairs if column not in COLUMNS]
    pairs = pairs.reset_index(drop=True).reindex(columns=[*COLUMNS, *extra])
    for column in TEXT_COLUMNS:
        text = pairs[column].astype(object)
        pairs[column] = text.where(text.notna(), None)
    kin = pairs["kin"].map({0: False, 1: True, "0": False, "1": True, "False": False, "True": True})
    score = pd.to_numeric(pairs["score"], errors="coerce").astype("float64")
    gender = pairs[["gender_a", "gender_b"]]
    one_person = (pairs["person_a"] == pairs["person_b"]) | (pairs["face_a"] == pairs["face_b"])
    two_families = (pairs["family_a"] != pairs["family_b"]) & families_known(pairs)
    rules = {
        **{f"{column} is missing": pairs[column].isna() for column in REQUIRED_VALUES},
        "kin must be 0 or 1": kin.isna(),
        f"type must be one of {' '.join(TYPES)} or missing": ~(pairs["type"].isin(TYPES) | pairs["type"].isna()),
        "gender must be m, f or missing": ~(gender.isin(["m", "f"]) | gender.isna()).all(axis="columns"),
        "the two faces are of the same person": one_person,
        "a kin pair must lie in one family": (kin == True) & two_families,  # noqa: E712
        "score must be a finite number": ~np.isfinite(score) & (scored | pairs["score"].notna()),
    }
    for rule, broken in rules.items():
        if broken.any():
            row = int(broken.to_numpy().argmax())
            faces = f"{pairs['face_a'][row]}, {pairs['face_b'][row]}"
            more = f"; {int(broken.sum()) - 1} more rows like it" if broken.sum() > 1 else ""
            raise InputError(f"{source}: row {row + 1}: {rule} ({faces}{more}).")
    pairs["kin"], pairs["score"] = kin.astype(bool), score
    return pairs


def read_pairs(path: str | Path, scored: bool = False) -> pd.DataFrame:
    """Read and check a pairs table from a .parquet or .csv file.

    Raises
    ------
    InputError
        The file is missing, of another kind or broken, or its table is wrong (see ``check_pairs``).
    """
    return check_pairs(read_table(Path(path), "pairs table", TEXT_COLUMNS), str(path), scored)


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
    return pairs[["family_a", "family_b"]].notna().all(axis="columns")


def resampling_units(pairs: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """What is resampled where a pair is: its two families, which are one where the pair lies in one.

    A pair with one known family belongs to that one alone. A pair without any is a unit of its own, named by its two
    images, as if it were independent of all other pairs.
    """
    first, second = pairs["family_a"], pairs["family_b"]
    first, second = first.where(first.notna(), second), second.where(second.notna(), first)
    unknown = first.isna()
    if unknown.any():
        images = np.sort(pairs.loc[unknown, ["face_a", "face_b"]].to_numpy(str), axis=1)
        own = pd.Series([" and ".join(pair) for pair in images], pairs.index[unknown], dtype=object)
        first, second = (side.astype(object).where(~unknown, own.reindex(pairs.index)) for side in (first, second))
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


def describe_pairs(pairs: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Complete pairs of faces to a pairs table with what is known of their persons.

    Parameters
    ----------
    pairs
        Columns ``face_a``, ``face_b``, ``type``, ``kin`` and ``list``; any other column of the pairs table that is
        already there (a list that states races) stays where it has a value. Faces need not be among the families;
        nothing is known of the person then.

    Notes
    -----
    Where a person's gender is unknown it is taken from the role in the pair's type (the official test families come
    without genders), except for siblings, whose lists ignore it among non-kin, and for grandparents, whose names the
    official lists swap.
    """
    faces = families.faces.set_index("face")[["person", "family", "split"]]
    people = families.people.set_index("person")[["race", "race_source", "gender", "gender_source"]]
    known = {}
    for side in ("a", "b"):
        person = faces.reindex(pairs[f"face_{side}"]).join(people, on="person").reset_index(drop=True).astype(object)
        role = pairs["type"].map(ROLE_GENDER[side]).reset_index(drop=True)
        from_role = person["gender"].isna() & role.notna()
        person["gender"] = person["gender"].mask(from_role, role)
        person["gender_source"] = person["gender_source"].mask(from_role, "role in the list")
        known |= {f"{name}_{side}": person[name] for name in person}
    known = pd.DataFrame(known)
    for name in ("race_source", "gender_source"):
        sources = zip(known[f"{name}_a"], known[f"{name}_b"], strict=True)
        known[name] = [" / ".join(sorted({source for source in pair if pd.notna(source)})) or None for pair in sources]
    known["split"] = known["split_a"].where(known["split_a"] == known["split_b"], None)
    stated = pairs.reset_index(drop=True).reindex(columns=[*COLUMNS]).astype(object)
    return check_pairs(stated.where(stated.notna(), known.reindex(columns=[*COLUMNS])), "pairs")


def sample_pairs(families: Families, split: str, *, seed: int = 0, per_relation: int = 3) -> pd.DataFrame:
    """Draw a balanced list of kin and non-kin pairs from one split, as FIW's ``val_choose`` list is drawn.

    Each relation of the 11 types gives at most ``per_relation`` pairs of faces, so that persons and families with
    many faces do not dominate. Each kin pair is then copied with its second face replaced by one that plays the same
    role in another family: types, roles and genders are as frequent among non-kin as among kin. A kin pair whose
    role nobody else plays is left out, so that both kinds are equally many.

    Parameters
    ----------
    families
        Its faces, people and relations.
    split
        One of ``train``, ``tune``, ``val``, ``test``; no pair leaves it.
    seed
        The same seed draws the same pairs, in whatever order the tables' rows are.

    Returns
    -------
    pd.DataFrame
        A pairs table whose ``list`` is ``split``.

    Raises
    ------
    InputError
        No kin pair of the split has a non-kin counterpart.
    """
    generator = np.random.default_rng(seed)
    kin = _draw_kin(families, split, per_relation, generator)
    drawn = []
    for _, group in kin.groupby("type", sort=True):
        partner = _draw_partners(group["family"].to_numpy(), generator)
        faces_b = group["face_b"].to_numpy()[partner]
        drawn += [group[partner >= 0], group.assign(face_b=faces_b, kin=False)[partner >= 0]]
    pairs = pd.concat(drawn) if drawn else kin
    if pairs.empty:
        raise InputError(
            f"no pairs can be drawn from split {split!r}: it needs two families in which "
            "persons with faces are related in the same way."
        )
    return describe_pairs(pairs.assign(list=split), families)


def _draw_kin(families: Families, split: str, per_relation: int, generator: np.random.Generator) -> pd.DataFrame:
    """Up to ``per_relation`` different pairs of faces of every relation of a known type."""
    faces = families.faces[families.faces["split"] == split].sort_values("face").groupby("person")["face"].agg(list)
    relations = families.relations[families.relations["type"].isin(TYPES)].sort_values(["person_a", "person_b"])
    relations = relations[relations["person_a"].isin(faces.index) & relations["person_b"].isin(faces.index)]
    rows = []
    for relation in relations.itertuples():
        faces_a, faces_b = faces[relation.person_a], faces[relation.person_b]
        possible = len(faces_a) * len(faces_b)
        for choice in generator.choice(possible, size=min(per_relation, possible), replace=False):
            a, b = divmod(int(choice), len(faces_b))
            rows.append((faces_a[a], faces_b[b], relation.type, True, relation.family))
    return pd.DataFrame(rows, columns=["face_a", "face_b", "type", "kin", "family"])


def _draw_partners(families: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """For every row the position of a row of another family, each equally likely; -1 where there is none."""
    partners = np.full(len(families), -1)
    for row, family in enumerate(families):
        others = np.flatnonzero(families != family)
        if len(others):
            partners[row] = generator.choice(others)
    return partners


def find_rows(pairs: pd.DataFrame, faces: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) places in ``faces`` of the first and of the second face of each pair.

    Raises
    ------
    InputError
        A face of the pairs is not among them.
    """
    index = pd.Index(faces)
    rows = index.get_indexer(pairs["face_a"]), index.get_indexer(pairs["face_b"])
    for side, found in zip(("face_a", "face_b"), rows, strict=True):
        if (found < 0).any():
            raise InputError(f"{pairs[side].iloc[int((found < 0).argmax())]}: a pair names it, but it is not embedded.")
    return rows


def score_pairs(pairs: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
    """Score each pair by the cosine of its faces' embeddings.

    Parameters
    ----------
    faces
        (N,) paths; every face of the pairs is among them.
    embedding
        (N, D), a row per face.

    Raises
    ------
    InputError
        An embedding has no direction: its length is zero or not finite.
    """
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    lost = ~np.isfinite(length) | (length == 0)
    if lost.any():
        face = list(faces)[int(lost.argmax())]
        raise InputError(f"the embedding of {face} has no direction (length {float(length[lost][0])}); embed it again.")
    a, b = (embedding[rows] / length[rows] for rows in find_rows(pairs, faces))
    return pairs.assign(score=np.einsum("nd,nd->n", a, b).astype(np.float64))
