from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from kinface.erasure import Erasure, inlp, leace
from kinface.model import KinFace


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
    erasure = Erasure(12).eval()
    torch.testing.assert_close(erasure(embedding), embedding)
    erasure.fit(embedding, {name: labels[name] for name in attributes}, weight, method)
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
    erasure = Erasure(12).eval()
    erasure.fit(embedding, labels, weight, "leace")
    erased = erasure(embedding).double()
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


def test_a_model_erases_after_training_or_inside_it_too():
    torch.manual_seed(0)
    model, faces = KinFace(embedding_size=10, width=16, size=8, erasure=True).eval(), torch.randn(300, 10)
    before = model(faces)["embedding"]
    _, _, projected = model.project(faces)
    model.erasure.fit(projected.detach(), {"gender": (faces[:, 0] > 0).long()}, torch.ones(300), "leace")
    after = model(faces)["embedding"]
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after.norm(dim=1), torch.ones(300))
    model.erasure.train()
    torch.testing.assert_close(model(faces)["embedding"], before)
    model.erasure.inside = True
    torch.testing.assert_close(model(faces)["embedding"], after)


def test_what_is_erased_is_part_of_a_saved_model(tmp_path):
    torch.manual_seed(0)
    model, faces = KinFace(embedding_size=10, width=16, size=8, erasure=True).eval(), torch.randn(50, 10)
    _, _, projected = model.project(faces)
    model.erasure.fit(projected.detach(), {"gender": (faces[:, 0] > 0).long()}, torch.ones(50), "leace")
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(KinFace.from_pretrained(tmp_path)(faces)["embedding"], model(faces)["embedding"])
