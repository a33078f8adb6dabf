"""Verification sets in their exact formats, and each protocol against scikit-learn or a value computed by hand."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from swinface.benchmarks.verification import (
    auc_of_same_person,
    embed_with_mirror,
    read_bin,
    read_pairs_folder,
    score_pairs,
    ten_fold_accuracy,
    verify_pairs,
)
from swinface.files import InputError


def encode(grey: int, size: tuple[int, int] = (112, 112)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (grey, 0, 255 - grey)).save(buffer, "PNG")
    return buffer.getvalue()


# Files


def write_bin(images: list, same: list, folder: Path) -> Path:
    path = folder / "lfw.bin"
    path.write_bytes(pickle.dumps((images, same), protocol=2))
    return path


def test_read_bin_gives_faces_in_order(tmp_path):
    images = [encode(10), np.frombuffer(encode(20), np.uint8), encode(30, (250, 250)), encode(40)]
    faces, same = read_bin(write_bin(images, [False, True], tmp_path))
    assert faces.shape == (4, 3, 112, 112)
    assert faces.dtype == torch.uint8
    assert faces[:, 0, 50, 50].tolist() == [10, 20, 30, 40]
    assert faces[:, 2, 50, 50].tolist() == [245, 235, 225, 215]
    assert same.tolist() == [False, True]


def test_read_bin_names_the_image_that_cannot_be_used(tmp_path):
    path = write_bin([encode(1), encode(2)[:60]], [True], tmp_path)
    with pytest.raises(InputError, match=rf"^{path}: image 1: not a readable image \("):
        read_bin(path)
    with pytest.raises(InputError, match=r"lfw\.bin: image 0: 100x112 pixels; faces must be aligned and square"):
        read_bin(write_bin([encode(1, (100, 112)), encode(2)], [True], tmp_path))


PAIRS = """2\t2
Abel_Pacheco\t1\t4
Zico\t2\t3
Abel_Pacheco\t1\tZico\t3
Zico\t2\tAmy_X\t10
Amy_X\t10\t11
Zico\t1\t2
Amy_X\t11\tZico\t3
Amy_X\t10\tAbel_Pacheco\t4
"""


@pytest.fixture
def people(tmp_path) -> Path:
    """A folder in LFW's layout in which every face has a grey of its own."""
    for number, (name, image) in enumerate(
        [("Abel_Pacheco", 1), ("Abel_Pacheco", 4), ("Zico", 1), ("Zico", 2), ("Zico", 3), ("Amy_X", 10), ("Amy_X", 11)]
    ):
        path = tmp_path / "lfw" / name / f"{name}_{image:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(10 * number))
    return tmp_path / "lfw"


def write_pairs(text: str, people: Path) -> Path:
    path = people.parent / "pairs.txt"
    path.write_text(text)
    return path


def test_read_pairs_folder_reads_lfws_list(people):
    (people / "Zico/Zico_0002.jpg").rename(people / "Zico/Zico_0002.png")
    faces, same, folds = read_pairs_folder(people, write_pairs(PAIRS, people))
    assert folds == 2
    assert same.tolist() == [True, True, False, False] * 2
    assert faces.shape == (16, 3, 112, 112)
    expected = [0, 10, 30, 40, 0, 40, 30, 50, 50, 60, 20, 30, 60, 40, 50, 10]
    assert faces[:, 0, 5, 5].tolist() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("2\t2\n", "2\n"), "row 1 must be the number of folds"),
        (("2\t2\n", "two\t2\n"), "row 1 must be the number of folds"),
        (("2\t2\n", "0\t2\n"), "row 1 must be the number of folds"),
        ((PAIRS, ""), "row 1 must be the number of folds"),
        (("2\t2\n", "3\t2\n"), r"8 pairs; row 1 announces 3 folds of 2 \+ 2"),
        (("Zico\t2\t3\n", "Zico\t2\tAmy_X\t10\n"), "row 3: 'Zico 2 Amy_X 10'; at this place .* must be `name n"),
        (("Amy_X\t11\tZico\t3\n", "Amy_X\t10\t11\n"), "row 8: .* two people"),
        (("Zico\t2\t3\n", "\n"), "row 3: ''"),
        (("Zico\t2\t3\n", "Zico\t2\t2\n"), "row 3: 'Zico 2 2' is a face paired with itself"),
        (("Amy_X\t11\tZico\t3\n", "Amy_X\t11\tAmy_X\t10\n"), "row 8: .* is one person, but must be two"),
        (("Zico\t2\t3\n", "Zico\t2\tthree\n"), "row 3: 'three' must be the number"),
        (("Zico\t2\t3\n", "..\t2\t3\n"), "row 3: the path '../.._0002.jpg' leaves the data root"),
        (("Zico\t2\t3\n", "/etc/Zico\t2\t3\n"), "row 3: the path '/etc/.*' leaves the data root"),
        (("Zico\t2\t3\n", "Zico\t2\t9\n"), r"Zico_0009.jpg: no such image"),
    ],
)
def test_rows_that_are_wrong_are_named(change, message, people):
    assert change[0] in PAIRS
    with pytest.raises(InputError, match=message):
        read_pairs_folder(people, write_pairs(PAIRS.replace(*change, 1), people))


def test_a_pair_that_is_listed_twice_is_told(people):
    again = PAIRS.replace("Amy_X\t11\tZico\t3\n", "Zico\t3\tAbel_Pacheco\t1\n")
    with pytest.warns(UserWarning, match=r"pairs\.txt: 1 rows repeat an earlier pair, which then counts more"):
        assert len(read_pairs_folder(people, write_pairs(again, people))[1]) == 8


def test_a_list_that_cannot_be_read_is_named(people):
    with pytest.raises(InputError, match=r"none\.txt: no such list of pairs"):
        read_pairs_folder(people, people / "none.txt")
    (people / "image.txt").write_bytes(b"\xff\xd8")
    with pytest.raises(InputError, match=r"image\.txt: not a readable list"):
        read_pairs_folder(people, people / "image.txt")


def test_a_face_that_is_not_square_is_named(people):
    (people / "Zico" / "Zico_0003.jpg").write_bytes(encode(1, (250, 200)))
    with pytest.raises(InputError, match=r"Zico_0003\.jpg: 250x200 pixels"):
        read_pairs_folder(people, write_pairs(PAIRS, people))


# Embeddings


def corner_colours(faces: torch.Tensor) -> np.ndarray:
    """An embedding that a mirror changes."""
    assert len(faces) <= 256
    return faces[:, :, 0, [0, 1]].flatten(1).numpy().astype(np.float32)


def test_mirror_images_are_added_and_the_sum_has_unit_length():
    faces = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (11, 3, 112, 112), dtype=np.uint8))
    pixels = faces.numpy().astype(float)
    total = np.stack([[f[c, 0, x] + f[c, 0, 111 - x] for c in range(3) for x in range(2)] for f in pixels])
    expected = total / np.sqrt((total**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(embed_with_mirror(corner_colours, faces, batch=4), expected, rtol=1e-6)


def test_scores_in_chunks_equal_scores_one_by_one():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 4)).astype(np.float32)
    first, second = rng.integers(0, 50, (2, 25))
    scores = score_pairs(embeddings, first, second, rows=10)
    for pair in range(25):
        assert scores[pair] == pytest.approx(embeddings[first[pair]] @ embeddings[second[pair]], abs=1e-5)


# Folds


def test_accuracy_by_hand():
    # Squared distances are .198 .398 1.798 1.598, .598 1.398 1.198 1.598 and .798 .598 1.198 .698.
    scores = np.array([0.9, 0.8, 0.1, 0.2, 0.7, 0.3, 0.4, 0.2, 0.6, 0.7, 0.4, 0.65]) + 0.001
    same = np.tile([True, True, False, False], 3)
    # Held out 1: same .598 1.398 .798 .598, different 1.198 1.598 1.198 .698. From .60: 2 + 4 right; from .80: 3 + 3.
    # The first, .60, has all of fold 1 right.
    # Held out 2: same .198 .398 .798 .598, different 1.798 1.598 1.198 .698. From .60: 3 + 4; from .80: 4 + 3. With .60
    # fold 2 has 1.398 wrong.
    # Held out 3: same .198 .398 .598 1.398, different 1.798 1.598 1.198 1.598. From .60: 3 + 4; from 1.40: 4 + 3. With
    # .60 fold 3 has .798 wrong.
    result = ten_fold_accuracy(scores, same, folds=3)
    assert result.folds.tolist() == [1.0, 0.75, 0.75]
    assert result.mean == pytest.approx(2.5 / 3)
    # Student's t, two degrees of freedom, 97.5%: 4.30265; standard deviation 0.25 / sqrt(3), divided by sqrt(3)
    assert result.low == pytest.approx(2.5 / 3 - 4.30265 * 0.25 / 3, abs=1e-5)
    assert result.high == 1.0


def naive_accuracy(embeddings: np.ndarray, same: np.ndarray, folds: int) -> list[float]:
    """Every squared distance from 0 to 3.99 is tried, in steps of 0.01, on scikit-learn's folds."""
    distances = np.square(embeddings[0::2] - embeddings[1::2]).sum(axis=1)
    accuracies = []
    for others, held in KFold(folds).split(distances):
        rates = [accuracy_score(same[others], distances[others] < step / 100) for step in range(400)]
        best = int(np.argmax(rates)) / 100
        accuracies.append(accuracy_score(same[held], distances[held] < best))
    return accuracies


@pytest.mark.parametrize(("pairs", "folds"), [(60, 10), (67, 10), (20, 2), (11, 11), (600, 10)])
def test_accuracy_equals_a_search_over_distances(pairs, folds):
    rng = np.random.default_rng(pairs)
    same = rng.random(pairs) < 0.5
    one = rng.normal(size=(pairs, 8))
    other = rng.normal(size=(pairs, 8)) + np.where(same, 0.8, 0.0)[:, None] * one
    embeddings = normalize(np.stack([one, other], axis=1).reshape(-1, 8))
    cosines = (embeddings[0::2] * embeddings[1::2]).sum(axis=1)
    assert ten_fold_accuracy(cosines, same, folds).folds.tolist() == naive_accuracy(embeddings, same, folds)


def test_thresholds_are_no_finer_than_the_papers():
    """Between .30 and .31 no threshold tells .302 from .308."""
    cosines, same = 1 - np.array([0.302, 0.308] * 4) / 2, np.array([True, False] * 4)
    assert ten_fold_accuracy(cosines, same, folds=4).folds.tolist() == [0.5] * 4


@pytest.mark.parametrize(("same", "named"), [(True, "one person"), (False, "two people")])
def test_pairs_of_one_kind_alone_have_no_accuracy(same, named):
    with pytest.raises(InputError, match=f"all pairs show {named}; accuracy needs both kinds"):
        ten_fold_accuracy(np.linspace(0, 1, 20), np.full(20, same))


@pytest.mark.parametrize("folds", [0, 1, 5])
def test_folds_that_cannot_be_made_are_refused(folds):
    with pytest.raises(InputError, match=f"{folds} folds of 4 pairs"):
        ten_fold_accuracy(np.zeros(4), np.ones(4, bool), folds)


@pytest.mark.filterwarnings("ignore:.*repeat an earlier pair")  # of six faces
def test_a_model_that_sees_the_colour_is_right_and_one_that_does_not_is_not(people):
    text = "2 1\n" + "Zico 1 2\nZico 1 Amy_X 10\n" * 2
    for image, grey in (("Zico/Zico_0001", 250), ("Zico/Zico_0002", 250), ("Amy_X/Amy_X_0010", 5)):
        (people / f"{image}.jpg").write_bytes(encode(grey))
    faces, same, folds = read_pairs_folder(people, write_pairs(text, people))
    assert verify_pairs(corner_colours, faces, same, folds).folds.tolist() == [1, 1]
    # Told nothing, it accepts none: right on the pair of two people.
    assert verify_pairs(lambda faces: np.ones((len(faces), 2), np.float32), faces, same, folds).mean == 0.5


# AUC


def all_pairs(embeddings: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), k=1)
    return first, second, (unit[first] * unit[second]).sum(axis=1), identities[first] == identities[second]


@pytest.fixture
def crowd() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """80 faces of 15 people, who form 6 families and differ in their number of faces."""
    rng = np.random.default_rng(3)
    people = rng.choice(15, 80, p=np.arange(1, 16) / 120)
    means = rng.normal(size=(15, 6))
    embeddings = (means[people] + rng.normal(size=(80, 6))).astype(np.float32)
    return embeddings, np.array([f"P{person}" for person in people]), people % 6


def test_auc_of_all_pairs_equals_scikit_learns(crowd):
    embeddings, identities, _ = crowd
    _, _, scores, same = all_pairs(embeddings, identities)
    result = auc_of_same_person(embeddings, identities, resamples=5)
    assert result.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert (result.same, result.different) == (same.sum(), (~same).sum())


def test_the_interval_is_that_of_weighted_pairs(crowd):
    embeddings, identities, families = crowd
    first, second, scores, same = all_pairs(embeddings, identities)
    rng, aucs = np.random.default_rng(7), []
    for _ in range(100):
        times = rng.multinomial(6, np.full(6, 1 / 6))
        within = families[first] == families[second]
        weight = np.where(within, times[families[first]], times[families[first]] * times[families[second]])
        aucs.append(roc_auc_score(same, scores, sample_weight=weight))
    result = auc_of_same_person(embeddings, identities, families, resamples=100, seed=7)
    assert result.draws == pytest.approx(aucs, abs=1e-5)
    assert result.draws.min() < result.auc < result.draws.max()


def test_a_sample_is_balanced_seeded_and_of_pairs_that_are_what_they_are_said_to_be(crowd, monkeypatch):
    embeddings, identities, _ = crowd
    drawn = []
    monkeypatch.setattr(
        "swinface.benchmarks.verification.score_pairs", lambda unit, *pair: drawn.append((unit, *pair)) or pair[0]
    )
    result = auc_of_same_person(embeddings, identities, pairs=200, resamples=1, seed=1)
    assert (result.same, result.different) == (100, 100)
    unit, first, second = drawn[0]
    source = [
        int(np.argmin(np.abs(embeddings / np.linalg.norm(embeddings, axis=1)[:, None] - row).sum(1))) for row in unit
    ]
    names = identities[source]
    assert sorted(source) == list(range(80))
    assert (names[first] == names[second]).tolist() == [True] * 100 + [False] * 100
    assert (first < second).all()
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == 200
    auc_of_same_person(embeddings, identities, pairs=200, resamples=1, seed=1)
    auc_of_same_person(embeddings, identities, pairs=200, resamples=1, seed=2)
    assert (drawn[0][1] == drawn[1][1]).all()
    assert (drawn[0][1] != drawn[2][1]).any()


def test_every_pair_is_drawn_equally_often():
    # Three faces of a, two of b: 4 pairs of one person, 6 of two.
    counts: dict[tuple[int, int], int] = {}

    def score(_: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        for pair in zip(first.tolist(), second.tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
        return first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swinface.benchmarks.verification.score_pairs", score)
        for seed in range(500):
            auc_of_same_person(np.eye(5), list("abaab"), pairs=4, resamples=20, seed=seed)
    # Sorted: a a a b b. Two of the four same pairs, two of the six different ones, each time.
    same = [counts[pair] for pair in [(0, 1), (0, 2), (1, 2), (3, 4)]]
    different = [counts[first, second] for first in range(3) for second in (3, 4)]
    assert sum(counts.values()) == 2000
    np.testing.assert_allclose(same, 250, rtol=0, atol=55)
    np.testing.assert_allclose(different, 500 / 3, rtol=0, atol=55)


@pytest.mark.parametrize("identities", ["abcd", "aaaa"])
def test_auc_needs_pairs_of_both_kinds(identities):
    with pytest.raises(InputError, match="needs two people, and one with two faces"):
        auc_of_same_person(np.eye(4), list(identities))


def test_the_teacher_separates_the_people_of_fiw(shared_data):
    with np.load(shared_data / "teacher" / "dlib_fiw.npz") as table:
        part = np.char.startswith(table["face"], "Validation/")
        faces, embeddings = table["face"][part], table["embedding"][part].astype(np.float32)
    people = [face.rsplit("/", 1)[0] for face in faces]
    families = [face.split("/")[2] for face in faces]
    result = auc_of_same_person(embeddings, people, families, resamples=50)
    assert 0.95 < result.draws.min() < result.auc < result.draws.max() < 1
    assert result.different == 100_000
