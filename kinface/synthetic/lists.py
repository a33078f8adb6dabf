"""Lists of synthetic families, as RFIW and KFC hand them out: pairs, triplets, probes and a gallery."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.data.fiw import read_families
from kinface.data.matrices import RELATIONS, TYPE_OF
from kinface.data.search import sample_search, write_search
from kinface.data.triplets import sample_triplets, write_triplet_list
from kinface.data.vocabulary import RACES
from kinface.synthetic.pedigree import Family

PAIRS_PER_RELATION = 6  # pairs of faces that a list holds of two persons


def draw_pairs(families: list[Family], rng: np.random.Generator) -> pd.DataFrame:
    """Kin pairs of all 11 types, and for each a non-kin pair: the same first face with the second of another family.

    As in RFIW's lists, that face belongs to someone of the same role; races are not matched. A type which no other
    family has is left out, for it has no such face. The columns are face_a, face_b, type, kin, race_a and race_b, in
    random order of rows.
    """
    same_type: dict[str, list[dict]] = {}
    for pair in itertools.chain.from_iterable(_pair_relatives(family, rng) for family in families):
        same_type.setdefault(pair["type"], []).append(pair)
    rows, taken = [], set()
    for kin in same_type.values():
        for pair in kin:
            others = (kin[place] for place in rng.permutation(len(kin)))
            free = (o for o in others if o["family"] != pair["family"] and {pair["face_a"], o["face_b"]} not in taken)
            if other := next(free, None):
                taken.add(frozenset((pair["face_a"], other["face_b"])))
                rows += [pair, pair | {"face_b": other["face_b"], "race_b": other["race_b"], "kin": 0}]
    return pd.DataFrame(rows).drop(columns="family").iloc[rng.permutation(len(rows))].reset_index(drop=True)


def _pair_relatives(family: Family, rng: np.random.Generator) -> list[dict[str, object]]:
    faces = [[path for path, owner, _ in family.faces if owner == member] for member in range(len(family.people))]
    pairs = []
    for i, j in itertools.permutations(range(len(family.people)), 2):
        a, b = family.people[i], family.people[j]
        kin_type = TYPE_OF.get((RELATIONS[family.matrix[i, j]], a.gender, b.gender))
        if kin_type is None or (kin_type in ("bb", "ss") and i > j):  # these two would be there both ways
            continue
        combinations = list(itertools.product(faces[i], faces[j]))
        chosen = rng.permutation(len(combinations))[:PAIRS_PER_RELATION]
        common = {"family": family.name, "type": kin_type, "kin": 1, "race_a": a.race, "race_b": b.race}
        pairs += [{"face_a": combinations[k][0], "face_b": combinations[k][1], **common} for k in chosen]
    return pairs


def write_lists(pairs: pd.DataFrame, folder: Path) -> None:
    """The same pairs in RFIW's form and in KFC's."""
    folder.mkdir()
    rfiw, kfc = [], []
    for index, pair in enumerate(pairs.itertuples()):
        common = f"{pair.face_a} {pair.face_b} {pair.type} {pair.kin}"
        races = list(dict.fromkeys((RACES[pair.race_a], RACES[pair.race_b])))
        rfiw.append(f"{index} {common}\n")
        kfc.append(f"{common} {'&'.join(races)}\n")
    (folder / "val_choose.txt").write_text("".join(rfiw), encoding="utf-8", newline="\n")
    (folder / "val_choose_kfc.txt").write_text("".join(kfc), encoding="utf-8", newline="\n")


def write_tracks(root: Path) -> None:
    """The lists of RFIW's Tracks 2 and 3, of the validation families as read from disk, each in a folder of its own."""
    families = read_families(root)
    for track in ("track2", "track3"):
        (root / "lists" / track).mkdir()
    write_triplet_list(sample_triplets(families, "val"), root / "lists" / "track2" / "val.txt")
    write_search(sample_search(families, "val"), root / "lists" / "track3")
