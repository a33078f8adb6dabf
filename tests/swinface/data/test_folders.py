"""Labels of the faces in a folder come from tables of many forms, or are refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from swinface.data.datasets import ImageFolder
from swinface.files import InputError
from tests.swinface.data.written import save


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_folder_of_people_takes_labels_of_images_and_of_people_from_tables(tmp_path, ending):
    for image in ("F1/MID1/a", "F1/MID1/b", "F1/MID2/c"):
        save(tmp_path / f"faces/{image}.png")
    write = {".csv": lambda table, path: table.to_csv(path, index=False), ".parquet": pd.DataFrame.to_parquet}[ending]
    ages, people = tmp_path / f"ages{ending}", tmp_path / f"people{ending}"
    write(pd.DataFrame({"face": ["F1/MID1/a.png", "F1/MID2/c.png", "other.png"], "age": [31.5, None, 4]}), ages)
    write(pd.DataFrame({"person": [r"F1\MID1", "./F1/MID2"], "gender": ["m", "female"]}), people)
    table = ImageFolder(tmp_path / "faces", labels={"age": str(ages), "gender": people}).table
    assert table["age"].fillna(-1).tolist() == [31.5, -1, -1]
    assert table["gender"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"face": ["a/1.png"], "years": [3]}, r"needs a column 'age' and one of image, face, identity, person\.$"),
        ({"age": [3]}, r"needs a column 'age' and one of"),
        ({"face": ["a/1.png", "a/1.png"], "age": [3, 4]}, r"face 'a/1.png' has two rows; keep one\.$"),
        ({"face": ["a/1.png"], "age": ["old"]}, r"age is 'old'; expected a number from 0 to 130\.$"),
        ({"face": ["a/1.png"], "age": [-2]}, r"age is '-2'; expected a number from 0 to 130\.$"),
        ({"face": ["a/1.png"], "age": [1985]}, r"age is '1985'; expected a number from 0 to 130\.$"),
        ({"face": ["a/1.png"], "age": ["inf"]}, r"age is 'inf'; expected a number from 0 to 130\.$"),
        ({"face": ["b/1.png"], "age": [3]}, r"has no age of these faces, such as face 'a/1.png'\.$"),
    ],
)
def test_a_table_of_labels_that_cannot_be_used_is_named(tmp_path, table, message):
    save(tmp_path / "faces/a/1.png")
    pd.DataFrame(table).to_csv(tmp_path / "ages.csv", index=False)
    with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path / 'ages.csv'))}: .*{message}"):
        _ = ImageFolder(tmp_path / "faces", labels={"age": tmp_path / "ages.csv"}).table


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("people", [["001", "002", "1"], [1, 2, 3], [1.0, 2.0, 3.0]])
def test_people_may_be_called_by_numbers(tmp_path, ending, people):
    table, path = pd.DataFrame({"person": people, "gender": ["F", "Male", "m"]}), tmp_path / f"people{ending}"
    folders = [str(int(person) if isinstance(person, float) else person) for person in people]
    for folder in folders:
        save(tmp_path / f"faces/{folder}/a.png")
    if ending == ".csv":
        table.assign(person=folders).to_csv(path, index=False)
    else:
        table.to_parquet(path)
    found = ImageFolder(tmp_path / "faces", labels={"gender": path}).table.set_index("identity")["gender"]
    assert found[folders].tolist() == [0, 1, 1]


def test_labels_of_images_from_windows_and_marks_of_no_value(tmp_path):
    for image in "abcd":
        save(tmp_path / f"faces/p/{image}.png")
    rows = ["image, age, gender, race", r"p\a.png, 31, unk, NA", "./p/b.png, 0.0, unk, x", "p//c.png, 0, m, x"]
    rows.append("p/d.png, 5, f, Unknown")
    (tmp_path / "l.csv").write_text("\n".join(rows))
    labels = dict.fromkeys(["age", "race"], tmp_path / "l.csv")
    table = ImageFolder(tmp_path / "faces", labels=labels).table
    assert table["age"].fillna(-1).tolist() == [31, -1, 0, 5]
    assert table["race"].fillna("-").tolist() == ["NA", "x", "x", "-"]


def test_an_age_may_be_unknown_in_the_words_of_others_and_stands_beside_any_column(tmp_path):
    for image in "abcde":
        save(tmp_path / f"faces/p/{image}.png")
    faces = [f"p/{image}.png" for image in "abcde"]
    table = pd.DataFrame({"image": faces, "age": ["NA", "nan", "-1", "0", "4"], "smiling": "-1", "empty": np.nan})
    table.to_csv(tmp_path / "l.csv", index=False)
    table.assign(age=[np.nan, np.nan, -1.0, 0.0, 4.0]).to_parquet(tmp_path / "l.parquet")
    for file in ("l.csv", "l.parquet"):
        ages = ImageFolder(tmp_path / "faces", labels={"age": tmp_path / file}).table["age"]
        assert ages.fillna(-9).tolist() == [-9, -9, -9, 0, 4], file


def test_an_ambiguous_first_letter_is_refused(tmp_path):
    save(tmp_path / "faces/p/a.png")
    (tmp_path / "l.csv").write_text("image,expression\np/a.png,s\n")
    with pytest.raises(InputError, match="expression is 's'; expected one of surprise"):
        _ = ImageFolder(tmp_path / "faces", labels={"expression": tmp_path / "l.csv"}).table


def test_labels_of_an_unknown_task_or_file_are_refused(tmp_path):
    save(tmp_path / "faces/a/1.png")
    with pytest.raises(InputError, match=r"^labels: no task 'years'; choose from gender, age"):
        _ = ImageFolder(tmp_path / "faces", labels={"years": tmp_path / "ages.csv"}).table
    with pytest.raises(InputError, match=r"ages\.csv: no such table of labels"):
        _ = ImageFolder(tmp_path / "faces", labels={"age": tmp_path / "ages.csv"}).table
