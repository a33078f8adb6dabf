"""Gradient reversal (Ganin & Lempitsky, ICML 2015) and how its strength grows over training."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


def reverse_gradient(inputs: Tensor, strength: float) -> Tensor:
    """Identity in the forward pass; in the backward pass the gradient is multiplied by ``-strength``.

    The head after it learns its task, while the layers before it learn to remove what the head needs
    (Ganin & Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", ICML 2015, eq. 4 to 9).
    """
    return _Reversal.apply(inputs, strength)


def reversal_warmup(progress: float) -> float:
    """Share of the full strength at ``progress`` in [0, 1] of training: 2 / (1 + exp(-10 p)) - 1 (ibid., eq. 14).

    So the adversary learns first, from features that do not change because of it yet.
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0
