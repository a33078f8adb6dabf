"""What a run of a sweep embeds."""

from __future__ import annotations

import numpy as np
import torch

from kinface.data.fiw import read_families
from kinface.debias.transport import Transport
from kinface.experiments.runner import embed_run, erase_by_class
from kinface.models.kinface import KinFace


def test_a_frozen_trunk_is_read_from_the_cache(synthetic, tmp_path):
    torch.manual_seed(0)
    model = KinFace({"embed_dim": 8, "depths": (1, 1, 1), "num_heads": (1, 1, 1), "patch_size": 4}, width=16, size=8)
    model.eval()
    families = read_families(synthetic)
    faces = [*families.faces["face"]][:20]
    expected = model.embed(faces, root=families.root)
    for _ in range(2):
        found = embed_run(model, families.root, faces, {"cache": str(tmp_path / "cache")})
        np.testing.assert_allclose(found, expected, atol=5e-3)  # half precision
        assert len([*(tmp_path / "cache").iterdir()]) == 1


def test_an_oracle_makes_classes_alike_that_a_predicted_class_leaves_apart(synthetic, tmp_path):
    torch.manual_seed(0)
    families = read_families(synthetic)
    faces = families.faces[["face", "person", "split"]].merge(families.people[["person", "gender"]], on="person")
    male = (faces["gender"] == "m").to_numpy()
    seen = np.random.default_rng(0).normal(size=(len(faces), 6)) + 0.5 * male[:, None]
    np.savez(tmp_path / "seen.npz", face=faces["face"].to_numpy(str), embedding=seen)
    model = KinFace(embedding_size=6, width=16, size=8).eval()
    data, names = {"embeddings": str(tmp_path / "seen.npz")}, [*faces["face"]]
    plain = embed_run(model, families.root, names, data)
    erased = erase_by_class(model, families, names, data, {"gender": ["f", "m"]})
    np.testing.assert_allclose(erase_by_class(model, families, names[:5], data, {"gender": ["f", "m"]}), erased[:5])
    np.testing.assert_allclose(np.linalg.norm(erased, axis=1), 1)
    training = (faces["split"] == "train").to_numpy()
    weight = 1 / faces["person"].map(faces["person"].value_counts()).to_numpy()
    predicted = (
        Transport().fit(plain[training], faces["gender"][training], sample_weight=weight[training]).transform(plain)
    )

    def differ(embedding):
        sides = [np.average(embedding[training & side], 0, weight[training & side]) for side in (male, ~male)]
        return np.linalg.norm(sides[0] - sides[1])

    assert differ(erased) < 0.2 * differ(plain)
    assert differ(erased) < differ(predicted)
