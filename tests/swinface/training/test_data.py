"""The data of a run are those that it began with."""

from __future__ import annotations

import shutil

import pytest

from swinface.data.datasets import UTKFace
from swinface.data.streams import Batches, Stream
from swinface.files import InputError
from swinface.training.data import FaceData


def test_a_run_goes_on_with_the_faces_that_it_began_with_alone(face_sets, tmp_path):
    root = shutil.copytree(face_sets / "UTKFace", tmp_path / "UTKFace")

    def read() -> FaceData:
        data = FaceData({"age_gender": Stream(3, [UTKFace(root)])})
        data.batches = Batches(data.streams, ["age"], seed=0)
        return data

    before, image = read().state_dict(), min(root.iterdir())
    read().load_state_dict(before)
    other = image.rename(root / f"99_{image.name.partition('_')[2]}")
    with pytest.raises(InputError, match=r"data\.streams: faces, labels or teachers are not those that the run began"):
        read().load_state_dict(before)
    other.rename(image)
    read().load_state_dict(before)
