"""``kinface pairs``."""

from __future__ import annotations

from pathlib import Path

from kinface.data.fiw import read_families, read_known_families
from kinface.data.matching import MATCHES, describe_matching, match_pairs
from kinface.data.pairs import PAIRS_ENDINGS, write_pairs
from kinface.data.sampling import sample_pairs
from swinface.files import InputError, check_ending, printable


def pairs(
    *,
    root: Path,
    out: Path,
    list: Path | None = None,
    split: str | None = None,
    match: tuple[str, ...] = MATCHES,
    seed: int = 0,
    swap_grandparents: bool = False,
) -> None:
    """Draw a list whose non-kin pairs are matched to its kin pairs.

    Each kin pair gets a non-kin pair of the same first face and a second face of another family of the same split.
    Kin pairs without such a pair are left out and counted by race and type. The name of the list says what
    it is matched by.

    Parameters
    ----------
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    out
        The pairs table to write, .parquet or .csv: the kin pairs, then their non-kin pairs in the same order.
    list
        Where the kin pairs come from: a list in the form of RFIW or KFC, a pairs table (.parquet or .csv), or the name
        of a list of the prepared folder.
    split
        Instead of a list: draw the kin pairs from this split, as ``kinface prepare`` does from tune.
    match
        What the second face of a non-kin pair has in common with that of the kin pair, one or more of: race; type, the
        same role in a relation of the same type; gender; age-gap, the years between the two faces to within 5; an
        attribute of your annotations, such as age_band.
    seed
        The same seed draws the same pairs.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    if (list is None) == (split is None):
        raise InputError("give either --list or --split.")
    if split is not None and swap_grandparents:
        raise InputError("--swap-grandparents is for a --list; leave it out.")
    check_ending(out, PAIRS_ENDINGS, "a pairs table")
    if split is None:
        families = read_known_families(root)
        standard = families.pairs(list, swap_grandparents=swap_grandparents, seed=seed)
    else:
        families = read_families(root)
        standard = sample_pairs(families, split, seed=seed)
    matched, counts = match_pairs(standard, families, match, seed=seed)
    write_pairs(matched, out)
    for line in describe_matching(matched, counts).splitlines():
        print(printable(line))
    print(f"{len(matched):,} pairs, half of them kin: {out}")
