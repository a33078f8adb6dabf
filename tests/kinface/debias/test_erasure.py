from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from kinface.debias.erasure import Erase, Erasure
from kinface.debias.inlp import Inlp
from kinface.debias.leace import project_leace
from kinface.debias.transport import find_transport
from swinface.files import InputError


def leace(centred, labels, weight):
    codes = [given.numpy() for given in labels.values()]
    return torch.from_numpy(project_leace(centred.numpy(), codes, weight.numpy()))


def inlp(centred, labels, weight):
    codes = [given.numpy() for given in labels.values()]
    return torch.from_numpy(Inlp()._project(centred.numpy(), codes, weight.numpy(), None))


def transport(embedding, groups, weight, classes):
    found = find_transport(embedding.numpy(), groups.numpy(), weight.numpy(), classes)
    return tuple(map(torch.from_numpy, found))


def fit(embedding, labels, weight, method="leace") -> Erasure:
    classes = {name: [str(code) for code in range(int(codes.max()) + 1)] for name, codes in labels.items()}
    erasure = Erasure(embedding.shape[1], classes, method).eval()
    torch.testing.assert_close(erasure(embedding.float()), embedding.float())
    erasure.fit(embedding, labels, weight, torch.arange(len(embedding)))
    return erasure


@pytest.fixture
def faces():
    """(N, D) correlated embeddings, in which two attributes show, and their labels."""
    random = np.random.default_rng(0)
    race, gender = random.integers(0, 3, 900), random.integers(0, 2, 900)
    race[:60] = -1
    mixed = random.normal(size=(900, 12)) @ random.normal(size=(12, 12))
    mixed += 3 * random.normal(size=(3, 12))[race] * (race >= 0)[:, None] + 2 * random.normal(size=(2, 12))[gender]
    labels = {"race": torch.from_numpy(race), "gender": torch.from_numpy(gender)}
    return torch.from_numpy(mixed).float(), labels, torch.from_numpy(random.uniform(0.5, 2, 900))


def accuracy(embedding, labels):
    known = (labels >= 0).numpy()
    read, given = embedding.numpy()[known], labels.numpy()[known]
    return LogisticRegression(class_weight="balanced", max_iter=500).fit(read, given).score(read, given)


@pytest.mark.parametrize("method", ["leace", "inlp"])
@pytest.mark.parametrize("attributes", [["race"], ["gender"], ["race", "gender"]])
def test_no_linear_probe_reads_what_was_erased_and_it_reads_the_rest(faces, method, attributes):
    embedding, labels, weight = faces
    erasure = fit(embedding, {name: labels[name] for name in attributes}, weight, method)
    for name, given in labels.items():
        before, after = accuracy(embedding, given), accuracy(erasure(embedding), given)
        chance = 1 / len(given[given >= 0].unique())
        assert before > chance + 0.3
        if name in attributes:
            assert after < chance + 0.08
        elif method == "leace":  # which takes no more than it must
            assert after > before - 0.1


def test_leace_makes_the_means_of_all_classes_equal(faces):
    embedding, labels, weight = faces
    erased = fit(embedding, labels, weight)(embedding).double()
    for given in labels.values():
        means = [weight[given == k] @ erased[given == k] / weight[given == k].sum() for k in given.unique() if k >= 0]
        for mean in means[1:]:
            torch.testing.assert_close(mean, means[0], atol=1e-4, rtol=0)


def test_leace_is_the_papers_formula_and_changes_less_than_an_orthogonal_projection(faces):
    embedding, labels, weight = faces
    weight = weight / weight.sum()
    centred = embedding.double() - weight @ embedding.double()
    race = labels["race"]
    ours = leace(centred, {"race": race}, weight)
    # Theorem 4.3 by numpy's own roots and inverses, with a basis of the classes' mean differences for C.
    x, w = centred.numpy(), weight.numpy()
    means = np.stack([w[race == k] @ x[race == k] / w[race == k].sum() for k in range(3)])
    values, vectors = np.linalg.eigh((x * w[:, None]).T @ x)
    root, inverse = (vectors * values**power @ vectors.T for power in (0.5, -0.5))
    seen = inverse @ (means[1:] - means[0]).T
    np.testing.assert_allclose(ours.numpy(), root @ seen @ np.linalg.pinv(seen) @ inverse, atol=1e-8)

    def change(projection):
        return float(weight @ ((centred @ projection.T) ** 2).sum(dim=1))

    basis, _ = np.linalg.qr((means[1:] - means[0]).T)
    assert change(ours) < change(torch.from_numpy(basis @ basis.T))


def test_what_has_no_spread_is_left_alone():
    embedding = torch.randn(200, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    embedding[:, 5] = 1.0
    labels = {"gender": torch.arange(200) % 2}
    embedding[:, 0] += labels["gender"]
    projection = leace(embedding - embedding.mean(dim=0), labels, torch.full((200,), 1 / 200, dtype=torch.float64))
    assert torch.isfinite(projection).all()
    torch.testing.assert_close(projection[5], torch.zeros(6, dtype=torch.float64))


def test_inlp_projects_orthogonally_and_takes_more_directions_than_leace(faces):
    embedding, labels, weight = faces
    centred = embedding.double() - weight @ embedding.double() / weight.sum()
    projection = inlp(centred, {"race": labels["race"]}, weight)
    assert torch.linalg.matrix_rank(leace(centred, {"race": labels["race"]}, weight / weight.sum())) == 2
    torch.testing.assert_close(projection @ projection, projection)
    torch.testing.assert_close(projection, projection.T)
    assert torch.linalg.matrix_rank(projection) > 2


def spread_apart(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 8) embeddings of which the first three say, by their mean and their spread, which of two classes it is."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    embedding = random.normal(size=(count, 8))
    embedding[:, 0] += 5 * labels
    embedding[:, 1:3] *= np.where(labels, 2.0, 0.7)[:, None]
    turned = embedding @ np.linalg.qr(np.random.default_rng(9).normal(size=(8, 8)))[0]
    return torch.from_numpy(turned), torch.from_numpy(labels)


def test_transport_hides_the_classes_spread_from_an_mlp_too():
    embedding, labels = spread_apart(3000, seed=0)
    asked, truth = spread_apart(3000, seed=1)
    read = {}
    for method in ("leace", "transport"):
        erasure = fit(embedding, {"gender": labels}, torch.ones(3000), method)
        probe = MLPClassifier((32,), max_iter=60, random_state=0, early_stopping=True)
        probe.fit(erasure(embedding.float()).numpy(), labels)
        read[method] = probe.score(erasure(asked.float()).numpy(), truth)
    assert read["leace"] > 0.75
    assert read["transport"] < 0.6


def test_transport_gives_groups_the_moments_of_their_barycentre():
    random = np.random.default_rng(0)
    embedding = torch.from_numpy(random.normal(size=(600, 5)) @ random.normal(size=(5, 5)))
    groups = torch.arange(600) % 3
    embedding += groups[:, None] * torch.tensor([3.0, 0, 1, 0, -2])
    embedding[groups == 1] *= 1.5
    maps, shifts = transport(embedding, groups, torch.full((600,), 1 / 600, dtype=torch.float64), 3)
    moved = torch.stack([maps[k] @ x + shifts[k] for x, k in zip(embedding, groups, strict=True)])
    means = torch.stack([moved[groups == k].mean(dim=0) for k in range(3)])
    torch.testing.assert_close(means, means[:1].expand(3, -1))
    torch.testing.assert_close(
        means[0], torch.stack([embedding[groups == k].mean(dim=0) for k in range(3)]).mean(dim=0)
    )
    covariances = [moved[groups == k].T.cov(correction=0) for k in range(3)]
    before = [embedding[groups == k].T.cov(correction=0) for k in range(3)]
    for other in covariances[1:]:
        apart = torch.linalg.norm(other - covariances[0]) / torch.linalg.norm(covariances[0])
        assert apart < 0.2 * max(torch.linalg.norm(each - before[0]) for each in before) / torch.linalg.norm(before[0])
    for piece in maps:  # an optimal transport is the gradient of a convex function: symmetric and positive
        torch.testing.assert_close(piece, piece.T)
        assert torch.linalg.eigvalsh(piece).min() > 0


def test_between_two_normal_distributions_on_a_line_it_is_the_textbooks_map():
    """m + s/s_k (x - m_k) with m and s the means of the m_k and s_k, but for the shrinkage of the variances."""
    embedding = torch.cat([torch.randn(4000, 1), 5 + 3 * torch.randn(4000, 1)]).double()
    groups = torch.arange(8000) // 4000
    maps, _ = transport(embedding, groups, torch.full((8000,), 1 / 8000, dtype=torch.float64), 2)
    own = torch.stack([embedding[groups == k].var(correction=0) for k in (0, 1)])
    spread = (0.9 * own + 0.1 * own.mean()).sqrt()
    torch.testing.assert_close(maps[:, 0, 0], spread.mean() / spread)


def test_a_group_of_nobody_is_left_where_it_is():
    embedding = torch.randn(50, 4, dtype=torch.float64)
    maps, shifts = transport(embedding, torch.zeros(50, dtype=torch.long), torch.full((50,), 0.02).double(), 2)
    torch.testing.assert_close(maps[1], torch.eye(4).double())
    assert not shifts[1].any()


@pytest.mark.parametrize("method", ["leace", "inlp", "transport"])
def test_people_who_do_not_count_are_as_if_unknown(method):
    """A class of which nobody is drawn in training does not keep the others from being erased."""
    embedding, labels = spread_apart(600, seed=0)
    weight = torch.ones(600)
    weight[:20] = 0
    nobodies, unknown = labels.clone(), labels.clone()
    nobodies[:20], unknown[:20] = 2, -1
    fitted = []
    for given in (nobodies, unknown):
        fitted.append(fit(embedding, {"gender": given}, weight, method)(embedding.float()))
    torch.testing.assert_close(*fitted)
    assert (fitted[0] - embedding).abs().max() > 0.5


@pytest.mark.parametrize("method", ["leace", "inlp", "transport"])
def test_one_class_alone_is_refused(method):
    with pytest.raises(InputError, match="gender: fewer than two of its classes"):
        fit(torch.randn(9, 4), {"gender": torch.zeros(9).long()}, torch.ones(9), method)


def test_it_erases_in_full_precision_where_all_else_is_half():
    embedding, labels = spread_apart(600, seed=0)
    erasure = fit(embedding, {"gender": labels}, torch.ones(600))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        erased = erasure(embedding.float())
    torch.testing.assert_close(erased, erasure(embedding.float()))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Erase(["race", "gender"], "transport"), "transport takes one attribute, not 2"),
        (Erase(["gender"], "mute", at="features"), "mute changes the meaning of dimensions"),
        (Erase(["gender"], "leece"), "no eraser 'leece'; choose from none, whitened, components, leace"),
        (Erase(["gender"], "inlp", {"round": 3}), "its options are rounds"),
        (Erase(["gender"], "inlp", {"rounds": "many"}), "rounds must be of type PositiveInt; got 'many'"),
        (Erase(["gender"], "oracle"), "no model can keep oracle"),
        (Erase(["gender"], "sklearn.preprocessing.StandardScaler"), "has no state()"),
    ],
)
def test_steps_that_no_model_can_take_are_refused(step, message):
    with pytest.raises(InputError, match=re.escape(message)):
        step.make()


def test_transport_keeps_its_size_in_directions_of_little_variance():
    # Covariances that commute, of which 1e-9 is the smallest variance: T_k is sqrt(S / C_k), S = (mean_k sqrt(C_k))^2.
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(30, 30)))[0]
    spreads = np.logspace(0, -4.5, 30) * np.exp(0.3 * random.normal(size=(3, 30)))
    white = random.normal(size=(3, 500, 30))
    white -= white.mean(axis=1, keepdims=True)
    white = [np.linalg.svd(each, full_matrices=False)[0] * 500**0.5 for each in white]
    faces = np.concatenate([(each * spread) @ axes.T for each, spread in zip(white, spreads, strict=True)])
    maps, _ = find_transport(faces, np.repeat([0, 1, 2], 500), np.ones(1500), 3, shrinkage=0.0)
    for found, spread in zip(maps, spreads, strict=True):
        np.testing.assert_allclose(found, (axes * spreads.mean(axis=0) / spread) @ axes.T, atol=1e-5)
