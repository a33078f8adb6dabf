"""TSKinFace (Qin, Tan, Chen, 2015) as its authors publish it: families of a father, a mother, and one or two children.

The folder ``TSKinFace_cropped`` holds ``FMD``, ``FMS`` and ``FMSD`` with images such as ``FMSD/FMSD-1-F.jpg``: the
first family's father (``F``), mother (``M``), son (``S``) and daughter (``D``).
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pandas as pd

from kinface.data.matrices import GENERATION_GAP, TYPE_OF, Problem
from swinface.files import InputError
from swinface.images import Images, list_images

FOLDERS = ("FMD", "FMS", "FMSD")
ROLES = {"F": "m", "M": "f", "S": "m", "D": "f"}  # to gender; in the order of their numbers in the family
PARENTS = ("F", "M")


def is_tskinface(root: Path) -> bool:
    return any((root / name).is_dir() for name in FOLDERS)


def read_tskinface(root: Path, problems: list[Problem]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.Series]:
    """Faces, members and relations, and the split of each family: ``train``, as the authors divide none.

    Raises ``InputError`` if there is no image of a family.
    """
    faces, left_out = [], {}
    for name in filter(lambda folder: (root / folder).is_dir(), FOLDERS):
        images = list_images(root, name)
        left_out |= images.left_out
        for face in images.names:
            match = re.fullmatch(rf"{name}/({name}-[0-9]+)-([{name}])\.\w+", face)
            if match:
                family, role = match.groups()
                faces.append((face, family, [*ROLES].index(role) + 1, f"{family}/{role}", ROLES[role]))
            else:
                left_out[face] = f"not named as {name}-1-F.jpg"
    if not faces:
        raise InputError(f"{root}: no images of TSKinFace, such as FMD/FMD-1-F.jpg.")
    if left_out:
        problems.append(("files left out", ".", Images([], left_out).describe_left_out()))
    table = pd.DataFrame(faces, columns=["face", "family", "mid", "person", "gender"])
    people = table.drop(columns="face").drop_duplicates("person").sort_values(["family", "mid"])
    related = []
    for family, members in people.groupby("family", sort=True):
        for (a, gender_a), (b, gender_b) in combinations(members[["person", "gender"]].itertuples(index=False), 2):
            parents = sum(person.rpartition("/")[2] in PARENTS for person in (a, b))  # they come before their children
            relation = ("sibling", "parent", "spouse")[parents]
            kin_type = TYPE_OF.get((relation, gender_a, gender_b))
            related.append((a, b, family, relation, kin_type, GENERATION_GAP.get(relation)))
    columns = ["person_a", "person_b", "family", "relation", "type", "generation_gap"]
    return (
        table.drop(columns="gender"),
        people.assign(name=None, gender_source="role in the file's name"),
        pd.DataFrame(related, columns=columns),
        pd.Series("train", pd.Index(sorted(people["family"].unique()), name="family")),
    )
