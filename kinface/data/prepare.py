"""What ``kinface prepare`` checks and draws: readable images, and lists of tune pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
from tqdm import tqdm

from kinface.data.families import TABLES, Families
from kinface.data.matching import describe_matching, match_pairs
from kinface.data.matrices import Problem
from kinface.data.sampling import sample_pairs
from swinface.files import InputError, read_image

SAMPLED = ("tune", "tune_matched")  # lists drawn from the tune families


# Not by age gap: all 1,675 kin pairs of FIW's tune families can be matched by these three. With it 70 go, 27 of them
# among the 169 of African families, the fewest; and not every copy has ages of faces.
TUNE_MATCHES = ("race", "type", "gender")


UNREADABLE = "unreadable image"


def leave_out_unreadable(families: Families, pairs: list[pd.DataFrame]) -> tuple[Families, list[pd.DataFrame]]:
    """Decode every image; drop those that fail and the pairs that name them."""

    def find_fault(face: str) -> str | None:
        path = families.root / face
        try:
            read_image(path)
        except InputError as error:
            return str(error).removeprefix(f"{path}: ")
        return None

    faces = families.faces
    with ThreadPoolExecutor() as pool:  # decoding runs outside Python's lock
        faults = list(tqdm(pool.map(find_fault, faces["face"]), "decoding", len(faces), leave=False, unit=" images"))
    problems = [(UNREADABLE, face, fault) for face, fault in zip(faces["face"], faults, strict=True) if fault]
    unreadable = {face for _, face, _ in problems}
    readable_pairs = []
    for table in pairs:
        whole = ~table[["face_a", "face_b"]].isin(unreadable).any(axis="columns")
        if not whole.all():
            message = f"{int((~whole).sum())} pairs name unreadable images: left out"
            problems.append(("pairs left out", f"list {table['list'].iloc[0]}", message))
        if whole.any():
            readable_pairs.append(table[whole])
    faces = faces[~faces["face"].isin(unreadable)].reset_index(drop=True)
    counts = families.people["person"].map(faces["person"].value_counts()).fillna(0).astype("int64")
    families = replace(families, faces=faces, people=families.people.assign(faces=counts))
    return add_problems(families, problems), readable_pairs


def sample_tune_lists(families: Families, seed: int) -> tuple[list[pd.DataFrame], str | None, list[Problem]]:
    """The lists of ``SAMPLED`` that can be drawn, what the matched one could not match, and what went wrong."""
    try:
        standard = sample_pairs(families, "tune", seed=seed)
    except InputError as error:
        return [], None, [("no pairs sampled", "split tune", str(error))]
    if standard[["race_a", "race_b"]].isna().all(axis=None):  # no fault of the folder, but nothing to match
        return [standard], None, []
    try:
        matched, counts = match_pairs(standard, families, TUNE_MATCHES, seed=seed)
    except InputError as error:
        return [standard], None, [("no pairs matched", "list tune", str(error))]
    return [standard, matched.assign(list=SAMPLED[1])], describe_matching(matched, counts), []


def add_problems(families: Families, problems: list[Problem]) -> Families:
    table = pd.DataFrame(problems, columns=[*TABLES["problems"]])
    return replace(families, problems=pd.concat([families.problems, table], ignore_index=True))
