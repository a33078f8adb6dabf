"""``kinface score``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.cli.inputs import HERE, OURS, Computing, Source, embed_all
from kinface.data import sampling
from kinface.data.families import name_prepared_lists
from kinface.data.fiw import read_known_families
from kinface.data.lists import names_split
from kinface.data.pairs import PAIRS_ENDINGS, score_pairs, write_pairs
from kinface.data.photos import list_photos, score_people
from kinface.data.submissions import SUBMISSION_ENDINGS, is_submission, read_submission, write_submission
from swinface.files import InputError, check_ending, naming


def score(
    *,
    root: Path,
    list: Path,
    out: Path,
    source: Source = OURS,
    people: bool = False,
    draw_non_kin: bool = False,
    seed: int = 0,
    swap_grandparents: bool = False,
    computing: Computing = HERE,
) -> None:
    """Score pairs of faces by the cosine of their embeddings, or pairs of people by the mean cosine of their photos.

    Parameters
    ----------
    root
        A FIW folder, the folder ``kinface prepare`` made of it, or any other folder that the list's paths start from.
        For faces outside FIW's family folders, person and family are unknown and missing from the table.
    list
        Pairs in RFIW's form (index path1 path2 type kin), FaCoRNet's (the same and a similarity), KFC's (path1 path2
        type kin race) or FIW_KRT's (a csv without header: split, kin, path1, path2), or path1, path2 and kin; a pairs
        table (.parquet or .csv), such as ``kinface pairs`` writes; the name of a list of the prepared folder, such as
        tune; a split of FIW, such as val, to draw pairs from; or Kaggle's sample_submission.csv, with the folder of the
        test faces as root.
    out
        The pairs table to write, .parquet or .csv, a row per line of the list, in its order; with
        ``type_predicted`` where the model was trained on types. For a submission, the submission (.csv).
    people
        Score each pair of people in it once, by the mean cosine of all their photos below ``root``; two faces from
        one photograph are not compared, and people who share all photographs are left out. The list may then be a table
        of people: person_a, person_b (such as F0001/MID1) and kin. To score the same pairs by one photo each, give
        the table written as the list, without this option.
    draw_non_kin
        For a list of kin pairs alone: add as many non-kin pairs, of the same roles in other families of the list.
    seed
        Seed of what is drawn.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    submitted = is_submission(list)
    if people and (submitted or draw_non_kin):
        raise InputError("--people is for lists that name people and have non-kin pairs of their own; leave it out.")
    check_ending(out, *((SUBMISSION_ENDINGS, "a submission") if submitted else (PAIRS_ENDINGS, "a pairs table")))
    families = read_known_families(root)
    if submitted:
        pairs = read_submission(list, families.root)
    else:
        pairs = families.pairs(list, swap_grandparents=swap_grandparents, people=people, seed=seed)
        pairs = _add_non_kin(pairs, list, seed) if draw_non_kin else pairs
    if not submitted:
        source.warn_of_trained(pairs, faces=families.faces)
    faces = list_photos(pairs, families.faces) if people else sorted({*pairs["face_a"], *pairs["face_b"]})
    network, embedding, shards = embed_all(faces, root=families.root, out=out, source=source, computing=computing)
    if not shards.first:
        shards.finish()
        return
    count = len(pairs)
    pairs = score_people(pairs, families.faces, faces, embedding) if people else score_pairs(pairs, faces, embedding)
    if network is not None and network.types is not None and not people:
        pairs["type_predicted"] = network.name_types(pairs, faces, embedding)
    (write_submission if submitted else write_pairs)(pairs, out)
    shards.finish()
    left_out = f", {count - len(pairs)} left out as all photographs are shared" * (count > len(pairs))
    print(f"{len(pairs)} pairs{' of people' * people}{left_out}, {len(faces)} faces: {out}")
    if names_split(list) and str(list) not in name_prepared_lists(root):
        print(f"they are drawn from the split {list} (seed {seed}), and differ from those of a list")
    if not submitted and pairs["kin"].all():
        print("all of them are kin; a report needs non-kin pairs: --draw-non-kin adds as many")


def _add_non_kin(pairs: pd.DataFrame, list: Path, seed: int) -> pd.DataFrame:
    with naming(list):
        drawn = sampling.draw_non_kin(pairs, seed=seed)
    left_out = len(pairs) - int(drawn["kin"].sum())
    print(f"{len(drawn) // 2} non-kin pairs drawn; {left_out} kin pairs without one are left out")
    return drawn
