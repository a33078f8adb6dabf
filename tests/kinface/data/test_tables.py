"""Tables are read as they stand, whatever their form, and each value has one text."""

from __future__ import annotations

import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinface.data.tables import canonical_text, is_table, read_table, take_index, to_numbers, truth
from swinface.files import InputError, tidy_path

READ = settings(max_examples=60, deadline=None, derandomize=True, database=None)

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)


def text_of(*values, **options) -> list[str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return canonical_text(pd.Series(values, dtype=object), "here", **options).tolist()


@pytest.mark.parametrize(
    ("alike", "text"),
    [
        ([1, 1.0, "1", "1.0", "1.", " 1 ", "+1", np.int8(1), np.float32(1), b"1"], "1"),
        ([0, -0.0, "0.0", "-0"], "0"),
        ([-2, "-2", "-2.0"], "-2"),
        ([0.1, np.float32(0.1), "0.1", ".1", "0.10", "1e-1"], "0.1"),
        ([1e-7, "1e-07", "0.0000001", "1E-7"], "1e-07"),
        ([12345678901234567890, "12345678901234567890"], "12345678901234567890"),
        (["Métis", "Me\u0301tis", " Métis\u00a0", "Métis\ufeff"], "Métis"),
        (["Middle Eastern", "Middle  Eastern", "Middle\tEastern"], "Middle Eastern"),
        ([None, np.nan, pd.NA, pd.NaT, "", "  ", "\u200b"], None),
        ([True, "True", np.True_], "True"),
    ],
)
def test_values_that_are_alike_have_one_text(alike, text):
    for value in alike:
        assert text_of(value) == [text], repr(value)


def test_codes_that_look_like_numbers_stay_apart():
    codes = ["12e3", "12000", "1E5", "100000", "007", "7"]
    assert canonical_text(pd.Series(codes), "column family_a").tolist() == codes


def test_what_only_looks_like_a_number_or_like_nothing_stays():
    for text in ("007", "1.2.3", "1,5", "NA", "N/A", "nan", "None", "null", "inf", "1e999", "1_000", "½", "١"):
        assert text_of(text) == [text]
    assert text_of("12345678901234567890", "12345678901234567891") == ["12345678901234567890", "12345678901234567891"]


@READ
@given(TEXTS | st.integers() | st.floats(allow_nan=False) | st.booleans(), st.sampled_from(["", " ", "\t", "\u00a0"]))
def test_blanks_forms_and_a_second_reading_change_no_text(value, blank):
    (text,) = text_of(value)
    assert text_of(text) == [text]
    assert text_of(f"{blank}{value}{blank}") == text_of(unicodedata.normalize("NFD", str(value))) == [text]
    assert text is None or (text == text.strip() and unicodedata.is_normalized("NFC", text))


@READ
@given(st.integers(-(2**53), 2**53), st.sampled_from(["int64", "float64", "Int64", "object", "string", "category"]))
def test_a_whole_number_has_the_same_text_in_every_type(number, dtype):
    assert canonical_text(pd.Series([number, number]).astype(dtype), "here").tolist() == [str(number)] * 2


def test_missing_values_and_the_index_stay_where_they_are():
    values = pd.Series([2.0, None, 1.0], index=[5, 3, 9], name="tone")
    expected = pd.Series(["2", None, "1"], index=[5, 3, 9], name="tone", dtype=object)
    pd.testing.assert_series_equal(canonical_text(values, "here"), expected)


def test_names_of_files_are_paths_with_single_slashes():
    for path in (r".\faces\a b.jpg", "./faces//a b.jpg", "././faces/./a b.jpg ", "faces/a b.jpg"):
        assert text_of(path, paths=True) == ["faces/a b.jpg"]


@READ
@given(st.lists(st.text(st.sampled_from("aZ_9 .-/\\ü"), max_size=8), max_size=6))
def test_the_path_of_a_file_is_tidied_whatever_others_a_column_has(paths):
    assert text_of(*paths, paths=True) == [tidy_path(path.strip()) or None for path in paths]


def test_what_a_table_is_indexed_by_is_part_of_it(tmp_path):
    table = pd.DataFrame({"face": ["a.jpg", "b.jpg"], "tone": [1, 2]}, index=[3, 3])
    table.set_index("face").to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", "table").to_dict("list") == table.to_dict("list")
    assert list(take_index(table)) == ["face", "tone"]


def test_a_tensor_of_one_number_is_that_number():
    values = pd.Series([torch.tensor(2), np.array(1.0), np.float32(0.1), "x", None], dtype=object)
    assert canonical_text(values, "here").tolist() == ["2", "1", "0.1", "x", None]
    assert to_numbers(values).fillna(-1).tolist() == [2, 1, np.float32(0.1), -1, -1]


def test_names_of_files_keep_their_blanks_and_form():
    assert text_of(" a  b/Me\u0301.jpg ", 3, "1.50", paths=True) == ["a  b/Me\u0301.jpg", "3", "1.50"]


def test_texts_that_become_one_are_said_and_others_are_not():
    values = pd.Series(["Asian", "Asian ", "Me\u0301tis", "Métis", "x", None])
    with pytest.warns(
        UserWarning, match=r"t.csv: column race: read as one value: 'Asian' and 'Asian '; 'Me\\u0301tis' and"
    ):
        canonical_text(values, "t.csv: column race")
    with pytest.warns(UserWarning, match=r": 'a' and 'a '; 'b' and 'b '; 'c' and 'c '; 2 more\.$"):
        canonical_text(pd.Series([letter + blank for letter in "abcde" for blank in ("", " ")]), "here")
    canonical_text(pd.Series([1, 1.0, "1", "x "], dtype=object), "here")


def test_several_values_in_a_row_are_refused():
    with pytest.raises(InputError, match="here: each row must hold one value"):
        canonical_text(pd.Series([["a", "b"], ["c"]]), "here")


def test_yes_and_no():
    values = pd.Series([1, 0.0, "YES", "no", True, "false", "2", None], dtype=object)
    assert truth(values, "here").tolist() == [True, False, True, False, True, False, None, None]


TABLE = pd.DataFrame(
    {
        "face": ["a.jpg", "b, c.jpg", "é.jpg"],
        "group": pd.Series(["NA", "None", None], dtype=object),  # only an empty cell is missing
        "code": ["007", "8", "9"],
        "tone": [1, 2, 3],
        "share": [0.5, None, -1.25e-05],  # small numbers are written with an exponent
        "open": [True, False, True],
    }
).astype({"face": object, "code": object})


def write_forms(folder: Path, table: pd.DataFrame) -> list[Path]:
    """The same table in the forms that programs write."""
    table.to_csv(folder / "plain.csv", index=False)
    table.to_csv(folder / "marked.csv", index=False, encoding="utf-8-sig")
    table.to_csv(folder / "WIDE.CSV", index=False, encoding="utf-16")
    table.to_csv(folder / "tabs.csv", index=False, sep="\t")
    table.to_csv(folder / "european.csv", index=False, sep=";", decimal=",")
    table.to_csv(folder / "excel.csv", index=False, sep="\t", decimal=",", encoding="utf-16")  # as its "Unicode text"
    european = (folder / "european.csv").read_text("utf-8")
    (folder / "padded.csv").write_text(european.replace("0,5", "0,5 "), "utf-8")
    table.rename(columns=lambda name: f" {name}  ").to_csv(folder / "blanks.csv", index=False)
    table.to_parquet(folder / "table.parquet", index=False)
    return sorted(folder.iterdir())


def test_every_form_of_a_table_reads_the_same(tmp_path):
    for path in write_forms(tmp_path, TABLE):
        table = read_table(path, "table", ["face"])
        pd.testing.assert_frame_equal(table, TABLE, obj=path.name)


def test_a_second_sheet_is_not_passed_over(tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        for name, table in (("notes", TABLE[["face"]]), ("scores", TABLE), ("Sheet3", TABLE[:0][[]])):
            table.to_excel(book, sheet_name=name, index=False)
    with pytest.warns(UserWarning, match=r"t\.xlsx: only its first sheet, 'notes', is read, not scores\."):
        assert list(read_table(tmp_path / "t.xlsx", "table")) == ["face"]


def test_blanks_after_commas_and_empty_rows_hold_nothing(tmp_path):
    (tmp_path / "t.csv").write_text('face, group, tone\na.jpg, "x, y", 1\n\nb.jpg, , 2\n,,\n')
    with pytest.warns(UserWarning, match=r"empty rows \(1\) are left out; messages count rows without them"):
        table = read_table(tmp_path / "t.csv", "table", ["face"])
    assert table.to_dict("list") == {"face": ["a.jpg", "b.jpg"], "group": ["x, y", None], "tone": [1, 2]}
    (tmp_path / "above.csv").write_text("\n\nface;tone\na.jpg;1,5\n\n;\n")
    assert read_table(tmp_path / "above.csv", "table", ["face"]).to_dict("list") == {"face": ["a.jpg"], "tone": [1.5]}


def test_parts_of_a_long_csv_are_not_typed_apart(tmp_path):
    values = [*["1"] * 200_000, *["unclear", "1"] * 100_000]
    (tmp_path / "long.csv").write_text("\n".join(["tone", *values]))
    assert read_table(tmp_path / "long.csv", "table", [])["tone"].value_counts().to_dict() == {
        "1": 300_000,
        "unclear": 100_000,
    }


@pytest.mark.parametrize(
    ("cells", "typed"),
    [
        (["1", "2.5"], [1.0, 2.5]),
        (["1e+5", "+2"], [100000.0, 2.0]),
        (["1", "007"], ["1", "007"]),
        (["1", "NA"], ["1", "NA"]),
        (["True", "False"], [True, False]),
        (["True", "1"], ["True", "1"]),
        (["12345678901234567890", "1.5"], ["12345678901234567890", "1.5"]),
    ],
)
def test_cells_become_numbers_only_where_none_becomes_another(tmp_path, cells, typed):
    (tmp_path / "t.csv").write_text("\n".join(["own,text", *(f"{cell},{cell}" for cell in cells)]))
    table = read_table(tmp_path / "t.csv", "table", ["text"])
    assert (table["own"].tolist(), table["text"].tolist()) == (typed, cells)
    assert read_table(tmp_path / "t.csv", "table")["own"].tolist() == cells


@READ
@given(st.lists(TEXTS | st.integers().map(str) | st.floats(allow_nan=False).map(str), min_size=1, max_size=5))
def test_types_that_are_inferred_never_change_a_text(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    pd.DataFrame({"text": cells, "own": cells, "row": 1}).to_csv(path, index=False)
    table = read_table(path, "table", ["text"])
    assert text_of(*table["own"]) == text_of(*table["text"]) == text_of(*cells)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"a,b\n1,2\n", "table must be a .parquet, .csv or .xlsx file"),
        ("t.csv", b"# made by me\na,kin\n1,2\n", "line 2 has 2 values, and those before it 1: remove lines above"),
        ("t.csv", b"a,kin\n1,0,5\n", "line 2 has 3 values, and those before it 2: .*, and put quotes around"),
        ("t.csv", b"a,kin\n1,x,0\n2,y,1\n", r"name each column \(in R, row\.names = FALSE\)"),
        ("t.csv", b"a,kin, kin\n1,2,3\n", "two columns have the name 'kin'; rename or remove one"),
        ("t.csv", "a,b\né,2\n".encode("latin-1"), "not in UTF-8.*; save it as CSV UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16")[:-1], "not in UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "not in UTF-8, nor in UTF-16 with its mark"),
        ("t.csv", b"", "not a readable table"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}") as raised:
        read_table(tmp_path / name, "table")
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        read_table(tmp_path / "gone.csv", "table")


def test_excel_is_read_where_openpyxl_is_installed(tmp_path):
    pytest.importorskip("openpyxl")
    TABLE.to_excel(tmp_path / "t.XLSX", index=False, engine="openpyxl")
    table = read_table(tmp_path / "t.XLSX", "table", ["face"])
    pd.testing.assert_frame_equal(table, TABLE)


def test_without_openpyxl_excel_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"t.xlsx: .*`pip install openpyxl`; or save the table as \.csv"):
        read_table(tmp_path / "t.xlsx", "table")


def test_the_ending_of_a_table_may_be_in_capitals():
    assert is_table("a/b.CSV") and is_table("b.Parquet") and not is_table("b.txt") and not is_table("csv")
