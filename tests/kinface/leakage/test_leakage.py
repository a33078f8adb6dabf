"""Fresh probes find what is there and nothing else, never see a tested family, and their figures are as defined."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import kinface
from kinface.data.fiw import read_families
from kinface.fairness.bootstrap import draw_families
from kinface.leakage import attackers, leakage, probes
from kinface.leakage.leakage import compare_leakage, finds_leakage, probe_leakage
from kinface.leakage.probes import PROBES, Trial, code_online, codelength, cross_validate, deal_families, run_probes
from swinface.data.embeddings import read_arrays
from swinface.files import InputError
from tests.kinface.leakage.planted import QUICK, codes_of, draw_noise, draw_people, plant, probe


def test_planted_leakage_is_found_and_noise_is_not():
    people = draw_people()
    options = {"seeds": 1, "folds": 3, "resamples": 200}
    found = probe(plant(people, 6), people, "race", permutations=6, **options).table.set_index("probe")
    assert list(found.index) == ["linear", "mlp"]
    assert (found["balanced_accuracy"] > 0.95).all()
    assert (found["auc"] > 0.97).all()
    assert found["leaks"].all()
    assert (found["compression"] > 1.3).all()
    nothing = probe(draw_noise(len(people)), people, "race", **options).table
    assert not nothing["leaks"].any()
    assert (nothing["balanced_accuracy"] < 0.45).all()
    assert (nothing["balanced_accuracy_low"] < 1 / 3).all()
    assert (nothing["permuted"].between(0.23, 0.43)).all()
    assert (nothing["permuted_high"] > nothing["permuted"]).all()
    middle = (nothing["permuted_low"] + nothing["permuted_high"]) / 2
    np.testing.assert_allclose(middle, nothing["permuted"])
    assert (nothing["compression"] < 1.05).all()


def test_only_the_mlp_finds_what_is_no_linear_function():
    people = draw_people(families=80)
    features = draw_noise(len(people), 4)
    sign = np.where(people["gender"] == "m", 1, -1) * np.sign(features[:, 0])
    features[:, 1] = sign * np.abs(features[:, 1])  # gender is the sign of a product
    found = probe(features, people, "gender", **QUICK | {"kinds": ["linear", "mlp"], "folds": 5}).table
    linear, mlp = found["balanced_accuracy"]
    assert linear < 0.58
    assert mlp > 0.8


def test_no_family_is_both_fitted_on_and_tested(monkeypatch):
    people = draw_people()
    families = codes_of(people, "race")[1]
    features = np.column_stack([people["number"], families]).astype(np.float32)
    asked = []

    def spy(seen, labels, train, test, seed, kinds):
        asked.append((seen[train, 0].astype(int), seen[test, 0].astype(int), seed))
        assert not set(seen[train, 1]) & set(seen[test, 1])
        return {probe: np.full((len(test), 3), 1 / 3) for probe in kinds}

    monkeypatch.setattr(probes, "predict", spy)
    probe(features, people, "race", **QUICK | {"seeds": 2, "codelength": True, "permutations": 5})
    folds, codes = asked[:6], asked[6:-15]
    for seed in (0, 1):
        tested = np.concatenate([test for _, test, own in folds if own == seed])
        assert sorted(tested) == list(people["number"])
    assert {tuple(test) for _, test, seed in folds if seed == 0} != {tuple(test) for _, test, seed in folds if seed}
    for seed in (0, 1):
        blocks = [(train, test) for train, test, own in codes if own == seed]
        for (train, test), (later, _) in pairwise(blocks):
            assert sorted([*train, *test]) == sorted(later)
        assert sorted(np.concatenate(blocks[-1])) == list(people["number"])


def test_families_are_dealt_evenly_within_each_class():
    people = draw_people(families=100)
    people = people[(people["race"] != "African") | people["family"].isin([f"F{it}" for it in range(0, 60, 3)])]
    labels, families = codes_of(people, "race")
    part = deal_families(labels, families, 5, seed=3)
    dealt = pd.DataFrame({"family": families, "race": labels, "part": part}).drop_duplicates()
    assert len(dealt) == len(np.unique(families))
    counts = pd.crosstab(dealt["race"], dealt["part"])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert (counts.loc[0] == 4).all()
    assert (part != deal_families(labels, families, 5, seed=4)).any()


def test_classes_weigh_the_same_and_features_are_standardised_by_the_training_faces(monkeypatch):
    people = draw_people(families=60)
    rare = people["family"].isin([f"F{it}" for it in range(0, 60, 6)])
    people = people.assign(gender=np.where(rare, "f", "m"))  # one in six
    features = draw_noise(len(people)) * np.array([1, 1e3, 1e-3, 1, 1, 1, 1, 1], dtype=np.float32) + 50
    features[:, 2] += 1.5e-3 * rare
    labels, families = codes_of(people, "gender")
    fitted = []

    class Spy(StandardScaler):
        def fit(self, values):
            fitted.append(len(values))
            return super().fit(values)

    monkeypatch.setattr(attackers, "StandardScaler", Spy)
    trial = cross_validate(labels, families, 3, seed=0)
    answer = run_probes(features, [trial])[0]
    assert fitted == [train.sum() for train, _ in trial.splits for _ in PROBES]
    truth = np.concatenate([labels[test] for _, test in trial.splits])
    for kind in ("linear", "mlp"):
        called = np.concatenate(answer[kind]).argmax(axis=1)
        assert (called == truth)[truth == 0].mean() > 0.55  # a probe that leans on the larger class finds four in ten
        assert (called == truth)[truth == 1].mean() > 0.55


@pytest.mark.parametrize("attribute", ["race", "gender"])
def test_auc_is_that_of_scikit_learn_within_each_fold(attribute):
    people = draw_people()
    features = plant(people, 0.8) + 0.5 * (people["gender"] == "f").to_numpy()[:, None]
    found = probe(features, people, attribute, **QUICK | {"seeds": 2}).table["auc"][0]
    labels, families = codes_of(people, attribute)
    of_seeds = []
    for seed in (0, 1):
        trial = cross_validate(labels, families, 3, seed)
        of_classes = []
        for number in range(labels.max() + 1):
            values = []
            for (_, test), given in zip(trial.splits, run_probes(features, [trial])[0]["linear"], strict=True):
                truth = labels[test] == number
                values.append((roc_auc_score(truth, given[:, number]), truth.sum() * (~truth).sum()))
            values, pairs = np.transpose(values)
            of_classes.append(np.average(values, weights=pairs))
        of_seeds.append(np.mean(of_classes))
    assert found == pytest.approx(np.mean(of_seeds), abs=1e-6)


def test_a_face_counts_by_the_share_of_seeds_that_recognise_it():
    people = draw_people(families=24)
    features = plant(people, 0.7)
    of_seeds = [probe(features, people, "race", **QUICK | {"seed": seed}) for seed in range(3)]
    together = probe(features, people, "race", **QUICK | {"seeds": 3})
    single = [float(found.table["balanced_accuracy"].iloc[0]) for found in of_seeds]
    assert len({*single}) > 1, "or a mean tells nothing"
    assert together.table["balanced_accuracy"].iloc[0] == pytest.approx(np.mean(single))


def test_resampled_balanced_accuracy_is_that_of_the_drawn_families():
    people = draw_people(families=30)
    features = plant(people, 1)
    found = probe(features, people, "race", **QUICK | {"seed": 5})
    labels, families = codes_of(people, "race")
    trial = cross_validate(labels, families, 3, 5)
    right = np.zeros(len(labels))
    for (_, test), given in zip(trial.splits, run_probes(features, [trial])[0]["linear"], strict=True):
        right[test] = given.argmax(axis=1) == labels[test]
    recall = np.array([right[labels == number].mean() for number in range(3)])
    assert found.table["balanced_accuracy"][0] == pytest.approx(recall.mean())
    factor = np.sqrt(10 / 9) * 2.262157 / 1.959964  # ten equal families a race; Student's quantile at 9
    drawn = draw_families(30, 100, 5)
    for column in range(0, 100, 10):
        weight = drawn[families, column]
        resampled = np.array([np.average(right[labels == it], weights=weight[labels == it]) for it in range(3)])
        expected = np.clip(recall + factor * (resampled - recall), 0, 1).mean()
        assert found.resampled["linear"][column] == pytest.approx(expected, abs=1e-6)
    low, high = found.table[["balanced_accuracy_low", "balanced_accuracy_high"]].iloc[0]
    ordered = np.sort(found.resampled["linear"])
    assert (low, high) == (ordered[2], ordered[97])


def test_a_few_huge_families_widen_the_interval():
    people = draw_people(families=60, people=2, photos=1)
    huge = people["family"].isin(["F0", "F1", "F2"])
    equal = pd.concat([people] * 6, ignore_index=True)
    uneven = pd.concat([people, *[people[huge]] * 100], ignore_index=True)
    assert len(equal) == len(uneven) == 720
    widths = []
    for table in (equal, uneven):
        found = probe(plant(table, 1), table, "race", **QUICK).table.iloc[0]
        widths.append(found["balanced_accuracy_high"] - found["balanced_accuracy_low"])
    assert widths[1] > 2 * widths[0]


def test_codelength_by_hand():
    labels = np.array([0, 0, 1, 0, 1])
    blocks = [np.array([0, 0, 1, 1, 0], dtype=bool), np.array([0, 0, 0, 0, 1], dtype=bool)]
    trial = Trial(labels, [(np.zeros(5, dtype=bool), block) for block in blocks], seed=0)
    given = [np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[1.0, 0.0]])]
    coded = [1, 1, -np.log2(0.99 * 0.25 + 0.005), -np.log2(0.99 * 0.5 + 0.005), -np.log2(0.005)]
    expected = (np.mean([coded[0], coded[1], coded[3]]) + np.mean([coded[2], coded[4]])) / 2
    assert codelength(trial, given) == pytest.approx(expected)


def test_codelength_of_a_probe_is_that_of_its_blocks():
    people = draw_people()
    features = plant(people, 2)
    found = probe(features, people, "race", **QUICK | {"codelength": True}).table.iloc[0]
    labels, families = codes_of(people, "race")
    trial = code_online(labels, families, 0)
    bits = np.full(len(labels), np.log2(3))
    for train, block in trial.splits:
        given = run_probes(features, [Trial(labels, [(train, block)], 0)])[0]["linear"][0]
        for row, face in enumerate(np.flatnonzero(block)):
            bits[face] = -np.log2(0.99 * given[row, labels[face]] + 0.01 / 3)
    assert found["codelength"] == pytest.approx(bits.mean(), rel=1e-5)  # classes are of one size
    assert found["codelength_uniform"] == pytest.approx(np.log2(3))
    assert found["compression"] == pytest.approx(np.log2(3) / bits.mean(), rel=1e-5)


def test_the_first_block_goes_on_until_every_class_is_met():
    people = draw_people(families=96)
    people.loc[~people["family"].isin(["F0", "F3"]) & (people["race"] == "African"), "race"] = "Asian"
    labels, families = codes_of(people, "race")
    for seed in range(5):
        trial = code_online(labels, families, seed)
        first = ~np.any([block for _, block in trial.splits], axis=0)
        assert set(labels[first]) == {0, 1, 2}
        for train, _ in trial.splits:
            assert set(labels[train]) == {0, 1, 2}


def test_labels_are_permuted_over_persons(monkeypatch):
    people = draw_people()
    labels = codes_of(people, "race")[0]
    trials = []

    def spy(features, asked, kinds):
        trials.extend(asked)
        return run_probes(features, asked, kinds)

    monkeypatch.setattr(leakage, "run_probes", spy)
    probe(draw_noise(len(people)), people, "race", **QUICK | {"permutations": 5})
    permuted = [trial.labels for trial in trials[1:]]
    assert len(permuted) == 5
    for one in permuted:
        of_person = pd.Series(one).groupby(people["person"]).agg(["min", "max"])
        assert (of_person["min"] == of_person["max"]).all()
        assert (np.bincount(of_person["min"]) == np.bincount(labels) / 2).all()
        assert 0.2 < (one == labels).mean() < 0.5
        in_family = pd.Series(one).groupby(people["family"]).agg(lambda it: len(set(it)))
        assert (in_family > 1).mean() > 0.5
    assert len({tuple(one) for one in permuted}) == len(permuted)


def test_a_model_differs_in_nothing_from_itself_and_from_a_worse_one_by_what_it_leaks():
    people = draw_people()
    strong, again, weak = (probe(plant(people, it), people, "race", **QUICK) for it in (3, 3, 1))
    same = compare_leakage(strong, again)
    assert same[["difference", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]
    found = compare_leakage(strong, weak).iloc[0]
    assert (found["probe"], found["attribute"]) == ("linear", "race")
    figures = [it.table["balanced_accuracy"][0] for it in (strong, weak)]
    assert found["difference"] == pytest.approx(figures[0] - figures[1])
    assert 0 < found["low"] < found["difference"] < found["high"]
    drawn = np.sort(strong.resampled["linear"] - weak.resampled["linear"])
    assert (found["low"], found["high"]) == (drawn[2], drawn[97])


@pytest.mark.parametrize("change", [{"seed": 1}, {"folds": 4}, {"resamples": 101}])
def test_what_was_measured_otherwise_is_not_compared(change):
    people = draw_people()
    ours = probe(plant(people, 1), people, "race", **QUICK)
    with pytest.raises(InputError, match="same faces"):
        compare_leakage(ours, probe(plant(people, 1), people, "race", **QUICK | change))
    with pytest.raises(InputError, match="same faces"):
        compare_leakage(ours, probe(plant(people, 1)[:-2], people[:-2], "race", **QUICK))


def test_the_rule_asks_for_the_interval_and_for_the_permuted_labels():
    def leaks(value: float, nearest: float, permuted: float) -> bool | None:
        """``nearest`` to chance is the end of its interval, ``permuted`` a bound."""
        row = {"balanced_accuracy": value, "chance": 0.5}
        row |= {f"balanced_accuracy_{end}": nearest for end in ("low", "high")}
        row |= {"permuted_low": min(permuted, 1 - permuted), "permuted_high": max(permuted, 1 - permuted)}
        return finds_leakage(SimpleNamespace(**row))

    assert leaks(0.6, 0.51, 0.59) is True
    assert leaks(0.6, 0.5, 0.59) is False
    assert leaks(0.6, 0.51, 0.6) is False
    assert leaks(0.4, 0.49, 0.41) is True
    assert leaks(0.4, 0.5, 0.41) is False
    assert leaks(0.4, 0.49, 0.4) is False
    assert leaks(0.6, 0.51, np.nan) is None
    assert leaks(1.0, 0.99, 1.2) is None, "no accuracy could exceed the bound"


def test_rows_in_another_order_are_refused_and_faces_without_an_embedding_are_counted():
    people = draw_people().assign(face=lambda table: [f"{row}.jpg" for row in range(len(table))])
    embedding = pd.DataFrame(plant(people, 6), index=people["face"])
    kinface.probe(embedding, people, "race", **QUICK)
    for ours, about in (
        (embedding[::-1], people),
        (embedding.reset_index(drop=True), people[::-1].drop(columns="face")),
        (embedding.reset_index(drop=True), people[::-1]),
    ):
        with pytest.raises(InputError, match="people: the embedding has its rows in another order"):
            kinface.probe(ours, about, "race", **QUICK)
    embedding.iloc[:7] = 0
    with pytest.warns(UserWarning, match=rf"7 of {len(people)} faces have only zeros"):
        kinface.probe(embedding, people, "race", **QUICK)
    with pytest.raises(InputError, match=r"split 'Val': no face belongs to it; their splits are val\."):
        kinface.probe(embedding, people.assign(split="val"), "race", split="Val", **QUICK)


def test_labels_that_are_reversed_in_other_families_are_leakage_below_chance():
    """Class means are made equal over all faces, so those of each fold lie apart the other way."""
    people = draw_people(families=24)
    features, labels = draw_noise(len(people), 64), people["race"]
    features -= pd.DataFrame(features).groupby(labels.to_numpy()).transform("mean").to_numpy()
    found = probe(features, people, "race", **QUICK | {"permutations": 5, "resamples": 200, "folds": 5})
    row = found.table.iloc[0]
    assert row["balanced_accuracy"] < row["permuted_low"] < row["chance"]
    assert row["leaks"]
    assert found.worst["leaks"]


def test_processes_find_what_one_finds():
    people = draw_people()
    one = probe(plant(people, 1), people, "race", **QUICK)
    with parallel_config(n_jobs=2):
        two = probe(plant(people, 1), people, "race", **QUICK)
    pd.testing.assert_frame_equal(one.table, two.table)


def test_small_classes_and_unknown_faces_are_left_out():
    people = draw_people()
    features = plant(people, 1)
    people.loc[people["family"].isin(["F0", "F3", "F6", "F9"]), "race"] = "Indian"
    people.loc[people["family"] == "F1", "race"] = None
    found = probe(features, people, "race", **QUICK)
    row = found.table.iloc[0]
    assert (row["classes"], row["left_out"]) == ("African, Asian, Caucasian", "Indian (4 families)")
    assert (row["families"], row["people"], row["faces"]) == (31, 31 * 4, 31 * 8)
    assert row["chance"] == pytest.approx(1 / 3)
    kept = people["race"].notna() & (people["race"] != "Indian")
    alone = probe(features[kept], people[kept], "race", **QUICK)
    assert alone.table["balanced_accuracy"].equals(found.table["balanced_accuracy"])


def test_without_persons_the_faces_of_a_family_with_one_label_are_one_person():
    people = draw_people()
    given = people["gender"].to_numpy(), people["family"].tolist()
    found = probe_leakage(plant(people, 1), *given, **QUICK | {"permutations": 2})
    assert found.table["attribute"][0] == "label"
    assert found.tested["person"].nunique() == 2 * people["family"].nunique()
    assert found.table["people"].isna().all(), "how many people there are is not known"
    described = probe(plant(people, 1), people, "gender", **QUICK)
    assert found.table["balanced_accuracy"].equals(described.table["balanced_accuracy"])


def test_race_and_gender_are_read_from_a_recogniser_of_faces(shared_data):
    """African, Asian or Caucasian as predicted by another model, the majority over a person's photos."""
    families = read_families(shared_data / "fiw")
    described = families.faces[["face", "person", "family", "split"]].merge(
        families.people[["person", "race", "gender"]], on="person"
    )
    described = described[described["split"] == "val"]
    faces, arrays = read_arrays(shared_data / "teacher" / "dlib_fiw.npz")
    features = arrays["embedding"][pd.Index(faces).get_indexer(described["face"])]
    for attribute, least in (("race", 0.75), ("gender", 0.88)):
        found = probe(features, described, attribute, **QUICK | {"folds": 5}).table.iloc[0]
        assert least < found["balanced_accuracy"] < 0.95
        assert found["families"] > 100
