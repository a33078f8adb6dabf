"""Erasure as scikit-learn transformers: the estimator checks, labels of every kind, and what is erased."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from kinface.debias.components import Components
from kinface.debias.inlp import Inlp
from kinface.debias.leace import Leace
from kinface.debias.splince import Splince
from kinface.debias.transport import Oracle, Transport


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([Leace(), Splince(), Inlp(), Transport(), Components()])
def test_estimator_checks(estimator, check):
    check(estimator)


def draw(count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings in which two attributes show, and these."""
    rng = np.random.default_rng(seed)
    race, gender = rng.choice(["A", "B", "C"], count), rng.choice(["f", "m"], count)
    X = rng.normal(size=(count, 8)) @ rng.normal(size=(8, 8))
    X += 3 * rng.normal(size=(3, 8))[np.unique(race, return_inverse=True)[1]] + 2 * (gender == "m")[:, None]
    return X, race, gender


@pytest.mark.parametrize("eraser", [Leace(), Inlp()])
def test_several_attributes_are_erased_at_once(eraser):
    X, race, gender = draw()
    erased = eraser.fit(X, np.column_stack([race, gender])).transform(X)
    for labels in (race, gender):
        probe = LogisticRegression(class_weight="balanced", max_iter=500)
        assert probe.fit(X, labels).score(X, labels) > 0.8
        chance = 1 / len(np.unique(labels))
        assert probe.fit(erased, labels).score(erased, labels) < chance + 0.08


@pytest.mark.parametrize("eraser", [Leace(), Inlp(), Transport()])
def test_unknown_labels_do_not_count(eraser):
    X, race, _ = draw()
    some = race.astype(object)
    some[:50] = None
    codes = np.where(np.arange(600) < 50, -1, np.unique(race, return_inverse=True)[1])
    weight = (np.arange(600) >= 50).astype(float)
    by_none, by_code = (eraser.fit(X, labels).transform(X) for labels in (some, codes))
    np.testing.assert_allclose(by_none, by_code)
    nans = pd.Series(some).replace({None: np.nan})
    np.testing.assert_allclose(eraser.fit(X, nans).transform(X), by_code)
    if not isinstance(eraser, Transport):  # whose maps are fitted to everyone that its gate sees
        means = [eraser.fit(X, labels, sample_weight=weight).mean_ for labels in (race, some)]
        np.testing.assert_allclose(*means)


def test_weights_of_leace_are_repetitions():
    X, race, _ = draw()
    times = np.random.default_rng(1).integers(0, 3, len(X))
    weighted = Leace().fit(X, race, sample_weight=times)
    repeated = Leace().fit(np.repeat(X, times, axis=0), np.repeat(race, times))
    np.testing.assert_allclose(weighted.projection_, repeated.projection_, atol=1e-9)


def test_splince_removes_one_attribute_and_keeps_the_covariance_with_another_that_goes_with_it():
    X, _, gender = draw()
    rng = np.random.default_rng(1)
    target = np.where(rng.random(600) < 0.5, rng.permutation(gender), gender)  # which goes with gender
    X += 3 * np.outer(target == "m", rng.normal(size=8))
    fitted, leace = Splince().fit(X, gender, target=target), Leace().fit(X, gender)
    centred, wanted = X - X.mean(axis=0), (target == "m") - (target == "m").mean()
    erased = fitted.transform(X)
    np.testing.assert_allclose(erased[gender == "m"].mean(axis=0), erased[gender == "f"].mean(axis=0), atol=1e-8)
    np.testing.assert_allclose((erased - erased.mean(axis=0)).T @ wanted, centred.T @ wanted, atol=1e-6)
    assert np.linalg.norm((leace.transform(X) - X.mean(axis=0)).T @ wanted - centred.T @ wanted) > 1, "LEACE does not"
    assert not np.allclose(fitted.projection_, leace.projection_, atol=1e-3)
    np.testing.assert_allclose(fitted.projection_ @ fitted.projection_, fitted.projection_, atol=1e-8)
    whiten = np.linalg.cholesky(np.linalg.inv(np.cov(X.T, bias=True))).T
    oblique = whiten @ fitted.projection_ @ np.linalg.inv(whiten)
    both = np.linalg.qr(whiten @ np.column_stack([centred.T @ (gender == "m"), centred.T @ wanted]))[0]
    rest = np.linalg.svd(both.T)[2][2:]
    np.testing.assert_allclose(oblique @ rest.T, 0, atol=1e-8)  # what is orthogonal to both stays as it is


def test_splince_without_a_target_that_can_be_kept_is_leace():
    X, race, _ = draw()
    np.testing.assert_allclose(
        Splince().fit(X, race, target=race).projection_, Leace().fit(X, race).projection_, atol=1e-8
    )
    families = np.random.default_rng(0).integers(0, 200, 600)
    for kept in (1, 5):
        projection = Splince(kept).fit(X, race, target=families).projection_
        assert np.linalg.matrix_rank(projection, tol=1e-6) == 2
    unknown = np.where(np.arange(600) < 300, families.astype(float), np.nan)
    assert np.isfinite(Splince().fit(X, race, target=unknown).projection_).all()


def test_an_attribute_needs_two_classes():
    X, race, _ = draw()
    with pytest.raises(ValueError, match="attribute 1 of y has one class among the weighted samples; it needs two"):
        Leace().fit(X, np.column_stack([race, np.full(600, "same")]))


def test_they_fit_into_a_pipeline():
    X, _, gender = draw()
    assert make_pipeline(Leace(), LogisticRegression(max_iter=500)).fit(X, gender).score(X, gender) < 0.58


def test_no_torch_is_imported():
    create = "for name in ('inlp', 'leace', 'splince', 'transport'): kinface.erasers.create(name)"
    code = f"import sys, kinface\n{create}\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_transport_with_an_oracle_takes_labels_and_makes_means_equal():
    rng, z = np.random.default_rng(0), np.repeat(["f", "m"], 100)
    X = rng.normal(size=(200, 3)) + 0.5 * (z == "m")[:, None]
    oracle = Oracle()
    erased = oracle.fit(X, z).transform(X, z)
    np.testing.assert_allclose(erased[z == "f"].mean(axis=0), erased[z == "m"].mean(axis=0), atol=1e-9)
    unknown = np.where(np.arange(200) == 0, None, z)
    gate = Transport().fit(X, z)._choose(X[:1])[0]
    np.testing.assert_allclose(oracle.transform(X, unknown)[0], oracle.maps_[gate] @ X[0] + oracle.shifts_[gate])
    with pytest.raises(ValueError, match="needs labels"):
        oracle.transform(X)
    with pytest.raises(ValueError, match="needs labels"):
        oracle.fit_transform(X, z)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        oracle.transform(X, ["m"])


def test_an_oracle_that_counts_classes_by_size_is_the_quadratic_eraser_of_concept_erasure():
    """``QuadraticEraser.fit(x, z, shrinkage=False)`` of concept-erasure 0.2.4, by its formulas, but 1/n."""
    rng = np.random.default_rng(0)
    z = rng.choice(["A", "B", "C"], 900, p=[0.6, 0.3, 0.1])
    X = (
        rng.normal(size=(900, 4)) @ rng.normal(size=(4, 4))
        + 3 * rng.normal(size=(3, 4))[np.unique(z, return_inverse=True)[1]]
    )
    X[z == "B"] *= 1.5
    oracle = Oracle(shrinkage=0.0, by_size=True).fit(X, z)
    own = [X[z == name] for name in "ABC"]
    shares = [len(part) / 900 for part in own]
    covariances = [np.cov(part.T, bias=True) for part in own]
    centre = sum(share * each for share, each in zip(shares, covariances, strict=True))
    for _ in range(100):
        root = sqrtm(centre)
        middle = sum(share * sqrtm(root @ each @ root) for share, each in zip(shares, covariances, strict=True))
        centre = np.linalg.inv(root) @ middle @ middle @ np.linalg.inv(root)
    expected, mean = np.empty_like(X), np.mean([part.mean(axis=0) for part in own], axis=0)
    for name, each in zip("ABC", covariances, strict=True):
        root = sqrtm(each)
        moved = np.linalg.inv(root) @ sqrtm(root @ centre @ root) @ np.linalg.inv(root)
        expected[z == name] = (X[z == name] - X[z == name].mean(axis=0)) @ moved + mean
    np.testing.assert_allclose(oracle.transform(X, z), expected, atol=1e-5)


@pytest.mark.parametrize("eraser", [Leace, Splince])
def test_classes_that_differ_in_a_column_of_tiny_numbers_are_said(eraser):
    rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 100)
    X = rng.normal(size=(200, 4)) + np.outer(y == "m", [1, 1, 1, 2])
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    for tiny in (X * [1, 1, 1, 1e-6], X * [1, 1, 1, 3e-6] @ turned, np.hstack([X * 1e-6, rng.normal(size=(200, 99))])):
        with pytest.warns(UserWarning, match="one scale"):
            eraser().fit(tiny, y)
    X[:, 3] = rng.permutation(X[:, 3])
    for harmless in (X * [1, 1, 1, 1e-6], X * [1, 1, 1, 0], X @ rng.normal(size=(4, 3)) @ rng.normal(size=(3, 4))):
        eraser().fit(harmless, y)  # the classes are alike there, or nothing is there
    noise = (X @ rng.normal(size=(4, 6))).astype(np.float32).astype(float)  # of rank 4 but for rounding
    eraser().fit(noise, y)


@pytest.mark.parametrize("eraser", [Leace, Splince])
def test_classes_that_differ_by_the_rounding_of_a_network_alone_cause_no_warning(eraser):
    """Fewer samples than features, moved by two maps in float32, as in a model that transports its features."""
    rng, y = np.random.default_rng(0), np.repeat(["f", "m"], 40)
    X = rng.normal(size=(80, 128)) + 3 * (y == "m")[:, None]
    transport = Transport().fit(X, y)
    transport.maps_, transport.shifts_ = transport.maps_.astype(np.float32), transport.shifts_.astype(np.float32)
    eraser().fit(transport.transform(X).astype(np.float32), y)


@pytest.mark.parametrize("options", [{}, {"C": 1 / 600}])
def test_inlp_is_the_papers_loop_with_logistic_regressions_as_scikit_learn_has_them(options):
    X, race, _ = draw()
    centred = X - X.mean(axis=0)
    P, rows = np.eye(8), np.zeros((0, 8))
    for _ in range(2):
        left = centred @ P
        classifier = LogisticRegression(class_weight="balanced", **options).fit(left / left.std(), race)
        if balanced_accuracy_score(race, classifier.predict(left / left.std())) < 1 / 3 + 0.05:
            break
        rows = np.concatenate([rows, classifier.coef_ @ P])
        P = np.eye(8) - np.linalg.pinv(rows, rcond=1e-6) @ rows
    np.testing.assert_allclose(
        Inlp(rounds=2, **options).fit(X, race).transform(X) - X.mean(axis=0), centred @ P, atol=0.01
    )
