"""Training of FaCoRNet (``kinface.models.relation``): its loss, and its fit to the levels of a trunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from kinface.data.families import Families
from kinface.data.pairs import find_places
from kinface.data.sampling import sample_pairs
from kinface.models.epochs import fit_epochs
from kinface.models.relation import FaceRelation
from kinface.training.data import KinBatches


def relation_guided_loss(a: Tensor, b: Tensor, attention: Tensor, scale: float = 500.0) -> Tensor:
    """The contrastive loss whose temperature is each pair's own: its attention's sum of squares over ``scale``.

    Where places attend to few others, the temperature is higher, and the pair is pulled less (relation-guided
    contrastive learning). ``a`` and ``b``, (B, W), are features of the first and the second faces of B kin pairs of
    different families, and ``attention`` is (B, 49, 49).
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
        As in ``FaceRelation`` and ``relation_guided_loss``.
    epochs, batch, learning_rate, weight_decay
        Settings of AdamW, under a rate that falls to 0 along a half cosine; ``batch`` counts pairs.
    seed
        Seed of the weights and of what is drawn.

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
    train = families.faces[families.faces["split"] == "train"].reset_index(drop=True)
    rows = find_places(train["face"], faces, "there are no levels of this face")
    relations = families.relations[families.relations["split"] == "train"]
    batches = KinBatches(torch.from_numpy(rows), train, relations, {}, batch, seed)
    tune = sample_pairs(families, "tune")

    def draw(epoch: int) -> Iterator[Tensor]:
        return (batches[step]["faces"] for step in range((epoch - 1) * len(batches), epoch * len(batches)))

    def measure(drawn: Tensor) -> dict[str, Tensor]:
        *pair, attention = model(*levels[drawn].chunk(2))
        temperature = attention.detach().square().sum(dim=(1, 2)).mean().double() / scale
        return {"loss": relation_guided_loss(*pair, attention, scale), "temperature": temperature}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FaceRelation(channels, width)
        options = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
        log = fit_epochs(model, draw, measure, lambda: model.score(tune, faces, levels), **options, steps=len(batches))
    return model, log
