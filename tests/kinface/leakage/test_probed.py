"""Whatever is probed is answered or refused with its reason."""

from __future__ import annotations

import contextlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

import kinface
from kinface.leakage.attackers import ATTACKERS
from kinface.leakage.leakage import probe_leakage
from swinface.files import InputError
from tests.kinface.leakage.planted import QUICK, draw_noise, draw_people, plant, probe

pytestmark = pytest.mark.usefixtures("weak_mlp")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"race": "Asian"}, "fewer than two classes"),
        ({"race": None}, "288 faces without a value"),
        ({"family": None}, "288 faces without a value or a family"),
        ({"person": "P0"}, "person 'P0' has more than one cluster \\(family\\)"),
        ({"race": np.arange(288)}, "person 'P0' has more than one race"),
    ],
)
def test_people_that_cannot_be_told_apart_are_refused(columns, said):
    people = draw_people()
    with pytest.raises(InputError, match=said):
        probe(plant(people, 1), people.assign(**columns), "race", **QUICK)


@pytest.mark.parametrize("features", ["same", "zeros", "one", "large", "whole", "truth"])
def test_every_probe_answers_for_degenerate_embeddings(features):
    people, noise = draw_people(families=15, people=2, photos=1), draw_noise(30, 3)
    of_kind = {"same": noise[:1].repeat(30, 0), "zeros": 0 * noise, "one": noise[:, :1], "large": 1e14 * noise}
    of_kind |= {"whole": noise.astype(int), "truth": noise > 0}
    options = {"seeds": 1, "resamples": 50, "permutations": 2, "kinds": ATTACKERS.names()}
    found = probe(of_kind[features], people, "race", **options).table
    assert found[["balanced_accuracy", "auc", "codelength"]].notna().all(axis=None)


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)
@hypothesis.given(st.integers(4, 14), st.integers(2, 3), st.integers(2, 7), st.booleans(), st.integers(0, 2**16))
def test_few_faces_are_probed_or_refused(families, classes, folds, of_family, seed):
    rng = np.random.default_rng(seed)
    family = rng.permutation(np.repeat(np.arange(families), rng.integers(1, 4, families)))
    labels = rng.integers(0, classes, families)[family] if of_family else rng.integers(0, classes, len(family))
    options = {"kinds": ATTACKERS.names(), "folds": folds, "seeds": 1, "resamples": 50, "permutations": 2}
    with contextlib.suppress(InputError):
        table = probe_leakage(draw_noise(len(family), 4), labels, family, **options).table
        assert table["balanced_accuracy"].between(0, 1).all()


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((288, 0)), r"its shape is \(288, 0\)"),
        (np.full((288, 2), 1e16), "row 0 is not finite, or has numbers above 1e\\+15"),
        (np.full((288, 2), 1e300), "row 0 is not finite"),
        (np.full((288, 2), 1j), "it holds complex128; it must hold real numbers"),
        (np.full((288, 2), "a"), "it holds <U1"),
        (np.full((288, 2), "a", dtype=object), "it holds object"),
    ],
)
def test_embeddings_that_are_no_numbers_are_refused(features, said):
    with pytest.raises(InputError, match=f"embedding: {said}"):
        probe(features, draw_people(), "race", **QUICK)


def test_arrays_that_do_not_fit_are_refused():
    people = draw_people()
    features = plant(people, 1)
    with pytest.raises(InputError, match="labels: 288 values for 287 rows of embedding"):
        probe(features[1:], people, "race", **QUICK)
    with pytest.raises(InputError, match="persons: 3 values for 288 rows"):
        probe_leakage(features, people["race"], people["family"], persons=["a", "b", "c"])
    with pytest.raises(InputError, match=r"embedding: its shape is \(288,\); it must be \(N, D\)"):
        probe(features[:, 0], people, "race", **QUICK)
    features[7, 2] = np.nan
    with pytest.raises(InputError, match="embedding: row 7 is not finite"):
        probe(features, people, "race", **QUICK)


@pytest.mark.parametrize("change", [{"kinds": ["linear", "linear"]}, {"kinds": []}, {"folds": 1}, {"seeds": 0}])
def test_settings_that_cannot_be_are_refused(change):
    people = draw_people()
    with pytest.raises(InputError, match=next(iter(change))):
        probe(plant(people, 1), people, "race", **QUICK | change)


def test_marks_of_no_value_are_no_class():
    people = draw_people()
    features = plant(people, 1)
    marked = people.assign(race=people["race"].where(people["family"] != people["family"][0], "NA"))
    with pytest.warns(UserWarning, match="people: 'NA' of race is read as missing"):
        table = kinface.probe(features, marked, "race", **QUICK).table
    assert "NA" not in table.loc[0, "classes"] and table.loc[0, "unknown"] == (marked["race"] == "NA").sum() > 0
