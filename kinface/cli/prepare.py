"""``kinface prepare``."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from kinface.data.annotations import ATTRIBUTES, PREDICTED, is_measurement, list_own_attributes
from kinface.data.families import DATASET, SPLITS, Families
from kinface.data.fiw import read_families
from kinface.data.pairs import race_crossing
from kinface.data.prepare import UNREADABLE, check_out, prepare_families, write_prepared
from kinface.data.vocabulary import TYPES
from swinface.files import InputError

KIN_RELATIONS = {kin_type.relation for kin_type in TYPES.values()}
PROBLEM_LINES = 10  # printed of each kind; problems.csv has all
MOST_CATEGORIES = 8  # that are named


def prepare(
    root: Path,
    *,
    out: Path,
    annotations: list[Path] | None = None,
    meaning: tuple[str, ...] = (),
    measurement: tuple[str, ...] = (),
    lists: list[Path] | None = None,
    tune: float = 0.15,
    seed: int = 0,
    swap_grandparents: bool = False,
    strict: bool = False,
) -> None:
    """Check a copy of FIW, of Kaggle's "Recognizing Faces in the Wild" or of TSKinFace, and write its tables.

    Every image is decoded in full; those that cannot be are reported and left out. ``out`` then holds
    ``faces.parquet``, ``people.parquet``, ``relations.parquet``, ``pairs.parquet``, ``tune_families.txt``,
    ``problems.csv``, ``annotations.csv`` and ``dataset.json``, and can be given wherever a FIW folder is asked for.
    The pairs are those of all lists, and two lists sampled from the tune families: ``tune`` and, where race is
    annotated, ``tune_matched``, with the same kin pairs and non-kin pairs matched by race, type and gender.

    Parameters
    ----------
    root
        The folder with FIW's Train and Validation; with Kaggle's train and train_relationships.csv; or
        TSKinFace_cropped.
    out
        Folder to write to.
    annotations
        Csv files with a column ``face`` and columns such as race_deepface, age_mivolo, gender_human or age_band_human
        (any attribute and its source), to read besides those of ROOT/annotations.
    meaning
        What a word of the annotations means, such as race:Latino_Hispanic=Latino; nothing after the = means unknown.
        The words of DeepFace and FairFace are built in. How each word was read is printed.
    measurement
        An attribute of your own that is measured, such as yaw: a person's value is the median. By default, whole
        numbers are categories, and a person's value is the majority. Numbers with fractions are always measured.
    lists
        Lists of pairs in the form of RFIW, KFC, FaCoRNet or FIW_KRT, or of path1, path2 and kin; by default
        all of ``ROOT/lists/*.txt``.
    tune
        Share of the training families set aside for model selection and thresholds.
    seed
        Seed of the draw of these families and of their pairs.
    swap_grandparents
        The lists name grandparent types as the official RFIW lists do, swapped.
    strict
        Write nothing if there is any problem.
    """
    check_out(root, out)
    about = {"annotations": annotations, "meanings": _parse_meanings(meaning), "measurements": measurement}
    read = read_families(root, **about, tune=tune, seed=seed)
    prepared = prepare_families(read, lists=lists, swap_grandparents=swap_grandparents)
    families = prepared.families
    earlier, refused = (out / DATASET).exists(), strict and len(families.problems)
    if not refused:
        write_prepared(prepared, out)  # before all is said: whoever reads it may stop at the first lines
    unreadable = (families.problems["kind"] == UNREADABLE).sum()
    print(f"{root}: {len(families.faces)} images decoded in full, {unreadable} unreadable ones left out\n")
    for table in (*_count_families(families), *_count_pairs(prepared.pairs)):
        print(table.to_string(na_rep="-") + "\n")
    if prepared.matching:
        print(f"tune_matched is {prepared.matching}")
    print(_describe_sources(families) + "\n\n" + _describe_problems(families.problems))
    if refused:
        raise InputError(f"{root}: {len(families.problems)} problems (listed above), so --strict writes nothing.")
    print(f"\nwritten to {out}{'; what was prepared there before is replaced' * earlier}")


def _parse_meanings(options: tuple[str, ...]) -> dict[str, dict[str, str]]:
    meanings: dict[str, dict[str, str]] = {}
    for option in options:
        match = re.fullmatch(r"(\w+):([^=]+)=(.*)", option)
        if not match:
            raise InputError(
                f"--meaning {option}: give an attribute, a word and its meaning, as in race:Black=African."
            )
        attribute, word, meaning = match.groups()
        meanings.setdefault(attribute, {})[word] = meaning
    return meanings


def _count_families(families: Families) -> list[pd.DataFrame]:
    """Numbers of families, people and faces; relations by type; race and gender of people: each by split."""
    faces, relations = families.faces, families.relations
    people = families.people[families.people["faces"] > 0]
    splits = [split for split in SPLITS if (faces["split"] == split).any()]
    sizes = {
        "families": people.groupby("split")["family"].nunique(),
        "people": people["split"].value_counts(),
        "faces": faces["split"].value_counts(),
    }
    pictured = relations["person_a"].isin(people["person"]) & relations["person_b"].isin(people["person"])
    relations = relations[pictured]
    names = {code: f"{kin_type.name} ({code})" for code, kin_type in TYPES.items()}
    untyped = relations["relation"].where(~relations["relation"].isin(KIN_RELATIONS), "type unknown")
    kinds = pd.crosstab(relations["type"].map(names).where(relations["type"].notna(), untyped), relations["split"])
    order = [*names.values(), *sorted(set(kinds.index) - set(names.values()))]
    tables = {
        "": pd.DataFrame(sizes).T,
        "relations, both with faces": kinds.reindex(order, fill_value=0),
        "race of people": pd.crosstab(people["race"].fillna("unknown"), people["split"]),
        "gender of people": pd.crosstab(people["gender"].fillna("unknown"), people["split"]),
    }
    counts = []
    for title, table in tables.items():
        table = table.reindex(columns=splits, fill_value=0)
        counts.append(table.assign(total=table.sum(axis="columns")).rename_axis(index=None, columns=title))
    return counts


def _count_pairs(pairs: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Kin and non-kin pairs of each list, of one race, across races and of unknown race."""
    if not pairs:
        return []
    table = pd.concat(pairs)
    kin = table["kin"].map({True: "kin", False: "non-kin"})
    crossing = race_crossing(table).fillna("race unknown")
    counts = pd.crosstab([table["list"], kin], crossing).assign(total=lambda t: t.sum(axis="columns"))
    return [counts.rename_axis(index=["list", ""], columns="pairs")]


def _describe_sources(families: Families) -> str:
    """Where each attribute comes from, and which annotation columns are used."""
    people = families.people[families.people["faces"] > 0]
    lines = ["sources of people's attributes"]
    for attribute in (*ATTRIBUTES, *list_own_attributes(people)):
        counts = people[f"{attribute}_source"].value_counts()
        said = ", ".join(f"{source} ({count} people)" for source, count in counts.items())
        lines.append(
            f"  {attribute}: {said or 'unknown; no annotation file has it'}{_describe_kind(people, attribute)}"
        )
    if people["race"].notna().any():
        lines.append(
            f"  A person's race is the majority over their faces, on average {people['race_agreement'].mean():.0%}."
        )
    if people["race_source"].astype("string").str.startswith(PREDICTED).any():
        lines.append("  Race is what a model predicted from faces: neither self-described nor checked by a human.")
    mapped = families.annotations.dropna(subset="mapped")
    lines += [f"  {row.column} ({row.file}): {row.mapped}" for row in mapped.itertuples()]
    used = families.annotations["source"].notna()
    for title, columns in (("used", families.annotations[used]), ("ignored", families.annotations[~used])):
        named = ", ".join(f"{row.column} ({row.file})" for row in columns.itertuples())
        lines.append(f"  annotation columns {title}: {named or 'none'}")
    return "\n".join(lines)


def _describe_kind(people: pd.DataFrame, attribute: str) -> str:
    """Of a custom attribute, whether a person's value is a median or a majority."""
    if attribute in ATTRIBUTES:
        return ""
    if is_measurement(people[attribute]):
        return "; measured, a person's value is the median"
    categories = sorted(people[attribute].dropna().unique())
    named = ", ".join(categories[:MOST_CATEGORIES]) + ", ..." * (len(categories) > MOST_CATEGORIES)
    return f"; {len(categories)} categories, a person's value is the majority: {named}"


def _describe_problems(problems: pd.DataFrame) -> str:
    """Every problem, grouped by kind; of long kinds the first lines."""
    lines = [f"problems: {len(problems) or 'none'}"]
    for kind, group in problems.groupby("kind", sort=False):
        lines.append(f"  {kind}: {len(group)}")
        lines += [f"    {row.where}: {row.message}" for row in group.head(PROBLEM_LINES).itertuples()]
        if len(group) > PROBLEM_LINES:
            lines.append(f"    ... and {len(group) - PROBLEM_LINES} more in problems.csv")
    return "\n".join(lines)
