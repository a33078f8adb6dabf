"""Lists of labels are read in their authors' formats, by the names of columns."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from swinface.data.datasets import AffectNetList, AgeGenderList, CelebA, CelebAList, Clap2015, FgNetList, RafDb
from swinface.data.labels import ATTRIBUTES
from swinface.files import InputError
from swinface.tasks import EXPRESSIONS
from tests.swinface.data.written import images, save, write

HEADER = (  # as CelebA's own list_attr_celeba.txt has them
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
TITLES = HEADER.split()


def test_raf_db_is_read_in_its_official_layout(tmp_path):
    lines = [f"{part}_{number:05}.jpg {number}" for part in ("train", "test") for number in range(1, 8)]
    path = write(tmp_path / "basic/EmoLabel/list_patition_label.txt", "\n".join(lines) + "\n")
    save(tmp_path / "basic/Image/aligned/test_00003_aligned.jpg", size=(100, 100))
    official = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    for subset in ("train", "test"):
        source = RafDb(tmp_path, subset=subset)
        assert images(source)[2] == f"basic/Image/aligned/{subset}_00003_aligned.jpg"
        assert [EXPRESSIONS[int(label)] for label in source.table["expression"]] == official
    assert source.read(2).shape == (112, 112, 3)
    with pytest.raises(InputError, match=r"test_00001_aligned\.jpg: no such image"):
        source.read(0)
    path.write_text("train_00001.jpg 5\ntrain_00002.jpg 8\n")
    with pytest.raises(InputError, match=r"list_patition_label\.txt: line 2: expression is '8'; expected one of 1, 2"):
        _ = RafDb(tmp_path).table
    path.write_text("train_00001.jpg 5\n")
    with pytest.raises(InputError, match="no faces of RafDb"):
        _ = RafDb(tmp_path, subset="test").table


def test_raf_db_of_kaggle_is_read_as_that_of_its_authors(tmp_path):
    write(tmp_path / "train_labels.csv", "image,label\ntrain_00001_aligned.jpg,5\ntrain_00002_aligned.jpg,1\n")
    save(tmp_path / "DATASET/train/5/train_00001_aligned.jpg", size=(100, 100))
    source = RafDb(tmp_path)
    assert [EXPRESSIONS[int(label)] for label in source.table["expression"]] == ["sadness", "surprise"]
    assert source.read(0).shape == (112, 112, 3)


def test_raf_db_has_other_faces_of_its_photos(face_sets, tmp_path):
    root = tmp_path / "RAF-DB"
    shutil.copytree(face_sets / "RAF-DB", root)
    (root / "arcface").mkdir()
    for number in range(1, 11):
        Image.new("RGB", (112, 112), (number, 0, 0)).save(root / "arcface" / f"train_{number:05}.jpg")
    source = RafDb(root, images="arcface")
    assert source.crop is None
    assert source.table["image"][0] == "arcface/train_00001.jpg"
    assert source.read(0).shape == (112, 112, 3)
    assert source.table["expression"].tolist() == RafDb(root).table["expression"].tolist()
    with pytest.raises(InputError, match="leaves the data root"):
        RafDb(root, images="../arcface").read(0)


def attribute_rows(faces: int) -> tuple[np.ndarray, list[str]]:
    values = np.random.default_rng(1).choice([-1, 1], (faces, 40))
    return values, [f"{i + 1:06}.jpg " + " ".join(f"{value:2}" for value in row) for i, row in enumerate(values)]


def test_celeba_is_read_from_its_own_files(tmp_path):
    values, rows = attribute_rows(6)
    write(tmp_path / "list_attr_celeba.txt", "\n".join(["6", HEADER + " ", *rows]) + "\n")
    write(tmp_path / "identity_CelebA.txt", "".join(f"{i + 1:06}.jpg {70 + i // 2}\n" for i in range(6)))
    save(tmp_path / "img_align_celeba/000002.jpg", size=(178, 218))
    source = CelebA(tmp_path)
    assert images(source)[1] == "img_align_celeba/000002.jpg"
    assert source.read(1).shape == (112, 112, 3)
    assert source.table["identity"].tolist() == ["70", "70", "71", "71", "72", "72"]
    assert set(source.table) == {"image", "identity", *ATTRIBUTES}
    ours = {"5_o_Clock_Shadow": "five_oclock_shadow", "Male": "gender"}
    for column, title in enumerate(TITLES):
        expected = (values[:, column] + 1) / 2
        np.testing.assert_array_equal(source.table[ours.get(title, title.lower())], expected, err_msg=title)
    write(tmp_path / "list_eval_partition.txt", "".join(f"{i + 1:06}.jpg {i % 3}\n" for i in range(6)))
    assert images(CelebA(tmp_path, subset="test")) == ["img_align_celeba/000003.jpg", "img_align_celeba/000006.jpg"]
    assert images(CelebA(tmp_path, subset="train"))[0] == "img_align_celeba/000001.jpg"
    found = CelebA(tmp_path).table
    for folder, names in (("Anno", ["list_attr_celeba.txt", "identity_CelebA.txt"]), ("Img", ["img_align_celeba"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / name).rename(tmp_path / folder / name)
    official = CelebA(tmp_path)
    pd.testing.assert_frame_equal(official.table.assign(image="img" + official.table["image"].str[7:]), found)
    assert official.read(1).shape == (112, 112, 3)
    (tmp_path / "Anno/identity_CelebA.txt").rename(tmp_path / "identity_CelebA.txt")
    write(tmp_path / "identity_CelebA.txt", "000001.jpg 3\n")
    with pytest.raises(InputError, match=r"identity_CelebA\.txt: no line for 000002\.jpg"):
        _ = CelebA(tmp_path).table
    write(tmp_path / "identity_CelebA.txt", "000001.jpg 3\n000001.jpg 4\n")
    with pytest.raises(InputError, match=r"identity_CelebA\.txt: line 2: '000001\.jpg' is listed twice"):
        _ = CelebA(tmp_path).table


def test_celeba_of_kaggle_is_read_as_that_of_its_authors(tmp_path):
    _, rows = attribute_rows(6)
    text, csv = tmp_path / "text", tmp_path / "csv"
    people, parts = ([f"{i + 1:06}.jpg {value}" for i, value in enumerate(values)] for values in ("778899", "012012"))
    write(text / "list_attr_celeba.txt", "\n".join(["6", HEADER, *rows]))
    write(text / "identity_CelebA.txt", "\n".join(people))
    write(text / "list_eval_partition.txt", "\n".join(parts))
    lists = {"list_attr_celeba": (HEADER, rows), "identity_CelebA": ("identity", people)}
    for name, (header, lines) in (lists | {"list_eval_partition": ("partition", parts)}).items():
        write(csv / f"{name}.csv", "\n".join(",".join(line.split()) for line in [f"image_id {header}", *lines]))
    save(csv / "img_align_celeba/img_align_celeba/000002.jpg", size=(178, 218))
    for subset in ("all", "validation"):
        expected = CelebA(text, subset=subset).table
        images = "img_align_celeba/" + expected["image"]
        pd.testing.assert_frame_equal(CelebA(csv, subset=subset).table, expected.assign(image=images))
    assert CelebA(csv, subset="validation").read(0).shape == (112, 112, 3)
    expected, index = CelebA(csv).table, pd.read_csv(csv / "list_attr_celeba.csv")
    for again in (index.to_csv(quoting=1), index.to_csv(index=False, quoting=1)):  # as pandas and R write it
        write(csv / "list_attr_celeba.csv", again)
        pd.testing.assert_frame_equal(CelebA(csv).table, expected)
    write(csv / "identity_CelebA.csv", "image,person\n000001.jpg,1\n")
    with pytest.raises(InputError, match=r"identity_CelebA\.csv: line 1, the header, has no image_id, identity"):
        _ = CelebA(csv).table
    (csv / "identity_CelebA.csv").unlink()  # Kaggle has none
    pd.testing.assert_frame_equal(CelebA(csv).table, expected.drop(columns="identity"))
    with pytest.raises(InputError, match=r"identity_CelebA\.txt: no such file, so people cannot be held out"):
        _ = CelebA(csv, part="held_out").table
    (csv / "list_attr_celeba.csv").unlink()
    with pytest.raises(InputError, match=r"list_attr_celeba\.txt: no such label file"):
        _ = CelebA(csv).table


@pytest.mark.parametrize("name", [[], ["name"]])
def test_the_authors_celeba_list_is_read_by_its_header(tmp_path, name):
    """Its attributes are in the order of the model's outputs, or any other; only the header says which."""
    values, rows = attribute_rows(4)
    order = np.random.default_rng(2).permutation(40)
    titles = [TITLES[column] for column in order]
    write(tmp_path / "label.txt", "\n".join([" ".join(name + titles), *rows]) + "\n")
    table = CelebAList(tmp_path).table
    assert images(CelebAList(tmp_path))[0] == "data/000001.jpg"
    assert images(CelebAList(tmp_path, images="."))[0] == "000001.jpg"
    for column, title in enumerate(titles):
        ours = {"5_o_Clock_Shadow": "five_oclock_shadow", "Male": "gender"}.get(title, title.lower())
        np.testing.assert_array_equal(table[ours], (values[:, column] + 1) / 2, err_msg=title)


def test_a_celeba_header_with_a_misspelt_attribute_is_refused(tmp_path):
    _, rows = attribute_rows(1)
    header = HEADER.replace("Smiling", "Smilling")
    write(tmp_path / "label.txt", "\n".join([header, *rows]))
    with pytest.raises(InputError, match=r"label\.txt: line 1, the header, .*no smiling; unknown Smilling.*expected"):
        _ = CelebAList(tmp_path).table
    write(tmp_path / "label.txt", "\n".join([HEADER, rows[0].rsplit(maxsplit=1)[0] + " 0"]))
    with pytest.raises(InputError, match=r"label\.txt: line 2: young is '0'; expected one of -1, 1, or nan"):
        _ = CelebAList(tmp_path).table


def test_the_authors_age_and_gender_lists_are_read(tmp_path):
    text = "name age gender\na/1.jpg 25.0 1.0\nb/2.jpg nan 0.0\n\nb/3.jpg 31.5 nan\nb/4.jpg 7 0.0\n"
    write(tmp_path / "label.txt", text)
    save(tmp_path / "data/a/1.jpg")
    source = AgeGenderList(tmp_path)
    assert source.table.to_numpy().tolist() == [["data/a/1.jpg", 25, 1], ["data/b/4.jpg", 7, 0]]
    assert source.read(0).shape == (112, 112, 3)
    write(tmp_path / "lists/part.txt", "\ufeffGender Name Age\n0.0 x.jpg 40\n")  # any order and case, after a mark
    other = AgeGenderList(tmp_path, labels="lists/part.txt", images="faces")
    assert other.table[["image", "age", "gender"]].to_numpy().tolist() == [["faces/x.jpg", 40, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name age sex\na.jpg 1 1\n", "line 1, the header, .*no gender; unknown sex.*expected, in any order: name age"),
        ("name age gender race\na.jpg 1 1 2\n", "unknown race"),
        ("name age\na.jpg 1\n", "no gender"),
        ("age age gender\na.jpg 1 1\n", "no name"),
        ("name age gender age\na.jpg 1 1 1\n", "twice age"),
        ("a.jpg 25 1.0\nb.jpg 26 1.0\n", "line 1, the header, .*unknown a.jpg, 25, 1.0"),
        ("name,age,gender\na.jpg,25,1\n", "separated by white space"),
        ("name age gender\na.jpg,25,1\n", "line 2 has 1 fields.*separated by white space"),
        ("name age gender\na.jpg 25\n", "line 2 has 2 fields, not 3: name age gender"),
        ("name age gender\na.jpg 25 1\nmy face.jpg 25 1\n", "line 3 has 4 fields, not 3"),
        ("name age gender\na.jpg old 1\n", "line 2: age is 'old'; expected a number from 0 to 130, or nan"),
        ("name age gender\na.jpg -3 1\n", "line 2: age is '-3'"),
        ("name age gender\n\na.jpg inf 1\n", "line 3: age is 'inf'"),
        ("name age gender\na.jpg 1985 1\n", "line 2: age is '1985'; expected a number from 0 to 130"),
        (
            "name age gender\na.jpg 3 1\nb.jpg 3 1\na.jpg 3 0\n",
            "line 4: 'a.jpg' is listed twice, with different labels",
        ),
        ("name age gender\na.jpg 3 2\n", "line 2: gender is '2'; expected one of 0, 1, or nan"),
        ("name age gender\n", "no faces; each line must hold name age gender"),
        ("", "line 1, the header, "),
    ],
)
def test_a_list_that_cannot_be_right_is_refused_by_line(tmp_path, text, message):
    write(tmp_path / "label.txt", text)
    with pytest.raises(InputError, match=rf"label\.txt: {message}" if message[0] == "l" else message):
        _ = AgeGenderList(tmp_path).table


def test_a_line_that_is_repeated_is_read_once(tmp_path):
    write(tmp_path / "label.txt", "name age gender\na.jpg 3 1\nb.jpg 3 1\n\na.jpg 3 1\na.jpg  3  1\n")
    with pytest.warns(UserWarning, match=r"label\.txt: 2 lines, such as line 5, repeat another line; each image is"):
        table = AgeGenderList(tmp_path).table
    assert table["image"].tolist() == ["data/a.jpg", "data/b.jpg"]


def test_a_list_that_is_not_there_or_elsewhere_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"label\.txt: no such label file"):
        _ = AgeGenderList(tmp_path).table
    with pytest.raises(InputError, match="labels: the path '/etc/hosts' leaves the data root"):
        _ = AgeGenderList(tmp_path, labels="/etc/hosts").table
    (tmp_path / "label.txt").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(InputError, match=r"label\.txt: not a readable label file"):
        _ = AgeGenderList(tmp_path).table


def test_a_name_in_a_list_cannot_leave_the_data_root(tmp_path):
    save(tmp_path / "secret.jpg")
    write(tmp_path / "set/label.txt", f"name age gender\n../../secret.jpg 1 1\n{os.fspath(tmp_path)}/secret.jpg 1 1\n")
    for place in ("data", "."):
        source = AgeGenderList(tmp_path / "set", images=place)
        with pytest.raises(InputError, match="leaves the data root"):
            source.read(0)
    with pytest.raises(InputError, match="leaves the data root"):
        source.read(1)


def test_the_authors_affectnet_list_is_read(tmp_path):
    rows = [f"{number}.jpg 0.{number} {number}\n" for number in range(11)]
    write(tmp_path / "label.txt", "name valence expression\n" + "".join(rows))
    table = AffectNetList(tmp_path, numbering="affectnet").table
    found = {Path(image).stem: EXPRESSIONS[int(label)] for image, label in table.to_numpy()}
    own = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]  # AffectNet's 0 to 6
    assert found == {str(number): name for number, name in enumerate(own)}
    write(tmp_path / "label.txt", "name valence expression\n" + "".join(rows[:7]))
    assert AffectNetList(tmp_path).table["expression"].tolist() == list(range(7))
    write(tmp_path / "label.txt", "name valence expression\n" + "".join(rows[:8]))
    with pytest.raises(InputError, match=r"^numbering model: .*label\.txt: line 9: expression is '7'"):
        _ = AffectNetList(tmp_path).table
    write(tmp_path / "label.txt", "name valence class\na.jpg 0 1\n")
    with pytest.raises(InputError, match=r"no expression.*expected, in any order and among others: name expression"):
        _ = AffectNetList(tmp_path).table


def test_the_authors_fg_net_list_is_read(tmp_path):
    write(tmp_path / "label.txt", "name age\n001A02.JPG 2\n001A43a.JPG 43\n082A18.JPG 18\n")
    table = FgNetList(tmp_path).table
    assert table.to_numpy().tolist() == [
        ["data/001A02.JPG", "001", 2],
        ["data/001A43a.JPG", "001", 43],
        ["data/082A18.JPG", "082", 18],
    ]
    write(tmp_path / "label.txt", "name age\n001A02.JPG 2\nanna.jpg 3\n")
    with pytest.raises(InputError, match=r"label\.txt: line 3: 'anna\.jpg' must be named like 001A02\.JPG"):
        _ = FgNetList(tmp_path).table


def test_clap2015_is_read(tmp_path):
    write(tmp_path / "valid.csv", "image_1.jpg;20.5;3.25\nimage 2.jpg;60;0\n")
    table = Clap2015(tmp_path, labels="valid.csv").table
    assert list(table) == ["image", "age", "age_deviation"]
    assert table.to_numpy().tolist() == [["data/image_1.jpg", 20.5, 3.25], ["data/image 2.jpg", 60, 0]]
    write(tmp_path / "valid.csv", "name;mean;std\nimage_1.jpg;20.5;3.25\n")
    with pytest.raises(InputError, match=r"valid\.csv: line 1: age is 'mean'"):
        _ = Clap2015(tmp_path, labels="valid.csv").table
