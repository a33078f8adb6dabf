"""The table of methods: means over seeds within each resample, intervals, paired differences; and its figure."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from kinface.experiments.runner import read_result, write_result
from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits
from kinface.leakage.leakage import probe_leakage
from kinface.tradeoff.measure import LISTS, UNFAIRNESS, Protocol, Result, compare, measure
from swinface.files import InputError

pytestmark = pytest.mark.usefixtures("weak_mlp")

WHOLE, QUICK = Protocol(), Protocol(resamples=100, seeds=1)
FIGURES = ("tradeoff", *(f"{metric}_{listed}" for listed in LISTS for metric in ("auc", "accuracy")))
for _name in QUICK.attributes:
    FIGURES += tuple(f"{_name}_{it}" for it in (*QUICK.probes, "best", *UNFAIRNESS.values()))
ABOUT = {
    **{listed: {"pairs": 4662, "kin": 2331, "families": 130} for listed in LISTS},
    "race": {"classes": "African, Asian, Caucasian", "faces": 3021, "people": 600, "families": 130, "chance": 1 / 3},
    "gender": {"classes": "f, m", "faces": 3021, "people": 600, "families": 130, "chance": 0.5},
}


def draw_result(seed: int, shift: float = 0.0) -> Result:
    random = np.random.default_rng(seed)
    points = {name: 0.5 + shift + 0.05 * random.random() for name in FIGURES}
    draws = {name: value + 0.02 * random.standard_normal(1000) for name, value in points.items()}
    return Result(points, draws, ABOUT)


def tabulate(runs, references=()) -> pd.DataFrame:
    return compare(runs, WHOLE, references).table


@pytest.fixture
def results() -> list[tuple[str, float | None, Result]]:
    runs = [("none", None, draw_result(seed, 0.3)) for seed in (0, 1)]
    runs += [
        ("reversal", strength, draw_result(int(10 * strength) + seed)) for strength in (0.1, 1.0) for seed in (2, 3)
    ]
    return runs


def test_seeds_are_averaged_within_each_resample(results):
    table = tabulate(results).set_index(["method", "strength"])
    row = table.loc[("reversal", 1.0)]
    first, second = (result for method, strength, result in results if strength == 1.0)
    for figure in FIGURES[:8]:
        drawn = np.sort((first.draws[figure] + second.draws[figure]) / 2)
        value = (first.points[figure] + second.points[figure]) / 2
        assert row[figure] == pytest.approx(value)
        assert row[f"{figure}_low"] == pytest.approx(min(value, drawn[int(0.025 * 999)]))
        assert row[f"{figure}_high"] == pytest.approx(max(value, drawn[int(np.ceil(0.975 * 999))]))
        assert row[f"{figure}_min"] == min(first.points[figure], second.points[figure])
        assert row[f"{figure}_max"] == max(first.points[figure], second.points[figure])
    assert list(table["seeds"]) == [2, 2, 2]


def test_unfairness_has_a_symmetric_interval_that_ends_at_zero(results):
    method, strength, result = results[0]
    result.points["race_garbe"] = 0.01
    result.draws["race_garbe"][:] = np.linspace(0, 0.08, 1000)
    row = tabulate([(method, strength, result)]).iloc[0]
    reach = np.sort(np.abs(result.draws["race_garbe"] - 0.01))[int(np.ceil(0.95 * 999))]
    assert (row["race_garbe_low"], row["race_garbe_high"]) == pytest.approx((0.0, 0.01 + reach))


def test_differences_are_of_the_same_resamples(results):
    table = tabulate(results, ["none"]).set_index(["method", "strength"])
    means = {
        key: np.mean(
            [result.draws["auc_matched"] for method, strength, result in results if (method, strength) == key], 0
        )
        for key in (("none", None), ("reversal", 0.1))
    }
    row = table.loc[("reversal", 0.1)]
    drawn = np.sort(means[("reversal", 0.1)] - means[("none", None)])
    assert row["auc_matched_minus_none"] == pytest.approx(row["auc_matched"] - table["auc_matched"].iloc[0])
    assert row["auc_matched_minus_none_low"] == pytest.approx(drawn[int(0.025 * 999)])
    assert row["auc_matched_minus_none_high"] == pytest.approx(drawn[int(np.ceil(0.975 * 999))])


def test_a_method_differs_in_nothing_from_itself(results):
    row = tabulate(results, ["none"]).iloc[0]
    assert row["method"] == "none"
    for figure in FIGURES:
        assert [row[f"{figure}_minus_none{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_a_reference_that_is_not_done_leaves_the_differences_open(results):
    table = tabulate(results[2:], ["none"])
    assert table[[name for name in table if "_minus_" in name]].isna().all(axis=None)


def test_a_result_is_read_as_it_was_written(tmp_path):
    result = draw_result(0)
    result.points["race_garbe"] = np.nan
    assert read_result(tmp_path, WHOLE) is None
    write_result(tmp_path, result, WHOLE)
    back = read_result(tmp_path, WHOLE)
    np.testing.assert_equal(back.points, result.points)
    np.testing.assert_equal(back.draws, result.draws)
    assert back.about == ABOUT
    with pytest.raises(InputError, match="cannot be compared"):
        read_result(tmp_path, Protocol(attributes=("gender",)))
    (tmp_path / "result.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"result\.json: not a whole result"):
        read_result(tmp_path, WHOLE)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Two faces each of two persons of 45 families; race is the family's."""
    rows = [(f"F{f}", f"F{f}/MID{m}", f"F{f}/{m}{p}", f % 3, m) for f in range(45) for m in range(2) for p in range(2)]
    table = pd.DataFrame(rows, columns=["family", "person", "face", "race", "gender"])
    race = table["race"].map(dict(enumerate(("African", "Asian", "Caucasian"))))
    return table.assign(race=race, gender=table["gender"].map({0: "f", 1: "m"}))


def test_a_run_is_measured_as_its_parts_are(draw_scored, people):
    scored = {"standard": draw_scored(600, seed=1), "matched": draw_scored(2000, seed=2, shift={"Asian": -0.5})}
    random = np.random.default_rng(0)
    told = people["race"].map({"African": 0.0, "Asian": 2.0, "Caucasian": 4.0}).to_numpy()
    embedding = random.normal(size=(len(people), 6)).astype(np.float32)
    embedding[:, 0] += told
    result = measure(scored, embedding, people, QUICK, 0.5)
    assert set(result.points) == set(result.draws) == set(FIGURES)
    assert {len(drawn) for drawn in result.draws.values()} == {100}
    for listed, pairs in scored.items():
        assert result.points[f"auc_{listed}"] == pytest.approx(roc_auc_score(pairs["kin"], pairs["score"]))
        assert result.points[f"accuracy_{listed}"] == ((pairs["score"] >= 0.5) == pairs["kin"]).mean()
    table = audit_fairness(scored["matched"], 0.5, resamples=100).disparities.set_index(["grouping", "disparity"])
    assert result.points["race_garbe"] == pytest.approx(table["value"][("race", "GARBE")])
    assert result.points["race_equalized_odds"] == pytest.approx(table["value"][("race", "equalized odds difference")])
    options = {"seeds": 1, "resamples": 100, "codelength": False, "permutations": 0}
    leakage = probe_leakage(embedding, people["race"], people["family"], persons=people["person"], **options)
    assert result.points["race_linear"] == leakage.table["balanced_accuracy"][0] > 0.6
    np.testing.assert_array_equal(result.draws["race_linear"], leakage.resampled["linear"])
    assert result.points["gender_linear"] < 0.65
    assert result.about["race"]["chance"] == pytest.approx(1 / 3)
    for name in QUICK.attributes:
        assert result.points[f"{name}_best"] == max(result.points[f"{name}_{probe}"] for probe in QUICK.probes)
    lefts = [(max(result.points[f"{name}_best"], by_luck) - by_luck) / (1 - by_luck)
             for name, by_luck in (("race", 1 / 3), ("gender", 0.5))]  # fmt: skip
    assert result.points["tradeoff"] == pytest.approx(2 * result.points["auc_matched"] - 1 - np.mean(lefts))


def test_without_a_threshold_nothing_is_decided(draw_scored, people):
    pairs, embedding = draw_scored(600), np.random.default_rng(0).normal(size=(len(people), 4))
    points = measure({"standard": pairs, "matched": pairs}, embedding, people, QUICK).points
    assert not [name for name in points if name.startswith("accuracy") or name.endswith(tuple(UNFAIRNESS.values()))]


def test_unfairness_is_between_the_classes_of_any_attribute(draw_scored, people):
    """The pairs do not know the attribute; the people of the embeddings do."""
    pairs = draw_scored(2000)
    listed = pd.unique(pd.concat([pairs["person_a"], pairs["person_b"]]))
    worn = np.random.default_rng(0).choice(["no", "yes"], len(listed))
    known = pd.DataFrame({"person": listed, "family": [it.split("/")[0] for it in listed], "glasses": worn})
    protocol = Protocol(attributes=("glasses",), match=("type",), resamples=100, seeds=1)
    embedding = np.random.default_rng(1).normal(size=(len(known), 4))
    result = measure({"standard": pairs, "matched": pairs}, embedding, known, protocol, 0.5)
    sides = {f"glasses_{side}": pairs[f"person_{side}"].map(dict(zip(listed, worn, strict=True))) for side in "ab"}
    audit = audit_fairness(pairs.assign(**sides), 0.5, groupings=["glasses"], resamples=100).disparities
    expected = audit.set_index(["grouping", "disparity"])["value"][("glasses", "GARBE")]
    assert result.points["glasses_garbe"] == pytest.approx(expected)


def test_the_difference_in_unfairness_is_that_of_the_audit(draw_scored, people):
    embedding = np.random.default_rng(0).normal(size=(len(people), 4)).astype(np.float32)
    lists = [draw_scored(2000, seed=2, shift=shift) for shift in ({"Asian": -0.8}, {})]
    runs = [measure({"standard": pairs, "matched": pairs}, embedding, people, QUICK, 0.5) for pairs in lists]
    row = tabulate([("a", None, runs[0]), ("none", None, runs[1])], ["none"]).iloc[0]
    changes = compare_audits(*(audit_fairness(pairs, 0.5, resamples=100) for pairs in lists)).set_index(
        ["grouping", "metric"]
    )
    expected = changes.loc[[("race", "equalized odds difference")], ["difference", "low", "high"]].iloc[0]
    found = row[[f"race_equalized_odds_minus_none{end}" for end in ("", "_low", "_high")]]
    np.testing.assert_allclose(found.astype(float), expected.astype(float))


def test_the_table_is_written_for_people_and_programs(results, tmp_path):
    results[0][2].points["race_garbe"] = np.nan
    found = compare(results, WHOLE, ["none"])
    found.write(tmp_path, ["reversal"], embeddings="e.npz")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "frontier.csv"), found.table)
    record = json.loads((tmp_path / "frontier.json").read_text())
    assert record["about"] == ABOUT
    assert (record["embeddings"], record["resamples"], record["seeds"], record["seed"]) == ("e.npz", 1000, 3, 0)
    assert [row["method"] for row in record["rows"]] == ["none", "reversal", "reversal"]
    assert record["rows"][0]["race_garbe"] is None
    assert record["rows"][1]["auc_matched"] == found.table["auc_matched"][1]
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert '<td class="text">reversal' in (tmp_path / "frontier.html").read_text()


def test_the_figure_shows_methods_with_their_intervals(results):
    found = compare(results, WHOLE, ["none"])
    figure, table = found.plot(), found.table
    assert [axes.get_xlabel().splitlines()[0] for axes in figure.axes[2:]] == [
        f"{name}: balanced accuracy of the best attacker" for name in ("race", "gender")
    ]
    assert "4,662 of 130 families" in figure.axes[0].get_ylabel()
    assert "3,021 faces" in figure.axes[2].get_xlabel()
    points = {tuple(xy) for line in figure.axes[3].lines for xy in zip(*line.get_data(), strict=True)}
    assert {*zip(table["gender_best"], table["auc_standard"], strict=True)} <= points
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "none" and sorted(names[1:]) == ["reversal, λ 0.1", "reversal, λ 1"]
    bars = [segment for held in figure.axes[0].collections for segment in held.get_segments()]
    assert any(np.allclose(bar[:, 0], [table["race_best_low"][1], table["race_best_high"][1]]) for bar in bars)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attributes": ("race", "race")}, "name each attribute once"),
        ({"attributes": ()}, "name each attribute once"),
        ({"resamples": 99}, "at least 100"),
        ({"seeds": 0}, "give at least 1"),
    ],
)
def test_a_protocol_that_measures_nothing_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Protocol(**options)
