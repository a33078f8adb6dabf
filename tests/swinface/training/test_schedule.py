"""The learning rate by hand; a whole training is held against the authors' schedule in ``test_fit.py``."""

from __future__ import annotations

import math

import pytest

from swinface.training.schedule import rate_at


def unknown() -> int:
    raise AssertionError("the engine does not know its steps yet")


def test_the_first_rate_needs_no_number_of_steps():
    assert rate_at(0, unknown, 0.1) == rate_at(-1, unknown, 0.1) == 0
    assert rate_at(0, unknown, 0.1, start=0.2) == 0.2


def test_a_cosine_after_the_warmup_starts_at_the_peak_and_ends_at_the_final_rate():
    rates = [rate_at(step, lambda: 100, 0.2, start=1, peak=3, final=2) for step in range(101)]
    assert rates[:3] == pytest.approx([1, 1.1, 1.2])
    assert rates[20] == 3
    assert rates[60] == pytest.approx(2.5)
    assert rates[100] == 2


def test_a_cosine_from_the_start_has_fallen_when_the_warmup_ends():
    rates = [rate_at(step, lambda: 100, 0.2, peak=3, final=1, cosine_from_start=True) for step in range(101)]
    assert rates[19] == pytest.approx(3 * 19 / 20)
    assert rates[20] == pytest.approx(1 + (1 + math.cos(math.pi / 5)))
    assert rates[100] == 1


@pytest.mark.parametrize("warmup", [0, 1])
def test_the_warmup_lasts_from_one_step_to_all(warmup):
    rates = [rate_at(step, lambda: 4, warmup) for step in range(5)]
    assert rates[0] == 0
    assert max(rates) == 1
