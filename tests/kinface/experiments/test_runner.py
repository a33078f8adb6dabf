"""What a run of a sweep embeds."""

from __future__ import annotations

import numpy as np
import torch

from kinface.data.fiw import read_families
from kinface.experiments.runner import embed_run
from kinface.models.inference import embed
from kinface.models.kinface import KinFace


def test_a_frozen_trunk_is_read_from_the_cache(synthetic, tmp_path):
    torch.manual_seed(0)
    model = KinFace({"embed_dim": 8, "depths": (1, 1, 1), "num_heads": (1, 1, 1), "patch_size": 4}, width=16, size=8)
    model.eval()
    families = read_families(synthetic)
    faces = [*families.faces["face"]][:20]
    expected = embed(model, faces, root=families.root)
    for _ in range(2):
        found = embed_run(model, families.root, faces, {"cache": str(tmp_path / "cache")})
        np.testing.assert_allclose(found, expected, atol=5e-3)  # half precision
        assert len([*(tmp_path / "cache").iterdir()]) == 1
