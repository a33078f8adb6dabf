"""Families made in memory: the people and faces that ``kinface synthesize`` writes, with true labels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from kinface.data.fiw import read_families
from kinface.data.sampling import sample_pairs
from kinface.synthetic.families import synthesize
from kinface.synthetic.tables import make_families


def test_they_are_those_that_are_written(tmp_path):
    families, images = make_families(12, seed=1, photos=1.5)
    synthesize(tmp_path / "out", families=12, photos=1.5, seed=1)
    written = read_families(tmp_path / "out")
    made = families.faces.set_index("face").assign(image=range(len(images)))
    assert {*written.faces["face"]} <= {*made.index}  # all but those that traps take away
    assert images.shape == (len(made), 112, 112, 3) and images.dtype == np.uint8
    for face in written.faces.query("family == 'F0004'")["face"][:3]:
        with Image.open(tmp_path / "out" / face) as image:
            difference = np.asarray(image.convert("RGB")).astype(int) - images[made.loc[face, "image"]]
        assert np.abs(difference).mean() < 4  # what JPEG loses
    columns = ["person_a", "person_b", "relation", "type"]
    kin = [
        table.relations.query("family == 'F0004' and relation != 'spouse'")[columns] for table in (families, written)
    ]
    assert {*kin[0].itertuples(index=False)} == {*kin[1].itertuples(index=False)}


def test_they_have_all_splits_and_labels_and_can_be_sampled():
    families, _ = make_families(24, photos=1)
    assert {*families.faces["split"]} == {"train", "tune", "val"}
    assert families.people[["race", "gender", "age"]].notna().all(axis=None)
    assert len(sample_pairs(families, "val", seed=0)) > 50


def test_the_same_seed_makes_the_same():
    (one, images), (other, again) = make_families(12, photos=1), make_families(12, photos=1)
    assert one.faces.equals(other.faces) and np.array_equal(images, again)
    assert not np.array_equal(make_families(12, photos=1, seed=1)[1][:5], images[:5])
