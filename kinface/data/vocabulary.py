"""The words of kinship data: the 11 kinship types of FIW, the races, and what those who annotate faces call these."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KinType:
    """One of the 11 kinship types of FIW: who face a and face b are to each other.

    Attributes
    ----------
    relation
        What person a is to person b; siblings are symmetric.
    generation_gap
        Generations between the two persons.
    gender_a, gender_b
        Gender of each role; a brother comes before his sister.
    """

    code: str
    name: str
    relation: str
    generation_gap: int
    gender_a: str
    gender_b: str


TYPES: dict[str, KinType] = {
    kin_type.code: kin_type
    for kin_type in (
        KinType("bb", "brother-brother", "sibling", 0, "m", "m"),
        KinType("ss", "sister-sister", "sibling", 0, "f", "f"),
        KinType("sibs", "brother-sister", "sibling", 0, "m", "f"),
        KinType("fd", "father-daughter", "parent", 1, "m", "f"),
        KinType("fs", "father-son", "parent", 1, "m", "m"),
        KinType("md", "mother-daughter", "parent", 1, "f", "f"),
        KinType("ms", "mother-son", "parent", 1, "f", "m"),
        KinType("gfgd", "grandfather-granddaughter", "grandparent", 2, "m", "f"),
        KinType("gfgs", "grandfather-grandson", "grandparent", 2, "m", "m"),
        KinType("gmgd", "grandmother-granddaughter", "grandparent", 2, "f", "f"),
        KinType("gmgs", "grandmother-grandson", "grandparent", 2, "f", "m"),
    )
}


KIN = "kin"  # a relation of two people of whom no more is known


# Roles whose gender a list can be trusted on, by side of the pair; see describe_pairs.
ROLE_GENDER = {
    "a": {code: kin_type.gender_a for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
    "b": {code: kin_type.gender_b for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
}


RACES = {"African": "AA", "Asian": "A", "Caucasian": "C", "Indian": "I"}  # name to KFC's code


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


def fold_word(word: str) -> str:
    """A word as vocabularies are compared by: in small letters, with blanks in place of underscores and hyphens within.

    >>> fold_word("Latino_Hispanic")
    'latino hispanic'
    """
    return " ".join(re.sub(r"(?<=\w)[_-]+(?=\w)", " ", word.casefold()).split())
