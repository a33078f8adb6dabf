"""A family's ``mid.csv``: who its members are and what each is to each other.

Row i, column j of the matrix says what member i IS TO member j (``RELATIONS``); Robinson et al., "Visual Kinship
Recognition of Families in the Wild", TPAMI 2018. Real files have gaps, contradictions and blanks: what cannot be
trusted is left out and reported, never guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from kinface.data.vocabulary import MEANINGS, TYPES
from swinface.files import name_reason

RELATIONS = {
    0: "none",
    1: "child",
    2: "sibling",
    3: "grandchild",
    4: "parent",
    5: "spouse",
    6: "grandparent",
    7: "great-grandchild",
    8: "great-grandparent",
    9: "to be decided",
}

MIRROR = {0: 0, 1: 4, 2: 2, 3: 6, 4: 1, 5: 5, 6: 3, 7: 8, 8: 7, 9: 9}
GENERATION_GAP = {"sibling": 0, "parent": 1, "grandparent": 2, "great-grandparent": 3}
TYPE_OF = {(kin_type.relation, kin_type.gender_a, kin_type.gender_b): kin_type.code for kin_type in TYPES.values()}
LONGEST_NUMBER = 9  # digits of a MID or of a code; longer ones fit no table
Rows = dict[int, list[str]]  # MID to its row
Cells = dict[tuple[int, int], int | None]  # (i, j) to the code of what MID i is to MID j; None where unreadable
Report = Callable[[str, str], None]  # kind and message of a problem
Problem = tuple[str, str, str]  # kind, where (a file or folder below the root), what was done


@dataclass
class Matrix:
    """What one ``mid.csv`` says.

    ``members`` is from MID to name and gender (``m``, ``f`` or None). ``relations`` has each related pair once, (mid_a,
    mid_b, relation, type or None): the elder first; among siblings the brother, else the lower MID first.
    """

    members: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    relations: list[tuple[int, int, str, str | None]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_matrix(path: Path, where: str) -> Matrix:
    """Read one family's ``mid.csv``, which problems call ``where``."""
    matrix = Matrix()

    def report(kind: str, message: str) -> None:
        matrix.problems.append((kind, where, message))

    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:  # names may be in any encoding
            separator = max(",;\t", key=file.readline().count)  # spreadsheets write the one of their country
            file.seek(0)
            header, *lines = [[cell.strip() for cell in line] for line in csv.reader(file, delimiter=separator)] or [[]]
    except (OSError, csv.Error) as error:
        report("missing mid.csv", f"{name_reason(error)}: the family's members and relations are unknown")
        return matrix
    titles = {title.lower(): position for position, title in reversed([*enumerate(header)])}
    if "mid" not in titles or "gender" not in titles:
        report("missing mid.csv", "its header has no MID or no Gender: the family's members and relations are unknown")
        return matrix
    columns = {read_number(title): position for title, position in titles.items() if read_number(title) is not None}
    rows: Rows = {}
    for number, row in enumerate(lines, start=2):
        mid = row[titles["mid"]] if len(row) == len(header) else ""
        if not any(row):
            continue
        elif read_number(mid) is None:
            report("malformed mid.csv", f"line {number} has no MID or not {len(header)} fields: row left out")
        elif read_number(mid) in rows:
            report("duplicated MID", f"line {number} is a second row of MID{mid}: row left out")
        else:
            rows[read_number(mid)] = row
    for mid, row in rows.items():
        gender = row[titles["gender"]].lower()
        if gender not in MEANINGS["gender"]:
            report("blank gender", f"MID{mid} has gender {gender!r}: gender unknown")
        name = row[titles["name"]] or None if "name" in titles else None
        matrix.members[mid] = (name, MEANINGS["gender"].get(gender))
    _check_header(header, rows, columns, report)
    _relate(matrix, _read_cells(rows, columns, report), report)
    return matrix


def read_number(text: str) -> int | None:
    """A MID or a code, also as tables with gaps write it, 1.0; None if it is no number, or too long for either."""
    text = re.sub(r"[.,]0+$", "", text)
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def _check_header(header: list[str], rows: Rows, columns: dict[int, int], report: Report) -> None:
    """Members are matched to columns by number, not position, so a gap on either side costs only that member."""
    numbers = [read_number(title) for title in header]
    for title in sorted({number for number in numbers if number is not None and numbers.count(number) > 1}):
        report("duplicated MID", f"several columns of MID{title}: the first one counts")
    for there, missing, lost in (("column", "row", columns.keys() - rows), ("row", "column", rows.keys() - columns)):
        for mid in sorted(lost):
            report("rows and columns differ", f"MID{mid} has a {there} and no {missing}: its relations are left out")


def _read_cells(rows: Rows, columns: dict[int, int], report: Report) -> Cells:
    """The cells between members that have a row and a column."""
    cells: Cells = {}
    for i, row in rows.items():
        for j in columns.keys() & rows.keys():
            value = row[columns[j]]
            code = read_number(value)
            cells[i, j] = code if code in RELATIONS else None
            if cells[i, j] is None:
                report("unreadable matrix cell", f"MID{i} to MID{j}: {value!r}; relation left out")
        if cells.get((i, i)):
            report("contradictory matrix", f"MID{i} to itself: {RELATIONS[cells[i, i]]}; ignored")
    return cells


def _relate(matrix: Matrix, cells: Cells, report: Report) -> None:
    """Keep the relations on which both cells of a pair agree."""
    for i, j in combinations(sorted({i for i, _ in cells} & {j for _, j in cells}), 2):
        forward, backward = cells[i, j], cells[j, i]
        if forward is None or backward is None:
            continue
        if MIRROR[forward] != backward:
            contradiction = f"MID{i} to MID{j}: {RELATIONS[forward]}, MID{j} to MID{i}: {RELATIONS[backward]}"
            report("contradictory matrix", f"{contradiction}; relation left out")
        elif RELATIONS[forward] in (*GENERATION_GAP, "spouse"):
            matrix.relations.append(_order(matrix, i, j, RELATIONS[forward]))
        elif RELATIONS[backward] in GENERATION_GAP:
            matrix.relations.append(_order(matrix, j, i, RELATIONS[backward]))


def _order(matrix: Matrix, a: int, b: int, relation: str) -> tuple[int, int, str, str | None]:
    """Add the type; a brother comes before his sister."""
    gender_a, gender_b = matrix.members[a][1], matrix.members[b][1]
    if relation == "sibling" and (gender_a, gender_b) == ("f", "m"):
        a, b, gender_a, gender_b = b, a, gender_b, gender_a
    return a, b, relation, TYPE_OF.get((relation, gender_a, gender_b))
