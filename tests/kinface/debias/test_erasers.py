"""All erasers follow one contract, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from kinface.debias.eraser import Eraser
from kinface.debias.erasers import erasers
from kinface.debias.erasure import Erase
from kinface.debias.whitening import Whitened
from swinface.files import InputError


@pytest.mark.parametrize("name", erasers.names())
def test_each_takes_and_gives_arrays_the_same_way(name):
    rng = np.random.default_rng(0)
    y = rng.choice(["f", "m"], 120).astype(object)
    X = rng.normal(size=(120, 4)) + 2 * (y == "m")[:, None]
    y[:5] = None
    eraser = clone(erasers.create(name))
    if "steps" in eraser.get_params():
        eraser.set_params(steps=3)
    options, pairs = eraser.get_params(), np.arange(120) // 2
    assert isinstance(eraser, Eraser)
    assert eraser.fit(X, y, sample_weight=np.ones(120), target=pairs, groups=pairs, persons=pairs) is eraser
    assert eraser.get_params() == options
    assert len(eraser.classes_) == (name not in ("none", "whitened"))
    moved = eraser.transform(X, y) if name == "oracle" else eraser.transform(X)
    assert isinstance(moved, np.ndarray)
    assert moved.shape == (120, 4)
    assert np.isfinite(moved).all()
    assert np.array_equal(moved, X) == (name == "none")
    with pytest.raises(ValueError, match=r"[Ss]ample.weight"):
        eraser.fit(X, y, sample_weight=np.zeros(120), persons=pairs)


@pytest.mark.parametrize("name", ["transport", "oracle", "leopard", "igbp", "kram", "mute", "obliviator"])
def test_those_of_one_attribute_refuse_two(name):
    y = np.random.default_rng(0).choice(["f", "m"], (40, 2))
    with pytest.raises(ValueError, match="takes one attribute, not 2"):
        erasers.create(name).fit(np.zeros((40, 3)), y)


@pytest.mark.parametrize("name", erasers.names())
def test_options_out_of_their_range_are_refused(name):
    for option, value in erasers.create(name).get_params().items():
        if not isinstance(value, bool):
            with pytest.raises(InputError, match=rf"eraser '{name}': {option} must be of type \w+; got -3"):
                erasers.create(name, **{option: -3})


def test_labels_in_another_order_than_the_embeddings_are_refused():
    X, y = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 4))), pd.Series(["m", "f"] * 20)
    shuffled = y.sample(frac=1, random_state=0)
    with pytest.raises(InputError, match="labels y: the embedding has its rows in another order, by its index"):
        erasers.create("leace").fit(X, shuffled)
    with pytest.raises(InputError, match="sample_weight: the embedding has its rows in another order"):
        erasers.create("leace").fit(X, y, sample_weight=pd.Series(1.0, shuffled.index))
    expected = erasers.create("leace").fit(X, y).transform(X)
    for given in (y.tolist(), y.to_frame(), y.to_numpy()[:, None]):
        np.testing.assert_allclose(erasers.create("leace").fit(X, given).transform(X), expected)
    rows = shuffled.index
    np.testing.assert_allclose(erasers.create("leace").fit(X.loc[rows], shuffled).transform(X), expected)


def test_whitened_is_centred_and_divided_by_the_spread_within_persons():
    rng, persons = np.random.default_rng(0), np.repeat(np.arange(50), 4)
    mixed = rng.normal(size=(3, 3))
    X = 3 + rng.normal(size=(50, 3))[persons] + rng.normal(size=(200, 3)) @ mixed
    labelled = [None if row < 4 else f"P{person}" for row, person in enumerate(persons)]  # the first is unknown
    whitened = Whitened().fit(X, persons=labelled)
    within = np.concatenate([X[persons == it] - X[persons == it].mean(axis=0) for it in range(1, 50)])
    covariance = within.T @ within / (49 * 3)
    moved = whitened.transform(X)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-9)
    a, b = X[7] - X[100], X[8] - X[150]
    inner = (moved[7] - moved[100]) @ (moved[8] - moved[150])
    assert inner == pytest.approx(a @ np.linalg.inv(covariance) @ b)
    for nobody in (None, np.arange(200)):
        with pytest.raises(ValueError, match="no person has two photos"):
            Whitened().fit(X, persons=nobody)


def test_components_are_centred_and_keep_what_varies_most():
    rng = np.random.default_rng(0)
    X, y = rng.normal([7, 0, 0, 0], [1, 5, 3, 0.5], size=(400, 4)), rng.choice(["f", "m"], 400)
    weight = rng.random(400)
    eraser = erasers.create("components", kept=2).fit(X, y, sample_weight=weight)
    expected = (X - np.average(X, axis=0, weights=weight)) * [0, 1, 1, 0]
    assert np.abs(eraser.transform(X) - expected).max() < 1.5  # axes of a sample are a little turned
    assert np.linalg.matrix_rank(eraser.transform(X)) == 2
    (maps,), (shifts,) = eraser.state().values()
    np.testing.assert_allclose(X @ maps.T + shifts, eraser.transform(X), atol=1e-9)
    whole = erasers.create("components", kept=9).fit(X, y).transform(X)
    np.testing.assert_allclose(whole, X - X.mean(axis=0), atol=1e-9)


def test_the_registry_says_what_it_has_and_how_to_use_it():
    for text in (repr(erasers), erasers.__doc__):
        assert all(name in text for name in erasers.names())
    assert "create(name, **options)" in erasers.__doc__
    with pytest.raises(TypeError, match=r"'eraser': none, .* is not a function; names\(\) lists"):
        erasers("leace")


def test_an_eraser_without_state_erases_embeddings_and_is_refused_by_models(monkeypatch):
    class Centred(Eraser):
        def _fit(self, X, codes, weight, target):
            self.mean_ = weight @ X

        def _move(self, X):
            return X - self.mean_

    X = np.random.default_rng(0).normal(size=(10, 3))
    np.testing.assert_allclose(Centred().fit(X, np.arange(10) % 2).transform(X).mean(axis=0), 0, atol=1e-12)
    monkeypatch.setitem(erasers._known, "centred", Centred)
    with pytest.raises(InputError, match=r"no model can keep centred, which has no state\(\)"):
        Erase(["race"], "centred").make()
