"""The losses of SwinFace's training; that of recognition is in ``swinface.recognition.margin``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from swinface.tasks import Task

AGE_DEVIATION = 3.0  # years; sigma of the paper's age loss


def age_loss(predicted: Tensor, age: Tensor, progress: float) -> Tensor:
    """SwinFace's age loss: at first the squared error, later a bounded one, on which outliers have little effect.

    (1 - l) / 2 * d^2 + l * (1 - exp(-d^2 / (2 sigma^2))) with d = predicted - age, sigma 3 years and l = progress
    (SwinFace, section III-D).

    Parameters
    ----------
    predicted, age
        (N,), years.
    progress
        Share of training that is done, in [0, 1].
    """
    square = (predicted - age).square()
    bounded = 1 - torch.exp(-square / (2 * AGE_DEVIATION**2))
    return ((1 - progress) / 2 * square + progress * bounded).mean()


def task_loss(task: Task, output: Tensor, label: Tensor, progress: float) -> Tensor:
    """The loss of one task over the faces with a known label; without any it is 0, with a gradient of 0.

    Parameters
    ----------
    output
        (N, task.classes) logits, or (N, 1) years.
    label
        (N,) float: class index or years, NaN where unknown.
    progress
        Share of training that is done, for the age loss.
    """
    known = ~label.isnan()
    if not known.any():
        return output.sum() * 0.0  # every process must reach every parameter
    if task.loss == "age":
        return age_loss(output[known, 0], label[known], progress)
    return functional.cross_entropy(output[known], label[known].long())


def distillation_loss(mapped: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine between mapped embeddings and a teacher's, over the faces with a teacher's embedding.

    Parameters
    ----------
    mapped
        (N, D), the model's embeddings through a linear map.
    teacher
        (N, D), rows of NaN where the teacher has no embedding.
    """
    known = ~teacher.isnan().any(dim=1)
    if not known.any():
        return mapped.sum() * 0.0
    return (1 - functional.cosine_similarity(mapped[known], teacher[known])).mean()
