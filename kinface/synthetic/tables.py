"""Synthetic families as tables and images in memory."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.annotations import describe_people
from kinface.data.dataset import Dataset
from kinface.data.families import TABLES, conform, conform_all
from kinface.data.matrices import GENERATION_GAP, RELATIONS, TYPE_OF
from kinface.synthetic.families import SOURCE, check_options, draw_families
from kinface.synthetic.pedigree import Family

EVERY_TUNE = 7  # of this many training families one is for tuning; shares no factor with the ten of RACE_OF_FAMILY


def make_families(
    n: int = 40, *, seed: int = 0, photos: float = 2.0, appearance: float = 1.0, bias: float = 0.5
) -> tuple[Dataset, np.ndarray]:
    """Draw synthetic families with known genes and a known bias, without writing a file.

    Every fourth family is for validation, and about one in seven of the others for tuning. The people and faces are
    those of ``kinface synthesize``; its traps are left out, and all labels are true.

    Parameters
    ----------
    n
        Number of families, at least 12.
    seed
        The same seed and options make the same families.
    photos
        Mean number of photographs of a person.
    appearance
        How clearly race and gender show in a face: 1 clearly, 0 not at all.
    bias
        Share of the inherited traits that noise replaces in faces of the disadvantaged race: 0 nothing, 1 all.

    Returns
    -------
    families : Dataset
        Tables of faces, people and relations.
    images : np.ndarray
        (N, 112, 112, 3), uint8, RGB: one aligned face per row of ``families.faces``.

    Raises
    ------
    InputError
        An option is out of its range.

    Examples
    --------
    >>> import kinface
    >>> families, images = kinface.make_families(12, photos=1)
    >>> len(images) == len(families.faces), sorted(families.faces["split"].unique())
    (True, ['train', 'tune', 'val'])
    """
    check_options(n, photos, appearance, bias, seed)
    drawn, images = [], {}
    for family, photographs, _ in draw_families(n, photos, appearance, bias, seed):
        images |= {face: np.asarray(image) for face, image in photographs}
        drawn.append(family)
    families = tabulate(drawn, Path(), with_ages=True)
    return families, np.stack([images[face] for face in families.faces["face"]])


def tabulate(families: list[Family], root: Path, with_ages: bool = False) -> Dataset:
    """The tables of drawn families, as they would be read from disk. All labels are true, from ``simulator``."""
    faces, members, relations = [], [], []
    for family in families:
        about = {"family": family.name, "split": split_of(family)}
        for member, person in enumerate(family.people):
            who = {"mid": member + 1, "person": f"{family.name}/MID{member + 1}", "gender": person.gender}
            members.append(about | who | {"name": f"member {member + 1}", "gender_source": SOURCE})
            seen = {"race": person.race, "race_source": SOURCE, "gender_source": SOURCE}
            seen["age_source"] = SOURCE if with_ages else None
            faces += [
                about | who | seen | {"face": face, "age": age if with_ages else None}
                for face, owner, age in family.faces
                if owner == member
            ]
        relations += [about | relation for relation in _list_relations(family)]
    faces = conform(pd.DataFrame(faces).reindex(columns=[*TABLES["faces"]]), "faces")
    people = describe_people(pd.DataFrame(members), faces)
    return Dataset(root, **conform_all({"faces": faces, "people": people, "relations": pd.DataFrame(relations)}))


def split_of(family: Family) -> str:
    place = family.number - family.number // 4  # among the training families, whose races recur every ten
    return "tune" if family.split == "train" and place % EVERY_TUNE == 0 else family.split


def _list_relations(family: Family) -> list[dict[str, object]]:
    """Relatives, the elder first; among siblings the brother, else the lower number. Spouses are no kin."""
    found = []
    for a, b in itertools.permutations(range(len(family.people)), 2):
        relation, genders = RELATIONS[family.matrix[a, b]], (family.people[a].gender, family.people[b].gender)
        backwards = relation == "sibling" and (genders == ("f", "m") or (genders[0] == genders[1] and a > b))
        if relation in GENERATION_GAP and not backwards:
            persons = {f"person_{side}": f"{family.name}/MID{member + 1}" for side, member in (("a", a), ("b", b))}
            kind = {"type": TYPE_OF.get((relation, *genders)), "generation_gap": GENERATION_GAP[relation]}
            found.append(persons | {"relation": relation} | kind)
    return found
