"""Probes that are fitted on faces of further families too, as by an attacker who holds the data set."""

from __future__ import annotations

import numpy as np
import pytest

import kinface
from kinface.leakage import probes
from kinface.leakage.leakage import compare_leakage
from swinface.files import InputError
from tests.kinface.leakage.planted import QUICK, draw_people, plant


def draw_splits(**sizes: int):
    """People of three splits, by family: a quarter is ``val`` and a twelfth ``tune``."""
    people = draw_people(**sizes)
    number = people["family"].str[1:].astype(int)
    return people.assign(split=np.select([number % 4 == 0, number % 12 == 1], ["val", "tune"], "train"))


def test_every_probe_is_fitted_on_them_and_none_is_tested_there(monkeypatch):
    people = draw_splits(families=72)
    features = np.column_stack([people["number"], np.arange(len(people))]).astype(np.float32)
    asked = []

    def spy(seen, labels, train, test, seed, kinds):
        asked.append((seen[train, 0].astype(int), seen[test, 0].astype(int)))
        return {probe: np.full((len(test), 3), 1 / 3) for probe in kinds}

    monkeypatch.setattr(probes, "predict", spy)
    options = QUICK | {"permutations": 2}
    found = kinface.probe(features, people, "race", split="val", fit_on=["train", "tune"], **options)
    val, others = (set(people["number"][rows]) for rows in (people["split"] == "val", people["split"] != "val"))
    assert len(asked) == 9  # folds of the labels as they are, and twice permuted
    for train, test in asked:
        assert set(test) <= val
        assert others <= set(train)
        assert not set(train) & set(test)
    assert set(np.concatenate([test for _, test in asked[:3]])) == val
    assert found.table[["faces", "more", "families"]].to_numpy().tolist() == [[len(val), len(others), 18]]
    assert found.tested.index.tolist() == sorted(val)


def test_more_families_read_more():
    """64 numbers with little of race in each: few families do not show which way it points."""
    people = draw_splits(families=144)
    way = np.random.default_rng(0).normal(size=(3, 64))
    noise = np.random.default_rng(1).normal(size=(len(people), 64))
    features = noise + 0.12 * way[people["race"].map({"African": 0, "Asian": 1, "Caucasian": 2})]
    few, many = (kinface.probe(features, people, "race", split="val", fit_on=it, **QUICK) for it in ((), "train"))
    difference = many.table["balanced_accuracy"][0] - few.table["balanced_accuracy"][0]
    assert difference > 0.05
    with pytest.raises(InputError, match="of the same faces"):
        compare_leakage(few, many)


def test_a_face_that_is_listed_twice_is_refused():
    people = draw_splits(families=144)
    people["face"] = [f"{number // 2}.jpg" for number in range(len(people))]
    with pytest.raises(InputError, match=r"people: face 0\.jpg is listed twice"):
        kinface.probe(plant(people, 3), people, "race", split="val", **QUICK)
    people["face"] = None
    kinface.probe(plant(people, 3), people, "race", split="val", **QUICK)


def test_labels_that_are_permuted_are_so_for_all():
    people = draw_splits(families=144)
    found = kinface.probe(plant(people, 3), people, "race", split="val", fit_on="train", **QUICK | {"permutations": 10})
    row = found.table.iloc[0]
    assert row["balanced_accuracy"] > 0.9
    assert row["permuted_low"] < row["chance"] < row["permuted_high"] < 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "val", "fit_on": "val"}, "fit_on val: faces are either tested or fitted on"),
        ({"fit_on": ["train", "tune", "val"]}, "leave one split to test"),
        ({"split": "val", "fit_on": "trian"}, "split 'trian': no face belongs to it"),
        ({"split": "val", "fit_on": "train", "labelled": 8}, "labelled: probes are then fitted on tested people only"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    people = draw_splits(families=72)
    with pytest.raises(InputError, match=said):
        kinface.probe(plant(people, 1), people, "race", **QUICK | options)


def test_a_family_is_not_in_both():
    people = draw_splits(families=72)
    people.loc[people["family"] == "F0", "split"] = ["val", *["train"] * 7]
    with pytest.raises(InputError, match=r"cluster \(family\) 'F0' is both tested and fitted on"):
        kinface.probe(plant(people, 1), people, "race", split="val", fit_on="train", **QUICK)
