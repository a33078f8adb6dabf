"""The words of kinship data: the 11 kinship types of FIW and the races."""

from __future__ import annotations

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


# Roles whose gender a list can be trusted on, by side of the pair; see describe_pairs.
ROLE_GENDER = {
    "a": {code: kin_type.gender_a for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
    "b": {code: kin_type.gender_b for code, kin_type in TYPES.items() if kin_type.relation == "parent"},
}


RACES = {"African": "AA", "Asian": "A", "Caucasian": "C", "Indian": "I"}  # name to KFC's code
