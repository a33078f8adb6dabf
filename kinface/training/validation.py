"""Validation metrics of an epoch, on the tune pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from kinface.data.pairs import race_group
from kinface.data.vocabulary import TYPES
from kinface.models.inference import predict_types
from kinface.models.kinface import KinFace
from kinface.training.data import KinshipData


def measure_tune_pairs(
    network: KinFace, data: KinshipData, outputs: Mapping[str, Tensor], attributes: Mapping[str, str]
) -> dict[str, float]:
    """Measure the AUC of the tune pairs, overall and per race, and the accuracy of each head.

    These are ``tune_auc``, ``tune_auc_matched`` if there are matched pairs, ``tune_auc_<race>``, and
    ``tune_<output>_balanced_accuracy``. ``outputs`` are those for the tune faces, in the order of ``data.tune_faces``:
    ``embedding`` (N, D), and the (N, K) logits of each head and adversary. ``attributes`` is from the name of an output
    to the attribute that it predicts; others are ignored.
    """
    scored = {name: data.score_tune_pairs(outputs["embedding"], name) for name in data.tune_pairs}
    pairs = scored["standard"]
    metrics = {f"tune_auc_{name}": roc_auc_score(table["kin"], table["score"]) for name, table in scored.items()}
    metrics = {"tune_auc": metrics.pop("tune_auc_standard")} | metrics
    for race, group in pairs.groupby(race_group(pairs)):
        if group["kin"].nunique() == 2:
            metrics[f"tune_auc_{race}"] = roc_auc_score(group["kin"], group["score"])
    labels = data.labels(data.tune_faces)
    for name, attribute in attributes.items():
        if attribute in labels and (known := labels[attribute] >= 0).any():
            predicted = outputs[name].argmax(dim=1)
            metrics[f"tune_{name}_balanced_accuracy"] = _balanced_accuracy(labels[attribute][known], predicted[known])
    if network.types is not None:
        kind = torch.from_numpy(np.where(pairs["kin"], pd.Index(TYPES).get_indexer(pairs["type"]), len(TYPES)))
        predicted = predict_types(network, pairs, data.tune_faces["face"], outputs["embedding"])
        metrics["tune_type_balanced_accuracy"] = _balanced_accuracy(kind, predicted)
    return metrics


def _balanced_accuracy(labels: Tensor, predicted: Tensor) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(predicted[labels == label] == label).float().mean() for label in labels.unique()]))
