"""The audit: groups and their figures, planted and absent disparities, and the comparison of two models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from kinface.data.pairs import check_pairs
from kinface.fairness.audit import audit_fairness, measure_disparities
from kinface.fairness.comparison import compare_audits, compare_lists
from kinface.fairness.disparities import DISPARITIES
from kinface.fairness.groupings import label_groups
from kinface.fairness.groups import METRICS, compared_groups
from kinface.fairness.intervals import move_from, shrink
from kinface.fairness.standards import shift_scores
from swinface.files import InputError


def row_of(table: pd.DataFrame, **wanted: str) -> pd.Series:
    for column, value in wanted.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_groups_are_ordered_and_missing_labels_form_none(draw_scored):
    pairs = draw_scored(600)
    pairs.loc[:9, "race_a"] = None
    pairs.loc[5:14, "gender_b"] = None
    pairs.loc[:4, "type"] = None
    labels, _ = label_groups(pairs)
    assert list(labels["race"].cat.categories) == ["African", "Asian", "Caucasian", "cross-race"]
    assert list(labels["gender pair"].cat.categories) == ["mm", "mf", "ff"]
    assert list(labels["generation gap"].cat.categories) == ["same generation", "one apart", "two apart"]
    assert list(labels["type"].cat.categories)[:4] == ["bb", "ss", "sibs", "fd"]
    assert labels["race"].isna().sum() == labels["race crossing"].isna().sum() == 10
    assert labels["gender pair"].isna().sum() == 10
    assert labels["type"].isna().sum() == labels["generation gap"].isna().sum() == 5
    assert labels["race and gender"].isna().sum() == 15
    assert labels["overall"].notna().all()


def test_point_values_equal_a_naive_count(draw_scored):
    pairs = draw_scored(1500, digits=1)
    result = audit_fairness(pairs, 0.5, resamples=20)
    for group in ("African", "Caucasian", "cross-race"):
        same = pairs["race_a"] == pairs["race_b"]
        own = pairs[~same if group == "cross-race" else same & (pairs["race_a"] == group)]
        row = row_of(result.groups, grouping="race", group=group)
        accepted = own["score"] >= 0.5
        assert (row["pairs"], row["kin"], row["non_kin"]) == (len(own), own["kin"].sum(), (~own["kin"]).sum())
        assert row["families"] == len(set(own["family_a"]) | set(own["family_b"]))
        assert row["kin_families"] == own.loc[own["kin"], "family_a"].nunique()
        assert row["accuracy"] == pytest.approx((accepted == own["kin"]).mean())
        assert row["positive_rate"] == pytest.approx(accepted.mean())
        assert row["fmr"] == pytest.approx(accepted[~own["kin"]].mean())
        if own["kin"].any():
            assert row["tpr"] == pytest.approx(accepted[own["kin"]].mean()) == pytest.approx(1 - row["fnmr"])
            assert row["auc"] == pytest.approx(roc_auc_score(own["kin"], own["score"]))


def test_a_group_of_one_class_is_missing_not_a_crash(draw_scored):
    result = audit_fairness(draw_scored(1500), 0.5, resamples=50)
    row = row_of(result.groups, grouping="race", group="cross-race")
    assert row["kin"] == 0 < row["non_kin"]
    for metric in ("tpr", "fnmr", "auc", "tar_at_1e-1"):
        assert np.isnan(row[metric])
        assert np.isnan(row[f"{metric}_low"])
    assert row["fmr_low"] < row["fmr"] < row["fmr_high"]
    assert row["not_compared"] == "two values of race"


def test_tar_is_given_only_where_negatives_suffice(draw_scored):
    result = audit_fairness(draw_scored(2000), 0.5, resamples=20)
    groups = result.groups
    for name, far in (("tar_at_1e-1", 0.1), ("tar_at_1e-2", 0.01), ("tar_at_1e-3", 0.001)):
        given = (far * groups["non_kin"] >= 10) & (groups["kin"] > 0)
        assert groups[name].notna().tolist() == given.tolist()
    assert groups["tar_at_1e-2"].notna().any()
    assert groups["tar_at_1e-3"].isna().all()


def test_tar_and_its_interval_are_given_from_the_same_number_of_negatives_on(draw_scored):
    pairs = draw_scored(400)
    for non_kin in (99, 100):
        kept = pd.concat([pairs[pairs["kin"]][:100], pairs[~pairs["kin"]][:non_kin]])
        overall = audit_fairness(kept, 0.5, resamples=20).groups.iloc[0]
        given = overall[["tar_at_1e-1", "tar_at_1e-1_low", "tar_at_1e-1_high"]].notna()
        assert given.tolist() == [non_kin == 100] * 3


def test_few_families_give_no_interval_and_no_comparison(draw_scored):
    pairs = draw_scored(2000)
    first = (pairs["family_a"].isin(["F0", "F1", "F2"]) & pairs["kin"]) | (pairs.index % 20 == 1)
    pairs.loc[first, ["race_a", "race_b"]] = "Indian"
    result = audit_fairness(pairs, 0.5, resamples=50)
    row = row_of(result.groups, grouping="race", group="Indian")
    assert row["kin"] >= 30
    assert row["kin_families"] == 3
    assert np.isnan(row["tpr_low"])
    assert np.isfinite(row["fmr_low"])
    assert row["not_compared"] == "too few: kin pairs of 3 families"
    compared = {
        r.disparity: r.compared for r in result.disparities[result.disparities["grouping"] == "race"].itertuples()
    }
    assert "Indian" not in compared["TPR gap"]
    assert "Indian" in compared["FMR gap"]
    assert "Indian" not in compared["equalized odds difference"]


def test_an_error_never_seen_has_an_interval_all_the_same(draw_scored):
    pairs = draw_scored(1500)
    pairs.loc[(pairs["type"] == "bb") & ~pairs["kin"], "score"] = -9.0
    result = audit_fairness(pairs, 0.5, resamples=300)
    row = row_of(result.groups, grouping="type", group="bb")
    assert row["fmr"] == 0
    assert 0 < row["fmr_high"] < 0.2
    inequity = row_of(result.disparities, grouping="type", disparity="IR")
    assert inequity["value"] == np.inf
    assert inequity["beyond_chance"] is None
    assert np.isnan(inequity["low"])


def test_the_interval_of_an_error_never_seen_depends_on_families_not_on_resamples(draw_scored):
    """It is Jeffreys' interval, with as many trials as there are families."""
    for families in (10, 40):
        pairs = draw_scored(600, families=families)
        pairs.loc[~pairs["kin"], "score"] = -9.0
        reach = beta.ppf(0.95, 0.5, families + 0.5), beta.ppf(0.99, 0.5, families + 0.5)
        for resamples in (400, 1600):
            overall = audit_fairness(pairs, 0.5, resamples=resamples).groups.iloc[0]
            assert overall["fmr"] == overall["fmr_low"] == 0
            assert reach[0] < overall["fmr_high"] < reach[1]


@pytest.fixture
def without_errors(draw_scored):
    """Two gender pairs whose non-kin pairs and one whose kin pairs are all told apart."""
    pairs = draw_scored(1500)
    gender = label_groups(pairs)[0]["gender pair"]
    pairs.loc[gender.isin(["mm", "ff"]) & ~pairs["kin"], "score"] = -9.0
    pairs.loc[(gender == "mm") & pairs["kin"], "score"] = 9.0
    return pairs


def test_intervals_hold_their_points(without_errors):
    groups = audit_fairness(without_errors, 0.5, resamples=200).groups
    for metric in METRICS:
        known = groups[groups[f"{metric}_low"].notna()]
        assert len(known) > 5 or metric in ("tar_at_1e-2", "tar_at_1e-3")  # too few non-kin pairs
        assert (known[f"{metric}_low"] <= known[metric]).all(), metric
        assert (known[f"{metric}_high"] >= known[metric]).all(), metric
    faultless = row_of(groups, grouping="gender pair", group="mm")
    assert (faultless["fmr_low"], faultless["tpr_high"], faultless["fnmr_low"]) == (0, 1, 0)
    assert 0 < faultless["fmr_high"] < 0.2 and 0.8 < faultless["tpr_low"] < 1
    assert faultless["fnmr_high"] == pytest.approx(1 - faultless["tpr_low"])


def test_groups_without_errors_are_not_known_to_be_equal(without_errors):
    pairs = without_errors[label_groups(without_errors)[0]["gender pair"] != "mf"]
    result = audit_fairness(pairs, 0.5, resamples=200)
    drawn = result.deviations["fmr"][:, compared_groups(result.groups, "gender pair", ("fmr",))]
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.3
    gap = row_of(result.disparities, grouping="gender pair", disparity="FMR gap")
    assert gap["value"] == gap["low"] == 0 < gap["high"] < 0.2
    assert not gap["beyond_chance"]


def test_models_without_errors_are_not_known_to_be_equal(without_errors):
    """Neither accepts a stranger, but their scores differ; metrics of one model do not move together either."""
    other = without_errors.assign(score=without_errors["score"] + np.where(without_errors["kin"], 0.1, 0))
    ours, other = (audit_fairness(pairs, 0.5, resamples=200) for pairs in (without_errors, other))
    changes = compare_audits(ours, other)
    fmr = changes[(changes["group"] == "mm") & (changes["metric"] == "fmr")].iloc[0]
    assert fmr["low"] < fmr["difference"] == 0 < fmr["high"]
    row = ours.groups.index[ours.groups["group"] == "mm"][0]
    assert abs(np.corrcoef(ours.deviations["fmr"][:, row], ours.deviations["fnmr"][:, row])[0, 1]) < 0.3


def test_disparities_lie_in_their_intervals_which_leave_the_ideal_only_beyond_chance(draw_scored):
    disparities = audit_fairness(draw_scored(1500, shift={"African": -1.2}), 0.5, resamples=200).disparities
    finite = disparities[np.isfinite(disparities["value"])]
    assert ((finite["low"] <= finite["value"]) & (finite["value"] <= finite["high"])).all()
    ideal_held = (finite["low"] <= finite["ideal"]) & (finite["ideal"] <= finite["high"])
    assert ideal_held[~finite["beyond_chance"].astype(bool)].all()
    assert not ideal_held.all()


def test_intervals_of_disparities_hold_the_truth_where_one_rate_alone_differs():
    rng, names, groups = np.random.default_rng(0), ("GARBE", "FDR", "equalized odds difference"), 3
    truth, deviation = {"tpr": np.array([0.55, 0.76, 0.76]), "fmr": np.full(groups, 0.21)}, np.array([0.12, 0.08, 0.06])
    true = {name: DISPARITIES.find(name)(truth["fmr"], 1 - truth["tpr"]) for name in names[:2]} | {names[2]: 0.21}
    counts = dict.fromkeys(("pairs", "kin", "non_kin", "units", "kin_units", "non_kin_units"), 500)
    held = []
    for _ in range(200):
        found = {name: np.clip(rate + rng.normal(0, deviation), 0.02, 0.98) for name, rate in truth.items()}
        drawn = {name: rng.normal(0, deviation, (200, groups)) for name in truth}
        table = pd.DataFrame({"grouping": "race", "group": [*"ABC"], "not_compared": None, **counts, **found})
        table, drawn["fnmr"] = table.assign(fnmr=1 - table["tpr"]), -drawn["tpr"]
        measured = measure_disparities(table, drawn, {name: DISPARITIES.find(name) for name in names})
        held.append([row.low <= true[row.disparity] <= row.high for row in measured.itertuples()])
    assert np.mean(held, axis=0).min() > 0.92


@pytest.mark.parametrize(("name", "sign"), [("GARBE", 1), ("FDR", -1), ("IR", 1)])
def test_the_interval_of_a_disparity_is_found_by_inverting_a_test(draw_scored, name, sign):
    audit = audit_fairness(draw_scored(3000, shift={"African": -1.2}), 0.5, resamples=500)
    row, disparity = row_of(audit.disparities, grouping="race", disparity=name), DISPARITIES.find(name)
    rows = compared_groups(audit.groups, "race", disparity.rates)
    point = [audit.groups[metric].to_numpy()[rows] for metric in disparity.rates]
    moved = [audit.deviations[metric][:, rows] for metric in disparity.rates]

    def reach(start: list[np.ndarray]) -> np.ndarray:
        scale = np.log if disparity.ratio else np.asarray
        return sign * scale(disparity(*map(move_from, start, point, moved)))

    found = sign * (np.log(row["value"]) if disparity.ratio else row["value"])
    near, far = (row["low"], row["high"]) if sign > 0 else (row["high"], row["low"])
    near, far = sign * np.log([near, far]) if disparity.ratio else sign * np.array([near, far])
    spread = reach(point)
    assert far - found == pytest.approx(np.quantile(spread, 0.975, method="higher") - np.median(spread), rel=1e-6)
    away = [shrink(rate, deviation) for rate, deviation in zip(point, moved, strict=True)]
    shares = np.linspace(0, 1, 201)
    starts = [[rate.mean() + share * (rate - rate.mean()) for rate in away] for share in shares]
    first = next(start for start in starts if np.quantile(reach(start), 0.975, method="higher") >= found)
    truth = disparity(*first)
    assert near == pytest.approx(sign * (np.log(truth) if disparity.ratio else truth), abs=0.1 * (far - near))
    assert near > sign * (np.log(disparity.ideal) if disparity.ratio else disparity.ideal)


def test_a_planted_disparity_is_found_where_it_was_planted(draw_scored):
    pairs = draw_scored(3000, shift={"African": -1.2})
    result = audit_fairness(pairs, 0.5, resamples=300)
    gaps = result.gaps
    race = row_of(gaps, grouping="race", metric="tpr")
    assert race["lowest"] == "African"
    assert race["significant"]
    assert race["difference"] == pytest.approx(race["highest_value"] - race["lowest_value"])
    assert race["low"] < race["difference"] < race["high"]
    assert not row_of(gaps, grouping="race", metric="fmr")["significant"]
    assert not row_of(gaps, grouping="gender pair", metric="tpr")["significant"]
    assert row_of(result.disparities, grouping="race", disparity="equalized odds difference")["low"] > 0


def test_equal_groups_seldom_go_beyond_chance(draw_scored):
    """One in twenty by definition; the largest gap itself is never 0."""
    beyond, gaps, repeats = 0, [], 30
    for seed in range(repeats):
        pairs = draw_scored(800, seed=seed).assign(race_a=None, race_b=None, gender_a=None, gender_b=None)
        result = audit_fairness(pairs, 0.5, resamples=100, seed=seed)
        gap = row_of(result.disparities, grouping="generation gap", disparity="TPR gap")
        beyond += gap["beyond_chance"]
        gaps.append(gap["value"])
    assert min(gaps) > 0
    assert beyond <= 0.15 * repeats


def test_disparities_equal_their_functions_on_the_groups(draw_scored):
    result = audit_fairness(draw_scored(2000), 0.5, resamples=50)
    for row in result.disparities.itertuples():
        disparity = DISPARITIES.find(row.disparity)
        own = result.groups.iloc[compared_groups(result.groups, row.grouping, disparity.rates)]
        assert row.compared == ", ".join(own["group"])
        assert "cross-race" not in row.compared or row.grouping == "race crossing"
        value = disparity.function(*(own[rate].to_numpy() for rate in disparity.rates))
        assert row.value == pytest.approx(float(value))


def test_the_same_model_differs_by_exactly_nothing(draw_scored):
    pairs = draw_scored(1200)
    first, again = (audit_fairness(pairs.copy(), 0.5, resamples=50) for _ in range(2))
    table = compare_audits(first, again)
    known = table.dropna(subset=["ours"])
    assert len(known) > 100
    finite = known[np.isfinite(known["ours"])]
    assert (finite["difference"] == 0).all()
    assert (table["low"].dropna() == 0).all()
    assert (table["high"].dropna() == 0).all()


def test_a_better_model_is_shown_on_the_same_resamples(draw_scored):
    pairs = draw_scored(1500)
    worse = pairs.assign(score=pairs["score"] + np.random.default_rng(1).normal(0, 1.5, len(pairs)))
    table = compare_audits(audit_fairness(pairs, 0.5, resamples=200), audit_fairness(worse, 0.5, resamples=200))
    auc = row_of(table, grouping="overall", metric="auc")
    assert auc["difference"] == pytest.approx(auc["ours"] - auc["other"])
    assert 0 < auc["low"] < auc["difference"] < auc["high"]
    spread = table[(table["grouping"] == "race") & (table["metric"] == "equalized odds difference")].iloc[0]
    assert pd.isna(spread["group"])
    assert spread["difference"] - spread["low"] == pytest.approx(spread["high"] - spread["difference"])


def test_a_group_that_is_left_out_of_an_audit_is_not_significant_beside_another_model(draw_scored):
    """26 non-kin pairs of many families: by its FMR the group is compared with no other group, and with no model."""
    pairs = draw_scored(2000)
    shared = pairs["race_a"].where(pairs["race_a"] == pairs["race_b"])
    asian = np.flatnonzero((shared == "Asian") & ~pairs["kin"])
    pairs = pairs.drop(index=pairs.index[asian[26:]]).reset_index(drop=True)
    group = (pairs["race_a"] == "Asian") & (pairs["race_b"] == "Asian")
    other = pairs.assign(score=pairs["score"] - 9 * group * ~pairs["kin"])
    audits = [audit_fairness(scored, 0.5, resamples=100) for scored in (pairs, other)]
    asian = row_of(audits[0].groups, grouping="race", group="Asian")
    assert (asian["non_kin"], asian["not_compared"]) == (26, "too few: 26 non-kin pairs")
    assert asian["fmr"] > 0.2 and np.isfinite(asian["fmr_low"])
    differences = compare_audits(*audits)
    for metric, judged in {"fmr": False, "accuracy": False, "auc": False, "tpr": True}.items():
        row = row_of(differences, grouping="race", group="Asian", metric=metric)
        assert np.isfinite(row["difference"])
        assert np.isfinite([row["low"], row["high"]]).all() == judged
    beside = [audit_fairness(scored, 0.5, resamples=100, beside=pairs) for scored in (pairs, pairs)]
    row = row_of(compare_lists(*beside), grouping="race", group="Asian", metric="fmr")
    assert np.isnan([row["low"], row["high"]]).all()
    shifts = shift_scores(audits[0])
    assert np.isnan(row_of(shifts, grouping="race", group="Asian", kind="non-kin")["low"])
    assert np.isfinite(row_of(shifts, grouping="race", group="Asian", kind="kin")["low"])


def test_unlike_lists_or_resamples_are_not_compared(draw_scored):
    pairs = draw_scored(600)
    first = audit_fairness(pairs, 0.5, resamples=20)
    swapped = pairs.copy()
    swapped.loc[3, "face_b"] = "F/elsewhere.jpg"
    with pytest.raises(InputError, match=r"row 4: face_b is 'F/elsewhere.jpg' here and 'F/b3.jpg' there"):
        compare_audits(first, audit_fairness(swapped, 0.5, resamples=20))
    turned = pairs.rename(columns={"face_a": "face_b", "face_b": "face_a"})
    for other, advice in (
        (pairs.iloc[::-1], "both have the same pairs; sort their rows alike"),
        (turned, "both have the same pairs; sort their rows alike"),
        (pairs.assign(family_a=None), "give both tables this column, or neither"),
    ):
        with pytest.raises(InputError, match=advice):
            compare_audits(first, audit_fairness(other, 0.5, resamples=20))
    with pytest.raises(InputError, match="599 pairs against 600"):
        compare_audits(first, audit_fairness(pairs.iloc[1:], 0.5, resamples=20))
    with pytest.raises(InputError, match="different resamples"):
        compare_audits(first, audit_fairness(pairs, 0.5, resamples=20, seed=1))


def test_an_audit_is_printed_as_a_short_table():
    kin = np.arange(40) % 2 == 0
    faces = {f"face_{side}": [f"{side}{row}.jpg" for row in range(40)] for side in "ab"}
    pairs = check_pairs(pd.DataFrame(faces | {"kin": kin, "score": kin + 0.1, "type": "gmgs"}), "made up", scored=True)
    audit = audit_fairness(pairs, 0.5, resamples=100)
    assert str(audit).splitlines()[0] == "at the threshold 0.5000"
    assert len(str(audit).splitlines()) == 2 + len(audit.groups)
    assert "grandmother and grandson" in str(audit) and "gmgs" not in str(audit)
    assert len(repr(audit)) < 200
