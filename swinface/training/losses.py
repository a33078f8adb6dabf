"""The losses of SwinFace's training; that of recognition is in ``swinface.recognition.margin``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from swinface.tasks import TASKS

AGE_DEVIATION = 3.0  # years; sigma of the paper's age loss


def age_loss(predicted: Tensor, age: Tensor, progress: float) -> Tensor:
    """SwinFace's age loss of each face: at first the squared error, later a bounded one that outliers hardly affect.

    (1 - l) / 2 * d^2 + l * (1 - exp(-d^2 / (2 sigma^2))) with d = predicted - age in years, sigma 3 years and l the
    share of training that is done (SwinFace, section III-D).
    """
    square = (predicted - age).square()
    bounded = 1 - torch.exp(-square / (2 * AGE_DEVIATION**2))
    return (1 - progress) / 2 * square + progress * bounded


def task_losses(
    tasks: Sequence[str],
    outputs: Mapping[str, Tensor],
    labels: Tensor,
    progress: float,
    log_priors: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The mean loss (tasks,) of each task over the faces with a known label; without any it is 0, with a gradient of 0.

    No shape depends on the labels, so a GPU never waits for the CPU here, and the function can be compiled.

    Parameters
    ----------
    tasks
        Names in ``TASKS``.
    outputs
        By task: (N, classes) logits, or (N, 1) years or degrees.
    labels
        (N, len(tasks)) float: class index, years or degrees, NaN where unknown.
    progress
        Share of training that is done, for the age loss.
    log_priors
        By task: (classes,), added to its logits: logit adjustment, see ``log_prior``.
    """
    known = ~labels.isnan()
    targets = labels.nan_to_num(0.0)
    losses: dict[str, Tensor] = {}
    alike: dict[tuple[str, int], list[str]] = {}  # tasks of one loss and number of classes are computed at once
    for name in tasks:
        alike.setdefault((TASKS[name].loss, TASKS[name].classes), []).append(name)
    for (loss, _), group in alike.items():
        columns = [tasks.index(name) for name in group]
        target = torch.stack([targets[:, column] for column in columns], dim=1)
        output = torch.stack([outputs[name] + (log_priors or {}).get(name, 0.0) for name in group], dim=1)
        if loss == "age":
            each = age_loss(output[:, :, 0], target, progress)
        elif loss == "absolute":
            each = (output[:, :, 0] - target).abs()
        else:
            each = functional.cross_entropy(output.transpose(1, 2), target.long(), reduction="none")
        losses |= dict(zip(group, each.unbind(dim=1), strict=True))
    each = torch.stack([losses[name] for name in tasks], dim=1)
    return torch.where(known, each, 0.0).sum(dim=0) / known.sum(dim=0).clamp(min=1)


def log_prior(shares: Sequence[float], strength: float) -> Tensor:
    """What logit adjustment adds to the logits in training: strength * log(share), for each class: (classes,).

    At strength 1 the plain logits then minimise the balanced error, at 0 the error (Menon et al., "Long-tail learning
    via logit adjustment", ICLR 2021, equation 10). A class that never occurs counts as one in a million.
    """
    return strength * torch.tensor(shares, dtype=torch.float32).clamp(min=1e-6).log()


def distillation_loss(mapped: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 - cosine between embeddings through a linear map and a teacher's, (N, D) each.

    Rows of NaN, where the teacher has no embedding, are left out.
    """
    known = ~teacher.isnan().any(dim=1)
    each = 1 - functional.cosine_similarity(mapped, teacher.nan_to_num(0.0))
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def relation_loss(embedding: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two faces' cosine for the model, (N, D), and for the teacher, (N, E), over all pairs.

    Faces are compared by cosines, which no linear map undoes (Tung & Mori, "Similarity-preserving knowledge
    distillation", ICCV 2019; there rows of products are compared). Rows of NaN, where the teacher has no embedding, are
    left out.
    """
    known = ~teacher.isnan().any(dim=1)
    ours, theirs = (functional.normalize(each, dim=1) for each in (embedding, teacher.nan_to_num(0.0)))
    pairs = known[:, None] & known & ~torch.eye(len(known), dtype=torch.bool, device=known.device)
    difference = (ours @ ours.T - theirs @ theirs.T).square()
    return torch.where(pairs, difference, 0.0).sum() / pairs.sum().clamp(min=1)
