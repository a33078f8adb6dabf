from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from kinface.data.pairs import check_pairs, read_pairs
from kinface.fairness.calibration import BetaCalibration, FairCal, ScoreNormalization, calibrate
from swinface.data.embeddings import write_embeddings
from swinface.files import InputError
from tests.commands import run_kinface


def draw(count: int, seed: int, prefix: str, families: int = 40) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    """Pairs of two kinds of people whose scores have different scales, and embeddings that show the kind."""
    rng = np.random.default_rng(seed)
    kin = np.arange(count) % 2 == 0
    first = rng.integers(families, size=count)
    second = np.where(kin, first, (first + 2 * rng.integers(1, families // 2, size=count)) % families)  # the same kind
    dark = first % 2 == 1
    score = np.tanh(0.3 * kin + 0.4 * dark + rng.normal(0, 0.2, count))
    table = {"kin": kin, "score": score, "race_a": np.where(dark, "dark", "light")}
    table["race_b"] = table["race_a"]
    for side, family in (("a", first), ("b", second)):
        table[f"face_{side}"] = [f"{prefix}{number}/{side}{row}.jpg" for row, number in enumerate(family)]
        table[f"person_{side}"] = [f"{prefix}{number}/{side}" for number in family]
        table[f"family_{side}"] = [f"{prefix}{number}" for number in family]
    pairs = check_pairs(pd.DataFrame(table), "drawn", scored=True)
    faces = [*pairs["face_a"], *pairs["face_b"]]
    kinds = np.concatenate([dark, second % 2 == 1])
    embedding = np.where(kinds[:, None], [1.0, 0.0], [0.0, 1.0]) + rng.normal(0, 0.1, (len(faces), 2))
    return pairs, faces, embedding


@pytest.fixture(scope="module")
def drawn():
    validation, pairs = draw(1200, 0, "V"), draw(1600, 1, "F")
    faces = [*validation[1], *pairs[1]]
    return validation[0], pairs[0], faces, np.concatenate([validation[2], pairs[2]])


def gap(scored: pd.DataFrame, threshold: float) -> float:
    """Between the false match rates of the two kinds."""
    other = scored[~scored["kin"]]
    rates = (other["score"] >= threshold).groupby(other["race_a"]).mean()
    return float(rates.max() - rates.min())


def test_beta_calibration_is_near_the_true_probability():
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 1, 20_000)
    true = 1 / (1 + np.exp(-(2 * np.log(score) - 0.5 * np.log(1 - score) + 1)))
    model = BetaCalibration().fit(score, rng.random(len(score)) < true)
    assert [*model.weights, model.offset] == pytest.approx([2, 0.5, 1], abs=0.12)
    assert np.abs(model.predict(score) - true).max() < 0.03
    assert (np.diff(model.predict(np.linspace(0, 1, 100))) >= 0).all()


def test_beta_calibration_never_turns_scores_round():
    rng = np.random.default_rng(1)
    score = rng.uniform(0, 1, 500)
    model = BetaCalibration().fit(score, rng.random(500) < 1 - score)  # kin have the lower scores
    assert (model.weights >= 0).all()
    assert model.predict(score) == pytest.approx(model.predict(score[::-1])[::-1])


@pytest.mark.parametrize("method", ["faircal", "normalize"])
def test_clusters_that_follow_groups_make_their_rates_alike(method, drawn):
    validation, pairs, faces, embedding = drawn
    from kinface.fairness.threshold import choose_threshold

    before = gap(pairs, choose_threshold(validation))
    calibrated, result = calibrate(validation, pairs, faces, embedding, method=method, options={"clusters": 2})
    assert before > 0.3
    assert gap(result, choose_threshold(calibrated)) < 0.1
    assert result.drop(columns="score").equals(pairs.drop(columns="score"))


def test_faircal_by_hand(drawn):
    """Two clusters: each pair lies within one, and is mapped by the pairs of that cluster."""
    validation, pairs, faces, embedding = drawn
    result = FairCal(2).fit(validation, faces, embedding).apply(pairs, faces, embedding)
    for kind in ("dark", "light"):
        own, theirs = (table[table["race_a"] == kind] for table in (validation, pairs))
        one = BetaCalibration().fit((own["score"].to_numpy() + 1) / 2, own["kin"].to_numpy())
        expected = one.predict((theirs["score"].to_numpy() + 1) / 2)
        assert result.loc[theirs.index, "score"].to_numpy() == pytest.approx(expected)
    assert log_loss(result["kin"], result["score"]) < log_loss(
        pairs["kin"], FairCal(1).fit(validation, faces, embedding).apply(pairs, faces, embedding)["score"]
    )


def test_normalization_by_hand(drawn):
    validation, pairs, faces, embedding = drawn
    from kinface.fairness.standards import choose_threshold_at_fmr

    result = ScoreNormalization(2, fmr=0.2).fit(validation, faces, embedding).apply(pairs, faces, embedding)
    of_all = choose_threshold_at_fmr(validation, 0.2)
    for kind in ("dark", "light"):
        shift = choose_threshold_at_fmr(validation[validation["race_a"] == kind], 0.2) - of_all
        theirs = pairs[pairs["race_a"] == kind]
        assert result.loc[theirs.index, "score"].to_numpy() == pytest.approx(theirs["score"].to_numpy() - shift)


def test_one_cluster_changes_no_order(drawn):
    validation, pairs, faces, embedding = drawn
    for method in ("faircal", "normalize"):
        _, result = calibrate(validation, pairs, faces, embedding, method=method, options={"clusters": 1})
        assert result["score"].corr(pairs["score"], method="spearman") == pytest.approx(1)


def test_a_cluster_with_few_pairs_has_the_map_of_all(drawn):
    validation, pairs, faces, embedding = drawn
    few = validation[validation["race_a"] == "light"]
    few = pd.concat([few, validation[validation["race_a"] == "dark"].head(30)], ignore_index=True)
    fitted = FairCal(2).fit(few, faces, embedding)
    everything = BetaCalibration().fit((few["score"].to_numpy() + 1) / 2, few["kin"].to_numpy())
    dark = pairs[pairs["race_a"] == "dark"]
    expected = everything.predict((dark["score"].to_numpy() + 1) / 2)
    assert fitted.apply(dark, faces, embedding)["score"].to_numpy() == pytest.approx(expected)


def test_a_validation_pair_is_not_calibrated_by_its_own_family(drawn):
    """A family whose scores are all changed changes the maps of others alone."""
    validation, pairs, faces, embedding = drawn
    once, _ = calibrate(validation, pairs, faces, embedding, options={"clusters": 2})
    own = validation["family_a"] == "V3"
    changed = validation.assign(kin=validation["kin"].where(~own | (validation["family_b"] != "V3"), False))
    again, _ = calibrate(changed, pairs, faces, embedding, options={"clusters": 2})
    assert again.loc[own, "score"].equals(once.loc[own, "score"])
    assert not again["score"].equals(once["score"])


def test_the_command_writes_both_lists_or_nothing(drawn, tmp_path, capsys):
    validation, pairs, faces, embedding = drawn
    validation.to_parquet(tmp_path / "validation.parquet")
    pairs.to_parquet(tmp_path / "scores.parquet")
    write_embeddings(tmp_path / "faces.npz", faces, embedding)
    given = [
        "calibrate",
        str(tmp_path / "scores.parquet"),
        "--embeddings",
        str(tmp_path / "faces.npz"),
        "--clusters",
        "2",
    ]
    out = tmp_path / "out"
    files = ["--validation", str(tmp_path / "validation.parquet"), "--out", str(out)]
    assert run_kinface(*given, *files) == 0
    calibrated, result = calibrate(validation, pairs, faces, embedding, options={"clusters": 2})
    np.testing.assert_allclose(read_pairs(out / "scores.parquet")["score"], result["score"], rtol=1e-5)
    np.testing.assert_allclose(read_pairs(out / "validation.parquet")["score"], calibrated["score"], rtol=1e-5)
    own = ["--validation", str(tmp_path / "scores.parquet"), "--out", str(tmp_path / "other")]
    assert run_kinface(*given, *own) == 2
    assert "pairs of other families" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_the_command_keeps_the_scores_that_it_reads(drawn, tmp_path, capsys):
    for name, pairs in (("validation", drawn[0]), ("scores", drawn[1])):
        pairs.to_parquet(tmp_path / f"{name}.parquet")
    files = ["--validation", str(tmp_path / "validation.parquet"), "--out", str(tmp_path)]
    assert run_kinface("calibrate", tmp_path / "scores.parquet", *files) == 2
    assert "write to another folder" in capsys.readouterr().err


def test_unknown_families_are_warned_of(drawn):
    validation, pairs, faces, embedding = drawn
    bare = pairs.assign(family_a=None, family_b=None)
    with pytest.warns(UserWarning, match=r"the families of 1,600 of 1,600 pairs are unknown \(columns family_a"):
        calibrate(validation, bare, faces, embedding, options={"clusters": 2})
    half = validation.assign(family_b=validation["family_b"].where(~validation["kin"], None))
    with pytest.warns(UserWarning, match="the families of 600 of 1,200 validation pairs are unknown"):
        calibrate(half, pairs, faces, embedding, options={"clusters": 2})


@pytest.mark.parametrize("method", ["faircal", "normalize"])
def test_distances_and_pairs_of_one_kind_are_refused(method, drawn):
    validation, pairs, faces, embedding = drawn
    distances = (table.assign(score=(1 - table["score"]) / 2) for table in (validation, pairs))
    with pytest.raises(InputError, match="1 minus a cosine distance"):
        calibrate(*distances, faces, embedding, method=method)
    with pytest.raises(InputError, match="there are no non-kin pairs; both kinds"):
        calibrate(validation[validation["kin"]], pairs, faces, embedding, method=method)
    of_one = validation[validation["kin"] | (validation["family_a"] == "V0")]
    with pytest.raises(InputError, match=r"2 folds of .* families, too few: .* there are no non-kin pairs"):
        calibrate(of_one, pairs, faces, embedding, method=method, folds=2)


def test_bad_input_is_named(drawn):
    validation, pairs, faces, embedding = drawn
    with pytest.raises(InputError, match="clusters"):
        FairCal(0)
    with pytest.raises(InputError, match="seed is -1; choose a whole number"):
        ScoreNormalization(seed=-1)
    with pytest.raises(InputError, match="choose fewer"):
        FairCal(10_000).fit(validation, faces, embedding)
    with pytest.raises(InputError, match="at most 1"):
        FairCal(2).fit(validation.assign(score=validation["score"] * 10), faces, embedding)
    with pytest.raises(InputError, match="5 folds"):
        calibrate(validation[validation["family_a"].isin(["V0", "V2"])], pairs, faces, embedding)
    with pytest.raises(InputError, match="at least 2"):
        calibrate(validation, pairs, faces, embedding, folds=1)


def test_a_calibration_of_ones_own_is_named_by_its_path(drawn, tmp_path, monkeypatch):
    validation, pairs, faces, embedding = drawn
    (tmp_path / "own_calibration.py").write_text(
        "class Halved:\n"
        "    def __init__(self, factor: float = 0.5):\n"
        "        self.factor = factor\n"
        "    def fit(self, pairs, faces, embedding):\n"
        "        return self\n"
        "    def apply(self, pairs, faces, embedding):\n"
        "        return pairs.assign(score=self.factor * pairs['score'])\n"
    )
    monkeypatch.chdir(tmp_path)
    found = calibrate(validation, pairs, faces, embedding, method="own_calibration.Halved", options={"factor": 0.25})
    for before, after in zip((validation, pairs), found, strict=True):
        np.testing.assert_array_equal(after["score"], 0.25 * before["score"])
    for method, options, message in [
        ("own_calibration.Halved", {"factor": "much"}, "of type float; got 'much'"),
        ("own_calibration.Halved", {"factor": float("nan")}, "score must be a finite number"),
        ("pathlib.PurePath", {}, "calibration 'pathlib.PurePath': it fails"),
        ("faircal", {"fmr": 0.1}, "its options are clusters, seed"),
        ("beta", {}, "choose from faircal, normalize"),
    ]:
        with pytest.raises(InputError, match=message):
            calibrate(validation, pairs, faces, embedding, method=method, options=options)
