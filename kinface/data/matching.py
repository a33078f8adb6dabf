"""Non-kin pairs that are like the kin pairs in all that the labels tell except kinship.

Most non-kin pairs drawn at random cross races, so a model that only knows race scores above chance. Here each kin pair
gets a non-kin pair with the same first face, and a second face with the same chosen attributes as the kin pair's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from kinface.data.annotations import list_own_attributes
from kinface.data.families import Families
from kinface.data.pairs import COLUMNS, check_pairs, families_known, race_group
from kinface.data.sampling import describe_pairs
from kinface.data.vocabulary import TYPES
from swinface.bootstrap import start_drawing
from swinface.files import InputError

MATCHES = ("race", "type", "gender", "age-gap")
AGE_TOLERANCE = 5.0  # years that the age gap of a non-kin pair may differ from its kin pair's
LABELS = {"race": "race", "type": "role", "gender": "gender", "age-gap": "age"}  # what face b needs, by key
SYMMETRIC = [code for code, kin_type in TYPES.items() if kin_type.relation == "sibling"]
COUNTED = ("kin", "matched", "unknown", "no_partner")


def match_pairs(
    pairs: pd.DataFrame, families: Families, by: str | Sequence[str] = MATCHES, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a non-kin pair for every kin pair: its second face is replaced by a similar one of another family.

    Among the faces that fit, those of the persons used least so far are considered, and of these the faces used least:
    no face is used more often than necessary. No pair is drawn twice. The same seed draws the same pairs, in whatever
    order the rows of all tables are. Raises ``InputError`` if ``by`` names something else, no family is known, or no
    kin pair can be matched.

    Parameters
    ----------
    pairs
        A pairs table; only its kin pairs are read. Their faces are in ``families``.
    by
        One or some of ``MATCHES``: ``race`` and ``gender`` of the second person, so that the pair's two races stay as
        they are; ``type``, the second person plays the same role in a relation of the same type, of the tables or of
        the list (any sibling of that gender among siblings, whose order means nothing); ``age-gap``, the age of the
        first face minus that of the second, to within ``AGE_TOLERANCE``; or a custom attribute, a column of the
        people table.

    Returns
    -------
    matched
        A pairs table: the kin pairs that could be matched, in their order, then as many non-kin pairs, the n-th for
        the n-th kin pair. ``list`` says by what they are matched; ``score`` is missing.
    counts
        One row per ``type`` and ``race`` (``race_group`` of the kin pair): the numbers ``kin``, ``matched``,
        ``unknown`` (a label to match by, or the family, is missing) and ``no_partner`` (no person fits).
    """
    by, pairs = (by,) if isinstance(by, str) else by, check_pairs(pairs, "pairs")
    own = list_own_attributes(families.people)
    if not by or not set(by) <= {*MATCHES, *own}:
        choice = ", ".join((*MATCHES, *own))
        raise InputError(f"pairs are matched by some of {choice}; got {', '.join(by) or 'nothing'}.")
    kin = pairs[pairs["kin"]].reset_index(drop=True)[[*COLUMNS]].assign(score=np.nan)
    people = families.people.set_index("person")
    kin = kin.assign(**{f"{name}_{side}": kin[f"person_{side}"].map(people[name]) for name in own for side in "ab"})
    of_family = families_known(kin).to_numpy()
    if kin.empty:
        raise InputError("the list has no kin pairs; matched non-kin pairs are drawn for its kin pairs.")
    if not of_family.any():
        raise InputError(
            f"the families of all {len(kin):,} kin pairs are unknown, and a matched non-kin pair is of two families. "
            "Match a list whose faces lie in FIW's own folders, such as Train/train-faces/F0001/MID1."
        )
    families = _follow_list(families, kin)
    wanted = _label_second_faces(kin, families)
    known = wanted[[LABELS.get(key, key) for key in by]].notna().all(axis="columns").to_numpy() & of_family
    faces = _label_faces(kin, families, by)
    partner = _draw_partners(wanted[known], faces, by, start_drawing(seed))
    partner = pd.Series(partner, wanted.index[known], dtype=object).reindex(wanted.index)
    drawn = partner.notna().to_numpy()
    counts = kin.assign(race=race_group(kin).fillna("unknown"), type=kin["type"].fillna("unknown"))[["type", "race"]]
    counts = counts.assign(kin=1, matched=drawn, unknown=~known, no_partner=known & ~drawn)
    counts = counts.groupby(["type", "race"], as_index=False).sum().astype(dict.fromkeys(COUNTED, int))
    if not drawn.any():
        raise InputError(
            f"none of {len(kin):,} kin pairs can be matched by {', '.join(by)}: {int((~known).sum()):,} have an "
            "unknown label, for the others no face of another family fits. Match by less, or annotate more faces."
        )
    named = ", ".join(key for key in (*MATCHES, *own) if key in by)
    kin["list"] = kin["list"].fillna("pairs") + f" matched by {named}"
    other = kin.loc[drawn, ["face_a", "type", "race_a", "gender_a", "list"]].assign(kin=False)
    other["face_b"] = partner[drawn]
    return check_pairs(pd.concat([kin[drawn], describe_pairs(other, families)]), "matched pairs"), counts


def describe_matching(matched: pd.DataFrame, counts: pd.DataFrame) -> str:
    """What could be matched, what could not, and how many people the non-kin pairs of each race come from."""
    total = counts[[*COUNTED]].sum()
    lines = [
        f"{matched['list'].iloc[0]}: {total['matched']:,} of {total['kin']:,} kin pairs; "
        f"{total['unknown']:,} have an unknown label, {total['no_partner']:,} have no fitting person in another family"
    ]
    failed = counts.assign(failed=counts["unknown"] + counts["no_partner"])
    failed = failed.pivot_table(index="type", columns="race", values="failed", aggfunc="sum", margins=True)
    failed = failed.loc[failed["All"] > 0, failed.loc["All"] > 0].fillna(0).astype(int)
    if len(failed):
        lines.append(f"\nnot matched, by type and race\n{failed.rename_axis(index=None, columns=None).to_string()}")
    other = matched[~matched["kin"]]
    groups = other.groupby(race_group(other).fillna("unknown"))
    behind = pd.DataFrame(
        {
            "non-kin pairs": groups.size(),
            "families of face a": groups["family_a"].nunique(),
            "families of face b": groups["family_b"].nunique(),
            "people of face b": groups["person_b"].nunique(),
            "most pairs of one face b": groups["face_b"].agg(lambda face: face.value_counts().iloc[0]),
        }
    )
    lines.append(f"\npeople and families in the non-kin pairs\n{behind.rename_axis(None).to_string()}\n")
    return "\n".join(lines)


def _follow_list(families: Families, kin: pd.DataFrame) -> Families:
    """The families, with races and genders as the list states them: KFC's races, genders of roles.

    The kin pair's race comes from the list; a partner's race from elsewhere would not match it.
    """
    people = families.people.set_index("person").astype({"race": object, "gender": object})
    for name in ("race", "gender"):
        columns = ["person", name, f"{name}_source"]
        sides = [kin[[f"person_{side}", f"{name}_{side}", columns[2]]].set_axis(columns, axis=1) for side in "ab"]
        stated = pd.concat(sides).dropna(subset=name).sort_values(columns).drop_duplicates("person").set_index("person")
        people.update(stated[stated[name] != people[name].reindex(stated.index)])
    return replace(families, people=people.reset_index())


def _label_second_faces(kin: pd.DataFrame, families: Families) -> pd.DataFrame:
    """The labels of the second face of each kin pair; race and age are missing too if the first face has none."""
    ages = families.faces.set_index("face")["age"]
    own = {name: kin[f"{name}_b"].where(kin[f"{name}_a"].notna()) for name in list_own_attributes(families.people)}
    age_a, age_b = (ages.reindex(kin[f"face_{side}"]).reset_index(drop=True) for side in "ab")
    return pd.DataFrame(
        {
            **{name: kin[name] for name in ("face_a", "face_b", "type", "split")},
            "family": kin["family_b"],
            "race": kin["race_b"].where(kin["race_a"].notna(), None),
            "role": _name_role(kin["type"], kin["gender_b"]),
            "gender": kin["gender_b"],
            "age": age_b.where(age_a.notna()),
            **own,
        }
    )


def _label_faces(kin: pd.DataFrame, families: Families, by: Sequence[str]) -> pd.DataFrame:
    """Every face with its labels, sorted by name: a row per role that its person plays where pairs match by type."""
    people = families.people.set_index("person")[["race", "gender", *list_own_attributes(families.people)]]
    faces = families.faces[["face", "person", "family", "split", "age"]].join(people, on="person")
    if "type" in by:
        faces = faces.merge(_list_roles(kin, families), on="person")
    return faces.sort_values("face", ignore_index=True)


def _name_role(code: pd.Series, gender: pd.Series) -> pd.Series:
    """The role of person b: the type says it, but of a brother and a sister either is b in FIW's lists."""
    return code.where(code != "sibs", code + " " + gender)


def _list_roles(kin: pd.DataFrame, families: Families) -> pd.DataFrame:
    """Who plays which ``role``: by the relations, and by the list, as families may come without (FIW's test)."""
    columns = ["type", "person_a", "person_b"]
    related = pd.concat([families.relations[columns], kin[columns]])
    mirrored = related[related["type"].isin(SYMMETRIC)].rename(columns={"person_a": "person_b", "person_b": "person_a"})
    related = pd.concat([related, mirrored], ignore_index=True)
    gender = related["person_b"].map(families.people.set_index("person")["gender"])
    roles = pd.DataFrame({"person": related["person_b"], "role": _name_role(related["type"], gender)})
    return roles.dropna().drop_duplicates()


def _draw_partners(
    wanted: pd.DataFrame, faces: pd.DataFrame, by: Sequence[str], generator: np.random.Generator
) -> list[str | None]:
    """For every row of ``wanted`` a face like it of another family; None where there is none."""
    columns = ["split", *(LABELS.get(key, key) for key in by if key != "age-gap")]
    alike = defaultdict(list)
    for place, labels in enumerate(zip(*(faces[column] for column in columns), strict=True)):
        alike[labels].append(place)
    alike = {labels: np.array(places) for labels, places in alike.items()}
    name, names = pd.factorize(pd.concat([faces["face"], wanted["face_a"]]))
    name, first = np.split(name, [len(faces)])
    person, people = pd.factorize(faces["person"])
    family, _ = pd.factorize(pd.concat([faces["family"], wanted["family"]]))  # numbers are compared faster than names
    (family, own_family), age = np.split(family, [len(faces)]), faces["age"].to_numpy()
    uses, uses_of_person = np.zeros(len(names), int), np.zeros(len(people), int)
    met, partners = defaultdict(list), np.full(len(wanted), -1)
    own = wanted.to_dict("records")
    for row in generator.permutation(wanted.reset_index(drop=True).sort_values(["face_a", "face_b", "type"]).index):
        places = alike.get(tuple(own[row][column] for column in columns), np.array([], dtype=int))
        places = places[(family[places] != own_family[row]) & ~np.isin(name[places], met[first[row]])]
        if "age-gap" in by:  # the first face stays, so the gaps differ by as much as the ages of the second faces
            places = places[np.abs(age[places] - own[row]["age"]) <= AGE_TOLERANCE]
        for use, of in ((uses_of_person, person), (uses, name)):  # spread over persons first, then over their faces
            used = use[of[places]]
            places = places[used == used.min(initial=len(wanted))]
        if len(places):
            place = generator.choice(places)
            uses_of_person[person[place]] += 1
            uses[name[place]] += 1
            met[first[row]].append(name[place])
            met[name[place]].append(first[row])
            partners[row] = name[place]
    return [names[partner] if partner >= 0 else None for partner in partners]
