"""A head for RFIW's Track 2 on the embeddings of a kinship model: are a father, a mother and a child a family?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from kinface.data.cosines import to_unit_length
from kinface.data.families import Families
from kinface.data.pairs import find_rows
from kinface.data.triplets import FACES, sample_triplets
from kinface.fairness.threshold import choose_threshold
from swinface.files import InputError
from swinface.pretrained import Pretrained


class TripletHead(nn.Module, Pretrained, library_name="kinface", pipeline_tag="image-feature-extraction"):
    """The log odds that two parents and a child are a family, the same whichever parent comes first.

    With unit embeddings f, m and c, u(p) = ReLU(W [p c, abs(p - c)] + b) of each parent p, and s, t, V learned,

        s ((cos(f, c) + cos(m, c)) / 2 - t) + V [u(f) + u(m), abs(u(f) - u(m)), max(u(f), u(m))].

    V starts at 0, so an untrained head orders triplets as RFIW's baseline, the mean of the two cosines, does.

    Parameters
    ----------
    size
        D, the size of an embedding.
    width
        Size of u.
    dropout
        Share of u dropped in training.

    Attributes
    ----------
    threshold
        Score from which a triplet is called kin: Youden's J on the validation triplets of its training, NaN before.
    """

    def __init__(self, size: int, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.size = size
        self.parent = nn.Sequential(nn.Linear(2 * size, width), nn.ReLU(), nn.Dropout(dropout))
        self.both = nn.Linear(3 * width, 1)
        nn.init.zeros_(self.both.weight)
        nn.init.zeros_(self.both.bias)
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(0.2))
        self.register_buffer("threshold", torch.tensor(float("nan")))

    def forward(self, father: Tensor, mother: Tensor, child: Tensor) -> Tensor:
        """(B,) log odds of three (B, D) of unit length."""
        # Products and differences of unit vectors are of size 1 / sqrt(D): brought to size 1.
        grow = self.size**0.5
        cosine = ((father + mother) * child).sum(dim=1) / 2
        of_each = [
            self.parent(grow * torch.cat([parent * child * grow, (parent - child).abs()], dim=1))
            for parent in (father, mother)
        ]
        first, second = of_each
        both = torch.cat([first + second, (first - second).abs(), torch.maximum(first, second)], dim=1)
        return self.scale * (cosine - self.offset) + self.both(both)[:, 0]

    def score(self, triplets: pd.DataFrame, faces: Sequence[str], embedding: np.ndarray) -> pd.DataFrame:
        """Score triplets as ``kinface.data.triplets.score_triplets`` does, by this head.

        Raises ``InputError`` if the embeddings are of another size, or one has no direction.
        """
        if embedding.shape[1] != self.size:
            raise InputError(f"this head reads embeddings of {self.size} numbers; these have {embedding.shape[1]}.")
        unit = torch.from_numpy(to_unit_length(faces, embedding).astype(np.float32))
        father, mother, child = (unit[torch.from_numpy(rows)] for rows in find_rows(triplets, faces, FACES))
        with torch.inference_mode():
            return triplets.assign(score=self(father, mother, child).double().numpy())


def fit_triplets(
    families: Families,
    faces: Sequence[str],
    embedding: np.ndarray,
    *,
    width: int = 64,
    dropout: float = 0.5,
    epochs: int = 30,
    batch: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
    seed: int = 0,
) -> tuple[TripletHead, pd.DataFrame]:
    """Train a head on triplets of the split ``train``, drawn anew for each epoch; the split ``tune`` chooses the epoch.

    Parameters
    ----------
    families
        Prepared with a split ``tune``.
    faces, embedding
        (N,) paths and (N, D) embeddings of the faces of both splits.
    width, dropout
        Width and dropout of the head.
    epochs, batch, learning_rate, weight_decay
        Settings of AdamW, under a rate that falls to 0 along a half cosine.
    seed
        Seed of the weights, the triplets and their order.

    Returns
    -------
    head
        That of the epoch with the best AUC on the tune triplets, with its threshold from them; in evaluation mode.
    log
        A row per epoch, from 0 for the untrained head: ``epoch``, ``loss``, ``tune_auc``.

    Raises
    ------
    InputError
        A split has no triplets, a face is not embedded, or a setting is out of its range.
    """
    for name, value, allowed, needed in (
        ("width", width, width >= 1, "one or more"),
        ("dropout", dropout, 0 <= dropout < 1, "a share, from 0 to below 1"),
        ("batch", batch, batch >= 1, "one or more"),
        ("learning_rate", learning_rate, learning_rate > 0, "a number above 0"),
        ("weight_decay", weight_decay, weight_decay >= 0, "0 or more"),
    ):
        if not allowed:
            raise InputError(f"{name} is {value}; give {needed}.")
    tune = sample_triplets(families, "tune", seed=seed)
    unit = torch.from_numpy(to_unit_length(faces, embedding).astype(np.float32))

    def draw(epoch: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        triplets = sample_triplets(families, "train", seed=seed + epoch)
        places = np.stack(find_rows(triplets, faces, FACES), axis=1)
        kin = torch.from_numpy(triplets["kin"].to_numpy(np.float32))
        for chosen in torch.randperm(len(kin)).split(batch):
            yield places[chosen], kin[chosen]

    def measure(drawn: tuple[np.ndarray, Tensor]) -> dict[str, Tensor]:
        places, kin = drawn
        father, mother, child = (unit[torch.from_numpy(side)] for side in places.T)
        return {"loss": functional.binary_cross_entropy_with_logits(head(father, mother, child), kin)}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = TripletHead(embedding.shape[1], width, dropout)
        options = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
        log = fit_epochs(head, draw, measure, lambda: head.score(tune, faces, embedding), **options, untrained=True)
    return head, log


def fit_epochs(
    model: nn.Module,
    draw: Callable[[int], Iterable],
    measure: Callable[[Any], dict[str, Tensor]],
    score: Callable[[], pd.DataFrame],
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    steps: int | None = None,
    untrained: bool = False,
) -> pd.DataFrame:
    """Train by AdamW, under a rate that falls to 0 along a half cosine, and keep the epoch that is best on tune pairs.

    The best has the highest AUC. The model is then in evaluation mode, with the threshold of that epoch. The log has a
    row per epoch: ``epoch``, the means of what is measured, ``tune_auc``. Raises ``InputError`` if there is no epoch,
    or scores are not finite.

    ``draw`` gives the batches of an epoch, counted from 1; ``measure`` what is logged of a batch, its ``loss`` among
    it; ``score`` the tune pairs, scored by the model. The rate falls after each epoch, or, if ``steps``, the batches of
    an epoch, are given, after each of these. With ``untrained`` the model as it is counts as epoch 0.
    """
    if epochs < 1:
        raise InputError(f"epochs is {epochs}; give 1 or more.")
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (steps or 1))
    log, best = [], {}
    for epoch in range(0 if untrained else 1, epochs + 1):
        measured = []
        model.train()
        for batch in draw(epoch) if epoch else ():
            values = measure(batch)
            optimizer.zero_grad()
            values["loss"].backward()
            optimizer.step()
            if steps is not None:
                schedule.step()
            measured.append({name: value.item() for name, value in values.items()})
        if epoch and steps is None:
            schedule.step()
        model.eval()
        scored = score()
        if scored["score"].isna().any():
            raise InputError(f"training has diverged in epoch {epoch}; lower the learning rate.")
        auc = float(roc_auc_score(scored["kin"], scored["score"]))
        if auc > max((row["tune_auc"] for row in log), default=-1.0):
            best = {name: value.clone() for name, value in model.state_dict().items()}
            best["threshold"] = torch.tensor(choose_threshold(scored))
        log.append({"epoch": epoch, **pd.DataFrame(measured).mean(), "tune_auc": auc})
    model.load_state_dict(best)
    return pd.DataFrame(log, columns=[*log[-1]])
