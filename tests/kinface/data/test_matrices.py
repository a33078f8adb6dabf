"""mid.csv: every code, and every fault of real files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kinface.data.matrices import read_matrix

FAMILY = """MID,1,2,3,4,Name,Gender
1,0,5,4,4,member 1,m
2,5,0,4,4,member 2,F
3,1,1,0,2,member 3,f
4,1,1,2,0,member 4, male
"""


def read(tmp_path: Path, text: str):
    (tmp_path / "mid.csv").write_text(text, encoding="utf-8")
    return read_matrix(tmp_path / "mid.csv", "here")


def test_members_and_relations(tmp_path: Path):
    matrix = read(tmp_path, FAMILY)
    assert matrix.problems == []
    assert matrix.members == {
        1: ("member 1", "m"), 2: ("member 2", "f"), 3: ("member 3", "f"), 4: ("member 4", "m"),
    }  # fmt: skip
    assert matrix.relations == [
        (1, 2, "spouse", None),
        (1, 3, "parent", "fd"),
        (1, 4, "parent", "fs"),
        (2, 3, "parent", "md"),
        (2, 4, "parent", "ms"),
        (4, 3, "sibling", "sibs"),  # the brother first
    ]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_recognised(tmp_path: Path, separator: str):
    assert read(tmp_path, FAMILY.replace(",", separator)) == read(tmp_path, FAMILY)


@pytest.mark.parametrize(
    ("genders", "cells", "expected"),
    [
        ("mm", (2, 2), (1, 2, "sibling", "bb")),
        ("ff", (2, 2), (1, 2, "sibling", "ss")),
        ("fm", (2, 2), (2, 1, "sibling", "sibs")),
        ("mf", (4, 1), (1, 2, "parent", "fd")),
        ("mf", (1, 4), (2, 1, "parent", "ms")),
        ("mf", (6, 3), (1, 2, "grandparent", "gfgd")),
        ("mf", (3, 6), (2, 1, "grandparent", "gmgs")),
        ("mm", (6, 3), (1, 2, "grandparent", "gfgs")),
        ("ff", (6, 3), (1, 2, "grandparent", "gmgd")),
        ("mf", (8, 7), (1, 2, "great-grandparent", None)),
        ("mf", (7, 8), (2, 1, "great-grandparent", None)),
        ("fm", (5, 5), (1, 2, "spouse", None)),
        ("mf", (0, 0), None),
        ("mf", (9, 9), None),  # to be decided
    ],
)
def test_every_code_of_the_matrix(tmp_path: Path, genders: str, cells: tuple, expected: tuple | None):
    text = f"MID,1,2,Name,Gender\n1,0,{cells[0]},x,{genders[0]}\n2,{cells[1]},0,y,{genders[1]}\n"
    matrix = read(tmp_path, text)
    assert matrix.relations == ([expected] if expected else []) and matrix.problems == []


@pytest.mark.parametrize(
    ("text", "kind", "message", "relations"),
    [
        (
            FAMILY.replace("3,1,1,0,2", "3,1,2,0,2"),
            "contradictory matrix",
            "MID2 to MID3: parent, MID3 to MID2: sibling; relation left out",
            5,
        ),
        (FAMILY.replace("3,1,1,0,2", "3,1,0,0,2"), "contradictory matrix", "MID3 to MID2: none; relation left out", 5),
        (FAMILY.replace("3,1,1,0,2", "3,1,1,2,2"), "contradictory matrix", "MID3 to itself: sibling; ignored", 6),
        (FAMILY.replace("3,1,1,0,2", "3,1,x,0,2"), "unreadable matrix cell", "MID3 to MID2: 'x'; relation left out", 5),
        (FAMILY.replace("3,1,1,0,2", "3,1,12,0,2"), "unreadable matrix cell", "MID3 to MID2: '12'", 5),
        (FAMILY.replace("3,f", "3,"), "blank gender", "MID3 has gender ''", 6),
        (FAMILY + "4,1,1,2,0,member 4,f\n", "duplicated MID", "line 6 is a second row of MID4: row left out", 6),
        (FAMILY.replace("1,2,3,4", "1,2,3,3"), "duplicated MID", "several columns of MID3", 3),
        (FAMILY.replace("0,member 4", "0,member, 4"), "malformed mid.csv", "line 5 has no MID or not 7 fields", 3),
        (FAMILY.replace("4,1,1,2,0", "four,1,1,2,0"), "malformed mid.csv", "line 5 has no MID", 3),
        (FAMILY.replace("4,1,1,2,0", f"{9**40},1,1,2,0"), "malformed mid.csv", "line 5 has no MID", 3),
        (FAMILY.replace("4,1,1,2,0", f"{'4' * 5000},1,1,2,0"), "malformed mid.csv", "line 5 has no MID", 3),
        (FAMILY.replace("1,2,3,4", f"1,2,3,{9**40}"), "rows and columns differ", "MID4 has a row and no column", 3),
        (FAMILY.replace("3,1,1,0,2", f"3,1,{'1' * 5000},0,2"), "unreadable matrix cell", "MID3 to MID2", 5),
        (FAMILY.replace(",4,N", ",N"), "malformed mid.csv", "not 6 fields", 0),
        (FAMILY.replace("Gender", "Sex"), "missing mid.csv", "no MID or no Gender", 0),
        ("", "missing mid.csv", "no MID or no Gender", 0),
    ],
)
def test_a_fault_is_reported_and_the_rest_is_read(tmp_path: Path, text: str, kind: str, message: str, relations: int):
    matrix = read(tmp_path, text)
    assert any(problem[0] == kind and message in problem[2] for problem in matrix.problems)
    assert all(where == "here" for _, where, _ in matrix.problems)
    assert len(matrix.relations) == relations


def test_a_missing_file_is_a_problem_not_an_error(tmp_path: Path):
    matrix = read_matrix(tmp_path / "mid.csv", "here")
    assert [problem[0] for problem in matrix.problems] == ["missing mid.csv"] and not matrix.members


def test_a_gap_does_not_shift_the_columns(tmp_path: Path):
    # In real F0601 the matrix has a column of a member without a row.
    matrix = read(tmp_path, "MID,1,2,3,Name,Gender\n1,0,4,2,a,f\n3,2,0,0,c,m\n")
    assert matrix.relations == [(3, 1, "sibling", "sibs")]
    assert [problem[2] for problem in matrix.problems] == ["MID2 has a column and no row: its relations are left out"]
    matrix = read(tmp_path, "MID,1,3,Name,Gender\n1,0,2,a,f\n2,4,4,b,m\n3,2,0,c,m\n")
    assert matrix.relations == [(3, 1, "sibling", "sibs")] and set(matrix.members) == {1, 2, 3}
    assert [problem[2] for problem in matrix.problems] == ["MID2 has a row and no column: its relations are left out"]


def test_without_gender_a_relation_keeps_no_type(tmp_path: Path):
    matrix = read(tmp_path, FAMILY.replace("3,f", "3,?"))
    assert [relation for relation in matrix.relations if 3 in relation[:2]] == [
        (1, 3, "parent", None),
        (2, 3, "parent", None),
        (3, 4, "sibling", None),
    ]


def test_files_of_other_systems(tmp_path: Path):
    text = FAMILY.replace("\n", "\r\n").replace("member 1", "Zoë") + "\r\n,,,,,,\r\n"
    (tmp_path / "mid.csv").write_bytes(b"\xef\xbb\xbf" + text.encode("latin-1"))
    matrix = read_matrix(tmp_path / "mid.csv", "here")
    assert matrix.problems == [] and len(matrix.relations) == 6
    assert read(tmp_path, re.sub(r"\b([0-9])(?=,)", r"\1.0", FAMILY)).relations == matrix.relations
