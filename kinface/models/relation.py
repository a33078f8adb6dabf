"""FaCoRNet on the levels of a trunk: the faces of a pair attend to each other before they are compared.

Su, Chen, Wang, Lai & Chen, "Kinship Representation Learning with Face Componential Relation", ICCV Workshops 2023
(arXiv 2304.04546). A baseline: a face has no embedding of its own, so it verifies pairs and cannot search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from kinface.data.pairs import find_rows
from swinface.files import InputError
from swinface.mlca import MultiLevelChannelAttention
from swinface.pretrained import Pretrained

BATCH = 256  # pairs of a list that are compared at once


class FaceRelation(nn.Module, Pretrained, library_name="kinface", pipeline_tag="image-feature-extraction"):
    """Features of two faces, each changed by where and how the other resembles it.

    An MLCA of its own makes a map M of 7 x 7 places and features f of each face; both are brought to unit length. With
    [ , ] joining channels and q, k, v_a, v_b, c learned linear maps,

    - places: A = softmax(q[M_a, M_b]^T k[M_a, M_b]), and M_a + v_a(M_a) A^T is averaged over places;
    - channels: u = c[f_a, f_b], C = softmax(max_j u_i u_j - u_i u_j), and f_a + C f_a;
    - both are added, each channel with a weight that a small MLP makes of both.

    The same for b. The A of maps that are not of unit length guides the loss, see ``relation_guided_loss``. The
    ``channels`` are those of the trunk's levels, ``Trunk.channels``, and ``width`` is W, that of the features. A pair
    is called kin from the score ``threshold`` on: Youden's J on the tune pairs of its training, NaN before.
    """

    REDUCTION = 16  # of the channels of q and k, as in the authors' code

    def __init__(self, channels: Sequence[int], width: int = 128) -> None:
        super().__init__()
        self.channels = list(channels)
        self.neck = MultiLevelChannelAttention(channels, width)
        self.query, self.key = (nn.Conv2d(2 * width, max(1, width // self.REDUCTION), 1) for _ in range(2))
        self.values = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.joint = nn.Linear(2 * width, width)
        small = max(1, width // 4)
        self.weigh = nn.Sequential(nn.Linear(2 * width, small), nn.ReLU(), nn.Linear(small, 2 * width), nn.Sigmoid())
        self.register_buffer("threshold", torch.tensor(float("nan")))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From the levels, (B, sum(channels), 7, 7), of the first and of the second faces of pairs to features, (B, W),
        of both, and the attention that guides the loss, (B, 49, 49)."""
        fused = self.neck.fuse(torch.cat([a, b]).float())
        features = functional.normalize(self.neck.norm(fused.amax(dim=(2, 3)))).chunk(2)
        maps = fused.chunk(2)
        guide = self._attend(*maps)
        maps = functional.normalize(fused, dim=1).chunk(2)
        places = self._attend(*maps)
        united = self.joint(torch.cat(features, dim=1))
        alike = united[:, :, None] * united[:, None, :]
        channels = (alike.amax(dim=2, keepdim=True) - alike).softmax(dim=2)
        joined = []
        for side, value in enumerate(self.values):
            moved = value(maps[side]).flatten(2) @ places.transpose(1, 2)
            of_places = moved.mean(dim=2) + maps[side].mean(dim=(2, 3))
            of_channels = (channels @ features[side][:, :, None])[:, :, 0] + features[side]
            weights = self.weigh(torch.cat([of_channels, of_places], dim=1)).chunk(2, dim=1)
            joined.append(of_channels * weights[0] + of_places * weights[1])
        return *joined, guide

    def _attend(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 49, 49), how much each place attends to each."""
        both = torch.cat([a, b], dim=1)
        return (self.query(both).flatten(2).transpose(1, 2) @ self.key(both).flatten(2)).softmax(dim=2)

    @torch.inference_mode()
    def score(self, pairs: pd.DataFrame, faces: Sequence[str], levels: Tensor) -> pd.DataFrame:
        """Score a table of pairs by the cosine of their features, the mean of both orders of the two faces.

        ``levels``, (N, sum(channels), 7, 7), are those of ``faces``, (N,) paths. Raises ``InputError`` if a face of the
        pairs has none, or they are of another trunk.
        """
        if levels.shape[1] != sum(self.channels):
            raise InputError(f"this model reads levels of {sum(self.channels)} channels; these have {levels.shape[1]}.")
        places = np.stack(find_rows(pairs, faces), axis=1)
        scores = []
        for start in range(0, len(pairs), BATCH):
            a, b = (levels[torch.from_numpy(places[start : start + BATCH, side])] for side in range(2))
            orders = [functional.cosine_similarity(*self(*order)[:2]) for order in ((a, b), (b, a))]
            scores.append(torch.stack(orders).mean(dim=0))
        return pairs.assign(score=torch.cat(scores).double().numpy())
