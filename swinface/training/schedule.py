"""The learning rate of a step: a linear warm-up, then a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable


def rate_at(
    step: int,
    count_steps: Callable[[], int],
    warmup: float,
    start: float = 0.0,
    peak: float = 1.0,
    final: float = 0.0,
    cosine_from_start: bool = False,
) -> float:
    """The learning rate of a step, counted from 0: it rises from ``start`` to ``peak`` in the ``warmup``, a share of
    the steps and at least one, and falls to ``final``, that of the end of training, along a cosine.

    ``count_steps`` gives the number of steps. It is not called for the first one, when the engine does not know it yet.
    With ``cosine_from_start`` the cosine is over all steps, of which the warm-up replaces the first: the rate then
    drops a little where the warm-up ends. Otherwise it is over the steps after the warm-up.

    Examples
    --------
    >>> [round(rate_at(step, lambda: 6, warmup=1 / 3), 3) for step in range(7)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step <= 0:
        return start
    steps = count_steps()
    rising = max(1, round(warmup * steps))
    if step < rising:
        return start + (peak - start) * step / rising
    first = 0 if cosine_from_start else rising
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * (step - first) / max(1, steps - first)))
