"""Iterative gradient-based projection."""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.learned import SMALLEST, Draw, Learned


class Igbp(Learned):
    """Iterative gradient-based projection (IGBP; Iskander, Radinsky & Belinkov, Findings of ACL 2023).

    In each round an MLP of one hidden layer learns to predict the class of x. With f the difference of the two largest
    logits, x then goes to where f would be 0 if it were linear, x - f(x) / ``|f'(x)|^2`` f'(x). For two classes this is
    the paper's, which stops when a probe fails; for more, faces go to the boundary with the second class.

    Parameters
    ----------
    rounds
        Number of MLPs.
    steps
        Steps of AdamW, in each round.
    """

    BATCH, RATE = 256, 1e-3

    def __init__(self, rounds: PositiveInt = 20, steps: PositiveInt = 100) -> None:
        self.rounds, self.steps = rounds, steps

    @staticmethod
    def move(x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> Tensor:
        """Move away from the classes of each round's MLP: (R, D, D), (R, D), (R, K, D) and (R, K)."""
        for layers in zip(inner, inner_bias, outer, outer_bias, strict=True):
            x = _step(x, *layers)
        return x

    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        size, classes = x.shape[1], len(codes.unique())
        scale = 1 / x.std().item()  # numbers of a unit vector are small
        rounds: list[tuple[Tensor, ...]] = []
        for _ in range(self.rounds):
            probe = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, classes))
            optimiser = torch.optim.AdamW(probe.parameters(), self.RATE)
            for _ in range(self.steps):
                drawn, own, _ = draw(self.BATCH)
                for layers in rounds:
                    drawn = _step(drawn, *layers)
                optimiser.zero_grad()
                F.cross_entropy(probe(drawn * scale), own).backward()
                optimiser.step()
            first, _, last = (layer.requires_grad_(False) for layer in probe)
            rounds.append((first.weight * scale, first.bias, last.weight, last.bias))
        names = ("inner", "inner_bias", "outer", "outer_bias")
        return {name: torch.stack(layers) for name, layers in zip(names, zip(*rounds, strict=True), strict=True)}


def _step(x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> Tensor:
    hidden = x @ inner.T + inner_bias
    top = (hidden.relu() @ outer.T + outer_bias).topk(2, dim=1)
    gradient = ((outer[top.indices[:, 0]] - outer[top.indices[:, 1]]) * (hidden > 0)) @ inner
    apart = top.values[:, :1] - top.values[:, 1:]
    return x - apart * gradient / gradient.square().sum(dim=1, keepdim=True).clamp(min=SMALLEST)
