from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from kinface.data.vocabulary import TYPES
from kinface.models.inference import predict_types
from kinface.models.kinface import KinFace, TypeHead
from swinface.files import InputError
from swinface.model import SwinFace

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4, "drop_path": 0.0}
HEADS = {"race": ["African", "Asian", "Caucasian"], "gender": ["f", "m"]}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return KinFace(TINY, width=32, size=16, heads=HEADS).eval()


@pytest.fixture
def images():
    return torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_outputs_by_name(model, images):
    outputs = model(images)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "inputs": (4, sum(model.trunk.channels), 7, 7),
        "neck": (4, 32),
        "features": (4, 32),
        "embedding": (4, 16),
        "race": (4, 3),
        "gender": (4, 2),
    }
    torch.testing.assert_close(outputs["embedding"].norm(dim=1), torch.ones(4))


def test_images_of_another_size_are_refused(model):
    with pytest.raises(InputError, match=r"images: they are \(2, 3, 224, 224\); give aligned faces"):
        model(torch.zeros(2, 3, 224, 224, dtype=torch.uint8))


def test_levels_computed_before_give_the_same_as_images(model, images):
    from swinface.data.faces import scale_pixels

    levels, _ = model.trunk(scale_pixels(images))
    for name, value in model(levels).items():
        torch.testing.assert_close(value, model(images)[name])


def test_embeddings_take_the_place_of_a_trunk():
    model = KinFace(embedding_size=10, width=32, size=16).eval()
    assert model(torch.randn(3, 10))["embedding"].shape == (3, 16)


@pytest.mark.parametrize("arguments", [{}, {"trunk": TINY, "embedding_size": 10}])
def test_a_model_reads_one_thing(arguments):
    with pytest.raises(InputError, match="trunk or the size"):
        KinFace(**arguments)


def test_the_cosine_over_domains_is_the_mean_of_each_projections():
    torch.manual_seed(0)
    model = KinFace(embedding_size=10, width=32, size=16, domains=2).eval()
    faces = torch.randn(5, 10)
    projected = model.project(model(faces)["features"])
    first, second = (F.normalize(part, dim=1) for part in projected.split(8, dim=1))
    embedding = model(faces)["embedding"]
    torch.testing.assert_close(embedding @ embedding.T, (first @ first.T + second @ second.T) / 2)


def test_domains_share_the_size():
    with pytest.raises(InputError, match="size 16 does not divide into 3"):
        KinFace(embedding_size=10, size=16, domains=3)


def test_type_probabilities_are_a_distribution_that_ignores_order():
    torch.manual_seed(0)
    head = TypeHead(16)
    a, b = F.normalize(torch.randn(2, 6, 16), dim=2)
    log_probabilities = head(a, b)
    assert log_probabilities.shape == (6, len(TYPES) + 1)
    torch.testing.assert_close(log_probabilities.exp().sum(dim=1), torch.ones(6))
    torch.testing.assert_close(head(b, a), log_probabilities)


def test_kin_is_likelier_the_larger_the_cosine():
    head = TypeHead(2)
    angles = torch.linspace(0, 3, 20)
    a, b = torch.tensor([[1.0, 0.0]]).expand(20, 2), torch.stack([angles.cos(), angles.sin()], dim=1)
    unrelated = head(a, b)[:, -1]
    assert (unrelated.diff() > 0).all()
    expected = torch.sigmoid(-head.scale * (angles.cos() - head.offset))
    torch.testing.assert_close(unrelated.exp(), expected)


def test_a_pair_is_unrelated_only_if_that_is_likelier_than_all_types_together():
    """With P(unrelated) .4 and .6 and 11 types alike but for the second, which is slightly more likely."""
    faces, embedding = [*"abc"], torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pairs = pd.DataFrame({"face_a": ["a", "a"], "face_b": ["b", "c"]})

    def types(a, b):
        unrelated = torch.where((a * b).sum(dim=1) > 0.5, 0.4, 0.6)
        share = torch.full((len(TYPES),), 1.0)
        share[1] = 1.1
        return torch.cat([(1 - unrelated)[:, None] * share / share.sum(), unrelated[:, None]], dim=1).log()

    model = SimpleNamespace(types=types, threshold=torch.tensor(0.0))
    assert predict_types(model, pairs, faces, embedding).tolist() == [1, len(TYPES)]


def test_round_trip(model, images, tmp_path):
    model.threshold.fill_(0.25)
    model.save_pretrained(tmp_path / "run")
    again = KinFace.from_pretrained(tmp_path / "run")
    assert float(again.threshold) == 0.25
    for name, value in model(images).items():
        torch.testing.assert_close(again(images)[name], value)


def test_another_models_folder_is_refused(tmp_path):
    SwinFace(**TINY, width=16).save_pretrained(tmp_path / "swinface")
    with pytest.raises(InputError, match="not the configuration of a KinFace"):
        KinFace.from_pretrained(tmp_path / "swinface")
