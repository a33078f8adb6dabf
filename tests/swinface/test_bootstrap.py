"""Drawing clusters, the weights of pairs, and the ends of intervals."""

from __future__ import annotations

import numpy as np
import pytest

from swinface.bootstrap import (
    check_draws,
    draw_clusters,
    interval_around,
    percentile_interval,
    resample_totals,
    symmetric_interval,
    weigh_pairs,
)
from swinface.files import InputError


@pytest.mark.parametrize(
    ("seed", "resamples", "said"),
    [("0", 100, "seed is '0'"), (None, 100, "seed is None"), (-1, 100, "seed is -1"), (0.5, 100, "seed is 0.5"),
     (0, 1e3, "resamples is 1000.0"), (0, "100", "resamples is '100'"), (0, 0, "resamples is 0")],
)  # fmt: skip
def test_seeds_and_resamples_that_are_no_whole_numbers_are_named(seed, resamples, said):
    check_draws(np.int64(3), np.uint8(100))
    with pytest.raises(InputError, match=said):
        check_draws(seed, resamples)


def test_as_many_clusters_are_drawn_as_there_are():
    draws = np.stack(list(draw_clusters(7, 400, seed=3)))
    assert draws.sum(axis=1).tolist() == [7] * 400
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.2)
    np.testing.assert_array_equal(draws, list(draw_clusters(7, 400, np.random.default_rng(3))))


def test_a_pair_weighs_as_often_as_its_clusters_were_drawn():
    drawn = np.array([[2, 0], [3, 1], [0, 5]])
    first, second = np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2])
    assert weigh_pairs(drawn, first, second).tolist() == [[2, 0], [6, 0], [0, 5], [0, 5]]
    assert weigh_pairs(drawn[:, 0], first, second).tolist() == [2, 6, 0, 0]


def test_an_end_may_lie_between_two_values():
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[::7, 1] = np.nan
    expected = np.nanpercentile(values, [2.5, 97.5], axis=0)
    np.testing.assert_array_equal(percentile_interval(values, interpolate=True), expected)
    low, high = percentile_interval(values)
    assert (low <= expected[0]).all() and (high >= expected[1]).all()


def test_interval_leaves_out_missing_and_keeps_infinite_values():
    values = np.column_stack([np.arange(101.0), np.r_[np.full(50, np.nan), np.arange(51.0)], np.full(101, np.nan)])
    values[-5:, 0] = np.inf
    low, high = percentile_interval(values)
    np.testing.assert_array_equal(low, [2, 1, np.nan])
    np.testing.assert_array_equal(high, [np.inf, 49, np.nan])


def test_interval_around_a_value_holds_it():
    draws = np.column_stack([np.arange(101.0), np.arange(101.0), np.full(101, np.nan)])
    low, high = interval_around(np.array([0.0, 50.0, 1.0]), draws)
    np.testing.assert_array_equal(low, [0, 2, np.nan])
    np.testing.assert_array_equal(high, [98, 98, np.nan])


def test_symmetric_interval_reaches_as_far_as_95_of_100_draws():
    draws = np.r_[10 + np.arange(1.0, 96), 10 - np.arange(96.0, 101), np.nan]
    low, high = symmetric_interval(10.0, draws)
    assert (low, high) == pytest.approx((10 - 96, 10 + 96), abs=1)
    assert symmetric_interval(0.0, np.abs(draws))[1] > 0
    assert np.isnan(symmetric_interval(np.inf, draws)).all()
    assert symmetric_interval(1.0, np.r_[np.full(50, np.inf), np.ones(50)]) == (-np.inf, np.inf)


def test_symmetric_interval_covers_the_distance_of_two_groups():
    """Distance 0 or as large as its standard error, where mirrored percentiles fall short of it."""
    rng = np.random.default_rng(0)
    for distance in (0.0, 1.0, 3.0):
        found = rng.normal(distance, 1, 300)
        ends = [symmetric_interval(abs(d), np.abs(rng.normal(d, 1, 400))) for d in found]
        assert np.mean([low <= distance <= high for low, high in ends]) > 0.85


def test_totals_are_those_of_the_clusters_that_are_drawn():
    values, clusters = np.arange(12.0).reshape(6, 2), np.array([2, 0, 1, 0, 2, 2])
    totals, resampled = resample_totals(values, clusters, 20, 3)
    assert totals.tolist() == values.sum(axis=0).tolist()
    for drawn, found in zip(draw_clusters(3, 20, 3), resampled, strict=True):
        assert found.tolist() == (drawn[clusters][:, None] * values).sum(axis=0).tolist()
