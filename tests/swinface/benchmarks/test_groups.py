"""Figures by group, and of attributes, on made-up answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from swinface.benchmarks.protocols import Age, Attributes, Gender
from swinface.data.labels import ATTRIBUTES
from swinface.files import InputError
from tests.swinface.benchmarks.made import Known, Made, figures, logits_for

# By group


def cells(results, column: str) -> dict[tuple[str, str], float]:
    """A column of the table by group, which is behind the first result alone."""
    assert not any(result.groups for result in results[1:])
    return results[0].tabulate_groups()[column].to_dict()


def test_age_by_race_gender_and_band_by_hand():
    source = Made(
        age=[12.9, 13.0, 64.0, 65.0, 90.0, np.nan],
        race=["white", "black", "white", np.nan, "black", "asian"],
        gender=[0.0, 1.0, 1.0, 1.0, np.nan, 0.0],
    )
    results = Age(source).run(Known(age=[[13.9], [15.0], [61.0], [70.0], [98.0], [5.0]]))  # 1, 2, 3, 5, 8 years off
    assert list(results[0].tabulate_groups()) == ["MAE years", "low", "high", "n"]
    assert results[0].tabulate_groups().index.names == ["grouping", "group"]
    assert cells(results, "MAE years") == pytest.approx(
        {
            ("race", "black"): 5,
            ("race", "white"): 2,
            ("gender", "female"): 1,
            ("gender", "male"): 10 / 3,
            ("age", "0-12"): 1,
            ("age", "13-19"): 2,
            ("age", "50-64"): 3,
            ("age", "65+"): 6.5,
        }
    )
    assert list(cells(results, "n").values()) == [2, 2, 1, 3, 1, 1, 1, 2]
    assert cells(results, "low")["age", "65+"] == 5  # both draws of one face, or the other
    assert cells(results, "high")["age", "65+"] == 8


@pytest.mark.parametrize(
    ("years", "band"),
    [(0, "0-12"), (19, "13-19"), (20, "20-29"), (30, "30-39"), (49, "40-49"), (50, "50-64"), (116, "65+")],
)
def test_age_bands_begin_and_end_where_their_names_say(years, band):
    results = Age(Made(age=[float(years)])).run(Known(age=[[0.0]]))
    assert cells(results, "MAE years") == {("age", band): years}


def test_gender_by_group_is_scikit_learns_and_leaves_out_what_a_table_has_not():
    rng = np.random.default_rng(4)
    truth, said = rng.integers(0, 2, 200).astype(float), rng.integers(0, 2, 200)
    race = rng.choice(["white", "black", "indian"], 200)
    truth[:5] = np.nan
    model = Known(gender=logits_for(said, 2))
    results = Gender(Made(gender=truth, race=race, age=np.full(200, 30.0))).run(model)
    of_race = {name: (race == name) & ~np.isnan(truth) for name in ("black", "indian", "white")}
    of_gender = {name: truth == code for code, name in enumerate(("female", "male"))}
    members = {("race", name): faces for name, faces in of_race.items()}
    members |= {("gender", name): faces for name, faces in of_gender.items()}
    members |= {("age", "30-39"): ~np.isnan(truth)}
    expected = {key: 100 * accuracy_score(truth[faces], said[faces]) for key, faces in members.items()}
    assert cells(results, "accuracy %") == pytest.approx(expected)
    assert cells(results, "n") == {key: faces.sum() for key, faces in members.items()}
    alone = Gender(Made(gender=truth[of_race["black"]])).run(Known(gender=logits_for(said[of_race["black"]], 2)))
    assert set(cells(alone, "n")) == {("gender", "female"), ("gender", "male")}
    interval = [cells(results, column)["race", "black"] for column in ("low", "high")]
    assert interval == pytest.approx([alone[0].low, alone[0].high])


def test_the_interval_of_a_group_resamples_its_people():
    right = np.repeat([0, 1, 1, 0], 50)
    people = Made(gender=np.ones(200), identity=np.repeat(list("abcd"), 50), race=["asian"] * 100 + ["other"] * 100)
    results = Gender(people).run(Known(gender=logits_for(right, 2)))
    assert cells(results, "low")["race", "asian"] == 0  # half of its people are always wrong
    assert cells(results, "high")["race", "other"] == 100


# Attributes


@pytest.fixture
def celeba() -> tuple[Made, Made, Known, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    truth = (rng.random((60, 40)) < 0.3).astype(float)
    truth[3, 5] = np.nan
    predicted = np.where(rng.random((60, 40)) < 0.8, np.nan_to_num(truth), 1).astype(int)
    train = (rng.random((30, 40)) < np.linspace(0, 1, 40)).astype(float)
    source = Made(**dict(zip(ATTRIBUTES, truth.T, strict=True)), identity=np.repeat(list("abcdef"), 10))
    model = Known(**{name: logits_for(predicted[:, column], 2) for column, name in enumerate(ATTRIBUTES)})
    return source, Made(**dict(zip(ATTRIBUTES, train.T, strict=True))), model, truth, predicted


def test_attributes_beside_the_commoner_answer_of_the_training_part(celeba):
    source, train, model, truth, predicted = celeba
    benchmark = Attributes(source, train, paper={"mean accuracy %": 91.32, "accuracy %, smiling": 93.18})
    results = benchmark.run(model)
    each, baseline = [], []
    for column, name in enumerate(ATTRIBUTES):
        known = ~np.isnan(truth[:, column])
        each.append(100 * accuracy_score(truth[known, column], predicted[known, column]))
        commoner = np.full(known.sum(), train.table[name].mean() > 0.5)
        baseline.append(100 * accuracy_score(truth[known, column], commoner))
    smiling = each[ATTRIBUTES.index("smiling")]
    expected = {
        "mean accuracy %": np.mean(each),
        "mean accuracy %, commoner answer": np.mean(baseline),
        "accuracy %, smiling": smiling,
    }
    assert figures(results) == pytest.approx(expected)
    assert results[0].low < results[0].ours < results[0].high
    table = results[0].tables["attributes"]
    assert list(table.index) == list(ATTRIBUTES)
    np.testing.assert_allclose(table["accuracy %"], each)
    np.testing.assert_allclose(table["commoner answer %"], baseline)
    assert table["n"].tolist() == [59 if column == 5 else 60 for column in range(40)]
    assert (table["low"] <= table["accuracy %"]).all()
    assert (table["accuracy %"] <= table["high"]).all()


def test_attributes_by_gender_and_by_young(celeba):
    source, train, model, truth, predicted = celeba
    truth[7, ATTRIBUTES.index("young")] = np.nan  # also in the source, which has views of it
    results = Attributes(source, train).run(model)
    expected, counts = {}, {}
    for grouping, names in (("gender", ("female", "male")), ("young", ("no", "yes"))):
        for code, name in enumerate(names):
            faces = truth[:, ATTRIBUTES.index(grouping)] == code
            known = ~np.isnan(truth[faces])
            expected[grouping, name] = 100 * accuracy_score(truth[faces][known], predicted[faces][known])
            counts[grouping, name] = faces.sum()
    assert cells(results, "mean accuracy %") == pytest.approx(expected)
    assert cells(results, "n") == counts
    assert counts["young", "no"] + counts["young", "yes"] == 59
    table = results[0].tabulate_groups()
    assert (table["low"] < table["mean accuracy %"]).all()
    assert (table["mean accuracy %"] < table["high"]).all()


def test_faces_without_a_label_or_a_group_are_in_no_group():
    train, model = Made(smiling=[1.0]), Known(smiling=logits_for([1, 0, 1], 2))
    (result, _) = Attributes(Made(smiling=[1.0, np.nan, 0.0], gender=[0.0, 1.0, np.nan]), train).run(model)
    assert result.tabulate_groups().index.tolist() == [("gender", "female")]
    (result, _) = Attributes(Made(smiling=[1.0, np.nan, 0.0]), train).run(model)
    assert set(result.tables) == {"attributes"}


def test_attributes_that_are_not_trained_are_left_out_by_name(celeba):
    source, train, model, *_ = celeba
    del model.answers["smiling"]
    results = Attributes(source, train).run(model)
    assert results[0].metric == "mean accuracy % of 39 attributes"
    assert "smiling" not in results[0].tables["attributes"].index
    benchmark = Attributes(source, train, requires=Path("."))
    assert benchmark.find_obstacle(["smiling"]) is None
    assert benchmark.find_obstacle(["age"]) == "the model is not trained on any of its tasks"
    model.answers = {"age": np.zeros((60, 1))}
    with pytest.raises(InputError, match="made: no labels of attributes that the model is trained on"):
        Attributes(source, train).run(model)
