"""Photos of people examined: the score of `kinface verify`, on what it rests against hiding by hand, what is drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

import kinface
import swinface.photos.predict
from kinface.fairness.distributions import describe_scores
from kinface.models.examine import Examiner, explain, read_photo, weigh_pairs
from kinface.models.kinface import KinFace
from kinface.models.verify import SCORES, compare, verify
from swinface.data.align import ARCFACE
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.photos.detect import Face
from swinface.photos.predict import predict

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """(8, 112, 112, 3), of several drawn people."""
    return kinface.make_families(12, photos=1)[1][:8]


@pytest.fixture(scope="module")
def shipped() -> Examiner:
    return Examiner()


@pytest.fixture
def own(tmp_path) -> Path:
    """The folder of a model, with a name that would be a formula."""
    model = KinFace(trunk=TINY, width=16, size=8, types=True)
    model.threshold.fill_(0.5)
    model.save_pretrained(tmp_path / r"$\frac own")
    return tmp_path / r"$\frac own"


def photos_of(faces) -> list:
    return [read_photo(face, aligned=True) for face in faces]


# What a score rests on


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 2, 2)])
def test_pairs_count_as_in_the_score(shape, shipped, faces):
    model = shipped.networks["shipped"]
    people = np.split(faces[: sum(shape)].copy(), np.cumsum(shape)[:-1])
    if len(people[0]) > 1:
        people[1][0] = people[0][0]  # one picture is not compared with itself
    embedding = model.embed(np.concatenate(people), precision="full").astype(float)
    counted = weigh_pairs(people)
    assert (counted * (embedding @ embedding.T)).sum() == pytest.approx(compare(model, people)["score"], abs=1e-6)
    assert counted.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["shipped", "shipped-debiased"])
def test_places_are_what_the_score_loses_without_them(name, shipped, faces):
    model, people = shipped.networks[name], [faces[[0, 3]], faces[[6]]]
    levels, places = explain(model, people)
    with torch.no_grad():
        pixels = torch.from_numpy(faces[[0, 3, 6]]).permute(0, 3, 1, 2)
        maps = model.neck.fuse(model.trunk(scale_pixels(pixels))[0])

        def score(maps: torch.Tensor) -> float:
            a, b, c = (model.embed_features(model.neck.norm(one.amax(dim=(2, 3))))[1][0] for one in maps.split(1))
            return float((a @ c + b @ c) / 2)

        assert score(maps) == pytest.approx(compare(model, people)["score"], abs=1e-5)
        expected = np.zeros((3, 49))
        for face, place in np.ndindex(expected.shape):
            without = maps.clone()
            without[face, :, place // 7, place % 7] = -torch.inf
            expected[face, place] = score(maps) - score(without)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(places, expected, atol=1e-5)
    assert levels.shape == (3, 4) and ((levels > 0) & (levels < 1)).all()


# The examination


def test_two_people_of_several_photos(shipped, faces, tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, face in zip(files, faces, strict=False):
        Image.fromarray(face).save(file)
    people = files[:2], files[2:]
    examined = shipped(*([read_photo(file, aligned=True) for file in person] for person in people))
    for name, answer in examined.answers.items():
        by_command = verify(KinFace.from_pretrained(name), *people, aligned=True)
        assert answer["score"] == pytest.approx(by_command["score"], abs=1e-6)
        assert answer["kin"] == by_command["kin"]
    assert examined.names == ["first person 1", "first person 2", "second person 1", "second person 2"]
    for described, file in zip(examined.described, files, strict=True):
        assert described == predict(shipped.swinface, file, aligned=True)[0]
    figure = examined.plot_faces()
    assert [axes.get_title() for axes in figure.axes[:4]] == examined.names
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == [
        "faces found", "aligned", "regions that matter\nfor shipped", "regions that matter\nfor shipped-debiased",
    ]  # fmt: skip


def test_a_child_is_shown_with_both_parents(shipped, faces):
    examined = shipped(*(photos_of(faces[row : row + 1]) for row in range(3)), group=("race", "Asian"))
    assert examined.names == ["father", "mother", "child"]
    for name, answer in examined.answers.items():
        assert [row["group"] for row in examined.scores[name]] == ["all pairs", "Asian"]
        figure = examined.plot_scores(name)
        assert len(figure.axes) == 2
        marks = [line.get_xdata()[0] for line in figure.axes[1].get_lines()]
        assert marks == [answer["threshold"], *answer["scores"]]
        assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == f"mother: {marks[2]:.3f}"
        assert [row["group"] for row in examined.triplets[name]] == ["all pairs"]  # Asian triplets are too few
        (panel,) = examined.plot_triplets(name).axes
        assert [line.get_xdata()[0] for line in panel.get_lines()] == [answer["threshold"], answer["score"]]


def test_many_photos_take_several_rows(shipped, faces):
    examined = shipped(photos_of(faces[:7]), photos_of(faces[7:]))
    titled = [axes.get_title() for axes in examined.plot_faces().axes if axes.get_title()]
    assert titled == [*(f"first person {number}" for number in range(1, 8)), "second person"]


def test_groups_are_those_whose_scores_a_model_keeps(own, faces, draw_scored):
    pairs = draw_scored(600)
    rows = describe_scores(pairs.assign(score=np.tanh(pairs["score"])), 0.5)
    assert Examiner([own]).groups == []
    first, second = (photos_of(faces[row : row + 1]) for row in range(2))
    examined = Examiner([own])(first, second)
    assert examined.scores == {str(own): []} and "type" in examined.answers[str(own)]
    examined.plot_faces().savefig(BytesIO())
    assert examined.triplets == {}
    for draw in (examined.plot_scores, examined.plot_triplets):
        with pytest.raises(
            InputError, match=r"frac own: has no stored scores of relatives and strangers; `kinface fit` wri"
        ):
            draw(str(own))
    (own / SCORES).write_text(json.dumps(rows))
    assert Examiner([own]).groups == [(row["grouping"], row["group"]) for row in rows]
    both = Examiner([own, "shipped"])
    assert set(both.groups) > set(Examiner([own]).groups)
    lacking = next(group for group in both.groups if group not in Examiner([own]).groups)
    examined = both(first, second, group=lacking)
    assert [len(rows) for rows in examined.scores.values()] == [1, 2]


def test_what_cannot_be_examined_is_named(shipped, faces, tmp_path):
    photo = photos_of(faces[:1])
    with pytest.raises(InputError, match="no scores of the group 'race Martian'; choose one of `groups`"):
        shipped(photo, photo, group=("race", "Martian"))
    with pytest.raises(InputError, match="a person has no photo; give one photo or several of each"):
        shipped(photo, [])
    KinFace(embedding_size=4).save_pretrained(tmp_path / "embeddings")
    with pytest.raises(InputError, match="embeddings: this model reads embeddings, not images"):
        Examiner([tmp_path / "embeddings"])


# Photos


def test_all_faces_of_a_photo_are_kept_and_shown_small(monkeypatch):
    landmarks = np.array([(20, 20), (40, 20), (30, 30), (22, 42), (38, 42)], dtype=float)
    boxes = np.array([[100.0, 50.0, 400.0, 350.0], [900.0, 50.0, 1000.0, 150.0]])
    found = [Face(box, landmarks * scale, 0.9) for box, scale in zip(boxes, (5, 2), strict=True)]
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: found)
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    photo = read_photo(pixels, "holiday.jpg")
    assert photo.image.shape == (360, 480, 3) and photo.crops.shape == (2, 112, 112, 3)
    np.testing.assert_allclose(photo.boxes, boxes * 0.3)
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: [])
    with pytest.raises(InputError, match=r"holiday\.jpg: no face found"):
        read_photo(pixels, "holiday.jpg")
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: found)
    with pytest.raises(InputError, match=r"holiday\.jpg: no face 2; its faces are 0 to 1"):
        read_photo(pixels, "holiday.jpg", face=2)
    with pytest.raises(InputError, match=r"holiday\.jpg: pixels must be \(H, W, 3\) uint8"):
        read_photo(pixels / 255, "holiday.jpg")


def test_another_face_of_a_photo_is_taken(shipped, faces, monkeypatch):
    places = [Face(np.array([left, 0, left + 112, 112.0]), ARCFACE + np.array([left, 0]), 0.9) for left in (0, 112)]
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: places)
    both = np.concatenate(list(faces[:2]), axis=1)
    photos = [read_photo(both), read_photo(both, face=1), replace(read_photo(both), chosen=1)]
    other = photos_of(faces[2:3])
    largest, second, replaced = (shipped([photo], other) for photo in photos)
    first_alone, second_alone = (shipped([photo], other) for photo in photos_of(photos[0].crops))
    assert largest.answers == first_alone.answers != second_alone.answers == second.answers == replaced.answers
    assert second.described == second_alone.described
    found, aligned, *_ = second.plot_faces().axes[::2]
    np.testing.assert_array_equal(aligned.get_images()[0].get_array(), photos[0].crops[1])
    assert found.patches[-1].get_x() == 112 and found.patches[0].get_edgecolor() != found.patches[1].get_edgecolor()


def test_files_their_content_and_pixels_are_one_photo(faces, tmp_path):
    Image.fromarray(faces[0]).save(tmp_path / "face.png")
    content = (tmp_path / "face.png").read_bytes()
    read = [read_photo(it, "face", aligned=True) for it in (tmp_path / "face.png", content, faces[0])]
    for one, other in combinations(read, 2):
        np.testing.assert_array_equal(one.crops, other.crops)
    assert [photo.name for photo in read] == [str(tmp_path / "face.png"), "face", "face"]


def test_faces_that_are_not_aligned_are_said_to_be_so():
    with Image.open(HOPPER) as image, pytest.warns(UserWarning, match="square: faces are not aligned"):
        read_photo(np.asarray(image.crop((0, 0, 512, 512))), "square", aligned=True)
