"""A copy of FIW is checked, its tune pairs are drawn, and its tables are written; or its training families are divided
into nested folds, to choose options without the reported families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from kinface.data.families import (
    PAIRS,
    Families,
    draw_evenly,
    family_races,
    line_up,
    list_files,
    list_problems,
    write_tables,
)
from kinface.data.lists import read_list
from kinface.data.matching import describe_matching, match_pairs
from kinface.data.matrices import Problem
from kinface.data.pairs import write_pairs
from kinface.data.sampling import sample_pairs
from swinface.bootstrap import start_drawing
from swinface.files import InputError, replacing_folder
from swinface.images import read_image

SAMPLED = ("tune", "tune_matched")  # lists drawn from the tune families

# Not by age gap: these three match all 1,675 kin pairs of FIW's tune families. The age gap would lose 70 of them, 27
# among the 169 of African families, who have the fewest; and some copies have no ages of faces.
TUNE_MATCHES = ("race", "type", "gender")
UNREADABLE = "unreadable image"
FEWEST = 3  # families of a fold
NESTED = ("faces", "people", "relations")  # tables with a column of the split


@dataclass(frozen=True)
class Prepared:
    """A checked copy of FIW."""

    families: Families  #: all readable faces, and every problem that was found
    pairs: list[pd.DataFrame]  #: a table per list, those of ``SAMPLED`` last
    matching: str | None  #: which pairs of ``tune_matched`` could be matched, in words; None without such a list
    record: dict[str, object]  #: how it was made, for ``dataset.json``


def prepare_families(
    families: Families, *, lists: Sequence[Path] | None = None, swap_grandparents: bool = False
) -> Prepared:
    """Decode every image of a copy of FIW in full, read its lists and draw pairs of the tune families.

    ``families`` are as ``read_families`` gives them, whose seed is also that of the tune pairs. Lists of pairs, by
    default all of ``ROOT/lists/*.txt``, are those that ``kinface.data.lists.read_list`` reads. Raises ``InputError`` if
    the families are prepared already, or made up; no image can be read; a list is unusable, or two have one name.
    """
    root, record = families.root, families.read_with
    if not record:
        raise InputError(f"{root} is prepared already, or made up; give the FIW folder it was made from.")
    problems: list[Problem] = []
    lists = list_files(root / "lists", (".txt",), problems) if lists is None else lists
    names = [*(path.stem for path in lists), *SAMPLED]
    if len(set(names)) < len(names):
        sampled = " and ".join(SAMPLED)
        raise InputError(f"two lists of one name among {', '.join(names)} ({sampled} are sampled); rename one.")
    pairs = [read_list(path, families, swap_grandparents=swap_grandparents) for path in lists]
    families, pairs = leave_out_unreadable(families, pairs)
    if families.faces.empty:
        raise InputError(f"{root}: no image can be read; check the files.")
    sampled, matching, unsampled = sample_tune_lists(families, record["seed"]) if record["tune"] else ([], None, [])
    problems += unsampled
    record = {"version": version("kinface"), "lists": [str(path) for path in lists], **record}
    return Prepared(add_problems(families, problems), pairs + sampled, matching, record)


def write_prepared(prepared: Prepared, out: Path) -> None:
    """Write the tables, the lists and the record into a folder that ``read_families`` reads.

    Raises ``InputError`` if ``out`` is the FIW folder itself, or a file.
    """
    families = prepared.families
    check_out(families.root, out)
    set_aside = sorted(families.faces.loc[families.faces["split"] == "tune", "family"].unique())
    with replacing_folder(out, owned=[PAIRS]) as partial:
        write_tables(families, partial, prepared.record)
        (partial / "tune_families.txt").write_text("".join(f"{family}\n" for family in set_aside), encoding="utf-8")
        if prepared.pairs:
            write_pairs(pd.concat(prepared.pairs), partial / PAIRS)


def check_out(root: Path, out: Path) -> None:
    """Raise ``InputError`` if the tables would be written into the FIW folder itself."""
    if Path(out).resolve() == Path(root).resolve():
        raise InputError(f"{out} is the FIW folder itself; name another folder to write to.")


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
        faults = list(
            tqdm(pool.map(find_fault, faces["face"]), "decoding", len(faces), leave=False, unit=" images", disable=None)
        )
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
    return replace(families, problems=pd.concat([families.problems, list_problems(problems)], ignore_index=True))


def nest_families(families: Families, *, folds: int = 4, tune: float = 0.15, seed: int = 0) -> Iterator[Prepared]:
    """Divide the families of the splits ``train`` and ``tune`` into folds, each once the split ``val``.

    In each fold, a share ``tune`` of the other families is ``tune`` and the rest ``train``, both drawn in proportion to
    the families' races. Families of ``val`` and ``test`` are left out, so that a choice by the mean over folds, such as
    by ``kinface sweep`` on each, does not use them. Each fold has the pairs lists ``val``, ``tune`` and, where races
    are known, ``tune_matched``. Raises ``InputError`` if there are too few families, or a fold has no pairs.
    """
    race = family_races(families.faces[families.faces["split"].isin(["train", "tune"])])
    if folds < 2 or len(race) < FEWEST * folds:
        raise InputError(f"{len(race)} training families in {folds} folds; take 2 folds or more, of {FEWEST} families.")
    if not 0 < tune < 1:
        raise InputError(f"tune {tune}: a share of the families, between 0 and 1.")
    lined_up = line_up(race.index, race, start_drawing(seed))
    for fold in range(folds):
        held = dict.fromkeys(lined_up[fold::folds], "val")
        others = [family for family in lined_up if family not in held]
        count = min(max(1, round(tune * len(others))), len(others) - 1)
        chosen = {*draw_evenly(others, count, np.random.default_rng([seed, fold]).random())}
        split = {family: "tune" if family in chosen else "train" for family in others} | held
        nested = replace(families, **{name: _assign(getattr(families, name), split) for name in NESTED})
        lists, matching, _ = sample_tune_lists(nested, seed)
        record = {"nested": f"fold {fold + 1} of {folds}", "tune": tune, "seed": seed}
        yield Prepared(nested, [sample_pairs(nested, "val", seed=seed).assign(list="val"), *lists], matching, record)


def _assign(table: pd.DataFrame, split: dict[str, str]) -> pd.DataFrame:
    kept = table[table["family"].isin(split)]
    return kept.assign(split=kept["family"].map(split)).reset_index(drop=True)
