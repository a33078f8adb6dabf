from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from kinface.leakage.bounds import bound_attackers
from swinface.files import InputError


def test_no_rule_that_sees_cells_exceeds_the_bound_and_one_reaches_it():
    rng = np.random.default_rng(0)
    cells, labels = rng.integers(0, 4, 90), rng.choice(["a", "b", "c"], 90, p=[0.6, 0.3, 0.1])
    bound = bound_attackers(cells, labels, np.arange(90))
    rules = itertools.product("abc", repeat=4)
    best = max(balanced_accuracy_score(labels, np.array(rule)[cells]) for rule in rules)
    assert bound["accuracy"] == pytest.approx(best)
    assert bound["accuracy"] <= bound["accuracy_high"] <= 1
    assert bound["chance"] == pytest.approx(1 / 3)
    assert bound["cells"] == 4


@pytest.mark.parametrize(("told", "accuracy", "information"), [(True, 1.0, 1.0), (False, 0.5, 0.0)])
def test_cells_that_tell_all_or_nothing(told, accuracy, information):
    labels = np.tile(["f", "m"], 60)
    cells = (labels == "m").astype(int) if told else np.repeat([0, 1], 60)
    bound = bound_attackers(cells, labels, np.repeat(np.arange(30), 4))
    assert bound["accuracy"] == accuracy
    assert bound["information"] == pytest.approx(information, abs=1e-12)


def test_information_is_that_of_the_formula_and_does_not_depend_on_how_frequent_classes_are():
    cells, labels = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.repeat(["f", "m"], 4)
    p, q = 0.75, 0.25
    expected = p * np.log2(p / 0.5) + q * np.log2(q / 0.5)
    families = np.arange(8)
    for repeats in (np.ones(8, dtype=int), np.repeat([1, 5], 4)):
        given = [np.repeat(each, repeats) for each in (cells, labels, families)]
        assert bound_attackers(*given)["information"] == pytest.approx(expected)


def test_fresh_people_stay_below_the_upper_limit():
    """Of 40 draws, the true best accuracy is above a 95% limit at most a few times."""
    shares, above = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]), 0
    truth = shares.max(axis=0).sum() / 2
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 100)
        cells = np.array([rng.choice(4, p=shares[label]) for label in labels])
        above += truth > bound_attackers(cells, labels, np.arange(100), resamples=200)["accuracy_high"]
    assert above <= 4


def test_bad_input_says_what_is_wrong():
    with pytest.raises(InputError, match="3, 2 and 3 values"):
        bound_attackers([0, 1, 1], ["f", "m"], [1, 2, 3])
    with pytest.raises(InputError, match="fewer than two classes"):
        bound_attackers([0, 1], ["f", None], [1, 2])
    with pytest.raises(InputError, match="cells: row 2 has none"):
        bound_attackers([0, 1, None, 1], ["f", "m", "m", "f"], [1, 2, 3, 4])
    with pytest.raises(InputError, match="clusters: row 0 has none"):
        bound_attackers([0, 1], ["f", "m"], [None, 2])


def test_more_photos_of_the_same_families_do_not_make_it_surer():
    rng = np.random.default_rng(0)
    labels, cells = rng.choice(["f", "m"], 60), rng.integers(0, 4, 60)
    once = bound_attackers(cells, labels, np.arange(60))
    often = bound_attackers(*(np.repeat(each, 10) for each in (cells, labels, np.arange(60))))
    assert often["families"] == 60
    assert often["accuracy_high"] == pytest.approx(once["accuracy_high"])
    alone = bound_attackers(np.repeat(cells, 10), np.repeat(labels, 10), np.arange(600))
    assert alone["accuracy_high"] < often["accuracy_high"] - 0.02


def test_few_families_have_no_limit_and_it_says_what_they_may_not_have_shown():
    labels = ["f"] * 20 + ["m"] * 4
    bound = bound_attackers([0] * 24, labels, [*range(24)])
    assert bound["accuracy"] == 0.5
    assert np.isnan(bound["accuracy_high"])
    assert bound["unseen"] == pytest.approx(1 - 0.05**0.25)
