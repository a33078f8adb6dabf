"""Families with known genes and a planted bias as a recogniser would see them: features in place of drawn faces.

The people are those of ``kinface.synthetic.families``, and so is x_i, what person i looks like; ``appearance`` says how
plainly race and gender show. No image is drawn. Photograph p of person i is instead

    z_p = [x_i + PHOTO_NOISE e_p, n_p],    embedding = [z_p, tanh(z_p U + u)] M

with e_p and n_p ~ N(0, 1) drawn for each photograph (``NUISANCES`` numbers n_p, such as light and pose), and U, u and M
drawn once for the world: some directions of the embedding are linear in what a face shows, none shows one thing alone.

With appearance 0 race and gender enter nowhere. But a family shares its features and, for the most part, a race: a
probe that has members of one family in training and in test, or counts them as independent, mistakes that for leakage.
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.families import PAIRS, Families, write_tables
from kinface.data.matching import match_pairs
from kinface.data.pairs import write_pairs
from kinface.data.prepare import TUNE_MATCHES
from kinface.data.sampling import sample_pairs
from kinface.synthetic.families import LOOKS, Looks, check_empty, check_options, form_look, found_family
from kinface.synthetic.pedigree import Family
from kinface.synthetic.tables import tabulate
from swinface.data.embeddings import write_embeddings
from swinface.files import replacing_folder

EMBEDDINGS, GENES = "embeddings.npz", "genes.npz"
LISTS = ("tune", "val")  # splits from which pairs are drawn, each with a matched list
PHOTO_NOISE, NUISANCES, BENT, SIZE = 0.3, 9, 32, 64


def plant(
    out: Path, *, families: int = 320, photos: float = 3.0, appearance: float = 1.0, seed: int = 0, looks: Looks = LOOKS
) -> Families:
    """Make families whose features show race and gender as clearly as ``appearance`` says.

    ``out``, a new or empty folder, is then like that of ``kinface prepare``, without images: its lists are ``tune``,
    ``tune_matched``, ``val`` and ``val_matched``. It also has ``embeddings.npz``, what a recogniser makes of each face,
    and ``genes.npz``, the inherited traits that a person shows, the same for all faces of a person: input for a model
    that knows everything about families and nothing about race.

    Raises ``InputError`` if an option is out of range, ``out`` is not empty, or families are too few for the pairs of a
    split, as they may be with fewer than 48.

    Options are those of ``kinface.synthetic.families.synthesize``; ``looks`` is how each race and gender shifts the
    features. With another ``appearance`` the people, genes and photographs of a seed are the same.
    """
    check_options(families, photos, appearance, 0.0, seed)
    check_empty(out)
    grown, features, genes = [], [], []
    for number in range(1, families + 1):
        family_rng, photo_rng = np.random.default_rng([seed, number]).spawn(2)  # the people of `synthesize`
        family = found_family(number, family_rng)
        people = [astuple(form_look(person, appearance, 0.0, family_rng, looks)) for person in family.people]
        shown = _photograph(family, photos, photo_rng)
        features.append(_blur(np.array(people)[shown], photo_rng))
        genes.append(np.array([person.show_traits(0.0) for person in family.people])[shown])
        grown.append(family)
    embedding = _recognise(np.concatenate(features), np.random.default_rng([seed, 0]))
    with replacing_folder(out) as folder:
        tables = tabulate(grown, out)
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


def _draw_lists(families: Families, seed: int) -> pd.DataFrame:
    lists = []
    for split in LISTS:
        standard = sample_pairs(families, split, seed=seed)
        matched, _ = match_pairs(standard, families, TUNE_MATCHES, seed=seed)
        lists += [standard, matched.assign(list=f"{split}_matched")]
    return pd.concat(lists, ignore_index=True)
