"""Pseudo-labels: a slow-moving teacher answers tasks that a data set does not label. The paper names it as future work.

The teacher is the moving average of the network's weights (Tarvainen & Valpola, "Mean teachers are better role models",
NeurIPS 2017). Its answers are first brought to the classes' shares among the labelled faces (distribution alignment,
Berthelot et al., "ReMixMatch", ICLR 2020, section 3.1): otherwise frequent classes would take over. Only confident
answers count (Sohn et al., "FixMatch", NeurIPS 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

DECAY = 0.999  # of the teacher's weights, per step
MEAN_DECAY = 0.99  # of the mean of its answers, per step


class PseudoLabels(nn.Module):
    """A teacher and its answers.

    Parameters
    ----------
    network
        The model in training; in ``forward`` it is only the shape that counts.
    shares
        By task: (classes,), how often each class occurs among labelled faces.
    """

    def __init__(self, network: nn.Module, shares: dict[str, Tensor]) -> None:
        super().__init__()
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY)).requires_grad_(False)
        self.tasks = list(shares)
        for name, share in shares.items():
            self.register_buffer(f"share_{name}", share.clone(), persistent=False)
            self.register_buffer(f"mean_{name}", share.clone())

    def update(self, network: nn.Module) -> None:
        """Move the teacher a little towards the network; the first time it becomes the network."""
        self.average.update_parameters(network)

    @torch.no_grad()
    def answer(self, images: Tensor) -> dict[str, Tensor]:
        """The teacher's probabilities for faces, (N, classes) by task, brought to the labelled shares."""
        self.average.eval()
        outputs, answers = self.average(images), {}
        for name in self.tasks:
            probabilities = outputs[name].float().softmax(dim=1)
            mean, share = getattr(self, f"mean_{name}"), getattr(self, f"share_{name}")
            mean.lerp_(probabilities.mean(dim=0), 1 - MEAN_DECAY)
            answers[name] = align_shares(probabilities, mean, share)
        return answers


def align_shares(probabilities: Tensor, mean: Tensor, share: Tensor) -> Tensor:
    """Scale the answers by wanted share / mean answer for each class, then to sum to 1: (N, classes).

    Parameters
    ----------
    probabilities
        (N, classes).
    mean
        (classes,), their mean over many faces.
    share
        (classes,), what the mean should be.
    """
    scaled = probabilities * share / mean.clamp(min=1e-6)
    return scaled / scaled.sum(dim=1, keepdim=True).clamp(min=1e-12)


def keep_confident(probabilities: Tensor, confidence: float) -> Tensor:
    """The likeliest class of each face where its probability is high enough, elsewhere NaN: (N,) float.

    >>> keep_confident(torch.tensor([[0.95, 0.05], [0.4, 0.6]]), 0.9)
    tensor([0., nan])
    """
    best, label = probabilities.max(dim=1)
    return torch.where(best >= confidence, label.float(), torch.nan)
