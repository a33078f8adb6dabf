"""Data sets are read in their authors' formats: labels by the names of columns, faces on ArcFace's template."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from PIL import Image

from swinface.data.datasets import CelebA, CKPlus, ImageFolder, RafDb, RecordIO, UTKFace
from swinface.data.faces import covered, crop_face, fit_face
from swinface.data.recordio import MAGIC
from swinface.data.source import Source, draw_held_out
from swinface.files import InputError
from swinface.tasks import EXPRESSIONS
from tests.swinface.data.written import images, save, write


def fraction(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 2**64


# Pixels


def test_people_and_families_that_are_named_are_left_out(face_sets, tmp_path):
    names = tmp_path / "names.txt"

    def people(text: str) -> set[str]:
        names.write_text(text)
        source = ImageFolder(face_sets / "fiw", below="Train/train-faces", without=names)
        return set(source.table["identity"])

    assert people("\n") == {"F0001/MID1", "F0001/MID2", "F0001/MID3"}
    assert people("F0001/MID2\n") == {"F0001/MID1", "F0001/MID3"}
    with pytest.raises(InputError, match="no faces of ImageFolder"):
        people("F0001")
    with pytest.raises(InputError, match=r"names\.txt: no person .* is 'F000'"):
        people("F000")
    names.unlink()
    with pytest.raises(InputError, match=r"names\.txt: no such list of people"):
        _ = ImageFolder(face_sets / "fiw", without=names).table


def test_a_crop_is_the_region_at_its_place_in_the_image():
    """Colours rise linearly, so the resized region must hold the colours of the places it was cut from."""
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(160) + 0.5)
    pixels = np.stack([x, y, np.full_like(x, 7)], axis=2).round().astype(np.uint8)
    left, top, right, bottom = 0.103, 0.2007, 0.911, 0.807
    face = crop_face(pixels, (left, top, right, bottom)).astype(float)
    centres = (np.arange(112) + 0.5) / 112
    inside = slice(2, -2)  # at the edge, a filter that reaches out of the region is cut
    np.testing.assert_allclose(face[50, inside, 0], (200 * (left + (right - left) * centres))[inside], atol=1)
    np.testing.assert_allclose(face[inside, 50, 1], (160 * (top + (bottom - top) * centres))[inside], atol=1)
    assert (face[..., 2] == 7).all()


def test_a_crop_beyond_the_image_repeats_its_edges():
    pixels = np.arange(100, dtype=np.uint8)[:, None, None] + np.zeros((100, 100, 3), np.uint8)  # a row is its number
    face = crop_face(pixels, (-0.5, -0.25, 1.5, 1.0))
    assert not face[:20].any()
    assert (face == face[:, :1]).all()
    assert abs(int(face[67, 0, 0]) - 50) <= 1  # the middle row of the image: (0.5 + 0.25) / 1.25 of 112


@pytest.mark.parametrize("source", [UTKFace, RafDb, CKPlus, CelebA])
def test_no_data_set_has_bars_of_its_own(tmp_path, source):
    """Outside the photo, no crop shows anything that a model could tell the set by, such as black."""
    white = np.full((218, 178, 3), 255, np.uint8)
    assert (crop_face(white, source(tmp_path).crop) == 255).all()


def test_the_part_that_the_image_covers_follows_from_the_crop():
    pixels = np.full((200, 100, 3), 200, np.uint8)
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = 0
    left, top, right, bottom = (112 * side for side in covered((-0.3, -0.2, 1.1, 0.8)))
    bright = crop_face(pixels, (-0.3, -0.2, 1.1, 0.8))[..., 0] > 100
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    assert abs(columns[0] - left) < 2
    assert abs(columns[-1] + 1 - right) < 2
    assert abs(rows[0] - top) < 2
    assert bottom == 112
    assert rows[-1] == 111
    assert covered(None) == (0, 0, 1, 1)


def test_an_aligned_face_stays_as_it_is_and_an_unaligned_one_is_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_face(pixels, "a"), pixels)
    assert fit_face(np.zeros((50, 80, 3), np.uint8), "a", (0, 0, 1, 1)).shape == (112, 112, 3)
    with pytest.raises(InputError, match=r"^a: 80x50 pixels; faces must be aligned and square"):
        fit_face(np.zeros((50, 80, 3), np.uint8), "a")


def test_read_all_reads_every_row_in_order(tmp_path):
    for number in range(20):
        save(tmp_path / "anna" / f"{number:02}.png", size=(56, 56), colour=(number, 2, 3))
    source = ImageFolder(tmp_path)
    faces = source.read_all()
    assert (faces.shape, str(faces.dtype)) == ((20, 3, 112, 112), "torch.uint8")
    assert faces[:, 0, 50, 50].tolist() == list(range(20))
    np.testing.assert_array_equal(faces[7].permute(1, 2, 0), source.read(7))
    assert len(source) == 20


def test_grey_images_are_read_as_rgb(tmp_path):
    (tmp_path / "anna").mkdir()
    Image.new("L", (48, 48), 77).save(tmp_path / "anna" / "1.png")
    assert (ImageFolder(tmp_path).read(0) == 77).all()


# What is used of a set


def test_the_held_out_draw_is_by_person_and_the_same_everywhere(tmp_path):
    for person in range(40):
        for image in range(3):
            save(tmp_path / f"p{person}" / f"{image}.png", size=(2, 2))
    parts = {part: ImageFolder(tmp_path, part=part, held_out=0.3) for part in ("train", "held_out", "all")}
    drawn = {f"p{n}" for n in range(40) if fraction(f"p{n}") < 0.3}
    assert 5 < len(drawn) < 20
    assert set(parts["held_out"].table["identity"]) == drawn
    assert set(parts["train"].table["identity"]) == {f"p{n}" for n in range(40)} - drawn
    assert sorted(images(parts["train"]) + images(parts["held_out"])) == images(parts["all"])
    assert parts["train"].table.index.tolist() == list(range(len(parts["train"])))


def test_the_held_out_draw_is_by_image_where_nobody_says_who_it_is(tmp_path):
    for stamp in range(50):
        save(tmp_path / f"30_1_2_{stamp:03}.jpg", size=(2, 2))
    source = UTKFace(tmp_path, part="held_out")
    assert images(source) == [name for name in images(UTKFace(tmp_path)) if fraction(name) < 0.2]
    assert 3 < len(source) < 20


def test_a_larger_share_holds_out_the_same_and_more(tmp_path):
    for person in range(30):
        save(tmp_path / f"p{person}" / "1.png", size=(2, 2))
    people = ImageFolder(tmp_path).table["identity"]
    some, more = draw_held_out(people, 0.2), draw_held_out(people, 0.5)
    assert more[some].all()
    assert some.sum() < more.sum()
    assert not draw_held_out(people, 0).any()
    assert draw_held_out(people, 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": 20}, "held_out 20: name a share from 0 to 1"),
        ({"share": 0}, "share 0: name a share above 0"),
        ({"crop": (0.5, 0, 0.5, 1)}, "crop .*: name left, top, right and bottom"),
    ],
)
def test_options_without_meaning_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        ImageFolder(tmp_path, **options)


def test_an_empty_part_is_refused(tmp_path):
    save(tmp_path / "anna" / "1.png")
    with pytest.raises(InputError, match="no faces of ImageFolder, part held_out"):
        _ = ImageFolder(tmp_path, part="held_out", held_out=0).table


def test_a_signature_is_the_configuration(tmp_path):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("source", type=Source)
    init = {"root": str(tmp_path), "below": "a", "part": "train", "crop": [0, 0, 1, 0.5], "teacher": "t.npz"}
    parsed = parser.parse_object({"source": {"class_path": "swinface.data.datasets.ImageFolder", "init_args": init}})
    source = parser.instantiate(parsed)["source"]
    assert (source.below, source.part, source.crop, source.teacher) == ("a", "train", (0, 0, 1, 0.5), Path("t.npz"))
    assert UTKFace(tmp_path).crop != RafDb(tmp_path).crop
    assert UTKFace(tmp_path, crop=None).crop is None


def test_a_source_travels_to_a_worker(tmp_path):
    save(tmp_path / "anna" / "1.png")
    source = ImageFolder(tmp_path)
    expected = source.read(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0), expected)


# Folders and file names


def test_an_identity_is_the_path_of_the_images_folder(tmp_path):
    for name in ("Train/faces/F1/MID2/b.jpg", "Train/faces/F1/MID2/a.JPG", "Train/faces/F1/MID1/c.png"):
        save(tmp_path / name, size=(2, 2))
    write(tmp_path / "Train/faces/F1/mid.csv", "not an image")
    save(tmp_path / "Train/faces/F1/MID2/._b.jpg", size=(2, 2))  # a Mac leaves such files, which are no images
    save(tmp_path / "Validation/F2/MID1/d.jpg", size=(2, 2))
    table = ImageFolder(tmp_path, below="Train/faces").table
    assert table.to_numpy().tolist() == [
        ["Train/faces/F1/MID1/c.png", "F1/MID1"],
        ["Train/faces/F1/MID2/a.JPG", "F1/MID2"],
        ["Train/faces/F1/MID2/b.jpg", "F1/MID2"],
    ]
    assert ImageFolder(tmp_path).table["identity"].tolist()[-1] == "Validation/F2/MID1"
    assert images(ImageFolder(tmp_path, below="./Train/faces/")) == images(ImageFolder(tmp_path, below="Train/faces"))


def test_folders_that_are_not_there_or_elsewhere_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such folder of images"):
        _ = ImageFolder(tmp_path, below="Train").table
    with pytest.raises(InputError, match=r"below: the path '\.\./b' leaves the data root"):
        _ = ImageFolder(tmp_path / "a", below="../b").table
    save(tmp_path / "loose.jpg")
    with pytest.raises(InputError, match=r"loose\.jpg lies in no person's folder"):
        _ = ImageFolder(tmp_path).table


def test_utkface_is_read_from_its_names(tmp_path):
    for name in ("26_0_3_2017011914.jpg", "100_1_0_20170110.jpg.chip.jpg", "1_1_4_2.jpg"):
        save(tmp_path / name, size=(200, 200))
    table = UTKFace(tmp_path).table.set_index("image")
    assert table.loc["26_0_3_2017011914.jpg"].tolist() == [26, 1, "indian"]  # their 0 is male, our 1
    assert table.loc["100_1_0_20170110.jpg.chip.jpg"].tolist() == [100, 0, "white"]
    assert table.loc["1_1_4_2.jpg", "race"] == "other"
    assert UTKFace(tmp_path).read(0).shape == (112, 112, 3)


def test_utkface_names_that_are_not_of_the_form_are_counted(tmp_path):
    for name in ("26_0_3_2017011914.jpg", "61_1_20170109150557335.jpg", "39_2_0_1.jpg"):  # the first ill one is real
        save(tmp_path / name, size=(2, 2))
    with pytest.warns(UserWarning, match=r"2 of 3 images left out, such as 39_2_0_1\.jpg: not named age_gender_race"):
        assert images(UTKFace(tmp_path)) == ["26_0_3_2017011914.jpg"]


def test_two_copies_of_a_set_in_one_folder_are_refused(tmp_path):
    """As in Kaggle's archive of UTKFace: of one face, one copy could be trained on and the other held out."""
    for folder in ("UTKFace", "crop_part1"):
        save(tmp_path / folder / "20_1_2_3.jpg")
    with pytest.raises(InputError, match=r"UTKFace/20_1_2_3\.jpg and crop_part1/20_1_2_3\.jpg have the same name"):
        _ = UTKFace(tmp_path).table
    assert len(UTKFace(tmp_path / "UTKFace")) == 1


def test_ck_plus_is_read_from_its_folders(tmp_path):
    for number, folder in enumerate(("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")):
        save(tmp_path / folder / f"S010_00{number}_00000017.png", size=(48, 48))
    table = CKPlus(tmp_path).table
    assert set(table["identity"]) == {"S010"}
    found = {image.split("/")[0]: EXPRESSIONS[int(label)] for image, label in table[["image", "expression"]].to_numpy()}
    same = {name: name for name in ("anger", "disgust", "fear", "sadness", "surprise")}
    assert found == same | {"happy": "happiness"}
    (tmp_path / "happy").rename(tmp_path / "joy")
    with pytest.raises(InputError, match="happy: no such folder of images"):
        _ = CKPlus(tmp_path).table


# RecordIO


def test_record_io_gives_keys_identities_and_faces(tmp_path):
    records = [struct.pack("<IfQQff", 2, 0, 0, 0, 4, 6)]
    for label in (0, 9, 9):
        content = io.BytesIO()
        Image.new("RGB", (112, 112), (label, 50, 200)).save(content, "png")
        records.append(struct.pack("<IfQQ", 0, label, 0, 0) + content.getvalue())
    records += [struct.pack("<IfQQff", 2, 0, 0, 0, 1, 2)] * 2
    data, index = b"", ""
    for key, record in enumerate(records):
        index += f"{key}\t{len(data)}\n"
        data += struct.pack("<II", MAGIC, len(record)) + record + bytes(-len(record) % 4)
    (tmp_path / "train.rec").write_bytes(data)
    (tmp_path / "train.idx").write_text(index)
    source = RecordIO(tmp_path)
    assert source.table.to_numpy().tolist() == [["1", "0"], ["2", "9"], ["3", "9"]]
    assert source.read_all()[:, :, 5, 5].tolist() == [[0, 50, 200], [9, 50, 200], [9, 50, 200]]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(1), source.read(1))
    (tmp_path / "train.rec").write_bytes(data.replace(b"PNG", b"GNP", 1))
    with pytest.raises(InputError, match=r"train\.rec: record 1: not a readable image"):
        RecordIO(tmp_path).read(0)
    for label in (np.nan, 9.5):
        (tmp_path / "train.rec").write_bytes(data.replace(struct.pack("<If", 0, 9), struct.pack("<If", 0, label), 1))
        with pytest.raises(InputError, match=r"train\.rec: record 2 has no whole number as its label"):
            _ = RecordIO(tmp_path).table


# Real data


def test_real_sets_have_the_faces_their_readme_counts(shared_data):
    utkface, raf_db = UTKFace(shared_data / "UTKFace").table, RafDb(shared_data / "RAF-DB").table
    celeba, ck_plus = CelebA(shared_data / "CelebA").table, CKPlus(shared_data / "CK+48").table
    assert (len(utkface), len(raf_db), len(celeba)) == (7823, 12271, 8021)
    assert len(ck_plus) == 687 - 39  # less contempt
    assert ck_plus["expression"].value_counts().to_dict() == {0: 180, 3: 144, 2: 123, 5: 96, 1: 57, 4: 48}
    # RAF-DB's paper: 1290 surprise, 281 fear, 717 disgust, 4772 happiness, 1982 sadness, 705 anger, 2524 neutral
    assert raf_db["expression"].value_counts().sort_index().tolist() == [1290, 281, 717, 4772, 1982, 705, 2524]
    assert utkface["age"].between(1, 116).all()
    beards = celeba[celeba["no_beard"] == 0]
    assert beards["gender"].mean() > 0.99  # who has a beard is male
    assert celeba.loc[celeba["wearing_lipstick"] == 1, "gender"].mean() < 0.02


def test_real_images_are_named_as_the_teachers_tables_name_them(shared_data):
    for file, source in (
        ("dlib_fiw.npz", ImageFolder(shared_data / "fiw", below="Train/train-faces")),
        ("dlib_utkface.npz", UTKFace(shared_data / "UTKFace")),
    ):
        with np.load(shared_data / "teacher" / file) as table:
            assert set(images(source)) <= set(table["face"])


@pytest.mark.parametrize(
    ("name", "folder"), [("UTKFace", "UTKFace"), ("RafDb", "RAF-DB"), ("CelebA", "CelebA"), ("CKPlus", "CK+48")]
)
def test_real_faces_have_their_eyes_where_arcface_has_them(shared_data, name, folder):
    """Eyes and brows are darker than the cheeks below them, in the mean face of every set, at ArcFace's positions."""
    source = {"UTKFace": UTKFace, "RafDb": RafDb, "CelebA": CelebA, "CKPlus": CKPlus}[name](shared_data / folder)
    rows = np.linspace(0, len(source) - 1, 60).astype(int)
    mean = np.mean([source.read(row) for row in rows], axis=(0, 3))
    for x in (38, 74):  # ArcFace's eyes: (38.3, 51.7) and (73.5, 51.5)
        eye = mean[49:55, x - 4 : x + 4].mean()
        assert eye < mean[64:70, x - 4 : x + 4].mean() - 8
    band = mean[40:70, 30:46].mean(axis=1)
    assert abs(int(band.argmin()) + 40 - 51) <= 5
