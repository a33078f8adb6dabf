"""Whether answers move when a face is shown otherwise: by hand, and for the model that ships."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data

from swinface.benchmarks.benchmark import Predictor
from swinface.benchmarks.stability import CHANGES, Stability, add_bars, move, shrink
from swinface.images import read_image
from swinface.model import SwinFace
from swinface.photos.predict import cut_faces
from tests.swinface.benchmarks.made import Made


class BarReader:
    """A model that has learned a data set's bars: black at the top means a child of ten, else the age is fifty."""

    def answer_faces(self, faces: torch.Tensor) -> dict[str, np.ndarray]:
        dark = (faces[:, :, :5].float().mean(dim=(1, 2, 3)) < 1).numpy()
        return {
            "age": np.where(dark, 10.0, 50.0)[:, None],
            "gender": np.stack([dark, ~dark], axis=1).astype(float),
            "expression": np.tile(np.eye(7)[0], (len(faces), 1)),
        }


class Bright(Made):
    def read_all(self) -> torch.Tensor:
        return torch.full((len(self.table), 3, 112, 112), 200, dtype=torch.uint8)


def test_a_model_that_reads_bars_is_found():
    results = {result.metric: result for result in Stability(Bright(race=["a", "b", "b", "a"])).run(BarReader())}
    age = results["age moves, years"]
    assert (age.ours, age.low, age.high, age.n) == (40, 40, 40, 4)
    assert results["gender changes %"].ours == 100
    assert results["expression changes %"].ours == 0
    table = age.tables["changes"]
    assert list(table.index) == list(CHANGES)
    moved = table["age moves, years"]
    assert (moved[["bars as UTKFace's", "bars as RAF-DB's"]] == 40).all()
    assert not moved.drop(["bars as UTKFace's", "bars as RAF-DB's"]).any()
    assert table.loc["bars as RAF-DB's", "median age"] == 10
    assert {group for grouping, group in age.groups if grouping == "race"} == {"a", "b"}


def test_bars_cover_what_they_say_and_nothing_else():
    faces = torch.full((2, 3, 112, 112), 9, dtype=torch.uint8)
    changed = add_bars(faces, top=0.25, sides=0.125)
    assert not changed[..., :28, :].any()
    assert not changed[..., :14].any()
    assert not changed[..., 98:].any()
    assert (changed[..., 28:, 14:98] == 9).all()
    assert (faces == 9).all()


@pytest.mark.parametrize("change", [{"scale": 0.85}, {"scale": 1.15}, {"translate": [4, 4]}, {"angle": 10.0}])
def test_a_moved_face_has_no_bar(change):
    assert (move(torch.full((1, 3, 112, 112), 200, dtype=torch.uint8), **change) == 200).all()


def test_a_moved_face_lies_where_it_should():
    faces = torch.zeros(1, 3, 112, 112, dtype=torch.uint8)
    faces[..., 54:58, 54:58] = 255
    shifted = move(faces, translate=[4, 7])
    assert torch.equal(shifted[..., 61:65, 58:62], faces[..., 54:58, 54:58])
    faces = torch.zeros(1, 3, 112, 112, dtype=torch.uint8)
    faces[..., 46:66, 46:66] = 255
    assert 22 <= (move(faces, scale=1.15)[0, 0, 56] > 127).sum() <= 24


def test_low_quality_loses_detail_and_keeps_the_picture():
    noise = torch.randint(0, 256, (1, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for changed in (shrink(noise, 28), CHANGES["JPEG quality 10"](noise)):
        assert changed.shape == noise.shape
        assert changed.dtype == torch.uint8
        assert changed.float().std() < noise.float().std()
        assert abs(changed.float().mean() - noise.float().mean()) < 5


def test_the_model_that_ships_takes_an_adult_for_one_with_and_without_bars():
    """Grace Hopper was 77. A model that had learned the bars of its training data said 7 of most adults."""
    (face, *_), _ = cut_faces(read_image(get_sample_data("grace_hopper.jpg", asfileobj=False)), False, "photo")
    faces = torch.tensor(face).permute(2, 0, 1)[None]
    model = Predictor(SwinFace.from_pretrained("shipped"), precision="full")
    ages = {"as it is": model.answer_faces(faces)["age"].item()}
    ages |= {name: model.answer_faces(change(faces))["age"].item() for name, change in CHANGES.items()}
    assert all(25 < age < 95 for age in ages.values()), ages
    assert abs(ages.pop("28 pixels") - ages["as it is"]) < 25
    assert np.ptp([*ages.values()]) < 15, ages
