"""Attackers of several kinds, with few labels, on people in place of faces, and the best of all."""

from __future__ import annotations

import numpy as np
import pytest

from kinface.leakage import probes
from kinface.leakage.leakage import average_people
from kinface.leakage.probes import ATTACKERS, cross_validate, label_few
from swinface.files import InputError
from tests.kinface.leakage.planted import QUICK, codes_of, draw_noise, draw_people, plant, probe


def test_every_attacker_finds_what_is_planted_and_the_best_of_them_is_judged_by_the_best_of_permuted_ones():
    people = draw_people(families=60)
    kinds = list(ATTACKERS)
    options = {"seeds": 1, "folds": 3, "resamples": 100, "codelength": False, "kinds": kinds}
    found = probe(plant(people, 6), people, "race", **options)
    assert (found.table["balanced_accuracy"] > 0.9).all()
    assert found.table["leaks"].all()
    worst = found.worst
    assert worst["balanced_accuracy"] == found.table["balanced_accuracy"].max()
    assert worst["leaks"]
    nothing = probe(draw_noise(len(people)), people, "race", **options)
    worst = nothing.worst
    highest = np.max([nothing.permuted[kind] for kind in kinds], axis=0)
    assert worst["permuted"] == pytest.approx(highest.mean())
    assert worst["permuted_high"] > nothing.table["permuted"].max()
    assert not worst["leaks"]
    resampled = np.max([nothing.resampled[kind] for kind in kinds], axis=0)
    assert worst["balanced_accuracy_low"] >= np.quantile(resampled, 0.02)


def test_a_ring_is_read_by_all_but_the_linear_probe():
    people = draw_people(families=80)
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, len(people)), np.where(people["gender"] == "m", 1.0, 3.0)
    features = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + rng.normal(size=(len(people), 2)) / 5
    kinds = ["linear", "mlp", "kernel", "trees"]
    found = probe(features, people, "gender", **QUICK | {"kinds": kinds}).table.set_index("probe")["balanced_accuracy"]
    assert found["linear"] < 0.65
    assert (found[["mlp", "kernel", "trees"]] > 0.85).all()


def test_neighbours_vote_by_cosine_and_a_rare_class_counts_more():
    directions = np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1])
    votes = probes._Neighbours().fit(directions * [[9], [1], [1], [1]], labels).predict_proba(directions)
    assert votes == pytest.approx(np.tile([[0.5, 0.5]], (4, 1))), "all four faces vote, three of one class for a third"


def test_a_probe_with_few_labels_is_fitted_on_so_many_people_of_each_class_alone():
    people = draw_people()
    labels, families = codes_of(people, "race")
    persons = np.unique(people["person"], return_inverse=True)[1]
    trial = cross_validate(labels, families, 3, seed=0)
    few = label_few(trial, persons, 10)
    for (train, test), (own_train, own_test) in zip(trial.splits, few.splits, strict=True):
        assert (own_test == test).all() and not (own_train & ~train).any()
        chosen = np.unique(persons[own_train])
        assert sorted(np.bincount(labels[[np.flatnonzero(persons == it)[0] for it in chosen]])) == [3, 3, 4]
        assert (own_train == np.isin(persons, chosen)).all(), "all faces of these people"
    all_people = probe(plant(people, 1.5), people, "race", **QUICK).table["balanced_accuracy"][0]
    some = probe(plant(people, 1.5), people, "race", **QUICK | {"labelled": 6}).table["balanced_accuracy"][0]
    assert some < all_people
    with pytest.raises(InputError, match="labelled 3"):
        probe(plant(people, 1.5), people, "race", **QUICK | {"labelled": 3})


def test_people_are_the_means_of_their_faces():
    faces = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    means, first = average_people(faces, ["b", "a", "b"])
    assert means.tolist() == [[3.0, 4.0], [3.0, 5.0]]
    assert first.tolist() == [1, 0]
