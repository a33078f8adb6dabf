"""Pairs that the tests of commands report on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinface.data.pairs import write_pairs


@pytest.fixture
def lists(draw_scored, tmp_path) -> tuple[Path, Path]:
    """A scored list and validation pairs of other families."""
    scores, validation = tmp_path / "scores.parquet", tmp_path / "validation.parquet"
    write_pairs(draw_scored(1500, shift={"African": -1.2}), scores)
    write_pairs(draw_scored(600, seed=1, prefix="V"), validation)
    return scores, validation
