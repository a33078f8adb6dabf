"""Distributions of scores that a model carries with it, against counting by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np

from kinface.fairness.audit import audit_fairness
from kinface.fairness.distributions import EDGES, RATES, describe_scores
from kinface.fairness.groups import FEWEST_PAIRS


def test_every_group_has_its_pairs_counted(draw_scored):
    pairs = draw_scored(1500)
    pairs["score"] = np.tanh(pairs["score"] / 2)
    rows = describe_scores(pairs, 0.2)
    audit = audit_fairness(pairs, 0.2)
    assert rows[0]["group"] == "all pairs"
    for row in rows:
        of_group = pairs[(audit.labels[row["grouping"]] == row["group"]).to_numpy()]
        for kin, name in ((True, "kin"), (False, "non_kin")):
            score = of_group.loc[of_group["kin"] == kin, "score"].to_numpy()
            by_hand = [int(((score >= low) & (score < high)).sum()) for low, high in pairwise(EDGES)]
            assert row[f"{name}_scores"] == by_hand
            assert row[name] == len(score) >= FEWEST_PAIRS
        audited = audit.groups[(audit.groups["grouping"] == row["grouping"]) & (audit.groups["group"] == row["group"])]
        assert [row[rate] for rate in RATES] == audited[RATES].to_numpy()[0].tolist()
    small = (audit.groups[["kin", "non_kin"]] < FEWEST_PAIRS).any(axis=1)
    assert small.any() and len(rows) == len(audit.groups) - small.sum()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_a_cosine_that_is_rounded_above_one_counts(draw_scored):
    pairs = draw_scored(200)
    pairs["score"] = np.where(pairs["kin"], 1 + 1e-7, -1 - 1e-7)
    overall = describe_scores(pairs, 0.0)[0]
    assert overall["kin_scores"][-1] == overall["non_kin_scores"][0] == 100
