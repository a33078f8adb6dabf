"""Photos of every kind give the model's own answers, or one message each that names them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import swinface.photos.predict
from swinface.cli.predict import name_drawings
from swinface.cli.predict import predict as predict_photos
from swinface.data.align import align
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.images import read_image
from swinface.model import SMALL, SwinFace
from swinface.photos.detect import Face
from swinface.photos.predict import cut_faces, draw_faces, place_label, predict
from swinface.tasks import TASKS
from tests.commands import run_swinface

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model whose answers differ from face to face."""
    torch.manual_seed(0)
    model = SwinFace(**SMALL)
    for layer in [*model.subnets.modules(), *model.heads.values()]:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.3)
    torch.nn.init.constant_(model.heads["age"].bias, 30)
    for _ in range(20):  # moves the batch norms' running statistics to what noise gives
        model(torch.randn(4, 3, 112, 112))
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def model(folder) -> SwinFace:
    return SwinFace.from_pretrained(folder)


@pytest.fixture
def crop() -> np.ndarray:
    return align(read_image(HOPPER), np.array([(224, 200), (307, 195), (262, 236), (229, 279), (301, 276)])).copy()


@pytest.fixture
def two_faces(monkeypatch) -> list[Face]:
    """Every photo has two faces at these places, whatever is in it: tests without a detector."""
    landmarks = np.array([(20, 20), (40, 20), (30, 30), (22, 42), (38, 42)], dtype=float)
    faces = [
        Face(np.array([10.0, 5.0, 50.0, 55.0]), landmarks, 0.9),
        Face(np.array([60.04, 5.0, 90.0, 45.0]), landmarks + np.array([45, 0]), 0.8),
    ]
    monkeypatch.setattr(swinface.photos.predict, "detect", lambda image: faces if image.shape[1] >= 100 else [])
    return faces


def save_photo(path: Path, size: tuple[int, int] = (120, 80), seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size).save(path)
    return path


def command(*arguments: object) -> int:
    return run_swinface("predict", *arguments)


# Answers


def test_answers_are_the_models(model, crop, monkeypatch):
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: False)
    (answer,) = predict(model, crop, aligned=True)
    with torch.no_grad():
        outputs = model(scale_pixels(torch.from_numpy(crop).permute(2, 0, 1)[None]))
    assert list(answer) == ["gender", "age", "expression", "attributes"]
    assert answer["age"] == pytest.approx(outputs["age"].item(), abs=0.051)
    for name in ("gender", "expression"):
        logits = outputs[name][0].double().numpy()
        shares = np.exp(logits) / np.exp(logits).sum()
        assert list(answer[name]["probabilities"]) == list(TASKS[name].labels)
        assert np.allclose(list(answer[name]["probabilities"].values()), shares, atol=1e-4)
        assert answer[name]["label"] == TASKS[name].labels[shares.argmax()]
        assert answer[name]["probability"] == pytest.approx(shares.max(), abs=1e-4)
    assert len(answer["attributes"]) == 39
    for name, share in answer["attributes"].items():
        no, yes = outputs[name][0].double().tolist()
        assert share == pytest.approx(1 / (1 + np.exp(no - yes)), abs=1e-4), name


def test_a_photo_gives_its_faces_with_places_and_the_models_answers(model, two_faces, tmp_path):
    image = read_image(save_photo(tmp_path / "a.png"))
    answers = predict(model, image)
    crops, _ = cut_faces(image, False, "a.png")
    assert [answer["score"] for answer in answers] == [0.9, 0.8]
    assert answers[0]["box"] == [10.0, 5.0, 50.0, 55.0]
    assert answers[1]["box"] == [60.0, 5.0, 90.0, 45.0]
    assert answers[1]["landmarks"][0] == [65.0, 20.0]
    for answer, one in zip(answers, crops, strict=True):
        (alone,) = predict(model, one, aligned=True)
        assert {name: answer[name] for name in alone} == alone
    assert answers[0]["attributes"] != answers[1]["attributes"]


def test_many_faces_go_through_in_parts(model, crop):
    crops = [np.roll(crop, step, axis=1) for step in range(7)]
    whole = swinface.photos.predict.describe(model, crops)
    parts = swinface.photos.predict.describe(model, crops, batch=3)
    assert [part["age"] for part in parts] == pytest.approx([face["age"] for face in whole], abs=0.11)
    assert len({face["age"] for face in whole}) > 1


def test_a_path_a_pillow_image_and_pixels_are_the_same(model, crop, tmp_path):
    Image.fromarray(crop).save(tmp_path / "a.png")
    by_path = predict(model, tmp_path / "a.png", aligned=True)
    assert by_path == predict(model, str(tmp_path / "a.png"), aligned=True)
    assert by_path == predict(model, Image.fromarray(crop), aligned=True)
    assert by_path == predict(model, crop, aligned=True)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3), np.float32),
        np.zeros((0, 9, 3), np.uint8),
        [[[0, 0, 0]]],
        torch.zeros(9, 9, 3, dtype=torch.uint8),
        None,
    ],
)
def test_pixels_of_another_kind_are_refused(model, pixels):
    with pytest.raises(InputError, match=r"the image: pixels must be (an array, )?\(H, W, 3\) uint8, not"):
        predict(model, pixels)
    with pytest.raises(InputError, match=r"the image: not a readable image .*mode F"):
        predict(model, Image.new("F", (9, 9)))


def test_what_is_not_trained_is_left_out_and_said_once(crop, tmp_path, capsys):
    torch.manual_seed(0)
    SwinFace(**SMALL, untrained=["age", "gender", "young"]).save_pretrained(tmp_path / "model")
    photos = [save_photo(tmp_path / f"{name}.png", (112, 112)) for name in "ab"]
    predict_photos(photos, model=tmp_path / "model", aligned=True, json=tmp_path / "out.json")
    printed = capsys.readouterr()
    assert printed.err.count("not trained") == 1
    assert "age, gender, young" in printed.err
    assert "age" not in printed.out.splitlines()[1]
    (face,) = json.loads((tmp_path / "out.json").read_text())[0]["faces"]
    assert list(face) == ["expression", "attributes"]
    assert len(face["attributes"]) == 38


def test_a_real_photo_is_described(folder, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    assert command(HOPPER, "--model", folder, "--save", tmp_path / "out", "--json", tmp_path / "out.json") == 0
    (result,) = json.loads((tmp_path / "out.json").read_text())
    (face,) = result["faces"]
    assert np.allclose(face["box"], [177, 119, 355, 336], atol=6)
    assert set(face) == {"box", "landmarks", "score", "gender", "age", "expression", "attributes"}
    marked, photo = read_image(tmp_path / "out" / HOPPER.name), read_image(HOPPER)
    changed = np.abs(marked.astype(int) - photo).sum(axis=2) > 90
    left, top, right, _ = np.round(face["box"]).astype(int)
    assert changed[top : top + 2, left:right].mean() > 0.9
    assert changed[: top - 12].mean() < 0.01
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(HOPPER)
    assert lines[1].startswith(f"  1. age {face['age']:.0f}, {face['gender']['label']} ")


def test_likely_attributes_are_printed_likeliest_first(folder, crop, tmp_path, capsys):
    Image.fromarray(crop).save(tmp_path / "a.png")
    predict_photos([tmp_path / "a.png"], model=folder, aligned=True)
    (face,) = predict(SwinFace.from_pretrained(folder), crop, aligned=True)
    likely = {name.replace("_", " "): share for name, share in face["attributes"].items() if share > 0.5}
    printed = [entry.rsplit(" ", 1) for entry in capsys.readouterr().out.splitlines()[2].strip().split(", ")]
    assert {name for name, _ in printed} == set(likely)
    assert [float(share) for _, share in printed] == sorted((round(s, 2) for s in likely.values()), reverse=True)


# Folders, names, and faces that are not aligned


def test_a_folder_stands_for_its_images(folder, two_faces, tmp_path, capsys):
    for name in ("a.png", "b/c.jfif.png", "b/._d.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        save_photo(tmp_path / "photos" / name)
    (tmp_path / "photos" / "e.raw").touch()
    with pytest.warns(UserWarning, match=r"photos: 1 file left out: 1 not named as an image \(such as e\.raw\)\.$"):
        assert command(tmp_path / "photos", "--model", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        str(tmp_path / "photos" / name) for name in ("a.png", "b/c.jfif.png")
    ]
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "empty", "--model", folder) == 2
    assert "empty: no images; name images, or a folder of them.\n" in capsys.readouterr().err


def test_files_are_written_though_the_reader_of_what_is_printed_has_gone(folder, two_faces, tmp_path, monkeypatch):
    photos, (reader, writer) = [save_photo(tmp_path / f"{name}.png") for name in "ab"], os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        written = ["--model", folder, "--json", tmp_path / "all.json", "--save", tmp_path / "marked"]
        assert command(*photos, *written) == 0
    assert [len(it["faces"]) for it in json.loads((tmp_path / "all.json").read_text())] == [2, 2]
    assert sorted(path.name for path in (tmp_path / "marked").iterdir()) == ["a.png", "b.png"]


def test_names_cannot_steer_the_terminal(folder, two_faces, tmp_path, capsys):
    save_photo(tmp_path / "a\x1b[31m\n.png")
    (tmp_path / "b\x1b[2J.png").touch()
    assert command(tmp_path, "--model", folder) == 2
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert r"a\x1b[31m\n.png" in printed.out
    assert r"b\x1b[2J.png: not a readable image" in printed.err


def test_a_face_that_is_not_aligned_is_warned_of(folder, tmp_path):
    pytest.importorskip("onnxruntime")
    photo = Image.open(HOPPER).convert("RGB")
    photo.crop((0, 0, 512, 512)).save(tmp_path / "square.png")
    with pytest.warns(UserWarning, match=r"square\.png: faces are not aligned as the models expect"):
        predict_photos([tmp_path / "square.png"], model=folder, aligned=True)


# Photos that fail


def test_photos_that_fail_are_named_and_the_others_answered(folder, two_faces, tmp_path, capsys):
    good, faceless, text = save_photo(tmp_path / "good.png"), tmp_path / "small.png", tmp_path / "text.jpg"
    Image.new("RGB", (1, 1)).save(faceless)
    text.write_text("no photo")
    with pytest.raises(InputError, match=r"^3 of 4 photos have no result; the reasons are above\.$"):
        predict_photos([text, good, faceless, tmp_path / "none.jpg"], model=folder, json=tmp_path / "out.json")
    printed = capsys.readouterr()
    reasons = [line for line in printed.err.splitlines() if line.startswith(str(tmp_path))]
    assert [Path(line.split(": ")[0]).name for line in reasons] == ["text.jpg", "small.png", "none.jpg"]
    assert "no face found" in reasons[1]
    assert printed.out.startswith(f"{good}\n  1. age")
    results = json.loads((tmp_path / "out.json").read_text())
    assert [Path(result["photo"]).name for result in results] == ["text.jpg", "good.png", "small.png", "none.jpg"]
    assert [len(result["faces"]) for result in results] == [0, 2, 0, 0]
    assert [("error" in result) for result in results] == [True, False, True, True]


def test_a_photo_that_fails_ends_with_code_2_and_one_line(folder, two_faces, tmp_path, capsys):
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    assert command(tmp_path / "one.png", "--model", folder) == 2
    assert capsys.readouterr().err == f"swinface predict: error: {tmp_path / 'one.png'}: no face found.\n"


def test_an_aligned_image_must_be_square_and_is_resized(model, folder, crop, tmp_path):
    Image.new("RGB", (112, 96)).save(tmp_path / "oblong.png")
    with pytest.raises(InputError, match=r"oblong\.png: 112x96 pixels; faces must be aligned and square"):
        predict_photos([tmp_path / "oblong.png"], model=folder, aligned=True)
    large = crop.repeat(10, axis=0).repeat(10, axis=1)
    noise = np.random.default_rng(0).integers(-60, 61, large.shape)  # a crop that skips pixels has it in full
    (resized,), _ = cut_faces((large + noise).clip(0, 255).astype(np.uint8), True, "large")
    assert np.abs(resized.astype(int) - crop).mean() < 8


def test_a_turned_photo_is_described_upright(model, crop, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned a quarter counterclockwise
    Image.fromarray(np.rot90(crop, -1)).save(tmp_path / "a.png", exif=exif)
    assert predict(model, tmp_path / "a.png", aligned=True) == predict(model, crop, aligned=True)
    with Image.open(tmp_path / "a.png") as image:
        assert predict(model, image, aligned=True) == predict(model, crop, aligned=True)


# Drawings


def test_drawings_keep_names_and_share_none(tmp_path):
    photos = [tmp_path / place for place in ("a/x.jpg", "b/x.jpg", "b/X.JPG", "a/y.webp", "a/y.png", "c/x-2.jpg")]
    names = [path.name for path in name_drawings(photos, tmp_path / "out")]
    assert names == ["x.jpg", "x-2.jpg", "X-3.JPG", "y.webp.png", "y.png", "x-2-2.jpg"]


@pytest.mark.parametrize("place", ["photos", "photos/../photos", "link"])
def test_drawings_never_lie_beside_the_photos(place, folder, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    photo = save_photo(tmp_path / "photos" / "a.png")
    before = photo.read_bytes()
    with pytest.raises(InputError, match="other than that of the photos"):
        predict_photos([photo], model=folder, save=tmp_path / place)
    assert photo.read_bytes() == before


def test_the_folder_a_link_leads_to_is_safe_too(tmp_path):
    (tmp_path / "photos").mkdir()
    photo = save_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "a.png").symlink_to(photo)
    with pytest.raises(InputError, match="other than that of the photos"):
        name_drawings([tmp_path / "a.png"], tmp_path / "photos")


@st.composite
def crowds(draw: st.DrawFn) -> tuple[tuple[int, int], list[list[float]]]:
    """The size of a photo, and boxes in it."""
    width, height = draw(st.integers(20, 400)), draw(st.integers(20, 400))
    boxes = []
    for _ in range(draw(st.integers(1, 6))):
        left, top = draw(st.floats(0, width - 5)), draw(st.floats(0, height - 5))
        boxes.append([left, top, draw(st.floats(left + 1, width)), draw(st.floats(top + 1, height))])
    return (width, height), boxes


@settings(max_examples=40, deadline=None, derandomize=True)
@given(crowds())
def test_labels_cover_no_face_and_no_other_label(tmp_path_factory, crowd):
    size, boxes = crowd
    faces = [{"box": box, "age": 30.0, "gender": {"label": "female", "probability": 0.9}} for box in boxes]
    placed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            swinface.photos.predict, "place_label", lambda *given: placed.append(place_label(*given)) or placed[-1]
        )
        path = tmp_path_factory.mktemp("drawn") / "a.png"
        draw_faces(np.full((size[1], size[0], 3), 90, np.uint8), faces, path)
    assert len(placed) == len(boxes)
    for number, (left, top, right, bottom) in enumerate(placed):
        for other in [*boxes, *placed[:number]]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    height, width, _ = read_image(path).shape
    assert width >= size[0] and height >= size[1]
    assert all(right <= width and bottom <= height for _, _, right, bottom in placed)


def test_a_face_that_fills_its_picture_stays_visible(folder, crop, tmp_path):
    Image.fromarray(crop).save(tmp_path / "a.png")
    predict_photos([tmp_path / "a.png"], model=folder, aligned=True, save=tmp_path / "out")
    drawn = read_image(tmp_path / "out" / "a.png")
    assert drawn.shape[0] > 112
    assert (drawn[4:108, 4:108] == crop[4:108, 4:108]).all()


def test_faces_are_marked_where_they_are(folder, two_faces, tmp_path):
    photos = [save_photo(tmp_path / "a.png", seed=1), save_photo(tmp_path / "b.webp", (400, 300))]
    predict_photos(photos, model=folder, save=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.webp.png"]
    marked = read_image(tmp_path / "out" / "a.png")
    assert (marked[5, 10:50] == swinface.photos.predict.COLOUR).all()
    assert (marked[5:44, 60] == swinface.photos.predict.COLOUR).all()
    assert (marked[:5] == read_image(photos[0])[:5]).all()


def test_a_wrong_ending_is_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"out\.txt: the results"):
        predict_photos([tmp_path / "none.jpg"], json=tmp_path / "out.txt")
