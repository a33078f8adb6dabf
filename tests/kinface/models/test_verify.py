"""Photos of people: the largest face of each, the mean cosine of the embeddings, and the model's own threshold."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageEnhance

import swinface.photos.predict
from kinface.data.vocabulary import TYPES
from kinface.models.kinface import KinFace
from kinface.models.verify import CAUTION, ERRORS, SAME_FILE, SAME_PICTURE, TRIPLETS, verify
from swinface.files import InputError
from swinface.photos.detect import Face
from tests.commands import run_kinface

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def save_model(folder: Path, threshold: float = 0.25, **options) -> Path:
    torch.manual_seed(0)
    model = KinFace(**({"trunk": TINY, "width": 16, "size": 8} | options))
    model.threshold.fill_(threshold)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    return save_model(tmp_path / "model")


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def command(*arguments: object) -> int:
    return run_kinface("verify", *arguments)


def cosine(folder: Path, photos: list[Path]) -> float:
    network = KinFace.from_pretrained(folder)
    pixels = []
    for photo in photos:
        with Image.open(photo) as image:
            pixels.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    with torch.no_grad():
        a, b = network(torch.stack(pixels))["embedding"].double().numpy()
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(("side", "verdict"), [(-0.01, "kin"), (0.01, "not kin")])
def test_the_score_is_the_cosine_and_the_threshold_the_models(side, verdict, model, photos, capsys):
    score = cosine(model, photos)
    save_model(model, threshold=score + side)
    assert command(*photos, "--model", model, "--aligned") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{verdict}: score {score:.3f}, threshold {score + side:.3f}", CAUTION]
    assert command(*photos, "--model", model, "--aligned", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["score"] == pytest.approx(score, abs=1e-6)
    assert answer["kin"] == (verdict == "kin")
    assert answer["photos"] == [[str(photo)] for photo in photos]
    assert answer["faces"] == [[1], [1]]
    assert not {"type", "scores"} & answer.keys() and answer["errors"] is None


def test_the_type_is_the_likeliest_of_the_eleven(model, photos, capsys):
    save_model(model, types=True)
    assert command(*photos, "--model", model, "--aligned", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    network = KinFace.from_pretrained(model)
    pixels = torch.from_numpy(np.stack([np.array(Image.open(photo)) for photo in photos])).permute(0, 3, 1, 2)
    with torch.no_grad():
        embedding = network(pixels)["embedding"]
        shares = network.types(embedding[:1], embedding[1:])[0].exp().numpy()[: len(TYPES)]
    assert answer["type"] == [kind.name for kind in TYPES.values()][shares.argmax()]
    assert answer["type_probability"] == pytest.approx(shares.max() / shares.sum(), abs=1e-5)
    assert command(*photos, "--model", model, "--aligned") == 0
    assert f"if they are kin: {answer['type']}, {answer['type_probability']:.2f}" in capsys.readouterr().out


def test_of_several_faces_the_largest_is_taken_and_said(model, photos, monkeypatch, capsys):
    landmarks = np.array([(20, 20), (40, 20), (30, 30), (22, 42), (38, 42)], dtype=float)
    large, small = (Face(np.array([0.0, 0.0, side, side]), landmarks * side / 50, 0.9) for side in (60.0, 30.0))
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: [large, small])
    assert command(*photos, "--model", model, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: [large])
    assert command(*photos, "--model", model, "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert answer["faces"] == [[2], [2]]
    assert answer["score"] == alone["score"]
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: [large, small])
    assert command(*photos, "--model", model) == 0
    assert capsys.readouterr().out.startswith(
        f"{photos[0]}: 2 faces; the largest is used; to use another, run `kinface web`.\n{photos[1]}: 2 faces;"
    )


def test_a_real_photo_is_like_itself(model, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    with Image.open(HOPPER) as image:
        image.resize((384, 450)).save(tmp_path / "smaller.png")
    assert command(HOPPER, tmp_path / "smaller.png", "--model", model, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["score"] > 0.95 and answer["same_picture"]
    assert answer["caution"] == f"{SAME_PICTURE} {CAUTION}"


@pytest.mark.parametrize("brighter", [1.0, 1.15])
def test_one_picture_twice_is_said(brighter, model, photos, capsys):
    with Image.open(photos[0]) as image:
        ImageEnhance.Brightness(image.resize((224, 224))).enhance(brighter).save(photos[1], quality=80)
    for pair, said in ((photos, SAME_PICTURE), ([photos[0]] * 2, SAME_FILE)):
        assert command(*pair, "--model", model, "--aligned") == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith(said)


def draw_people(folder: Path, *counts: int) -> list[Path]:
    """A folder of photos for each person."""
    random, people = np.random.default_rng(7), []
    for person, count in enumerate(counts):
        (people := [*people, folder / f"person{person}"])[-1].mkdir(parents=True)
        for photo in range(count):
            pixels = random.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(people[-1] / f"{photo}.png")
    return people


def test_several_photos_score_by_the_mean_of_their_cosines(model, tmp_path):
    first, second = draw_people(tmp_path, 3, 2)
    network = KinFace.from_pretrained(model)
    of_both = [cosine(model, [one, other]) for one in sorted(first.iterdir()) for other in sorted(second.iterdir())]
    answer = verify(network, first, sorted(second.iterdir()), aligned=True)
    assert answer["score"] == pytest.approx(np.mean(of_both), abs=1e-6)
    assert [len(photos) for photos in answer["photos"]] == [3, 2]
    (second / "copy.png").write_bytes((first / "0.png").read_bytes())
    with_copy = verify(network, first, second, aligned=True)
    others = [cosine(model, [one, second / "copy.png"]) for one in (first / "1.png", first / "2.png")]
    assert with_copy["score"] == pytest.approx(np.mean([*of_both, *others]), abs=1e-6)
    assert not with_copy["same_picture"]


def test_a_folder_of_several_people_is_told(model, tmp_path):
    draw_people(tmp_path / "family", 3, 2)
    (other,) = draw_people(tmp_path / "other", 1)
    with pytest.warns(UserWarning, match=r"family: the photos in 2 of its folders, such as person0, are taken for one"):
        answer = verify(KinFace.from_pretrained(model), tmp_path / "family", other, aligned=True)
    assert len(answer["photos"][0]) == 5


def test_a_comma_too_much_is_not_the_working_folder(model, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos[0].parent)
    for person in ("a.png,", "a.png,,b.png"):
        assert command(person, "b.png", "--model", model, "--aligned") == 2
        assert "has an empty name; name each, with no comma after the last" in capsys.readouterr().err


def test_a_child_is_compared_with_both_parents(model, tmp_path, capsys):
    people = draw_people(tmp_path, 1, 2, 1)
    assert command(*people, "--model", model, "--aligned", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    father, mother, child = (sorted(person.iterdir()) for person in people)
    with_father = cosine(model, [father[0], child[0]])
    with_mother = np.mean([cosine(model, [photo, child[0]]) for photo in mother])
    assert answer["scores"] == pytest.approx([with_father, with_mother], abs=1e-6)
    assert answer["score"] == pytest.approx((with_father + with_mother) / 2, abs=1e-6)
    listed = [str(father[0]), f"{mother[0]}, {mother[1]}", str(child[0])]
    assert command(*listed, "--model", model, "--aligned") == 0
    said = capsys.readouterr().out
    assert f"mother and child: {with_mother:.3f}" in said and "non-kin" not in said
    (model / TRIPLETS).write_text(json.dumps([{"fmr": 0.2, "fnmr": 0.4, "kin": 10, "non_kin": 20, "families": 3}]))
    assert command(*listed, "--model", model, "--aligned") == 0
    assert "20% of 20 non-kin triplets are called kin and 40% of 10 kin triplets" in capsys.readouterr().out
    assert command(*listed, "--model", model, "--aligned", "--json") == 0
    errors = {"fmr": 0.2, "fnmr": 0.4, "kin": 10, "non_kin": 20}
    assert json.loads(capsys.readouterr().out)["errors"] == errors


def test_the_errors_at_the_threshold_are_said(model, photos, tmp_path, capsys):
    errors = {"fmr": 0.2, "fnmr": 0.4, "kin": 10, "non_kin": 20}
    (model / ERRORS).write_text(json.dumps(errors))
    assert command(*photos, "--model", model, "--aligned") == 0
    assert "20% of 20 non-kin pairs are called kin and 40% of 10 kin pairs are not" in capsys.readouterr().out
    faces = {f"face_{side}": [f"{number}{side}.jpg" for number in range(8)] for side in "ab"}
    kin, scores = [True] * 4 + [False] * 4, [0.9, 0.8, 0.7, 0.1, 0.6, 0.3, 0.2, 0.0]
    pd.DataFrame({**faces, "kin": kin, "score": scores}).to_csv(tmp_path / "validation.csv")
    chosen = ["--threshold-from", tmp_path / "validation.csv", "--json"]
    for more, threshold, fmr, fnmr in ([], 0.7, 0, 0.25), (["--fmr", 0.5], 0.3, 0.5, 0.25):
        assert command(*photos, "--model", model, "--aligned", *chosen, *more) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["threshold"] == threshold
        assert answer["errors"] == {"fmr": fmr, "fnmr": fnmr, "kin": 4, "non_kin": 4}
    assert command(*photos, "--model", model, "--fmr", 0.1) == 2
    with pytest.warns(UserWarning, match="chosen on scores of pairs, and applied to three people"):
        assert command(*photos, photos[0], "--model", model, "--aligned", *chosen) == 0


def test_faces_that_are_not_aligned_are_said_to_be_so(model, tmp_path):
    pytest.importorskip("onnxruntime")
    with Image.open(HOPPER) as image:
        image.crop((0, 0, 512, 512)).save(tmp_path / "square.png")
    with pytest.warns(UserWarning, match=r"square\.png.*: faces are not aligned"):
        verify(KinFace.from_pretrained(model), *[tmp_path / "square.png"] * 2, aligned=True)
    with pytest.warns(UserWarning, match="faces are not aligned"):
        KinFace.from_pretrained(model).embed(["square.png"], root=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threshold": float("nan")}, "has no threshold"), ({"trunk": None, "embedding_size": 4}, "reads embeddings")],
)
def test_models_that_cannot_verify_are_refused(options, message, photos, tmp_path, capsys):
    folder = save_model(tmp_path / "model", **options)
    assert command(*photos, "--model", folder, "--aligned") == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(folder) in error
    assert error.count("\n") == 1


def test_what_is_no_photo_and_no_threshold_is_refused_in_python(model, photos):
    network = KinFace.from_pretrained(model)
    for wrong, given in ((None, "a NoneType"), ([], "none"), (np.zeros((9, 9, 3)), "a ndarray"), ([3], "a int")):
        with pytest.raises(InputError, match=f"image files, or a folder of them; got {given}"):
            verify(network, photos[0], wrong, aligned=True)
    with pytest.raises(InputError, match="a photo of a person has an empty name"):
        verify(network, photos[0], [photos[1], ""], aligned=True)
    with pytest.raises(InputError, match="threshold: nan is not a finite number"):
        verify(network, *photos, aligned=True, threshold=float("nan"))
    with pytest.raises(InputError, match=r"threshold: 50 is not a cosine \(-1 to 1\); choose it on pairs"):
        verify(network, *photos, aligned=True, threshold=50)
    for wrong, message in (
        (str(photos[0]), "one path; give a list"),
        ([np.zeros((112, 112, 3))], "a face is a ndarray"),
    ):
        with pytest.raises(InputError, match=message):
            network.embed(wrong)


@pytest.mark.parametrize(("name", "message"), [("none.png", "no such image"), ("grey.png", "no face found")])
def test_photos_that_fail_are_named(name, message, model, photos, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    assert command(HOPPER, tmp_path / name, "--model", model) == 2
    assert capsys.readouterr().err == f"kinface verify: error: {tmp_path / name}: {message}.\n"
