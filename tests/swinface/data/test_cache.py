"""Arrays kept as files: computed once, part by part, and never half."""

from __future__ import annotations

import numpy as np
import pytest

from swinface.data.cache import map_computed


def squares(part: slice) -> np.ndarray:
    return np.arange(part.start, part.stop)[:, None] ** 2 * np.ones(2)


def test_an_array_is_computed_once(tmp_path):
    parts = []

    def compute(part):
        parts.append((part.start, part.stop))
        return squares(part)

    for _ in range(2):
        kept = map_computed(tmp_path / "a.npy", (5, 2), np.float32, compute, 2, "squares")
        np.testing.assert_array_equal(kept, squares(slice(0, 5)))
        assert kept.dtype == np.float32
        assert not kept.flags.writeable
    assert parts == [(0, 2), (2, 4), (4, 5)]


def test_what_is_written_to_it_stays_in_memory(tmp_path):
    kept = map_computed(tmp_path / "a.npy", (5, 2), np.float32, squares, 5, "squares", writable=True)
    kept[:] = 0
    assert np.load(tmp_path / "a.npy").sum() == 2 * 30


def test_a_failure_leaves_nothing(tmp_path):
    def fail(part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_computed(tmp_path / "a.npy", (5, 2), np.float32, fail, 2, "squares")
    assert not list(tmp_path.iterdir())
