"""Models erase by steps, their own or others', in training and after it, and are saved with them."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kinface.debias.erasers import erasers
from kinface.models.inference import describe_faces
from kinface.models.kinface import KinFace
from swinface.files import InputError

GENDER = {"gender": ["f", "m"]}


def build_model(inside: int = 0) -> KinFace:
    torch.manual_seed(0)
    steps = [{"attributes": GENDER, "method": method} for method in ("leace", "transport")]
    steps = [step | {"inside": place < inside} for place, step in enumerate(steps)]
    return KinFace(embedding_size=10, width=16, size=8, erase=steps).eval()


def fit_erasures(model: KinFace, faces: torch.Tensor) -> None:
    embedding = model.project(model(faces)["features"])
    labels = {"gender": (faces[:, 0] > 0).long()}
    for erasure in model.erasures:
        erasure.fit(embedding.detach(), labels, torch.ones(len(faces)), torch.arange(len(faces)))
        embedding = model.to_unit_length(erasure(embedding))


@pytest.mark.parametrize("inside", [0, 1, 2])
def test_a_model_erases_after_training_and_the_first_steps_inside_it_too(inside):
    model, faces = build_model(inside), torch.randn(300, 10)
    before = model(faces)["embedding"]
    torch.testing.assert_close(before, model.project(model(faces)["features"]))
    fit_erasures(model, faces)
    after = model(faces)["embedding"]
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after.norm(dim=1), torch.ones(300))
    model.erasures.train()
    expected = before
    for erasure in copy.deepcopy(model.erasures).eval()[:inside]:
        expected = model.to_unit_length(erasure(expected))
    torch.testing.assert_close(model(faces)["embedding"], expected)


@pytest.mark.parametrize("inside", [0, 1, 2])
def test_a_saved_model_erases_as_before_in_both_modes(inside, tmp_path):
    model, faces = build_model(inside), torch.randn(50, 10)
    fit_erasures(model, faces)
    model.save_pretrained(tmp_path)
    loaded = KinFace.from_pretrained(tmp_path)
    for mode in (False, True):
        outputs = [each.train(mode)(faces)["embedding"] for each in (loaded, model)]
        torch.testing.assert_close(*outputs)
    assert [erasure.step.inside for erasure in loaded.erasures] == [place < inside for place in range(2)]


def test_erased_features_have_equal_class_means_and_the_embedding_is_made_of_them(tmp_path):
    torch.manual_seed(0)
    step = {"attributes": GENDER, "method": "leace", "inside": True, "at": "features"}
    model = KinFace(embedding_size=10, width=16, size=8, erase=[step]).eval()
    faces = torch.randn(300, 10)
    gender = (faces[:, 0] > 0).long()
    before = model(faces)
    assert torch.equal(before["features"], before["neck"])
    model.feature_erasures[0].fit(before["neck"].detach(), {"gender": gender}, torch.ones(300), torch.arange(300))
    after = model(faces)
    assert torch.equal(after["neck"], before["neck"])
    means = [after["features"][gender == code].mean(dim=0) for code in (0, 1)]
    torch.testing.assert_close(*means, atol=1e-5, rtol=0)
    torch.testing.assert_close(after["embedding"], model.project(after["features"]))
    assert set(describe_faces(model, faces.numpy())) == {"embedding", "features", "neck"}
    model.save_pretrained(tmp_path)
    loaded = KinFace.from_pretrained(tmp_path).train()
    assert loaded.feature_erasures[0].step.inside
    torch.testing.assert_close(loaded.eval()(faces)["features"], after["features"])


OWN = """
import numpy as np
import torch


class Turn:  # the mirror image along the difference of the class means; an affine map
    def fit(self, X, y):
        apart = X[y == "f"].mean(axis=0) - X[y == "m"].mean(axis=0)
        self.apart = apart / np.linalg.norm(apart)
        return self

    def transform(self, X):
        return X - 2 * np.outer(X @ self.apart, self.apart)

    def state(self):
        return {"maps": (np.eye(len(self.apart)) - 2 * np.outer(self.apart, self.apart))[None],
                "shifts": np.zeros((1, len(self.apart)))}


class Clip(Turn):  # no affine map
    def __init__(self, least=0.0):
        self.least = least

    def transform(self, X):
        return self.move(torch.from_numpy(X), torch.tensor([self.least])).numpy()

    def state(self):
        return {"least": np.array([self.least])}

    @staticmethod
    def move(x, least):
        return x.maximum(least)


class Short(Turn):
    def state(self):
        return {"maps": np.zeros((1, 3, 3)), "shifts": np.zeros((1, 3))}


class Transposed(Turn):
    def transform(self, X):
        return np.roll(X, 1, axis=1)

    def state(self):
        size = len(self.apart)
        return {"maps": np.roll(np.eye(size), 1, axis=1)[None], "shifts": np.zeros((1, size))}


class Missing(Turn):
    def state(self):
        return super().state() | {"shifts": np.full((1, len(self.apart)), np.nan)}


class Stateless(Turn):
    def state(self):
        pass


class Silent(Turn):
    def state(self):
        return {"words": np.zeros(3)}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "erasers_of_ones_own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return "erasers_of_ones_own"


@pytest.mark.parametrize(("name", "options"), [("Turn", {}), ("Clip", {"least": 0.1})])
def test_an_eraser_of_ones_own_works_inside_a_model_and_is_saved_with_it(own, name, options, tmp_path):
    step = {"attributes": GENDER, "method": f"{own}.{name}", "options": options}
    model = KinFace(embedding_size=10, width=16, size=8, erase=[step]).eval()
    faces = torch.randn(300, 10)
    before = model(faces)["embedding"].detach()
    fit_erasures(model, faces)
    y = np.where(faces[:, 0] > 0, "m", "f").astype(object)
    theirs = erasers.create(step["method"], **options).fit(before.double().numpy(), y)
    expected = model.to_unit_length(torch.from_numpy(theirs.transform(before.double().numpy())))
    torch.testing.assert_close(model(faces)["embedding"].double(), expected, atol=1e-6, rtol=0)
    model.save_pretrained(tmp_path / "model")
    torch.testing.assert_close(KinFace.from_pretrained(tmp_path / "model")(faces), model(faces))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", "with its state: it fails"),
        ("Silent", "its class needs move(x, **state)"),
        ("Stateless", "its state(): it fails (TypeError: 'NoneType' object is not iterable)"),
        ("Missing", "it makes (8,) of 8 numbers; a model needs as many, and finite ones"),
        ("Transposed", "its state() moves embeddings otherwise than its transform; maps are A of x -> A x + b"),
    ],
)
def test_a_state_that_moves_no_embeddings_is_refused(own, name, message):
    model = KinFace(embedding_size=10, width=16, size=8, erase=[{"attributes": GENDER, "method": f"{own}.{name}"}])
    with pytest.raises(InputError, match=re.escape(message)):
        fit_erasures(model.eval(), torch.randn(30, 10))


def test_weights_that_do_not_fit_a_step_are_refused(tmp_path):
    model = build_model()
    fit_erasures(model, torch.randn(50, 10))
    model.save_pretrained(tmp_path)
    valid = load_file(tmp_path / "model.safetensors")
    for change, message in (
        ({"erasures.0.maps": torch.zeros(1, 3, 3)}, "of another shape"),
        ({"erasures.0.more": torch.zeros(3)}, "surplus"),
        ({"erasures.1.gate": None}, "surplus|missing|of another shape"),
        ({name: None for name in valid if name.startswith("erasures.0")}, "2 missing"),
    ):
        changed = {name: it for name, it in (valid | change).items() if it is not None}
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=message):
            KinFace.from_pretrained(tmp_path)


def test_what_a_model_erases_stands_in_its_configuration(tmp_path):
    build_model(1).save_pretrained(tmp_path)
    first, second = json.loads((tmp_path / "config.json").read_text())["erase"]
    assert first == {"attributes": GENDER, "method": "leace", "inside": True}
    assert second == {"attributes": GENDER, "method": "transport", "inside": False}
