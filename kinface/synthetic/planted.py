"""Families with known genes and a planted bias as a recogniser would see them: features in place of drawn faces.

The people are those of ``kinface.synthetic.families``, and so is x_i, what person i looks like, where race and gender
show as much as ``appearance`` says. No image is drawn. Photograph p of person i is instead

    z_p = [x_i + PHOTO_NOISE e_p, n_p],    embedding = [z_p, tanh(z_p U + u)] M

with e_p and n_p ~ N(0, 1) of that photograph alone (``NUISANCES`` numbers n_p, such as light and pose), and U, u and M
drawn once for the world: some directions of the embedding are linear in what a face shows, none shows one thing alone.

With appearance 0 race and gender enter nowhere. A family still shares its features and, for the most part, a race; who
takes that for leakage has families on both sides of a test, or counts their members as independent.
"""

from __future__ import annotations

import itertools
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.annotations import describe_people
from kinface.data.families import PAIRS, TABLES, Families, conform, write_tables
from kinface.data.matching import match_pairs
from kinface.data.matrices import GENERATION_GAP, RELATIONS, TYPE_OF
from kinface.data.pairs import write_pairs
from kinface.data.prepare import TUNE_MATCHES
from kinface.data.sampling import sample_pairs
from kinface.synthetic.families import SOURCE, Family, check_options, form_look, found_family
from swinface.data.embeddings import write_embeddings
from swinface.files import replacing_folder

EMBEDDINGS, GENES = "embeddings.npz", "genes.npz"


LISTS = ("tune", "val")  # splits of which pairs are drawn, beside each its matched list


EVERY_TUNE = 7  # of this many training families one is for tuning; shares no factor with the ten of RACE_OF_FAMILY


PHOTO_NOISE, NUISANCES, BENT, SIZE = 0.3, 9, 32, 64


def plant(out: Path, *, families: int = 320, photos: float = 3.0, appearance: float = 1.0, seed: int = 0) -> Families:
    """Make families whose features show race and gender as plainly as one likes, and nothing else of them.

    ``out`` then is a folder like that of ``kinface prepare``, without images: its lists are ``tune``,
    ``tune_matched``, ``val`` and ``val_matched``. Beside its tables lie ``embeddings.npz``, what a recogniser makes of
    each face, and ``genes.npz``, the inherited traits that its person shows, the same for all of a person's faces: a
    model that knew all about families and no race would see these.

    Parameters
    ----------
    out
        Folder to write to; new or empty.
    families
        How many; every fourth is for validation. Of fewer than 48 it may be that no pair of a split can be matched.
    photos
        Mean number of photographs of a person.
    appearance
        How plainly race and gender show: s of the looks in ``kinface.synthetic.families``, from 0 to 1.
    seed
        The same seed is the same world: of two appearances the same people, genes and photographs.

    Raises
    ------
    InputError
        An option is out of range, ``out`` is not empty, or families are too few for the pairs of a split.
    """
    check_options(out, families, photos, appearance, 0.0, seed)
    grown, features, genes = [], [], []
    for number in range(1, families + 1):
        family_rng, photo_rng = np.random.default_rng([seed, number]).spawn(2)  # the people of `synthesize`
        family = found_family(number, family_rng)
        looks = [astuple(form_look(person, appearance, 0.0, family_rng)) for person in family.people]
        shown = _photograph(family, photos, photo_rng)
        features.append(_blur(np.array(looks)[shown], photo_rng))
        genes.append(np.array([person.show_traits(0.0) for person in family.people])[shown])
        grown.append(family)
    embedding = _recognise(np.concatenate(features), np.random.default_rng([seed, 0]))
    with replacing_folder(out) as folder:
        tables = _tabulate(grown, out)
        write_tables(tables, folder, {"families": families, "photos": photos, "appearance": appearance, "seed": seed})
        write_pairs(_draw_lists(tables, seed), folder / PAIRS)
        write_embeddings(folder / EMBEDDINGS, tables.faces["face"], embedding)
        write_embeddings(folder / GENES, tables.faces["face"], np.concatenate(genes))
    return tables


def _photograph(family: Family, photos: float, rng: np.random.Generator) -> np.ndarray:
    """Give everyone faces, and say who is on each: (faces,) places in ``family.people``."""
    counts = rng.geometric(1 / photos, len(family.people))
    shown = np.repeat(np.arange(len(counts)), counts)
    family.faces = [(f"{family.name}/MID{member + 1}/P{n}", member, np.nan) for n, member in enumerate(shown, start=1)]
    return shown


def _blur(looks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """z of each face: (faces, features) to (faces, features + ``NUISANCES``)."""
    noisy = looks + PHOTO_NOISE * rng.standard_normal(looks.shape)
    return np.hstack([noisy, rng.standard_normal((len(looks), NUISANCES))])


def _recognise(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The embedding of each face: (faces, D) to (faces, ``SIZE``)."""
    count = features.shape[1]
    bent = np.tanh(features @ rng.normal(0, count**-0.5, (count, BENT)) + rng.normal(0, 0.5, BENT))
    both = np.hstack([features, bent])
    return both @ rng.normal(0, both.shape[1] ** -0.5, (both.shape[1], SIZE))


def _tabulate(families: list[Family], root: Path) -> Families:
    faces, members, relations = [], [], []
    for family in families:
        about = {"family": family.name, "split": _split(family)}
        for member, person in enumerate(family.people):
            who = {"mid": member + 1, "person": f"{family.name}/MID{member + 1}", "gender": person.gender}
            members.append(about | who | {"name": f"member {member + 1}", "gender_source": SOURCE})
            seen = {
                "race": person.race,
                "race_source": SOURCE,
                "gender_source": SOURCE,
                "age": None,
                "age_source": None,
            }
            faces += [about | who | seen | {"face": face} for face, owner, _ in family.faces if owner == member]
        relations += [about | relation for relation in _list_relations(family)]
    faces = conform(pd.DataFrame(faces).reindex(columns=[*TABLES["faces"]]), "faces")
    return Families(
        root,
        faces,
        conform(describe_people(pd.DataFrame(members), faces), "people"),
        conform(pd.DataFrame(relations), "relations"),
        conform(pd.DataFrame(columns=[*TABLES["problems"]]), "problems"),
        conform(pd.DataFrame(columns=[*TABLES["annotations"]]), "annotations"),
    )


def _split(family: Family) -> str:
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


def _draw_lists(families: Families, seed: int) -> pd.DataFrame:
    lists = []
    for split in LISTS:
        standard = sample_pairs(families, split, seed=seed)
        matched, _ = match_pairs(standard, families, TUNE_MATCHES, seed=seed)
        lists += [standard, matched.assign(list=f"{split}_matched")]
    return pd.concat(lists, ignore_index=True)
