"""Pairs of faces drawn from families, and what is known of their persons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kinface.data.annotations import list_own_attributes
from kinface.data.families import Families
from kinface.data.pairs import COLUMNS, check_pairs
from kinface.data.vocabulary import KIN, ROLE_GENDER, TYPES
from swinface.bootstrap import start_drawing
from swinface.files import InputError


def describe_pairs(pairs: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Complete pairs of faces to a pairs table with what is known of their persons.

    ``pairs`` has the columns ``face_a``, ``face_b``, ``type``, ``kin`` and ``list``; any other column of the pairs
    table that is already there (a list that states races) stays where it has a value. Of faces that are not among the
    families nothing is known. Behind the columns of every pairs table come ``X_a`` and ``X_b`` for each custom
    attribute X (``kinface.data.annotations``).

    Where a person's gender is unknown it is taken from the role in the pair's type (the official test families come
    without genders), except for siblings, whose lists ignore it among non-kin, and for grandparents, whose names the
    official lists swap.
    """
    faces = families.faces.set_index("face")[["person", "family", "split"]]
    own = list_own_attributes(families.people)
    people = families.people.set_index("person")[["race", "race_source", "gender", "gender_source", *own]]
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
    columns = [*COLUMNS, *(f"{name}_{side}" for name in own for side in ("a", "b"))]
    stated = pairs.reset_index(drop=True).reindex(columns=columns).astype(object)
    return check_pairs(stated.where(stated.notna(), known.reindex(columns=columns)), "pairs")


def sample_pairs(families: Families, split: str, *, seed: int = 0, per_relation: int = 3) -> pd.DataFrame:
    """Draw a balanced list of kin and non-kin pairs from one split, as FIW's ``val_choose`` list is drawn.

    Each relation of the 11 types, or of people who are kin in a way that is not known, gives at most ``per_relation``
    pairs of faces, so that persons and families with many faces do not dominate. Each kin pair is then copied with its
    second face replaced by one that plays the same role in another family: types, roles and genders are as frequent
    among non-kin as among kin. A kin pair whose role occurs in no other family is left out, so that both kinds are
    equally many. Two of the non-kin pairs may be the same.

    No pair leaves the split, which is the name of the list. The same seed draws the same pairs, in whatever order the
    tables' rows are. Raises ``InputError`` if no kin pair of the split has a non-kin counterpart.
    """
    generator = start_drawing(seed)
    kin = _draw_kin(families, split, per_relation, generator)
    pairs = add_non_kin(kin, ["type"], generator)
    if pairs.empty:
        raise InputError(
            f"no pairs can be drawn from split {split!r}: it needs two families in which "
            "persons with faces are related in the same way."
        )
    return describe_pairs(pairs.assign(list=split), families)


def _draw_kin(families: Families, split: str, per_relation: int, generator: np.random.Generator) -> pd.DataFrame:
    """Up to ``per_relation`` different pairs of faces of every relation of a type, or of kin of no known type."""
    faces, relations = picture_relations(families, split)
    relations = relations[relations["type"].isin(TYPES) | (relations["relation"] == KIN)]
    rows = []
    for relation in relations.itertuples():
        faces_a, faces_b = faces[relation.person_a], faces[relation.person_b]
        possible = len(faces_a) * len(faces_b)
        for choice in generator.choice(possible, size=min(per_relation, possible), replace=False):
            a, b = divmod(int(choice), len(faces_b))
            rows.append((faces_a[a], faces_b[b], relation.type, True, relation.family))
    return pd.DataFrame(rows, columns=["face_a", "face_b", "type", "kin", "family"])


def pick_faces(families: Families, split: str) -> pd.DataFrame:
    """The faces of a split, sorted. Raises ``InputError``, which names the splits there are, if none belongs to it."""
    faces = families.faces[families.faces["split"] == split]
    if faces.empty:
        there = ", ".join(sorted(families.faces["split"].dropna().unique()))
        raise InputError(f"split {split!r}: no face belongs to it; the splits are {there or 'unknown'}.")
    return faces.sort_values("face")


def picture_relations(families: Families, split: str) -> tuple[pd.Series, pd.DataFrame]:
    """The faces of each person of a split, and the relations of two who have any, both sorted."""
    faces = pick_faces(families, split).groupby("person")["face"].agg(list)
    relations = families.relations.sort_values(["person_a", "person_b"])
    return faces, relations[relations[["person_a", "person_b"]].isin(faces.index).all(axis="columns")]


def draw_non_kin(pairs: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Add as many non-kin pairs to a list of kin pairs alone, drawn as by ``sample_pairs``.

    Each kin pair is copied with the second face of another kin pair of the same type and of another family; no two
    faces are paired twice. Where families are unknown, faces that the list's kin pairs link, also by others between,
    are of one. Two people of a family whom nothing links may then be drawn as non-kin.

    Gives the kin pairs, without those that have no such other, and then a non-kin pair for each, in their order. Raises
    ``InputError`` if the list has non-kin pairs of its own, or none can be drawn.

    >>> faces = {"face_a": ["parent1.jpg", "parent2.jpg"], "face_b": ["child1.jpg", "child2.jpg"]}
    >>> draw_non_kin(pd.DataFrame(faces).assign(kin=1, type="fs"))[["face_a", "face_b", "kin"]]
            face_a      face_b    kin
    0  parent1.jpg  child1.jpg   True
    1  parent2.jpg  child2.jpg   True
    2  parent1.jpg  child2.jpg  False
    3  parent2.jpg  child1.jpg  False
    """
    pairs = check_pairs(pairs, "pairs")
    if not pairs["kin"].all():
        raise InputError("the list has non-kin pairs already; give a list of kin pairs alone.")
    generator, family = start_drawing(seed), _link_families(pairs)
    codes, _ = pd.factorize(pd.concat([pairs["face_a"], pairs["face_b"]]))
    faces_a, faces_b = codes.reshape(2, -1)
    partner, met = np.full(len(pairs), -1), defaultdict(list)
    for rows in pairs.groupby("type", sort=True, dropna=False).indices.values():
        of_family, of_face = (pd.Series(rows).groupby(of[rows]).indices for of in (family, faces_b))
        for row in rows:
            known = (of_face[face] for face in met[faces_a[row]] if face in of_face)
            place = _draw_other(len(rows), np.unique(np.concatenate([of_family[family[row]], *known])), generator)
            if place >= 0:
                partner[row] = rows[place]
                met[faces_a[row]].append(faces_b[partner[row]])
                met[faces_b[partner[row]]].append(faces_a[row])
    kin = pairs[partner >= 0]
    if kin.empty:
        raise InputError("no non-kin pairs can be drawn: no two kin pairs of one type are of two families.")
    other = pairs.iloc[partner[partner >= 0]].reset_index(drop=True)
    drawn = kin.reset_index(drop=True).assign(kin=False, score=np.nan)
    for column in (column for column in pairs if column.endswith("_b")):
        drawn[column] = other[column]
    drawn["split"] = drawn["split"].where(drawn["split"] == other["split"], None)
    return check_pairs(pd.concat([kin, drawn]), "pairs")


def _link_families(pairs: pd.DataFrame) -> np.ndarray:
    """(pairs,) a number for each family: faces are of one that a kin pair, a person or a family links."""

    def name(column: str) -> pd.Series:  # a person may be called as a family is
        return pairs[column].map(lambda value: (column.partition("_")[0], value), na_action="ignore")

    links = [("face_a", "face_b"), *((f"face_{side}", f"{of}_{side}") for side in "ab" for of in ("person", "family"))]
    linked = pd.concat([pd.DataFrame({"one": name(one), "other": name(other)}) for one, other in links]).dropna()
    codes, names = pd.factorize(pd.concat([linked["one"], linked["other"]]))
    graph = coo_array((np.ones(len(linked)), codes.reshape(2, -1)), shape=(len(names), len(names)))
    _, families = connected_components(graph, directed=False)
    return families[codes[: len(pairs)]]  # the first links are of the first faces


def add_non_kin(kin: pd.DataFrame, alike: Sequence[str], generator: np.random.Generator) -> pd.DataFrame:
    """Copy each kin pair with the second face of a row of another family, each equally likely, as a non-kin pair.

    ``kin`` has the columns ``face_b``, ``family`` and ``kin``, and ``alike`` names those in which that row is the same.
    Gives the kin pairs with such a row and their copies.
    """
    drawn = [kin.iloc[:0]]
    for _, group in kin.groupby([*alike], sort=True, dropna=False):
        own = group.groupby("family").indices
        partner = np.array([_draw_other(len(group), own[family], generator) for family in group["family"]])
        other_face = group["face_b"].to_numpy()[partner]
        drawn += [group[partner >= 0], group.assign(face_b=other_face, kin=False)[partner >= 0]]
    return pd.concat(drawn)


def _draw_other(count: int, taken: np.ndarray, generator: np.random.Generator) -> int:
    """Draw one of ``count`` places but those ``taken``, ascending; -1 without others. Does not list them: that would
    take the square of the time where each place draws one."""
    if len(taken) == count:
        return -1
    place = int(generator.choice(count - len(taken)))  # among the others, in their order
    return place + int(np.searchsorted(taken - np.arange(len(taken)), place, side="right"))
