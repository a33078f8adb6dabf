"""Disparity metrics against naive loops, fairlearn, and what they say where rates are zero."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn

from kinface.fairness.audit import audit_fairness, measure_disparities
from kinface.fairness.comparison import compare_audits
from kinface.fairness.disparities import (
    DISPARITIES,
    Disparity,
    accuracy_spread,
    demographic_parity_difference,
    equalized_odds_difference,
    fairness_discrepancy_rate,
    find_disparity,
    garbe,
    inequity_rate,
    max_over_geometric_mean,
    skewed_error_ratio,
)
from kinface.fairness.intervals import move, shrink
from swinface.files import InputError

FMR, FNMR = np.array([0.1, 0.25, 0.4]), np.array([0.3, 0.2, 0.5])


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_biometric_metrics_equal_naive_loops(alpha):
    def gini(x):
        n = len(x)
        total = sum(abs(a - b) for a in x for b in x)
        return n / (n - 1) * total / (2 * n * n * sum(x) / n)

    def widest(x):
        return max(abs(a - b) for a in x for b in x)

    ratio = (0.4 / 0.1) ** alpha * (0.5 / 0.2) ** (1 - alpha)
    assert garbe(FMR, FNMR, alpha) == pytest.approx(alpha * gini(FMR) + (1 - alpha) * gini(FNMR))
    assert inequity_rate(FMR, FNMR, alpha) == pytest.approx(ratio)
    expected = 1 - alpha * widest(FMR) - (1 - alpha) * widest(FNMR)
    assert fairness_discrepancy_rate(FMR, FNMR, alpha) == pytest.approx(expected)


def test_max_over_geometric_mean():
    assert max_over_geometric_mean(FMR) == pytest.approx(0.4 / (0.1 * 0.25 * 0.4) ** (1 / 3))
    assert max_over_geometric_mean(np.array([0.2, 0.2])) == pytest.approx(1)
    assert max_over_geometric_mean(np.array([0.0, 0.2])) == np.inf
    assert max_over_geometric_mean(np.zeros(2)) == 1


def test_accuracy_metrics():
    accuracy = np.array([0.9, 0.8, 0.7])
    assert accuracy_spread(accuracy) == pytest.approx((2 * 0.1**2 / 3) ** 0.5)
    assert skewed_error_ratio(accuracy) == pytest.approx(3)


def test_differences_equal_fairlearn():
    rng = np.random.default_rng(0)
    group, kin, accepted = rng.integers(4, size=500), rng.integers(2, size=500), rng.integers(2, size=500)
    tpr, fmr, rate = (
        np.array([accepted[(group == g) & chosen].mean() for g in range(4)])
        for chosen in (kin == 1, kin == 0, kin >= 0)
    )
    given = {"y_true": kin, "y_pred": accepted, "sensitive_features": group}
    assert equalized_odds_difference(tpr, fmr) == pytest.approx(fairlearn.equalized_odds_difference(**given))
    assert demographic_parity_difference(rate) == pytest.approx(fairlearn.demographic_parity_difference(**given))


@pytest.mark.parametrize("name", DISPARITIES.names())
def test_resamples_on_leading_axes_give_what_each_gives_alone(name):
    disparity = DISPARITIES.find(name)
    rates = np.random.default_rng(1).uniform(0.05, 0.95, (len(disparity.rates), 3, 7, 4))
    together = disparity.function(*rates)
    assert together.shape == (3, 7)
    assert together[2, 5] == pytest.approx(float(disparity.function(*rates[:, 2, 5])))
    worse = together > disparity.ideal if disparity.grows else together < disparity.ideal
    assert worse.all()


@pytest.mark.parametrize("name", DISPARITIES.names())
def test_equal_groups_are_ideal_and_a_missing_group_is_missing(name):
    disparity = DISPARITIES.find(name)
    rates = np.full((len(disparity.rates), 5), 0.3)
    assert disparity.function(*rates) == pytest.approx(disparity.ideal)
    rates[:, 2] = np.nan
    assert np.isnan(disparity.function(*rates))


def test_zero_in_some_groups_is_infinite_and_zero_in_all_is_equal():
    none, one = np.zeros(3), np.array([0.0, 0.1, 0.2])
    assert inequity_rate(one, FNMR) == np.inf
    assert inequity_rate(none, FNMR) == pytest.approx((0.5 / 0.2) ** 0.5)
    # Gini of .1, .5, .6: 3/2 * (2 * (.4 + .5 + .1)) / (2 * 9 * .4) = 5/12; half of it, as FMR adds 0
    assert garbe(none, np.array([0.1, 0.5, 0.6])) == pytest.approx(5 / 24)
    assert garbe(none, none) == 0
    assert inequity_rate(none, none) == 1
    assert skewed_error_ratio(np.array([1.0, 0.9])) == np.inf
    assert skewed_error_ratio(np.ones(2)) == 1
    lost = np.array([0.0, np.nan, 0.0])
    assert np.isnan([garbe(lost, FNMR), inequity_rate(lost, FNMR), max_over_geometric_mean(lost)]).all()


def test_a_false_match_rate_of_zero_everywhere_hides_no_difference_in_fnmr(draw_scored):
    pairs = draw_scored(3000, shift={"African": -2}, family_effect=0)
    pairs["score"] = pairs["score"].where(pairs["kin"], -5)
    table = audit_fairness(pairs, 0.5, resamples=200).disparities.query("grouping == 'race'").set_index("disparity")
    assert table.loc["FMR gap", "value"] == 0 < table.loc["FNMR, max over geometric mean", "value"] - 1
    for name in ("GARBE", "IR"):
        row = table.loc[name]
        assert np.isfinite(row[["value", "low", "high", "chance"]].astype(float)).all()
        assert row["low"] <= row["value"] <= row["high"] and row["value"] > row["ideal"]


OWN = """from kinface.fairness.disparities import Disparity
gap = Disparity(lambda tpr: tpr.max(axis=-1) - tpr.min(axis=-1), rates=("tpr",), ideal=0)
worst = Disparity(lambda auc: auc.min(axis=-1), rates=("auc",), ideal=1, grows=False)
no_disparity = max
no_rate = Disparity(lambda far: far.max(axis=-1), rates=("far",), ideal=0)
one = Disparity(lambda tpr: tpr.max(), rates=("tpr",), ideal=0)
fails = Disparity(lambda tpr: max(tpr), rates=("tpr",), ideal=0)
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """Name of a custom module in the working folder."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_disparity_of_ones_own_has_the_interval_and_the_chance_limit_of_ours(own, draw_scored):
    pairs = draw_scored(1500, shift={"African": -1.2})
    plain = audit_fairness(pairs, 0.5, resamples=100)
    audit = audit_fairness(pairs, 0.5, resamples=100, disparities=[f"{own}.gap", f"{own}.worst"])
    table = audit.disparities[audit.disparities["grouping"] == "race"].set_index("disparity")
    figures = ["compared", "value", "ideal", "low", "high", "chance", "beyond_chance", "resamples"]
    assert table.loc[f"{own}.gap", figures].tolist() == table.loc["TPR gap", figures].tolist()
    worst = table.loc[f"{own}.worst"]
    of_race = audit.groups[audit.groups["grouping"] == "race"]
    assert worst["value"] == of_race["auc"].min()
    assert worst["low"] < worst["value"] < worst["high"] <= 1
    assert worst["beyond_chance"] and worst["value"] < worst["chance"]
    ours = audit.disparities[audit.disparities["disparity"].isin(DISPARITIES.names())].reset_index(drop=True)
    assert ours.equals(plain.disparities), "the others stay as they are"
    differences = compare_audits(audit, audit)
    assert (differences.loc[differences["metric"] == f"{own}.worst", "difference"] == 0).all()
    with pytest.raises(InputError, match="different disparities"):
        compare_audits(audit, plain)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TPR ratio", "no disparity 'TPR ratio'; choose from accuracy gap, TPR gap"),
        ("{own}.nothing", "has no 'nothing'"),
        ("{own}.no_disparity", r"must be a kinface\.fairness\.disparities\.Disparity"),
        ("{own}.no_rate", r"its rates are \('far',\); groups have accuracy, tpr"),
        ("{own}.one", r"makes \(\) of rates \(100, 3\); it must reduce the last axis"),
        ("{own}.fails", r"^disparity '\w+\.fails': the function of the disparity: it fails .ValueError"),
    ],
)
def test_what_is_no_disparity_is_refused_in_one_line(own, name, said, draw_scored):
    with pytest.raises(InputError, match=said) as refused:
        audit_fairness(draw_scored(1500), 0.5, resamples=100, disparities=[name.format(own=own)])
    assert "\n" not in str(refused.value)


def test_a_registered_disparity_is_found_by_its_name():
    assert find_disparity("GARBE")(FMR, FNMR) == garbe(FMR, FNMR)
    assert isinstance(find_disparity("IR"), Disparity)


def test_shrunken_rates_differ_by_what_chance_leaves_unexplained():
    rng = np.random.default_rng(0)
    rate, deviation = np.array([0.3, 0.5, 0.55, 0.7]), 0.05 * rng.normal(size=(500, 4))
    nearer = shrink(rate, deviation)
    assert nearer.mean() == pytest.approx(rate.mean())
    assert nearer.var() == pytest.approx(rate.var() - deviation.var(axis=1).mean())
    assert np.ptp(shrink(rate, 10 * deviation)) == np.ptp(shrink(np.full(4, 0.5), deviation)) == 0
    np.testing.assert_allclose(shrink(rate, 0 * deviation), rate)


@pytest.mark.parametrize("name", ["GARBE", "FDR"])
def test_an_interval_holds_the_truth_where_one_of_two_rates_is_alike(name):
    """Chance moves the other rate apart, and so the disparity from its ideal."""
    rng, disparity, held = np.random.default_rng(0), DISPARITIES.find(name), []
    truth = {"fmr": np.full(3, 0.3), "fnmr": np.array([0.2, 0.3, 0.5])}
    for _ in range(150):
        made = {metric: move(rate, 0.04 * rng.normal(size=3)) for metric, rate in truth.items()}
        groups = pd.DataFrame({"grouping": "race", "group": [*"abc"], "not_compared": None, **made})
        groups = groups.assign(kin=100, non_kin=100, pairs=200, kin_units=50, non_kin_units=50, units=100)
        deviations = {metric: 0.04 * rng.normal(size=(200, 3)) for metric in truth}
        row = measure_disparities(groups, deviations, {name: disparity}).iloc[0]
        held.append(row["low"] <= disparity(*truth.values()) <= row["high"])
    assert np.mean(held) > 0.92
