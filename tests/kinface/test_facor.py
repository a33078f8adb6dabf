"""FaCoRNet's attention and loss against loops, and its training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kinface.data.sampling import sample_pairs
from swinface.files import InputError
from tests.benchmarks import load_benchmark

CHANNELS = (4, 4)


@pytest.fixture(scope="module")
def facor():
    return load_benchmark("facor")


@pytest.fixture(scope="module")
def planted(families):
    """Levels of which a family shares a part."""
    rng = np.random.default_rng(0)
    of_family = {family: rng.normal(size=(8, 7, 7)) for family in sorted(families.faces["family"].unique())}
    shared = np.stack([of_family[family] for family in families.faces["family"]])
    levels = shared + rng.normal(size=shared.shape)
    return list(families.faces["face"]), torch.from_numpy(levels.astype(np.float16))


def draw_levels(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 8, 7, 7, generator=torch.Generator().manual_seed(seed))


def to_unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=0, keepdims=True)


def softmax(values: np.ndarray) -> np.ndarray:
    values = np.exp(values - values.max())
    return values / values.sum()


def test_a_pair_place_by_place_and_channel_by_channel(facor):
    torch.manual_seed(0)
    model = facor.FaceRelation(CHANNELS, width=16).eval()
    a, b = draw_levels(1, 1), draw_levels(1, 2)
    with torch.no_grad():
        found_a, found_b, guide = (part[0].double().numpy() for part in model(a, b))
        fused = [model.neck.fuse(levels)[0].double().numpy().reshape(16, 49) for levels in (a, b)]
        features = [to_unit(model.neck(levels)[0].double().numpy()) for levels in (a, b)]
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def attend(first, second):
        both = np.concatenate([first, second])
        query, key = (
            weights[f"{it}.weight"][:, :, 0, 0] @ both + weights[f"{it}.bias"][:, None] for it in ("query", "key")
        )
        return np.stack([softmax(query[:, i] @ key) for i in range(49)])

    assert np.allclose(guide, attend(*fused), atol=1e-5)
    maps = [to_unit(it) for it in fused]
    places = attend(*maps)
    united = weights["joint.weight"] @ np.concatenate(features) + weights["joint.bias"]
    alike = np.outer(united, united)
    channels = np.stack([softmax(row.max() - row) for row in alike])
    for side, found in enumerate((found_a, found_b)):
        value = weights[f"values.{side}.weight"][:, :, 0, 0] @ maps[side] + weights[f"values.{side}.bias"][:, None]
        moved = np.stack([sum(places[i, j] * value[:, j] for j in range(49)) for i in range(49)], axis=1)
        of_places = (moved + maps[side]).mean(axis=1)
        of_channels = channels @ features[side] + features[side]
        hidden = weights["weigh.0.weight"] @ np.concatenate([of_channels, of_places]) + weights["weigh.0.bias"]
        gates = 1 / (1 + np.exp(-(weights["weigh.2.weight"] @ hidden.clip(0) + weights["weigh.2.bias"])))
        assert np.allclose(found, gates[:16] * of_channels + gates[16:] * of_places, atol=1e-5)


def test_the_loss_pair_by_pair(facor):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    attention = np.stack([np.stack([softmax(rng.normal(size=49)) for _ in range(49)]) for _ in range(3)])
    everyone = [vector / np.linalg.norm(vector) for vector in [*a, *b]]
    expected = 0.0
    for i, face in enumerate(everyone):
        temperature = (attention[i % 3] ** 2).sum() / 20
        others = [math.exp(face @ other / temperature) for j, other in enumerate(everyone) if j != i]
        expected -= math.log(math.exp(face @ everyone[(i + 3) % 6] / temperature) / sum(others)) / 6
    found = facor.relation_guided_loss(*(torch.from_numpy(it) for it in (a, b, attention)), scale=20)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_the_score_of_a_pair_does_not_depend_on_its_order(facor, families, planted):
    torch.manual_seed(0)
    model = facor.FaceRelation(CHANNELS, width=16).eval()
    pairs = sample_pairs(families, "val")
    swapped = pairs.rename(columns={"face_a": "face_b", "face_b": "face_a"})
    assert np.allclose(model.score(pairs, *planted)["score"], model.score(swapped, *planted)["score"], atol=1e-6)


def test_training_learns_kinship_and_repeats_to_the_bit(facor, families, planted):
    settings = {"channels": CHANNELS, "width": 16, "epochs": 4, "batch": 8, "learning_rate": 5e-3}
    model, log = facor.fit_relation(families, *planted, **settings)
    again, repeated = facor.fit_relation(families, *planted, **settings)
    assert log.equals(repeated)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert log["loss"].iloc[-1] < log["loss"].iloc[0]
    assert log["tune_auc"].max() > 0.7
    tune = model.score(sample_pairs(families, "tune"), *planted)
    accepted = tune["score"] >= float(model.threshold)
    assert accepted[tune["kin"]].mean() > accepted[~tune["kin"]].mean()


def test_what_does_not_fit_is_refused(facor, families, planted):
    faces, levels = planted
    with pytest.raises(InputError, match="no levels of this face"):
        facor.fit_relation(families, ["other"], levels[:1], CHANNELS)
    with pytest.raises(InputError, match="epochs is 0"):
        facor.fit_relation(families, faces, levels, CHANNELS, epochs=0)
    with pytest.raises(InputError, match="diverged in epoch 1; lower the learning rate"):
        facor.fit_relation(families, faces, levels, CHANNELS, width=16, epochs=1, learning_rate=1e30)
