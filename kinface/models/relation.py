"""FaCoRNet on the levels of a trunk: the faces of a pair attend to each other before they are compared.

Su, Chen, Wang, Lai & Chen, "Kinship Representation Learning with Face Componential Relation", ICCV Workshops 2023
(arXiv 2304.04546). A baseline: a face has no embedding of its own, so it verifies pairs and cannot search.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from kinface.data.families import Families
from kinface.data.pairs import find_rows
from kinface.data.sampling import sample_pairs
from kinface.fairness.threshold import choose_threshold
from kinface.training.data import KinBatches
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

    The same for b. The A of maps that are not of unit length guides the loss, see ``relation_guided_loss``.

    Parameters
    ----------
    channels
        Of the trunk's levels, ``Trunk.channels``.
    width
        W, of the features.

    Attributes
    ----------
    threshold
        Score from which a pair is called kin: Youden's J on the tune pairs of its training, NaN before.
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
        """Compare pairs.

        Parameters
        ----------
        a, b
            (B, sum(channels), 7, 7), the levels of the first and the second faces.

        Returns
        -------
        tuple
            (B, W) of the first and of the second faces, and (B, 49, 49), the attention that guides the loss.
        """
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
        """Score pairs by the cosine of their features, the mean of both orders of the two faces.

        Parameters
        ----------
        pairs
            A pairs table.
        faces, levels
            (N,) paths and (N, sum(channels), 7, 7) levels of the faces.

        Raises
        ------
        InputError
            A face has no levels, or they are of another trunk.
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


def relation_guided_loss(a: Tensor, b: Tensor, attention: Tensor, scale: float = 500.0) -> Tensor:
    """The contrastive loss whose temperature is each pair's own: its attention's sum of squares over ``scale``.

    Where places attend to few others, the temperature is higher, and the pair is pulled less (relation-guided
    contrastive learning).

    Parameters
    ----------
    a, b
        (B, W), features of the first and the second faces of B kin pairs of different families.
    attention
        (B, 49, 49) of these pairs.
    """
    features = functional.normalize(torch.cat([a, b]))
    temperature = (attention.square().sum(dim=(1, 2)) / scale).repeat(2)
    count = len(features)
    itself = torch.eye(count, dtype=torch.bool, device=features.device)
    logits = (features @ features.T / temperature[:, None]).masked_fill(itself, float("-inf"))
    return functional.cross_entropy(logits, torch.arange(count, device=features.device).roll(count // 2))


def fit_relation(
    families: Families,
    faces: Sequence[str],
    levels: Tensor,
    channels: Sequence[int],
    *,
    width: int = 128,
    scale: float = 500.0,
    epochs: int = 8,
    batch: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
) -> tuple[FaceRelation, pd.DataFrame]:
    """Train on kin pairs of the split ``train``; the pairs of ``tune`` choose the epoch and the threshold.

    Parameters
    ----------
    families
        Prepared with a split ``tune``.
    faces, levels
        (N,) paths and (N, sum(channels), 7, 7) levels of a trunk, of the faces of both splits.
    channels, width, scale
        Of ``FaceRelation`` and ``relation_guided_loss``.
    epochs, batch, learning_rate, weight_decay
        Of AdamW, under a rate that falls to 0 along a half cosine; ``batch`` counts pairs.
    seed
        Of the weights and of what is drawn.

    Returns
    -------
    model
        That of the epoch with the best AUC on the tune pairs; in evaluation mode.
    log
        A row per epoch: ``epoch``, ``loss``, ``temperature`` (its mean), ``tune_auc``.

    Raises
    ------
    InputError
        There are too few families, or a face has no levels.
    """
    if epochs < 1:
        raise InputError(f"epochs is {epochs}; one or more are needed.")
    place = pd.Index(faces)
    train = families.faces[families.faces["split"] == "train"].reset_index(drop=True)
    rows = place.get_indexer(train["face"])
    if (rows < 0).any():
        raise InputError(f"{train['face'][int((rows < 0).argmax())]}: there are no levels of this face.")
    relations = families.relations[families.relations["split"] == "train"]
    batches = KinBatches(torch.from_numpy(rows), train, relations, {}, batch, seed)
    tune = sample_pairs(families, "tune")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FaceRelation(channels, width)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(batches))
        log, best = [], {}
        for epoch in range(1, epochs + 1):
            losses, temperatures = [], []
            model.train()
            for step in range((epoch - 1) * len(batches), epoch * len(batches)):
                *pair, attention = model(*levels[batches[step]["faces"]].chunk(2))
                loss = relation_guided_loss(*pair, attention, scale)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                temperatures.append(attention.detach().square().sum(dim=(1, 2)).mean().item() / scale)
            scored = model.eval().score(tune, faces, levels)
            auc = float(roc_auc_score(scored["kin"], scored["score"]))
            if auc > max((row["tune_auc"] for row in log), default=0.0):
                best = {name: value.clone() for name, value in model.state_dict().items()}
                best["threshold"] = torch.tensor(choose_threshold(scored))
            log.append({"epoch": epoch, "loss": np.mean(losses), "temperature": np.mean(temperatures), "tune_auc": auc})
    model.load_state_dict(best)
    return model, pd.DataFrame(log)
