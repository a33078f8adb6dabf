"""The training loop of small models on what a frozen network gives; larger ones are trained by ``kinface.training``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from kinface.fairness.threshold import choose_threshold
from swinface.files import InputError


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
        raise InputError(f"epochs is {epochs}; one or more are needed.")
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
