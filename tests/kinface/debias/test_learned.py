from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.nn import functional as F

from kinface.debias.erasers import erasers
from kinface.debias.erasure import Erasure
from kinface.debias.igbp import Igbp
from kinface.debias.kram import Kram
from kinface.debias.learned import Learned
from kinface.debias.leopard import measure_discrepancy
from kinface.debias.mute import Mute
from kinface.debias.obliviator import Obliviator, _encode, _fourier
from kinface.models.kinface import KinFace
from swinface.files import InputError

LEARNED = ("leopard", "igbp", "kram", "mute", "obliviator")


def draw(count: int, seed: int, size: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) vectors of unit length, of which the first four say, by mean and by spread, which of two classes it is."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, count)
    faces = rng.normal(size=(count, size))
    faces[:, 0] += 2 * codes
    faces[:, 1:4] *= np.where(codes, 2.0, 0.6)[:, None]
    turned = faces @ np.linalg.qr(np.random.default_rng(9).normal(size=(size, size)))[0]
    return turned / np.linalg.norm(turned, axis=1, keepdims=True), codes


def short(method: str, steps: int = 40, **options: int) -> Learned:
    """Not yet fitted; learns for a short time, and of few random features, as faces are of few numbers here."""
    given = {"obliviator": {"steps": steps, "basis": 256}, "mute": {}}.get(method, {"steps": steps})
    return erasers.create(method, **given | options)


SMALL = {"obliviator": {"hidden": 16, "basis": 64}}  # for data of few features


# They learn from faces that are drawn by their weights, so that a weight of 2 is not the same as a face that is there
# twice; and they compute in single precision, in which a face among others differs by some 1e-7.
NOT_EXACT = ("check_sample_weight_equivalence_on_dense_data", "check_methods_subset_invariance")


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([short(method, steps=2, **SMALL.get(method, {})) for method in LEARNED])
def test_estimator_checks(estimator, check):
    if check.func.__name__ in NOT_EXACT:
        pytest.skip("see NOT_EXACT")
    check(estimator)


@pytest.fixture(scope="module")
def fitted() -> dict:
    """Each, fitted on the same faces."""
    return {method: short(method).fit(*draw(3000, seed=0)) for method in LEARNED}


# What was chosen for FIW's embeddings of 256 numbers is too mild where a tenth of forty numbers tell the class.
STRONGER = {"leopard": {"rank": 0.5}, "obliviator": {"rounds": 3, "rate": 5e-3, "basis": 256}, "kram": {"layers": 3}}


@pytest.mark.parametrize("method", LEARNED)
def test_an_mlp_reads_less_on_fresh_faces_and_much_of_the_rest_stays(method):
    eraser = erasers.create(method, **STRONGER.get(method, {})).fit(*draw(3000, seed=0, size=40))
    faces, codes = draw(3000, seed=1, size=40)
    erased = eraser.transform(faces)
    erased /= np.linalg.norm(erased, axis=1, keepdims=True)

    def read(x: np.ndarray) -> float:
        probe = MLPClassifier((32,), max_iter=400, random_state=0, early_stopping=True)
        return probe.fit(6 * x[:2000], codes[:2000]).score(6 * x[2000:], codes[2000:])

    assert read(faces) > 0.8
    assert read(erased) < 0.72
    pairs = np.triu_indices(300, 1)
    before, after = ((x[:300] @ x[:300].T)[pairs] for x in (faces, erased))
    assert np.corrcoef(before, after)[0, 1] > 0.2


@pytest.mark.parametrize("method", LEARNED)
def test_each_fit_gives_the_same_map_and_leaves_the_random_numbers_of_others(fitted, method):
    faces, codes = draw(3000, seed=0)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        again = short(method).fit(faces, codes)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_allclose(again.transform(faces), fitted[method].transform(faces), rtol=1e-5)


@pytest.mark.parametrize("method", LEARNED)
def test_people_who_do_not_count_are_as_if_unknown(method):
    faces, codes = draw(200, seed=0, size=4)
    weight = np.ones(200)
    weight[:20] = 0
    unknown = np.where(weight > 0, codes, -1)
    results = [
        short(method, 3).fit(faces, given, sample_weight=counts).transform(faces)
        for given, counts in ((codes, weight), (unknown, None))
    ]
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)  # computed in single precision, as said above


@pytest.mark.parametrize("method", LEARNED)
def test_a_face_of_great_weight_counts_as_many_faces(method):
    """The map of faces, some of which weigh a thousand times the others, is nearly that of these alone."""
    faces, codes = draw(400, seed=0, size=4)
    some = np.arange(400) < 100
    given = {"heavy": (faces, codes, np.where(some, 1000.0, 1.0)), "some": (faces[some], codes[some], None)}
    given["all"] = (faces, codes, None)
    cosines = {}
    for name, (x, y, weight) in given.items():
        moved = short(method, 20).fit(x, y, sample_weight=weight).transform(faces)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        cosines[name] = moved @ moved.T
    apart = {name: np.median(np.abs(cosines[name] - cosines["some"])) for name in ("heavy", "all")}
    assert apart["heavy"] < 0.7 * apart["all"], apart


def test_mute_bears_numbers_that_do_not_differ_and_those_that_are_none():
    faces, _ = draw(60, seed=0, size=4)
    codes = (np.arange(60) == 0).astype(int)  # one face of its class
    eraser = Mute().fit(faces, codes)
    assert np.isfinite(eraser.transform(faces)).all()
    state = {name: torch.from_numpy(array) for name, array in eraser.state().items()}
    assert Mute.move(torch.full((1, 4), torch.nan), **state).isnan().all()


def test_obliviator_needs_more_random_features_than_numbers():
    with pytest.raises(InputError, match="too few for embeddings of 800 numbers"):
        erasers.create("obliviator").fit(*draw(30, seed=0, size=800))


def test_obliviator_keeps_what_tells_a_target_if_asked():
    faces, codes = draw(3000, seed=0, size=40)
    kept = np.random.default_rng(5).integers(0, 4, len(faces))
    faces = faces + 0.1 * np.eye(40)[kept + 20]  # the target is told by the smallest part of an embedding
    shares = {}  # of the variance, between the means of the target's classes
    for weight in (0.0, 30.0):
        eraser = short("obliviator", 20).set_params(keep_target=weight).fit(faces, codes, target=kept)
        erased = eraser.transform(faces)
        means = np.stack([erased[kept == one].mean(axis=0) for one in range(4)])
        shares[weight] = means.var(axis=0).sum() / erased.var(axis=0).sum()
    assert shares[30.0] > 1.1 * shares[0.0], shares
    faces, codes, kept = faces[:300], codes[:300], kept[:300]
    ignored = short("obliviator", 5).fit(faces, codes).transform(faces)
    np.testing.assert_array_equal(short("obliviator", 5).fit(faces, codes, target=kept).transform(faces), ignored)
    with pytest.raises(InputError, match="pass target to fit"):
        short("obliviator", 20).set_params(keep_target=1.0).fit(faces, codes)


@pytest.mark.parametrize("method", LEARNED)
def test_a_model_with_it_moves_embeddings_as_it_does_and_is_saved_and_loaded(fitted, method, tmp_path):
    step = {"attributes": {"gender": ["f", "m"]}, "method": method}
    model = KinFace(embedding_size=6, width=8, size=12, erase=[step]).eval()
    faces = torch.randn(20, 6)
    before = model(faces)["embedding"].detach()
    model.erasures[0].take(fitted[method].state())
    moved = torch.from_numpy(fitted[method].transform(before.double().numpy()))
    torch.testing.assert_close(model(faces)["embedding"].double(), F.normalize(moved, dim=1), atol=1e-6, rtol=0)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(KinFace.from_pretrained(tmp_path)(faces), model(faces))


def test_a_step_of_a_model_is_the_eraser_that_is_fitted_on_the_same_faces(fitted):
    faces, codes = draw(3000, seed=0)
    erasure = Erasure(12, {"gender": ["f", "m"]}, "kram", {"steps": 40}).eval()
    erasure.fit(torch.from_numpy(faces), {"gender": torch.from_numpy(codes)}, torch.ones(3000), torch.arange(3000))
    found = erasure(torch.from_numpy(faces).float()).numpy()
    np.testing.assert_allclose(found, fitted["kram"].transform(faces), atol=1e-6)
    assert not [*erasure.parameters()]
    assert erasure.train()(codes) is codes


def test_the_discrepancy_is_the_unbiased_one_by_loops():
    a, b = torch.randn(5, 3).double(), 1 + torch.randn(4, 3).double()
    everyone = [*a, *b]
    scale = np.mean([float((x - y).square().sum()) for x in everyone for y in everyone if x is not y])

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return sum(math.exp(-float((x - y).square().sum()) / (factor * scale)) for factor in (0.25, 0.5, 1, 2, 4))

    within = [np.mean([kernel(x, y) for i, x in enumerate(own) for j, y in enumerate(own) if i != j]) for own in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert float(measure_discrepancy(a, b)) == pytest.approx(sum(within) - 2 * across)


def test_leopard_projects_orthogonally_and_makes_means_equal(fitted):
    projection = fitted["leopard"].state()["projection"]
    np.testing.assert_allclose(projection, projection.T, atol=1e-6)
    np.testing.assert_allclose(projection @ projection, projection, atol=1e-5)
    assert np.linalg.matrix_rank(projection, rtol=1e-3) == round(0.9 * 12)
    faces, codes = draw(3000, seed=0)
    erased = fitted["leopard"].transform(faces)
    np.testing.assert_allclose(*(erased[codes == code].mean(axis=0) for code in (0, 1)), atol=1e-4)


def test_igbp_goes_to_the_boundary_of_a_probe_that_is_linear_nearby():
    torch.manual_seed(0)
    inner, outer = torch.randn(5, 5), torch.randn(3, 5)
    bias = torch.full((5,), 50.0)  # all of the hidden layer is active, so that the probe is linear
    outer_bias = -50 * outer.sum(dim=1)
    faces = torch.randn(30, 5)

    def answer(x: torch.Tensor) -> torch.Tensor:
        return (x @ inner.T + bias).relu() @ outer.T + outer_bias

    moved = Igbp.move(faces, inner[None], bias[None], outer[None], outer_bias[None])
    before, after = answer(faces), answer(moved)
    first, second = before.topk(2, dim=1).indices.T
    rows = torch.arange(30)
    torch.testing.assert_close(after[rows, first], after[rows, second], atol=1e-3, rtol=0)
    normal = (outer[first] - outer[second]) @ inner
    torch.testing.assert_close(F.cosine_similarity(moved - faces, -normal), torch.ones(30), atol=1e-4, rtol=0)


def test_krams_rate_is_that_of_the_papers_formula():
    z = F.normalize(torch.randn(9, 4), dim=1)
    codes = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1])
    kernel = (codes[:, None] == codes).float()
    for given, among in ((None, torch.ones(9, 9)), (codes, kernel)):
        expected = torch.logdet(torch.eye(9) + 4 / (9 * 0.5) * (z @ z.T) * among) / 2
        torch.testing.assert_close(Kram().rate(z, given), expected)


def test_mute_brings_each_class_to_standard_normal_numbers():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 4000)
    skewed = np.stack([rng.exponential(size=4000), rng.uniform(size=4000), rng.normal(size=4000)], axis=1)
    faces = skewed * np.where(codes, 3.0, 1.0)[:, None] + 30 * codes[:, None]
    moved = Mute().fit(faces, codes).transform(faces)
    for code in (0, 1):
        own = moved[codes == code]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(np.cov(own.T), np.eye(3), atol=0.12)
        quantiles = np.quantile(own, [0.1, 0.25, 0.75, 0.9], axis=0).mean(axis=1)
        np.testing.assert_allclose(quantiles, [-1.28, -0.67, 0.67, 1.28], atol=0.08)


def test_mute_gives_each_class_its_turn_in_each_round():
    faces, codes = draw(600, seed=0, size=4)
    states = [Mute(rounds).fit(faces, codes).state() for rounds in (1, 2)]
    assert [len(state["axes"]) for state in states] == [2, 4]
    np.testing.assert_array_equal(states[0]["axes"], states[1]["axes"][:2])
    own = torch.from_numpy(faces[codes == 0]).float()
    turned = np.cov(
        ((own - torch.from_numpy(states[0]["means"][0])) @ torch.from_numpy(states[0]["axes"][0])).numpy().T
    )
    np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=0.05 * np.diag(turned).max())


def test_obliviators_directions_have_no_covariance_with_the_class(fitted):
    state = {name: torch.from_numpy(array[0]) for name, array in fitted["obliviator"].state().items()}
    faces, codes = draw(20_000, seed=0)
    torch.testing.assert_close(state["kept"].T @ state["kept"], torch.eye(12), atol=1e-4, rtol=0)
    w = _encode(torch.from_numpy(faces).float(), state["encoder"], state["encoder_bias"])
    features = _fourier(w, state["directions"], state["phases"])
    apart = features[codes == 0].mean(dim=0) - features[codes == 1].mean(dim=0)
    assert (apart @ state["kept"]).norm() < 0.2 * apart.norm()


def test_obliviators_reduction_has_no_covariance_with_the_class_and_is_saved(fitted, tmp_path):
    faces, codes = draw(3000, seed=0)
    eraser = short("obliviator", 10).set_params(kernel_pca=True).fit(faces, codes)
    state = {name: torch.from_numpy(array) for name, array in eraser.state().items()}
    kept, x = state["reduction_kept"], torch.from_numpy(faces).float()
    features = _fourier(x, state["reduction_directions"], state["reduction_phases"])
    torch.testing.assert_close(kept.T @ kept, torch.eye(12), atol=1e-4, rtol=0)
    apart = features[codes == 0].mean(dim=0) - features[codes == 1].mean(dim=0)
    assert (apart @ kept).norm() < 0.2 * apart.norm()
    spread = torch.cov((features @ kept).T)
    assert spread.diagonal().sum() > 0.9 * torch.linalg.eigvalsh(torch.cov(features.T))[-14:-2].sum()
    reduced = F.normalize((features - state["reduction_mean"]) @ kept, dim=1)
    rounds = {name: array for name, array in state.items() if not name.startswith("reduction")}
    torch.testing.assert_close(Obliviator.move(x, **state), Obliviator.move(reduced, **rounds))
    step = {"attributes": {"gender": ["f", "m"]}, "method": "obliviator", "options": {"kernel_pca": True}}
    model = KinFace(embedding_size=6, width=8, size=12, erase=[step]).eval()
    model.erasures[0].take(eraser.state())
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(KinFace.from_pretrained(tmp_path)(x[:20, :6]), model(x[:20, :6]))
