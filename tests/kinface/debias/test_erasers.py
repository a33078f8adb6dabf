"""All erasers follow one contract, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from kinface.debias import learned
from kinface.debias.erasers import ERASERS
from kinface.debias.estimators import _Learned


@pytest.mark.parametrize("name", ERASERS.names())
def test_each_takes_and_gives_arrays_the_same_way(name, monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.choice(["f", "m"], 120).astype(object)
    X = rng.normal(size=(120, 4)) + 2 * (y == "m")[:, None]
    y[:5] = None
    eraser = clone(ERASERS.create(name))
    if isinstance(eraser, _Learned):
        monkeypatch.setattr(eraser.kind, "STEPS", 3, raising=False)
        monkeypatch.setattr(learned.Obliviator, "BASIS", 64)
    given = (
        {} if name == "none" else {"sample_weight": np.ones(120), "target": np.arange(120), "groups": np.arange(120)}
    )
    assert eraser.fit(X, y, **given) is eraser
    moved = eraser.transform(X, y) if name == "oracle" else eraser.transform(X)
    assert isinstance(moved, np.ndarray)
    assert moved.shape == (120, 4)
    assert np.isfinite(moved).all()
    assert np.array_equal(moved, X) == (name == "none")


@pytest.mark.parametrize("name", ["transport", "oracle", "leopard", "igbp", "kram", "mute", "obliviator"])
def test_those_of_one_attribute_refuse_two(name):
    y = np.random.default_rng(0).choice(["f", "m"], (40, 2))
    with pytest.raises(ValueError, match="takes one attribute, not 2"):
        ERASERS.create(name).fit(np.zeros((40, 3)), y)
