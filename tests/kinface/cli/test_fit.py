"""What ``kinface fit`` prints of a run that is done."""

from __future__ import annotations

import re

import pytest

from kinface.cli.fit import format_groups


@pytest.mark.parametrize("families", [60, 4])
def test_an_interval_that_few_families_do_not_give_is_not_printed(draw_scored, families):
    told = format_groups(draw_scored(400, families=families)).splitlines()
    assert all("nan" not in line for line in told)
    assert told[0].split()[:2] == ["all", "pairs"]
    pattern = r"\[0\.\d+, 0\.\d+\]" if families > 5 else r"\(too few families for an interval\)"
    assert re.search(rf"0\.\d+ {pattern}  400 pairs of {families} families$", told[0])
