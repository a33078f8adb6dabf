"""Each protocol on made-up answers, against scikit-learn or a value computed by hand."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    mean_absolute_error,
    roc_auc_score,
)

from swinface.benchmarks.protocols import Age, Expression, Gender, Pose, SamePerson, TemplateVerification, Verification
from swinface.benchmarks.verification import auc_of_same_person
from swinface.data.datasets import Clap2015
from swinface.files import InputError
from swinface.tasks import EXPRESSIONS
from tests.swinface.benchmarks.made import Known, Made, figures, logits_for

# Verification


def png(grey: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (112, 112), (grey,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def separable(tmp_path) -> tuple[Path, Known]:
    """Twenty pairs, five to be told apart wrongly whatever the threshold, as a ``.bin``."""
    angles = np.zeros(40)
    same = np.arange(20) % 2 == 0
    angles[1::2] = np.where(same, 0.1, 1.5)
    angles[1:10:8] = 3.0  # pairs 0 and 4 show one person and look unlike any
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps(([png(number) for number in range(40)], list(map(bool, same))), protocol=2))
    return path, Known(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_verification_of_a_bin(separable):
    path, model = separable
    (result,) = Verification(path).run(model)
    assert result.metric == "accuracy %"
    assert result.n == 20
    assert result.ours == pytest.approx(90)  # pairs 0 and 4 are in two folds of two
    assert result.low < 90 < result.high <= 100


def test_verification_of_a_folder_finds_its_pairs(separable, tmp_path):
    _, model = separable
    for name, image, grey in (("Amy", 1, 2), ("Amy", 2, 4), ("Bob", 1, 3), ("Bob", 2, 7), ("Cid", 1, 6), ("Cid", 2, 5)):
        face = tmp_path / "lfw" / name / f"{name}_{image:04}.jpg"
        face.parent.mkdir(parents=True, exist_ok=True)
        face.write_bytes(png(grey))
    rows = "2 1\nAmy 1 2\nAmy 1 Bob 2\nBob 1 2\nCid 1 Bob 1\n"
    (tmp_path / "lfw" / "pairs.txt").write_text(rows)
    (result,) = Verification(tmp_path / "lfw").run(model)
    assert (result.ours, result.n) == (100, 4)
    moved = (tmp_path / "lfw" / "pairs.txt").rename(tmp_path / "list.txt")
    assert Verification(tmp_path / "lfw", moved).run(model)[0].n == 4


def test_template_verification_gives_the_papers_rates(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    landmarks = "38.2946 51.6963 73.5318 51.5014 56.0252 71.7366 41.5493 92.3655 70.7299 92.2041"
    for number in range(4):
        (tmp_path / "loose_crop" / f"{number}.png").write_bytes(png(number))

    def write(what: str, rows: list[str]) -> None:
        (tmp_path / "meta" / f"ijbb_{what}.txt").write_text("\n".join(rows) + "\n")

    write("face_tid_mid", [f"{number}.png {number} {number}" for number in range(4)])
    write("name_5pts_score", [f"{number}.png {landmarks} 1" for number in range(4)])
    write("template_pair_label", ["0 1 1", "2 3 1", "0 2 0", "1 3 0"])
    angles = np.array([0, 0.1, 0.3, 1.5])  # cosines of the pairs: of .1, 1.2, .3, 1.4
    benchmark = TemplateVerification(tmp_path, "ijbb", paper={"TAR % at FAR 1e-6": 90})
    results = benchmark.run(Known(np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    assert figures(results) == {f"TAR % at FAR 1e-{power}": 50 for power in (6, 5, 4, 3, 2, 1)}
    assert {result.n for result in results} == {4}


def test_same_person_is_scikit_learns_auc_and_draws_families():
    rng = np.random.default_rng(0)
    people = np.repeat([f"F{family:04}/MID{member}" for family in range(6) for member in (1, 2)], 4)
    centres = rng.normal(size=(12, 8))
    embedding = np.repeat(centres, 4, axis=0) + rng.normal(size=(48, 8))
    (result,) = SamePerson(Made(identity=people)).run(Known(embedding))
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    first, second = np.triu_indices(48, 1)
    expected = roc_auc_score(people[first] == people[second], (unit @ unit.T)[first, second])
    assert result.ours == pytest.approx(expected, abs=1e-6)
    assert result.n == len(first)
    assert result.low < expected < result.high
    families = [person[:5] for person in people]
    by_family, by_person = auc_of_same_person(unit, people, families), auc_of_same_person(unit, people)
    assert (result.low, result.high) == pytest.approx(np.percentile(by_family.draws, [2.5, 97.5]))
    assert result.low != pytest.approx(np.percentile(by_person.draws, 2.5))
    (alone,) = SamePerson(Made(identity=[person.replace("/", "-") for person in people])).run(Known(embedding))
    assert alone.low == pytest.approx(np.percentile(by_person.draws, 2.5))


def test_same_person_needs_identities():
    with pytest.raises(InputError, match=r"^made: Made does not name the people on its faces\.$"):
        SamePerson(Made(age=[1.0])).run(Known())


# Expression


def test_expression_is_scikit_learns():
    rng = np.random.default_rng(1)
    truth = rng.choice(7, 300, p=[0.1, 0.02, 0.05, 0.5, 0.13, 0.05, 0.15])
    predicted = np.where(rng.random(300) < 0.7, truth, rng.integers(0, 7, 300))
    results = Expression(Made(expression=truth.astype(float))).run(Known(expression=logits_for(predicted, 7)))
    assert figures(results) == pytest.approx(
        {
            "accuracy %": 100 * accuracy_score(truth, predicted),
            "balanced accuracy %": 100 * balanced_accuracy_score(truth, predicted),
        }
    )
    assert all(result.n == 300 and result.low < result.ours < result.high for result in results)
    confusion = results[0].tables["confusion"]
    np.testing.assert_array_equal(confusion, confusion_matrix(truth, predicted))
    assert confusion.loc["fear", "happiness"] == ((truth == 1) & (predicted == 3)).sum()


def test_expression_chooses_among_the_sets_own_labels():
    logits = np.zeros((2, 7))
    logits[:, EXPRESSIONS.index("neutral")] = 9
    logits[0, EXPRESSIONS.index("anger")] = 2
    logits[1, EXPRESSIONS.index("fear")] = 2
    source = Made(expression=[5.0, 0.0])  # anger, surprise
    model = Known(expression=logits)
    assert figures(Expression(source).run(model))["accuracy %"] == 0
    results = Expression(source, labels=("anger", "fear", "surprise")).run(model)
    assert figures(results) == {"accuracy %": 50, "balanced accuracy %": 50}
    confusion = results[0].tables["confusion"]
    assert list(confusion.columns) == ["anger", "fear", "surprise"]
    assert confusion.loc["surprise", "fear"] == 1
    with pytest.raises(InputError, match="made: has faces of surprise; add it to labels"):
        Expression(source, labels=("anger", "fear")).run(model)
    with pytest.raises(InputError, match="labels: no expression 'angry'; choose from surprise, fear"):
        Expression(source, labels=("angry",))
    with pytest.raises(InputError, match="labels: anger is there twice"):
        Expression(source, labels=("anger", "fear", "anger"))


def test_unknown_labels_are_left_out():
    results = Expression(Made(expression=[np.nan, 3.0, 3.0])).run(Known(expression=logits_for([0, 3, 0], 7)))
    assert (results[0].ours, results[0].n) == (50, 2)
    with pytest.raises(InputError, match=r"^made: no labels of expression in Made\.$"):
        Expression(Made(age=[3.0])).run(Known(expression=logits_for([0], 7)))


# Head pose, age and gender


def test_pose_is_of_the_faces_whose_three_angles_are_known():
    source = Made(yaw=[10.0, np.nan, 30.0], pitch=[1.0, 2.0, np.nan], roll=[0.0, 0.0, 0.0])
    angles = {angle: np.zeros((3, 1)) for angle in ("yaw", "pitch", "roll")}
    found = Pose(source).run(Known(**angles))
    assert [(result.ours, result.n) for result in found] == [(11 / 3, 1), (10, 1), (1, 1), (0, 1)]
    del angles["roll"]
    with pytest.raises(InputError, match="not trained on roll"):
        Pose(source).run(Known(**angles))


def test_age_is_mean_absolute_error_and_epsilon_by_hand():
    years = np.array([[20.0], [33.0], [60.0]])
    source = Made(age=[22.0, 30.0, 60.0], age_deviation=[2.0, 4.0, 0.0])
    results = Age(source).run(Known(age=years))
    epsilon = 1 - (np.exp(-1 / 2) + np.exp(-9 / 32) + 1) / 3
    assert figures(results) == pytest.approx({"MAE years": 5 / 3, "mean error years": 1 / 3, "epsilon error": epsilon})
    alone, _ = Age(Made(age=[22.0, np.nan, 60.0])).run(Known(age=years))
    assert (alone.metric, alone.ours, alone.n) == ("MAE years", 1, 2)
    assert alone.ours == mean_absolute_error([22, 60], [20, 60])


def test_clap2015_gives_both_of_the_papers_figures(tmp_path):
    (tmp_path / "label.csv").write_text("a.jpg;22.5;2\nb.jpg;30;4\n")
    paper = {"MAE years": 2.47, "epsilon error": 0.22}
    results = Age(Clap2015(tmp_path), paper=paper).run(Known(age=[[22.5], [34]]))
    assert figures(results) == pytest.approx(
        {"MAE years": 2, "mean error years": 2, "epsilon error": (1 - np.exp(-0.5)) / 2}
    )


def test_gender_overall_and_above_twelve():
    source = Made(gender=[0.0, 1.0, 1.0, 0.0, np.nan], age=[12.0, 13.0, 40.0, np.nan, 50.0])
    model = Known(gender=logits_for([1, 1, 0, 0, 0], 2))
    results = Gender(source).run(model)
    assert [(result.metric, result.ours, result.n) for result in results] == [
        ("accuracy %", 50, 4),
        ("accuracy % above 12 years", 50, 2),
    ]
    (alone,) = Gender(Made(gender=[0.0] * 5)).run(model)
    assert (alone.metric, alone.ours) == ("accuracy %", 60)


def test_intervals_draw_people_where_they_are_known():
    right = np.repeat([0, 1, 1, 0, 1, 1, 1, 0], 50)
    model = Known(gender=logits_for(right, 2))
    faces = Gender(Made(gender=np.ones(400))).run(model)[0]
    people = Gender(Made(gender=np.ones(400), identity=np.repeat(list("abcdefgh"), 50))).run(model)[0]
    assert faces.ours == people.ours == 62.5
    assert faces.high - faces.low == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.625 * 0.375 / 400), rel=0.15)
    assert people.high - people.low > 5 * (faces.high - faces.low)
