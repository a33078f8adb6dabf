"""Two people by all of their photos: the mean cosine, without cosines of one photograph with itself.

More photos of a person average out light, pose and age. The mean is over cosines: that of the directions (the cosine of
two mean embeddings) also changes with how much a person's photos differ, and so with their number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.data.cosines import mean_cosine, to_unit_length
from kinface.data.pairs import find_places
from kinface.data.tables import canonical_text, name_few
from swinface.files import InputError

PERSONS = ("person_a", "person_m", "person_b")  # of pairs, and of triplets (kinface.data.triplets)
# In FIW, F0001/MID1/P00004_face0.jpg is cut from the photograph P00004 of the family F0001.
CUT = re.compile(r"(?:MID\d+/)?(P\d+)_face\d+\.\w+$")


def name_photographs(faces: Sequence[str]) -> np.ndarray:
    """The photograph that each face was cut from, by the names of FIW: two people in one have it in common.

    >>> name_photographs(["F0001/MID1/P00004_face1.jpg", "F0001/MID2/P00004_face0.jpg", "other.jpg"]).tolist()
    ['F0001/P00004', 'F0001/P00004', 'other.jpg']
    """
    return np.array([CUT.sub(r"\1", face) if "_face" in face else face for face in faces])


def list_people(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs (or triplets) of people in a list of pairs of faces: of each the first row.

    Raises ``InputError`` if a person is unknown, or two people are kin in one row and not in another.
    """
    persons = [column for column in PERSONS if column in pairs]
    unknown = pairs[persons].isna().any(axis="columns")
    if unknown.any():
        raise InputError(f"the persons of {int(unknown.sum())} of {len(pairs)} pairs are unknown; score them by face.")
    together = pd.Series([" ".join(sorted(row)) for row in pairs[persons].to_numpy(str)], pairs.index)
    both = pairs.groupby(together)["kin"].transform("nunique") > 1
    if both.any():
        raise InputError(f"{' and '.join(pairs.loc[both, persons].iloc[0])} are kin in one row and not in another.")
    return pairs[~together.duplicated()].reset_index(drop=True)


def name_people(people: pd.DataFrame, photos: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A list of people and their photos, each person by one text in both (``canonical_text``).

    Raises ``InputError`` if a person of the list is missing, or the photos have no ``face`` or ``person``.
    """
    if lacking := {"face", "person"} - {*photos}:
        raise InputError(f"photos: no column {min(lacking)!r}; each row is a photo, with its face and person.")
    persons = [column for column in PERSONS if column in people]
    people = people.assign(**{column: canonical_text(people[column], f"column {column}") for column in persons})
    missing = people[persons].isna().any(axis="columns").to_numpy()
    if missing.any():
        raise InputError(f"row {int(missing.argmax()) + 1}: a person is missing; leave such pairs out.")
    return people, photos.assign(person=canonical_text(photos["person"], "photos: person"))


def list_photos(people: pd.DataFrame, photos: pd.DataFrame) -> list[str]:
    """All photos of the people of a list, as ``list_people`` gives it, sorted; photos are rows of ``face`` and
    ``person``."""
    persons = {person for column in PERSONS if column in people for person in people[column]}
    return sorted(photos.loc[photos["person"].isin(persons), "face"])


def score_people(
    people: pd.DataFrame, photos: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray
) -> pd.DataFrame:
    """Score pairs of people by the mean cosine of their photos; triplets by the mean of that of each parent and child.

    Two faces that were cut from one photograph are not compared: they are alike in light, age and place too, and in FIW
    only kin share photographs. Pairs that share all their photographs are left out. ``photos_a`` and ``photos_b`` say
    how many each person has.

    ``people`` is as ``list_people`` gives it, ``photos`` has a row per photo, ``face`` and ``person``, and ``faces``
    and ``embedding`` are as for ``kinface.data.pairs.score_pairs``. Raises ``InputError`` if a photo is not embedded or
    there twice, an embedding has no direction, a person has no photo, or no pair is left.

    >>> photos = pd.DataFrame({"face": ["1.jpg", "2.jpg", "3.jpg"], "person": ["F1/MID1", "F1/MID1", "F1/MID2"]})
    >>> people = pd.DataFrame({"person_a": ["F1/MID1"], "person_b": ["F1/MID2"], "kin": [True]})
    >>> embedding = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> score_people(people, photos, ["1.jpg", "2.jpg", "3.jpg"], embedding)[["score", "photos_a", "photos_b"]]
       score  photos_a  photos_b
    0    0.7         2         1
    """
    unit, photographs = to_unit_length(faces, embedding), name_photographs(faces)
    persons = [column for column in PERSONS if column in people]
    used = photos[photos["person"].isin(pd.unique(people[persons].to_numpy().ravel()))]
    if (twice := used["face"].duplicated()).any():
        raise InputError(f"photos: {used['face'][twice].iloc[0]} is listed twice; keep one row of it.")
    places = find_places(used["face"], faces, "it is a photo of the list but not embedded; embed it too")
    of_person = {person: places[rows] for person, rows in used.groupby("person").indices.items()}
    missing = sorted({*people[persons].to_numpy().ravel()} - of_person.keys())
    if missing:
        raise InputError(f"there is no photo of {name_few(missing, 3)}.")

    def compare(a: str, b: str) -> float:
        first, second = of_person[a], of_person[b]
        return mean_cosine(unit[first], unit[second], photographs[first][:, None] == photographs[second])

    *parents, child = (people[column] for column in persons)
    scores = [[compare(a, b) for a, b in zip(parent, child, strict=True)] for parent in parents]
    counts = {f"photos_{side}": [len(of_person[one]) for one in people[f"person_{side}"]] for side in "ab"}
    scored = people.assign(score=np.mean(scores, axis=0), **counts)
    left = scored[scored["score"].notna()].reset_index(drop=True)
    if left.empty:
        raise InputError("no pair is left: all photographs of these people are shared.")
    return left
