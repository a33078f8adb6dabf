"""Files in the form in which the sets are handed out become lists that training reads."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from swinface.data.datasets import AffectNetList, AgeGenderList
from swinface.files import InputError
from swinface.photos.folder import COLUMNS
from swinface.photos.originals import list_faces, read_adience, read_affectnet, read_imdb_wiki, read_morph
from tests.commands import run_swinface

NAN = float("nan")
ADIENCE = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score\n"


def write_adience(folder: Path) -> Path:
    rows = [
        ("30@N03", "a_o.jpg", 1, "(25, 32)", "f"),
        ("30@N03", "b_o.jpg", 1, "None", "m"),
        ("7@N00", "c.jpg", 2, "57", "m"),
    ]
    more = [("7@N00", "d.jpg", 3, "(0, 2)", "u"), ("7@N00", "e.jpg", 4, "(4, 6)", "m")]
    folder.mkdir()
    for number, part in enumerate((rows, more)):
        lines = ["\t".join(map(str, (*row, 0, 0, 9, 9, 0, 0, 1))) + "\n" for row in part]
        (folder / f"fold_{number}_data.txt").write_text(ADIENCE + "".join(lines))
    return folder


def write_mat(path: Path, name: str = "wiki") -> Path:
    """Five people born on 2 January 1980; the last four have no face, a second one, no gender, an impossible year."""
    born = date(1980, 1, 2).toordinal() + 366
    content = {
        "dob": np.full((1, 5), born, np.int32),
        "photo_taken": np.array([[2010, 2010, 2010, 2010, 2200]], np.uint16),
        "full_path": np.array([[f"0{i}/{i}.jpg" for i in range(5)]], dtype=object),
        "gender": np.array([[1.0, 0.0, 1.0, NAN, 0.0]]),
        "name": np.array([["someone"] * 5], dtype=object),
        "face_location": np.array([[np.zeros((1, 4))] * 5], dtype=object)[:, :, 0, 0],
        "face_score": np.array([[3.5, -np.inf, 3.5, 3.5, 3.5]]),
        "second_face_score": np.array([[NAN, NAN, 1.5, NAN, NAN]]),
    }
    savemat(path, {name: content})
    return path


def test_adience_has_the_middle_of_a_range_and_the_names_of_its_faces(tmp_path):
    table = read_adience(write_adience(tmp_path / "folds"))
    assert table.to_dict("list") == {
        "photo": [
            "30@N03/coarse_tilt_aligned_face.1.a_o.jpg",
            "7@N00/coarse_tilt_aligned_face.2.c.jpg",
            "7@N00/coarse_tilt_aligned_face.4.e.jpg",
        ],
        "age": [28.5, 57.0, 5.0],
        "gender": [0.0, 1.0, 1.0],
    }


def test_morph_is_read_by_its_header(tmp_path):
    path = tmp_path / "morph.csv"
    path.write_text(
        "id_num,gender,age,race,photo\n1, M,54,W,Album2/009055_1M54.JPG\n2,F,x,B,Album2/2_1F00.JPG\n3,F,30,B,c.JPG\n"
    )
    assert read_morph(path).to_dict("list") == {
        "photo": ["Album2/009055_1M54.JPG", "c.JPG"],
        "age": [54.0, 30.0],
        "gender": [1.0, 0.0],
    }


@pytest.mark.parametrize("name", ["imdb", "wiki"])
def test_imdb_wiki_has_the_age_in_the_middle_of_the_year_of_the_photo(tmp_path, name):
    table = read_imdb_wiki(write_mat(tmp_path / f"{name}.mat", name))
    assert table["photo"].tolist() == ["00/0.jpg"]
    assert table["age"].item() == pytest.approx((date(2010, 7, 1) - date(1980, 1, 2)).days / 365.25, abs=0.01)
    assert table["gender"].item() == 1.0


def test_affectnet_has_seven_expressions(tmp_path):
    path = tmp_path / "training.csv"
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    path.write_text(header + "".join(f"{i}/{i}.jpg,0,0,9,9,1;2,{i},0.1,0.2\n" for i in range(11)))
    table = read_affectnet(path)
    assert table["expression"].tolist() == list(range(7))
    assert table["photo"].tolist() == [f"{i}/{i}.jpg" for i in range(7)]
    path.write_text(path.read_text().removeprefix(header))  # as validation.csv
    pd.testing.assert_frame_equal(read_affectnet(path), table)


def test_names_are_compared_to_the_depth_of_both():
    labels = pd.DataFrame({"photo": ["Album2/a.JPG", "Album2/b.JPG", "Album2/c.JPG"], "age": [1.0, 2.0, 3.0]})
    log = pd.DataFrame({"photo": ["MORPH/Album2/a.JPG", "MORPH/Album2/b.JPG"], "face": ["MORPH/Album2/a.JPG", None]})
    assert list_faces(labels, log).to_dict("list") == {"name": ["MORPH/Album2/a.JPG"], "age": [1.0]}
    flat = pd.DataFrame({"photo": ["a.JPG", "c.JPG"], "face": ["a.JPG", "c.JPG"]})
    assert list_faces(labels, flat)["age"].tolist() == [1.0, 3.0]
    windows = labels.assign(photo=labels["photo"].str.replace("/", "\\"))
    assert list_faces(windows, log)["age"].tolist() == [1.0]
    with pytest.raises(InputError, match=r"^m\.csv: none of 3 labelled photos, such as Album2/a\.JPG"):
        list_faces(labels, flat.assign(photo=["x.JPG", "y.JPG"]), "m.csv")


@pytest.mark.parametrize(
    ("labelled", "photos", "named"),
    [
        (["1.jpg", "2.jpg"], ["anna/1.jpg", "bob/1.jpg", "bob/2.jpg"], "anna/1.jpg and bob/1.jpg both end in 1.jpg"),
        (["a/1.jpg", "b/1.jpg"], ["1.jpg", "2.jpg"], "a/1.jpg and b/1.jpg both end in 1.jpg"),
    ],
)
def test_photos_that_their_ends_do_not_tell_apart_are_named(labelled, photos, named):
    labels = pd.DataFrame({"photo": labelled, "age": [1.0, 2.0]})
    log = pd.DataFrame({"photo": photos, "face": [photos[0], *[None] * (len(photos) - 1)]})
    with pytest.raises(InputError, match=rf"^m\.csv: {named}"):
        list_faces(labels, log, "m.csv")


def test_photos_without_labels_may_end_alike():
    photos = ["anna/1.jpg", "bob/1.jpg", "bob/2.jpg"]
    labels = pd.DataFrame({"photo": ["2.jpg"], "age": [2.0]})
    found = list_faces(labels, pd.DataFrame({"photo": photos, "face": photos}))
    assert found.to_dict("list") == {"name": ["bob/2.jpg"], "age": [2.0]}


def make_faces(folder: Path, photos: list[str]) -> Path:
    for photo in photos:
        (folder / photo).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (112, 112)).save(folder / photo)
    log = pd.DataFrame({"photo": [*photos, "none.jpg"], "face": [*photos, None]}).assign(faces=1, chosen="largest")
    log.reindex(columns=list(COLUMNS)).to_csv(folder / "aligned.csv", index=False)
    return folder


def test_the_lists_are_those_that_training_reads(tmp_path, capsys):
    root = tmp_path / "WIKI"
    faces = make_faces(root / "data", ["00/0.jpg", "01/1.jpg"])
    command = ["labels", "imdb_wiki", write_mat(tmp_path / "wiki.mat"), "--faces", faces, "--out", root / "label.txt"]
    assert run_swinface(*command) == 0
    assert "1 photos have labels, 1 of these have a face" in capsys.readouterr().out
    source = AgeGenderList(root)
    assert source.table.to_dict("list") == {"image": ["data/00/0.jpg"], "age": [30.49], "gender": [1.0]}
    assert source.read(0).shape == (112, 112, 3)
    root, csv = tmp_path / "AffectNet", tmp_path / "training.csv"
    csv.write_text("subDirectory_filePath,expression\n1/a.jpg,0\n1/b.jpg,6\n1/c.jpg,7\n")
    faces = make_faces(root / "data", ["1/a.jpg", "1/b.jpg", "1/c.jpg"])
    command = ["labels", "affectnet", csv, "--faces", faces, "--out", root / "label.txt"]
    assert run_swinface(*command) == 0
    table = AffectNetList(root, numbering="affectnet").table
    assert table["expression"].tolist() == [6.0, 5.0]  # neutral and anger in this model's order


@pytest.mark.parametrize(
    ("read", "content", "named"),
    [
        (read_morph, "photo,age\na,1\n", "no column 'gender'"),
        (
            read_morph,
            "photo,age,gender\na,1,M\nb,2,boy\n",
            "row 2: gender is 'boy'; expected one of f, m, female, male",
        ),
        (
            read_affectnet,
            "subDirectory_filePath,expression\na,Happy\n",
            "row 1: expression is 'happy'; expected one of 0",
        ),
        (read_morph, None, "no such table"),
        (read_affectnet, "a\tb", "no column 'subDirectory_filePath'"),
        (read_imdb_wiki, "MATLAB 5.0 MAT-file but broken", "not imdb.mat or wiki.mat"),
        (read_imdb_wiki, None, "not imdb.mat or wiki.mat"),
        (read_adience, None, "no lists fold_"),
    ],
)
def test_files_of_another_form_are_named(read, content, named, tmp_path):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=named):
        read(path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--faces", "nowhere", "--out", "label.txt"], "aligned.csv: no such log"),
        (["--faces", "faces", "--out", "label.csv"], "ends in .txt"),
    ],
)
def test_bad_options_are_named(options, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_faces(tmp_path / "faces", ["a.jpg"])
    assert run_swinface("labels", "morph", "morph.csv", *options) == 2
    assert named in capsys.readouterr().err
