"""Figures of types are scikit-learn's, and intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

import kinface
from kinface.data.vocabulary import PREDICTED_TYPES, TYPES
from kinface.fairness.audit import audit_fairness
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import Z, reach_of_jeffreys, widen
from kinface.fairness.types import audit_types, count_confusions, interval_of_balanced
from swinface.files import InputError


@pytest.fixture
def pairs(draw_scored) -> pd.DataFrame:
    """Pairs of which the type is predicted right half of the time, and at random otherwise."""
    pairs, random = draw_scored(1500), np.random.default_rng(0)
    truth = pairs["type"].where(pairs["kin"], "unrelated")
    guess = pd.Series(random.choice(PREDICTED_TYPES, len(pairs)))
    pairs["type_predicted"] = truth.where(random.random(len(pairs)) < 0.5, guess)
    pairs.loc[:99, "type"] = None
    return pairs


def audit(pairs: pd.DataFrame, **options):
    return audit_fairness(pairs, 0.5, resamples=10, **options)


def test_the_figures_are_those_of_scikit_learn(pairs):
    found, known = audit_types(audit(pairs)), pairs[pairs["kin"] & pairs["type"].notna()]
    truth, predicted = known["type"], known["type_predicted"]
    recalls = recall_score(truth, predicted, labels=[*TYPES], average=None)
    of_type = found[found["grouping"] == "type"]
    np.testing.assert_allclose(of_type.set_index("group")["accuracy"][[*TYPES]], recalls)
    np.testing.assert_allclose(of_type["balanced_accuracy"], of_type["accuracy"])
    assert [*of_type["pairs"]] == [(truth == name).sum() for name in of_type["group"]]
    everyone = found.iloc[0]
    assert (everyone["group"], everyone["pairs"], everyone["families"]) == ("all pairs", 700, 60)
    assert everyone["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert everyone["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert everyone["missed"] == pytest.approx((predicted == "unrelated").mean())
    assert everyone["rejected"] == pytest.approx((pairs["type_predicted"] == "unrelated")[~pairs["kin"]].mean())
    african = known[(known["race_a"] == "African") & (known["race_b"] == "African")]
    row = found[(found["grouping"] == "race") & (found["group"] == "African")].iloc[0]
    assert (row["pairs"], row["accuracy"]) == (
        len(african),
        pytest.approx(accuracy_score(african["type"], african["type_predicted"])),
    )
    for name in ("accuracy", "balanced_accuracy", "missed", "rejected"):
        assert (found[f"{name}_low"].isna() | (found[f"{name}_low"] <= found[name])).all()
        assert (found[f"{name}_high"].isna() | (found[f"{name}_high"] >= found[name])).all()


def test_chance_is_what_shuffled_predictions_give(pairs):
    everyone, kin = audit_types(audit(pairs)).iloc[0], pairs["kin"] & pairs["type"].notna()
    random, drawn = np.random.default_rng(0), []
    for _ in range(300):
        shuffled = random.permutation(pairs.loc[kin, "type_predicted"])
        right = pd.Series(shuffled == pairs.loc[kin, "type"].to_numpy())
        drawn.append((right.mean(), right.groupby(pairs.loc[kin, "type"].to_numpy()).mean().mean()))
    np.testing.assert_allclose(np.mean(drawn, axis=0), everyone[["chance", "balanced_chance"]].astype(float), atol=2e-3)


def test_confusions_are_those_of_scikit_learn(pairs):
    counts = count_confusions(audit(pairs))
    known = pairs[pairs["type"].notna() | ~pairs["kin"]]
    truth = known["type"].where(known["kin"], "unrelated")
    wanted = confusion_matrix(truth, known["type_predicted"], labels=PREDICTED_TYPES)
    assert (*counts.index,) == (*counts.columns,) == PREDICTED_TYPES
    np.testing.assert_array_equal(counts, wanted)
    shares = count_confusions(audit(pairs), shares=True)
    np.testing.assert_allclose(shares, wanted / wanted.sum(axis=1, keepdims=True))


def test_types_that_no_pair_has_are_no_rows():
    pairs = pd.DataFrame({"kin": [True, True, False], "score": [0.9, 0.8, 0.1], "type": ["md", "fs", "fs"]})
    pairs = pairs.assign(face_a=[*"abc"], face_b=[*"def"], type_predicted=["md", "md", "unrelated"])
    pairs = pairs.assign(family_a=[*"123"], family_b=[*"124"])
    found = kinface.audit(pairs, 0.5)
    assert [*found.confusions().index] == ["fs", "md", "unrelated"]
    assert found.confusions(shares=True).loc["fs", "md"] == 1
    assert found.types().iloc[0][["accuracy", "balanced_accuracy", "chance"]].tolist() == [0.5, 0.5, 0.5]


def test_the_error_of_balanced_accuracy_is_that_of_independent_recalls():
    """With every pair in a family of its own it is the root of sum_k p_k (1 - p_k) / n_k over K, widened as ever."""
    types, right = np.repeat([0, 1, 2], [40, 100, 10]), np.concatenate([np.arange(40) < 10, np.arange(100) < 70])
    right = np.append(right, np.zeros(10)).astype(float)  # a type that is never identified
    value, low, high = interval_of_balanced(right, types, Dyads(*[np.arange(150)] * 2, np.arange(150)))
    assert value == pytest.approx((0.25 + 0.7 + 0) / 3)
    variance = (0.25 * 0.75 / 40 + 0.7 * 0.3 / 100) / 9 * 150 / 149 * float(widen(150)) ** 2
    variance += (reach_of_jeffreys(10) / Z / 3) ** 2
    half = Z * np.sqrt(variance) / (value * (1 - value))
    logit = np.log(value / (1 - value))
    assert (low, high) == pytest.approx((1 / (1 + np.exp(half - logit)), 1 / (1 + np.exp(-half - logit))))


def test_a_type_of_few_families_leaves_balanced_accuracy_without_interval():
    types, right = np.repeat([0, 1], [40, 4]), np.tile([0.0, 1.0], 22)
    value, low, high = interval_of_balanced(right, types, Dyads(*[np.arange(44)] * 2, np.arange(44)))
    assert value == 0.5 and np.isnan([low, high]).all()


def test_intervals_hold_the_truth():
    """Families of different skill; in 200 draws, at least nine of ten intervals hold the expected balanced accuracy."""
    random, held = np.random.default_rng(0), 0
    for _ in range(200):
        family = np.repeat(np.arange(40), 8)
        types = random.choice(4, len(family), p=[0.4, 0.3, 0.2, 0.1])
        chance = np.array([0.2, 0.4, 0.6, 0.5])[types] + random.uniform(-0.2, 0.2, 40)[family]
        right = (random.random(len(family)) < chance).astype(float)
        _, low, high = interval_of_balanced(right, types, Dyads(family, family, np.arange(40)))
        held += low <= (0.2 + 0.4 + 0.6 + 0.5) / 4 <= high
    assert held >= 180


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pairs: pairs.drop(columns="type_predicted"), "no column 'type_predicted'"),
        (
            lambda pairs: pairs.replace({"type_predicted": {"fd": "father"}}),
            r"row \d+: type_predicted must be one of bb",
        ),
        (
            lambda pairs: pairs.assign(type_predicted=pairs["type_predicted"].where(pairs.index != 3)),
            "row 4: .*missing",
        ),
        (lambda pairs: pairs.assign(type=None), "no kin pair has a value in the column 'type'"),
    ],
)
def test_what_cannot_be_read_is_refused(pairs, change, message):
    with pytest.raises(InputError, match=message):
        audit_types(audit(change(pairs)))


def test_a_wrong_name_is_said_with_its_row(pairs):
    pairs.loc[7, "type_predicted"] = "aunt"
    with pytest.raises(InputError, match=r"the audited pairs: row 8: .* not 'aunt' \(F/a7.jpg, F/b7.jpg\)"):
        audit_types(audit(pairs))
