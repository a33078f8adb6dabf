from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from kinface.data.triplets import sample_triplets, score_triplets
from kinface.models.triplets import TripletHead, fit_triplets
from swinface.files import InputError


@pytest.fixture(scope="module")
def planted(families):
    """Embeddings of which a child has half from each parent's family: noise around a vector of the family."""
    rng = np.random.default_rng(0)
    of_family = {family: rng.normal(size=12) for family in sorted(families.faces["family"].unique())}
    faces = list(families.faces["face"])
    shared = np.stack([of_family[family] for family in families.faces["family"]])
    return faces, (0.6 * shared + rng.normal(size=shared.shape)).astype(np.float32)


def unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 12, generator=generator))


def test_it_does_not_matter_which_parent_comes_first():
    head = TripletHead(12).eval()
    torch.nn.init.normal_(head.both.weight)
    father, mother, child = (unit(20, seed) for seed in range(3))
    assert torch.allclose(head(father, mother, child), head(mother, father, child), atol=1e-5)
    assert not torch.allclose(head(father, mother, child), head(father, child, mother), atol=1e-2)


def test_the_formula_term_by_term():
    head = TripletHead(12, width=5).eval()
    torch.nn.init.normal_(head.both.weight)
    father, mother, child = (unit(4, seed) for seed in range(3))
    weight, bias = head.parent[0].weight, head.parent[0].bias
    for row in range(4):
        f, m, c = father[row], mother[row], child[row]
        u = [
            torch.relu(weight[:, :12] @ (p * c * 12) + weight[:, 12:] @ ((p - c).abs() * 12**0.5) + bias)
            for p in (f, m)
        ]
        extra = head.both.weight[0] @ torch.cat([u[0] + u[1], (u[0] - u[1]).abs(), torch.maximum(*u)])
        expected = head.scale * ((f @ c + m @ c) / 2 - head.offset) + extra
        assert head(father, mother, child)[row].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


def test_an_untrained_head_orders_as_the_baseline_does(families, planted):
    triplets = sample_triplets(families, "val")
    baseline = score_triplets(triplets, *planted)["score"]
    ours = TripletHead(12).eval().score(triplets, *planted)["score"]
    assert (np.argsort(ours, kind="stable") == np.argsort(baseline, kind="stable")).mean() > 0.98
    assert roc_auc_score(triplets["kin"], ours) == pytest.approx(roc_auc_score(triplets["kin"], baseline), abs=1e-3)


def test_training_chooses_by_tune_and_repeats_to_the_bit(families, planted, tmp_path):
    settings = {"epochs": 4, "batch": 64, "learning_rate": 5e-3}
    head, log = fit_triplets(families, *planted, **settings)
    again, repeated = fit_triplets(families, *planted, **settings)
    assert log.equals(repeated)
    assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), again.state_dict().values(), strict=True))
    assert log["epoch"].tolist() == [0, 1, 2, 3, 4]
    tune = head.score(sample_triplets(families, "tune"), *planted)
    assert roc_auc_score(tune["kin"], tune["score"]) == log["tune_auc"].max()
    accepted = tune["score"] >= float(head.threshold)
    assert accepted[tune["kin"]].mean() > accepted[~tune["kin"]].mean()
    head.save_pretrained(tmp_path)
    assert TripletHead.from_pretrained(tmp_path).score(tune, *planted)["score"].equals(tune["score"])


def test_it_learns_what_the_mean_of_two_cosines_cannot_see(families):
    """Only the first four numbers are a family's; in the others, parents and child are alike by chance."""
    rng = np.random.default_rng(1)
    of_family = {family: rng.normal(size=4) for family in sorted(families.faces["family"].unique())}
    shared = np.stack([of_family[family] for family in families.faces["family"]])
    embedding = np.concatenate(
        [0.5 * shared + 0.2 * rng.normal(size=shared.shape), rng.normal(size=(len(shared), 8))], axis=1
    )
    faces = list(families.faces["face"])
    head, _ = fit_triplets(families, faces, embedding, epochs=30, batch=32, learning_rate=5e-3, dropout=0.2)
    triplets = sample_triplets(families, "val")
    baseline = roc_auc_score(triplets["kin"], score_triplets(triplets, faces, embedding)["score"])
    ours = roc_auc_score(triplets["kin"], head.score(triplets, faces, embedding)["score"])
    assert ours > baseline + 0.05


def test_bad_input_is_named(families, planted):
    faces, embedding = planted
    with pytest.raises(InputError, match="12 numbers"):
        TripletHead(12).score(sample_triplets(families, "val"), faces, embedding[:, :5])
    with pytest.raises(InputError, match="epochs"):
        fit_triplets(families, faces, embedding, epochs=0)
    wrong = {"width": 0, "batch": 0, "dropout": 2.0, "learning_rate": float("nan"), "weight_decay": -1.0}
    for name, value in wrong.items():
        with pytest.raises(InputError, match=f"^{name} is {value}; give "):
            fit_triplets(families, faces, embedding, epochs=1, **{name: value})
