"""The 1:1 protocol of IJB on files in insightface's form, its pooling computed naively, TAR against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swinface.benchmarks.benchmark import Predictor
from swinface.benchmarks.templates import embed_templates, read_ijb, verify_templates
from swinface.data.align import ARCFACE
from swinface.files import InputError
from swinface.inference import Shards
from tests.swinface.tiny import tiny

# image, template, medium, score: template 7 has a photo and a video of two frames, 7 and 9 share a photo.
MEMBERS = [
    ("1.jpg", 7, 300, 0.9),
    ("2.jpg", 7, 41, 0.5),
    ("3.jpg", 7, 41, 0.8),
    ("1.jpg", 9, 300, 0.9),
    ("4.jpg", 5, 12, 0.25),
    ("5.jpg", 5, 13, 1.0),
]
LANDMARKS = ARCFACE + np.array([3, 20])
PAIRS = [(7, 9, 1), (7, 5, 0), (9, 5, 0), (9, 9, 1)]


@pytest.fixture
def ijbc(tmp_path) -> Path:
    """A folder in insightface's layout: five images, three templates."""
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    rng = np.random.default_rng(0)
    for number in range(1, 6):
        pixels = rng.integers(0, 256, (150, 130, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "loose_crop" / f"{number}.jpg", format="PNG")
    write(tmp_path, "face_tid_mid", [f"{image} {template} {medium}" for image, template, medium, _ in MEMBERS])
    landmarks = " ".join(f"{value:.4f}" for value in LANDMARKS.ravel())
    write(tmp_path, "name_5pts_score", [f"{image} {landmarks} {score}" for image, _, _, score in MEMBERS])
    write(tmp_path, "template_pair_label", [f"{first} {second} {label}" for first, second, label in PAIRS])
    return tmp_path


def file(root: Path, what: str) -> Path:
    return root / "meta" / f"ijbc_{what}.txt"


def write(root: Path, what: str, rows: list[str]) -> None:
    file(root, what).write_text("\n".join(rows) + "\n")


def corners(faces: torch.Tensor) -> np.ndarray:
    """An embedding that a mirror changes, and whose length says something."""
    return faces[:, :, 0, [0, 1]].flatten(1).numpy().astype(np.float32)


# Reading


def test_read_ijb_reads_the_three_files(ijbc):
    templates = read_ijb(ijbc, "ijbc")
    assert templates.images.tolist() == [image for image, *_ in MEMBERS]
    assert templates.template.tolist() == [1, 1, 1, 2, 0, 0]
    np.testing.assert_allclose(templates.landmarks, np.broadcast_to(LANDMARKS, (6, 5, 2)))
    np.testing.assert_allclose(templates.weights, [0.9, 0.25, 0.4, 0.9, 0.25, 1.0])
    assert templates.first.tolist() == [1, 1, 2, 2]
    assert templates.second.tolist() == [2, 0, 0, 2]
    assert templates.same.tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("what", "change", "message"),
    [
        ("face_tid_mid", ("2.jpg 7 41", "2.jpg 7"), "row 2 is '2.jpg 7'; a row must be image template medium"),
        ("face_tid_mid", ("2.jpg 7 41", "2.jpg 7 41 5"), "row 2 is '2.jpg 7 41 5'"),
        ("face_tid_mid", ("2.jpg 7 41", "2.jpg seven 41"), "row 2 is '2.jpg seven 41'"),
        ("name_5pts_score", ("2.jpg", "6.jpg"), "name_5pts_score.txt row 2: not the image in that row of .*face_tid"),
        ("name_5pts_score", (" 0.8", ""), "row 3 is '3.jpg"),
        ("name_5pts_score", (" 0.8", " nan"), r"row 3: a number is not finite \(1 such rows\)"),
        ("template_pair_label", ("9 5 0", "9 6 0"), "row 3: a template that .*face_tid_mid.txt does not have"),
        ("template_pair_label", ("9 5 0", "10 5 0"), "row 3: a template that"),
        ("template_pair_label", ("9 5 0", "9 5 2"), "row 3: the label must be 0 or 1"),
        ("template_pair_label", ("9 5 0", "9 5 0.5"), "row 3 is '9 5 0.5'; a row must be first second label"),
    ],
)
def test_rows_that_are_wrong_are_named(what, change, message, ijbc):
    text = file(ijbc, what).read_text()
    assert change[0] in text
    file(ijbc, what).write_text(text.replace(*change, 1))
    with pytest.raises(InputError, match=message):
        read_ijb(ijbc, "ijbc")


def test_files_that_do_not_fit_or_are_empty_or_missing_are_named(ijbc):
    rows = file(ijbc, "name_5pts_score").read_text().splitlines()
    write(ijbc, "name_5pts_score", rows[:-1])
    with pytest.raises(InputError, match=r"name_5pts_score\.txt has 5 rows and .*face_tid_mid\.txt 6"):
        read_ijb(ijbc, "ijbc")
    file(ijbc, "template_pair_label").write_text("")
    with pytest.raises(InputError, match=r"template_pair_label\.txt: .*no data"):
        read_ijb(ijbc, "ijbc")
    file(ijbc, "template_pair_label").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"template_pair_label\.txt: row 1 is"):
        read_ijb(ijbc, "ijbc")
    with pytest.raises(InputError, match=r"ijbb_face_tid_mid\.txt: cannot be read"):
        read_ijb(ijbc, "ijbb")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../1.jpg", "row 2 of the images: the path '../1.jpg' leaves the data root"),
        ("9.jpg", r"9\.jpg: no such image"),
    ],
)
def test_images_that_cannot_be_read_are_named(name, message, ijbc):
    for what in ("face_tid_mid", "name_5pts_score"):
        file(ijbc, what).write_text(file(ijbc, what).read_text().replace("2.jpg", name))
    with pytest.raises(InputError, match=message):
        embed_templates(corners, read_ijb(ijbc, "ijbc"))


def test_landmarks_that_coincide_are_named(ijbc):
    rows = file(ijbc, "name_5pts_score").read_text().splitlines()
    rows[3] = "1.jpg" + " 50.0" * 10 + " 0.9"
    write(ijbc, "name_5pts_score", rows)
    with pytest.raises(InputError, match=r"row 4 of the images, .*1\.jpg: the landmarks coincide"):
        embed_templates(corners, read_ijb(ijbc, "ijbc"))


# Pooling


def test_templates_are_pooled_as_the_protocol_says(ijbc):
    # The landmarks are the template's, moved by whole pixels: the warp is a crop.
    faces = {}
    for number in range(1, 6):
        with Image.open(ijbc / "loose_crop" / f"{number}.jpg") as image:
            faces[f"{number}.jpg"] = np.asarray(image)[20:132, 3:115].astype(float)

    def embed(image: str, score: float) -> np.ndarray:
        face = faces[image]
        sides = [[face[0, x, colour] + face[0, 111 - x, colour] for x in range(2)] for colour in range(3)]
        return score * np.ravel(sides)

    seven = embed("1.jpg", 0.9) + (embed("2.jpg", 0.5) + embed("3.jpg", 0.8)) / 2
    nine = embed("1.jpg", 0.9)
    five = embed("4.jpg", 0.25) + embed("5.jpg", 1.0)
    expected = np.stack([template / np.linalg.norm(template) for template in (five, seven, nine)])
    templates = read_ijb(ijbc, "ijbc")
    found = embed_templates(corners, templates)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)  # of a grey level or less


def test_batches_do_not_matter(ijbc):
    templates = read_ijb(ijbc, "ijbc")
    whole = embed_templates(corners, templates)
    np.testing.assert_allclose(embed_templates(corners, templates, batch=4), whole, rtol=1e-6)


@pytest.mark.parametrize("changed", ["landmarks", "image"])
def test_parts_of_other_landmarks_or_images_are_not_used(changed, ijbc, tmp_path):
    """An evaluation that goes on after they were written anew gives what an unbroken one gives."""
    kept = Predictor(tiny().eval(), runtime="torch", shards=Shards(tmp_path / "parts"))
    before = embed_templates(kept.embed, read_ijb(ijbc, "ijbc"), compute=kept.compute)
    if changed == "landmarks":
        text = file(ijbc, "name_5pts_score").read_text()
        write(
            ijbc, "name_5pts_score", text.replace(f"{LANDMARKS[0, 0]:.4f}", f"{LANDMARKS[0, 0] - 5:.4f}").splitlines()
        )
    else:
        Image.new("RGB", (130, 150), "grey").save(ijbc / "loose_crop" / "2.jpg", format="PNG")
    templates = read_ijb(ijbc, "ijbc")
    found = embed_templates(kept.embed, templates, compute=kept.compute)
    np.testing.assert_allclose(found, embed_templates(kept.embed, templates), atol=1e-6)
    assert np.abs(found - before).max() > 1e-4


def test_verify_templates_scores_the_listed_pairs(ijbc):
    templates = read_ijb(ijbc, "ijbc")
    five, seven, nine = embed_templates(corners, templates)
    genuine, impostors = np.array([seven @ nine, nine @ nine]), [seven @ five, nine @ five]
    tars = verify_templates(corners, templates, fars=(1e-6, 0.5, 1.0))
    assert tars == {1e-6: (genuine > max(impostors)).mean(), 0.5: (genuine > min(impostors)).mean(), 1.0: 1.0}
