"""What is read from an audit: gaps, what a list rewards, and where accuracies cannot be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from kinface.fairness.audit import audit_fairness
from kinface.fairness.contrasts import (
    CONTRASTED,
    contrast_with_largest,
    correct_holm,
    find_gaps,
    find_race_reward,
    find_unequal_prevalence,
    judge_gap,
)


def reward_of(pairs: pd.DataFrame) -> dict[str, float] | None:
    return find_race_reward(audit_fairness(pairs, 0.5, resamples=20).gaps)


def test_prevalence_and_the_reward_of_race_are_found(draw_scored):
    pairs = draw_scored(2000)
    crossing = pairs["race_a"] != pairs["race_b"]
    flattered = pairs.assign(score=pairs["score"] - 1.5 * crossing)
    result = audit_fairness(flattered, 0.5, resamples=100)
    reward = find_race_reward(result.gaps)
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


COUNTS = dict.fromkeys(["pairs", "kin", "non_kin", "units", "kin_units", "non_kin_units"], 100)


def table_of(rates: dict[str, list[float]]) -> pd.DataFrame:
    """``groups`` of some groupings, the first group the largest."""
    rows = [(grouping, f"g{number}", rate) for grouping, own in rates.items() for number, rate in enumerate(own)]
    table = pd.DataFrame(rows, columns=["grouping", "group", "tpr"]).assign(not_compared=None, **COUNTS)
    return table.assign(pairs=np.where(table["group"] == "g0", 101, 100))


def gaps_of(rates: dict[str, list[float]], variances: np.ndarray | float) -> pd.DataFrame:
    groups = table_of(rates)
    found = pd.DataFrame({"grouping": [*rates], "disparity": "TPR gap", "chance": 0.2})
    return find_gaps(groups, found, {"tpr": np.diag(np.broadcast_to(variances, len(groups)))})


def test_holms_correction_is_that_of_its_definition():
    p = np.random.default_rng(0).random(12) / 20
    p[[3, 7]] = np.nan
    ascending = sorted(p[~np.isnan(p)])
    steps = [min(1, (len(ascending) - number) * value) for number, value in enumerate(ascending)]
    for value, adjusted in zip(p, correct_holm(p), strict=True):
        expected = np.nan if np.isnan(value) else max(steps[: ascending.index(value) + 1])
        assert adjusted == pytest.approx(expected, nan_ok=True)
    assert len(correct_holm([])) == 0


def test_p_values_of_equal_groups_are_uniform():
    """That of the largest gap of six, chosen after looking; of their rates' covariance, which is no diagonal."""
    rng, spread = np.random.default_rng(0), 0.02
    covariance = spread**2 * (0.7 * np.eye(6) + 0.3)
    rates = 0.6 + rng.multivariate_normal(np.zeros(6), covariance, 300)
    p = np.array([judge_gap(rate, covariance) for rate in rates])
    assert [np.mean(p < level) for level in (0.05, 0.2, 0.5)] == pytest.approx([0.05, 0.2, 0.5], abs=0.06)
    assert judge_gap(np.full(3, 0.4), np.eye(3)) == 1


def test_a_small_group_hides_no_difference_of_large_ones():
    rate, spread = np.array([0.6, 0.5, 0.55]), np.array([0.01, 0.01, 0.2])
    assert judge_gap(rate, np.diag(spread**2)) < 0.001
    assert judge_gap(rate[[0, 2]], np.diag(spread[[0, 2]] ** 2)) > 0.5


def test_a_gap_is_no_more_significant_than_its_interval_and_chance_allow():
    two = gaps_of({"race": [0.6, 0.5]}, 0.035**2).iloc[0]  # two groups: p is that of the interval
    assert two["low"] > 0 and 0.03 < two["p"] < 0.05 and two["significant"]
    many = gaps_of({"race": [0.6, 0.5, *[0.55] * 6]}, 0.035**2).iloc[0]  # the same, chosen of eight
    assert many["low"] > 0 and many["p"] > 0.3 and not many["significant"]
    wide = gaps_of({"race": [0.6, 0.5]}, 0.06**2).iloc[0]
    assert wide["low"] < 0 and wide["p"] > 0.05 and not wide["significant"]


def test_gaps_are_corrected_for_the_number_of_comparable_ones():
    rates = {"race": [0.6, 0.5], **{f"other {number}": [0.55, 0.55] for number in range(9)}}
    gaps = gaps_of(rates, 0.035**2)
    assert gaps["p_adjusted"][0] == pytest.approx(10 * gaps["p"][0]) and gaps["p"][0] < 0.05
    assert not gaps["significant"].any()
    assert gaps_of(rates, 0.02**2)["significant"].tolist() == [True] + [False] * 9


def test_of_many_equal_groups_none_is_different_because_another_is():
    """Of 20 groups one truly differs, which made each other contrast a test of its own."""
    rng, false, found, sets = np.random.default_rng(0), 0, 0, 100
    for _ in range(sets):
        rates = 0.6 + 0.02 * rng.normal(size=20)
        rates[-1] -= 0.3
        groups = table_of({"site": rates}).assign(fmr=0.1, auc=0.9)
        table = contrast_with_largest(groups, dict.fromkeys(CONTRASTED, np.eye(20) * 0.02**2)).query("metric == 'tpr'")
        false += table["significant"][:-1].any()
        found += table["significant"].iloc[-1]
        assert (table["significant"] == (table["p_adjusted"] < 0.05)).all()
    assert false <= 0.1 * sets and found == sets


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


def test_a_difference_that_every_unit_shows_alike_has_no_width():
    """At each of 32 sites, group y accepts one kin pair of two more than group x; half of the sites accept one more."""
    rows = [
        (site, group, kin, score)
        for site in range(32)
        for group, kin_scores in (("x", (site % 2, 0)), ("y", (site % 2, 1)))
        for kin, scores in ((True, kin_scores), (False, (0.9, 0.1)))
        for score in scores
    ]
    pairs = pd.DataFrame(rows, columns=["site", "g", "kin", "score"])
    pairs = pairs.assign(face_a=[f"a{row}" for row in pairs.index], face_b=[f"b{row}" for row in pairs.index])
    audit = audit_fairness(pairs, 0.5, groupings=["g"], clusters=["site"], resamples=50)
    gaps = audit.gaps.set_index("metric")
    tpr, fmr = gaps.loc["tpr"], gaps.loc["fmr"]
    assert (tpr["highest_value"], tpr["lowest_value"]) == (0.75, 0.25)
    assert tpr["low"] == tpr["difference"] == tpr["high"] == 0.5
    assert tpr["p"] == 1 / 10_001 and tpr["significant"]
    assert (fmr["difference"], fmr["p"], fmr["significant"]) == (0, 1, False)
    assert audit.contrasts.set_index("metric")["p_adjusted"].to_dict() == {"tpr": 0, "fmr": 1, "auc": 0}
    # the sums of a site are those of an independent dyad: the variance is what they vary by, and not below it
    assert audit.covariance["tpr"][1, 1] == pytest.approx(audit.covariance["tpr"][1, 2]) and tpr["low"] > 0


def test_groups_that_move_together_do_not_blur_others():
    """The first two always differ by the same; the third differs from them by 3 of its own standard errors."""
    covariance = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 0.01]])
    same, apart = (judge_gap(np.array([0.5, 0.5, third]), covariance) for third in (0.5, 0.5 + 3 * 1.01**0.5))
    assert same == 1
    assert apart == pytest.approx(2 * norm.sf(3), abs=1.5e-3)
    assert judge_gap(np.array([0.5, 0.6, 0.5]), covariance) == 1 / 10_001
