"""Attackers of several kinds, of others, with few labels, on people in place of faces, and the best of all."""

from __future__ import annotations

import numpy as np
import pytest

from kinface.leakage import attackers
from kinface.leakage.attackers import ATTACKERS, attack
from kinface.leakage.leakage import average_people
from kinface.leakage.probes import cross_validate, label_few
from swinface.files import InputError
from tests.kinface.leakage.planted import QUICK, codes_of, draw_noise, draw_people, plant, probe


def test_every_attacker_finds_what_is_planted_and_the_best_of_them_is_judged_by_the_best_of_permuted_ones():
    people = draw_people(families=60)
    kinds = list(ATTACKERS.names())
    options = {"seeds": 1, "folds": 3, "resamples": 100, "codelength": False, "kinds": kinds}
    found = probe(plant(people, 6), people, "race", permutations=6, **options)
    assert (found.table["balanced_accuracy"] > 0.9).all()
    assert found.table["leaks"].all()
    worst = found.worst
    assert worst["balanced_accuracy"] == found.table["balanced_accuracy"].max()
    assert worst["leaks"]
    nothing = probe(draw_noise(len(people)), people, "race", **options)
    worst = nothing.worst
    highest = np.max([nothing.permuted[kind] for kind in kinds], axis=0)
    assert worst["permuted"] == pytest.approx(highest.mean())
    assert worst["permuted_high"] > nothing.table["permuted"].max()
    assert not worst["leaks"]
    resampled = np.max([nothing.resampled[kind] for kind in kinds], axis=0)
    assert worst["balanced_accuracy_low"] >= np.quantile(resampled, 0.02)


def test_a_ring_is_read_by_all_but_the_linear_probe():
    people = draw_people(families=80)
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, len(people)), np.where(people["gender"] == "m", 1.0, 3.0)
    features = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + rng.normal(size=(len(people), 2)) / 5
    kinds = ["linear", "mlp", "kernel", "trees", "qda"]
    found = probe(features, people, "gender", **QUICK | {"kinds": kinds}).table.set_index("probe")["balanced_accuracy"]
    assert found["linear"] < 0.65
    assert (found[["mlp", "kernel", "trees", "qda"]] > 0.85).all()


def test_neighbours_vote_by_cosine_and_a_rare_class_counts_more():
    directions = np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1])
    votes = attackers.Neighbours().fit(directions * [[9], [1], [1], [1]], labels).predict_proba(directions)
    assert votes == pytest.approx(np.tile([[0.5, 0.5]], (4, 1))), "all four faces vote, three of one class for a third"


def test_a_probe_with_few_labels_is_fitted_on_so_many_people_of_each_class_alone():
    people = draw_people()
    labels, families = codes_of(people, "race")
    persons = np.unique(people["person"], return_inverse=True)[1]
    trial = cross_validate(labels, families, 3, seed=0)
    few = label_few(trial, persons, 10)
    for (train, test), (own_train, own_test) in zip(trial.splits, few.splits, strict=True):
        assert (own_test == test).all() and not (own_train & ~train).any()
        chosen = np.unique(persons[own_train])
        assert sorted(np.bincount(labels[[np.flatnonzero(persons == it)[0] for it in chosen]])) == [3, 3, 4]
        assert (own_train == np.isin(persons, chosen)).all(), "all faces of these people"
    all_people = probe(plant(people, 1.5), people, "race", **QUICK).table["balanced_accuracy"][0]
    some = probe(plant(people, 1.5), people, "race", **QUICK | {"labelled": 6}).table["balanced_accuracy"][0]
    assert some < all_people
    with pytest.raises(InputError, match="labelled 3"):
        probe(plant(people, 1.5), people, "race", **QUICK | {"labelled": 3})


def test_people_are_the_means_of_their_faces():
    faces = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]])
    means, first = average_people(faces, ["b", "a", "b"])
    assert means.tolist() == [[3.0, 4.0], [3.0, 5.0]]
    assert first.tolist() == [1, 0]


def test_the_quadratic_attacker_weighs_normal_densities_with_shrunk_covariances():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), np.repeat([0, 1, 2], [30, 20, 10])
    X[y == 1] *= 2
    found = attackers.Quadratic().fit(X, y).predict_proba(X[:5])
    own = [np.cov(X[y == it].astype(float).T, ddof=0) for it in range(3)]
    for row, x in enumerate(X[:5].astype(float)):
        density = []
        for number in range(3):
            shrunk = (1 - attackers.RIDGE) * own[number] + attackers.RIDGE * np.eye(3)
            away = x - X[y == number].astype(float).mean(axis=0)
            density.append(np.exp(-away @ np.linalg.inv(shrunk) @ away / 2) / np.sqrt(np.linalg.det(shrunk)))
        assert found[row] == pytest.approx(np.array(density) / sum(density))


def test_what_only_the_spread_of_classes_tells_is_read_by_the_quadratic_attacker():
    people = draw_people(families=80)
    features = draw_noise(len(people), 32) * np.where(people["gender"] == "m", 1.0, 1.5)[:, None]
    found = probe(features, people, "gender", **QUICK | {"kinds": ["linear", "mlp", "qda"]}).table
    linear, mlp, quadratic = found["balanced_accuracy"]
    assert linear < 0.6
    assert quadratic > mlp + 0.05


@pytest.mark.parametrize(
    "path", ["svm.SVC", "naive_bayes.GaussianNB", "discriminant_analysis.LinearDiscriminantAnalysis"]
)
def test_any_classifier_of_scikit_learn_attacks_by_its_path(path):
    people = draw_people()
    table = probe(plant(people, 6), people, "race", **QUICK | {"kinds": [f"sklearn.{path}"]}).table
    assert table["probe"].tolist() == [f"sklearn.{path}"]
    assert table["balanced_accuracy"][0] > 0.9


def test_columns_are_in_the_order_that_an_attacker_of_ones_own_says(tmp_path, monkeypatch):
    (tmp_path / "own_order.py").write_text(
        "import numpy as np\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "class Backwards(LogisticRegression):\n"
        "    def fit(self, X, y):\n"
        "        super().fit(X, y)\n"
        "        self.classes_ = self.classes_[::-1]\n"
        "        return self\n"
        "    def predict_proba(self, X):\n"
        "        return super().predict_proba(X)[:, ::-1]\n"
    )
    monkeypatch.chdir(tmp_path)
    labels = np.arange(300) % 3
    features = np.eye(3)[labels] + draw_noise(300, 3) / 10
    given = attack("own_order.Backwards", 0, features, labels, features)
    assert (given.argmax(axis=1) == labels).all()


@pytest.mark.parametrize("weights", [True, False], ids=["weights", "draw"])
def test_classes_weigh_the_same_for_an_attacker_of_ones_own(weights, tmp_path, monkeypatch):
    """It answers with the share of each class, as it was fitted."""
    arguments, count = ("X, y, sample_weight", "sample_weight") if weights else ("X, y", "None")
    (tmp_path / "own_attack.py").write_text(
        "import numpy as np\n"
        "class Prior:\n"
        f"    def fit(self, {arguments}):\n"
        f"        self.shares = np.bincount(y, {count}) / len(y)\n"
        "    def predict_proba(self, X):\n"
        "        return np.tile(self.shares, (len(X), 1))\n"
    )
    monkeypatch.chdir(tmp_path)
    labels = np.repeat([0, 1], [900, 100])
    given = attack("own_attack.Prior", 0, draw_noise(1000), labels, draw_noise(3))
    assert given == pytest.approx(np.full((3, 2), 0.5), abs=1e-6 if weights else 0.05)


def test_raw_features_reach_an_attacker_that_asks_for_them(tmp_path, monkeypatch):
    (tmp_path / "own_raw.py").write_text(
        "class Keep:\n"
        "    seen = []\n"
        "    def fit(self, X, y): Keep.seen.append(X)\n"
        "    def predict(self, X): return [0] * len(X)\n"
        "class Raw(Keep):\n"
        "    raw = balances = True\n"
    )
    monkeypatch.chdir(tmp_path)
    features, labels = draw_noise(20) * 5 + 3, np.arange(20) % 2
    for name in ("Keep", "Raw"):
        assert attack(f"own_raw.{name}", 0, features, labels, features).tolist() == [[1, 0]] * 20
    standardised, raw = attackers.ATTACKERS.find("own_raw.Keep").seen
    assert abs(standardised).max() < 5
    assert (raw == features).all()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nearest", "no attacker 'nearest'; choose from linear, mlp, kernel, trees, knn, qda, or name your own"),
        ("sklearn.svm.Nothing", "module 'sklearn.svm' has no 'Nothing'"),
        ("sklearn.preprocessing.StandardScaler", r"must have fit\(X, y\), and predict_proba"),
        ("sklearn.ensemble.VotingClassifier", "missing a required argument: 'estimators'"),
        ("math.pi", "must be a class or a function"),
        ("sklearn.naive_bayes.MultinomialNB", "it fails .ValueError: Negative values in data"),
        ("sklearn.linear_model.LinearRegression", "predict classes"),
    ],
)
def test_attackers_that_cannot_be_are_refused_in_one_line(kind, said):
    people = draw_people()
    with pytest.raises(InputError, match=said) as refused:
        probe(plant(people, 1), people, "race", **QUICK | {"kinds": [kind]})
    assert "\n" not in str(refused.value)
