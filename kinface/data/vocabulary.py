"""The words of kinship data: the 11 kinship types of FIW, the races, what those who annotate faces call these, and what
groups of pairs are called to people."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KinType:
    """One of the 11 kinship types of FIW: who face a and face b are to each other."""

    code: str
    name: str  #: both people, in words
    relation: str  #: what person a is to person b; siblings are symmetric
    generation_gap: int
    gender_a: str  #: of each role; a brother comes before his sister
    gender_b: str


TYPES: dict[str, KinType] = {
    kin_type.code: kin_type
    for kin_type in (
        KinType("bb", "brothers", "sibling", 0, "m", "m"),
        KinType("ss", "sisters", "sibling", 0, "f", "f"),
        KinType("sibs", "brother and sister", "sibling", 0, "m", "f"),
        KinType("fd", "father and daughter", "parent", 1, "m", "f"),
        KinType("fs", "father and son", "parent", 1, "m", "m"),
        KinType("md", "mother and daughter", "parent", 1, "f", "f"),
        KinType("ms", "mother and son", "parent", 1, "f", "m"),
        KinType("gfgd", "grandfather and granddaughter", "grandparent", 2, "m", "f"),
        KinType("gfgs", "grandfather and grandson", "grandparent", 2, "m", "m"),
        KinType("gmgd", "grandmother and granddaughter", "grandparent", 2, "f", "f"),
        KinType("gmgs", "grandmother and grandson", "grandparent", 2, "f", "m"),
    )
}
PREDICTED_TYPES = (*TYPES, "unrelated")  # what a type head says of a pair, in the order of its output
KIN = "kin"  # a relation of two people of whom no more is known

# Roles whose gender a list can be trusted on, by side of the pair; see describe_pairs.
ROLE_GENDER = {
    "a": {code: kin_type.gender_a for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
    "b": {code: kin_type.gender_b for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
}
RACES = {"African": "AA", "Asian": "A", "Caucasian": "C", "Indian": "I"}  # name to KFC's code

# What groups of pairs are called on pages and figures; tables keep the codes. Others are called what they are.
WORDS: dict[str, dict[str, str]] = {
    "type": {code: kin_type.name for code, kin_type in TYPES.items()},
    "gender pair": {"mm": "both male", "mf": "male and female", "ff": "both female"},
    "race crossing": {"same-race": "of one race", "cross-race": "of two races"},
    "generation gap": {"one apart": "one generation apart", "two apart": "two generations apart"},
    "race": {"cross-race": "two races"},
}

# What public predictors and data sets say of a face, as ``fold_word`` gives it, to what is meant. Of race these are
# KFC's codes and the words of DeepFace and FairFace, who have more than four; `kinface prepare` says what is joined.
MEANINGS: dict[str, dict[str, str]] = {
    "race": {
        **{word: race for race, code in RACES.items() for word in (race.lower(), code.lower())},
        **{"black": "African", "white": "Caucasian", "middle eastern": "Caucasian", "latino hispanic": "Caucasian"},
        **{"east asian": "Asian", "southeast asian": "Asian"},
    },
    "gender": {"m": "m", "male": "m", "man": "m", "f": "f", "female": "f", "woman": "f"},
}


def in_words(group: str, grouping: str) -> str:
    """A group of pairs, as people call it.

    >>> in_words("gmgd", "type"), in_words("Asian mm", "race and gender"), in_words("mm x 5-9", "gender pair x age")
    ('grandmother and granddaughter', 'Asian, both male', 'both male x 5-9')
    """
    if grouping == "race and gender":
        race, _, pair = group.rpartition(" ")
        return f"{in_words(race, 'race')}, {in_words(pair, 'gender pair')}"
    groups, groupings = group.split(" x "), grouping.split(" x ")
    if 1 < len(groupings) == len(groups):
        return " x ".join(map(in_words, groups, groupings))
    return WORDS.get(grouping, {}).get(group, group)


def fold_word(word: str) -> str:
    """A word as vocabularies are compared by: in small letters, with blanks in place of underscores and hyphens within.

    >>> fold_word("Latino_Hispanic")
    'latino hispanic'
    """
    return " ".join(re.sub(r"(?<=\w)[_-]+(?=\w)", " ", word.casefold()).split())
