"""What is read from an audit: gaps, what a list rewards, and where accuracies cannot be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinface.fairness.audit import audit_fairness
from kinface.fairness.contrasts import find_gaps, find_race_reward, find_unequal_prevalence


def reward_of(pairs: pd.DataFrame) -> dict[str, float] | None:
    return find_race_reward(audit_fairness(pairs, 0.5, resamples=20).contrasts)


def test_prevalence_and_the_reward_of_race_are_found(draw_scored):
    pairs = draw_scored(2000)
    crossing = pairs["race_a"] != pairs["race_b"]
    flattered = pairs.assign(score=pairs["score"] - 1.5 * crossing)
    result = audit_fairness(flattered, 0.5, resamples=100)
    reward = find_race_reward(result.contrasts)
    assert reward["same"] - reward["cross"] == pytest.approx(reward["difference"])
    assert 0 < reward["low"] < reward["difference"] < reward["high"]
    assert reward["significant"] and not reward_of(pairs)["significant"]
    same = result.groups.query("grouping == 'race crossing' and group == 'same-race'")
    assert reward["same"] == same["fmr"].item()
    assert "race" in find_unequal_prevalence(result.groups)  # non-kin pairs mostly cross races, kin pairs never
    assert "gender pair" not in find_unequal_prevalence(result.groups)
    gaps = result.gaps.set_index(["grouping", "metric"])
    assert not gaps.loc[("race", "accuracy"), "comparable"]
    assert reward_of(pairs[~crossing]) is None


def test_no_gap_is_significant_where_shares_of_kin_pairs_alone_explain_it(draw_scored):
    pairs = draw_scored(2000)
    pairs = pairs.assign(half=pairs.index % 4 < 2)[lambda table: table["half"] | ~table["kin"] | (table.index % 3 == 0)]
    for threshold, correct in ((9.0, ~pairs["kin"]), (-9.0, pairs["kin"])):
        gaps = audit_fairness(pairs, threshold, groupings=["half"], resamples=100).gaps
        accuracy = gaps[(gaps["grouping"] == "half") & (gaps["metric"] == "accuracy")].iloc[0]
        shares = correct.groupby(pairs["half"]).mean()
        assert accuracy["difference"] == pytest.approx(abs(shares[True] - shares[False]))
        assert accuracy["low"] > 0 and accuracy["difference"] > accuracy["chance"]
        assert not accuracy["comparable"] and not accuracy["significant"]


def test_no_reward_is_judged_from_few_families(draw_scored):
    pairs = draw_scored(2000)
    crossing = pairs["race_a"] != pairs["race_b"]
    few = crossing & pairs["family_a"].isin(["F0", "F1"]) & pairs["family_b"].isin(["F2", "F3", "F4", "F5"])
    kept = pairs[~crossing | few]
    assert (kept["race_a"] != kept["race_b"]).any()
    families = set(pairs.loc[few, "family_a"]) | set(pairs.loc[few, "family_b"])
    assert (reward_of(kept) is None) == (len(families) < 5)
    assert len(families) < 5


def test_no_reward_is_judged_from_few_pairs(draw_scored):
    pairs = draw_scored(2000)
    crossing = np.flatnonzero(pairs["race_a"] != pairs["race_b"])
    for count in (29, 30):
        kept = pairs.drop(index=crossing[count:]).reset_index(drop=True)
        assert (reward_of(kept) is None) == (count == 29)


def test_a_gap_of_equal_groups_is_between_two_groups_and_has_a_width(draw_scored):
    pairs = draw_scored(1500)
    pairs.loc[~pairs["kin"], "score"] = -9.0
    gaps = audit_fairness(pairs, 0.5, resamples=200).gaps
    strangers = gaps[gaps["metric"] == "fmr"]
    assert len(strangers) > 3
    assert (strangers["highest"] != strangers["lowest"]).all()
    assert (strangers["difference"] == 0).all()
    assert (strangers["low"] < 0).all() and (strangers["high"] > 0).all()
    assert not strangers["significant"].any()
    assert np.isfinite(gaps["chance"]).all()


@pytest.mark.parametrize("beyond", [True, False])
@pytest.mark.parametrize("spread", [0.01, 0.5])
def test_a_gap_is_significant_only_if_its_interval_excludes_0_and_it_is_beyond_chance(spread, beyond):
    counts = dict.fromkeys(["pairs", "kin", "non_kin", "units", "kin_units", "non_kin_units"], 100)
    groups = pd.DataFrame({"grouping": "race", "group": ["x", "y"], "tpr": [0.9, 0.6], "not_compared": None} | counts)
    found = {"grouping": "race", "disparity": "TPR gap", "value": 0.3, "chance": 0.2, "beyond_chance": beyond}
    (gap,) = find_gaps(groups, pd.DataFrame([found]), {"tpr": np.eye(2) * spread**2}).itertuples()
    assert (gap.highest, gap.lowest, gap.low > 0) == ("x", "y", spread < 0.1)
    assert gap.significant == (beyond and spread < 0.1)


def test_each_group_is_compared_with_the_largest(draw_scored):
    pairs = draw_scored(4000, shift={"African": -1.0})
    result = audit_fairness(pairs, 0.5, resamples=200)
    contrasts = result.contrasts
    races = contrasts[contrasts["grouping"] == "race"].set_index(["group", "metric"])
    sizes = result.groups[result.groups["grouping"] == "race"].set_index("group")["pairs"].drop("cross-race")
    assert set(races["reference"]) == {sizes.idxmax()} == {"Caucasian"}
    values = result.groups[result.groups["grouping"] == "race"].set_index("group")
    for (group, metric), row in races.iterrows():
        assert row["difference"] == pytest.approx(values.loc[group, metric] - values.loc["Caucasian", metric])
        assert row["low"] <= row["difference"] <= row["high"]
    assert races.loc[("African", "tpr"), "high"] < 0, "the planted shift is significant"
    assert races.loc[("Asian", "tpr"), "low"] < 0 < races.loc[("Asian", "tpr"), "high"], "nothing was planted"
    assert contrasts.groupby("grouping")["reference"].nunique().max() <= 2  # one metric may lack the largest group
    assert "overall" not in set(contrasts["grouping"])
