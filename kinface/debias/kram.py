"""Kernelised rate-distortion maximisation."""

from __future__ import annotations

import math

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from kinface.debias.learned import Draw, Learned


class Kram(Learned):
    """Kernelised rate-distortion maximisation (KRaM; Basu Roy Chowdhury et al., NeurIPS 2023, eq. 4).

    An MLP f, here of one layer, maximises R(f(X) | K) - l ``|R(f(X)) - R(X)|`` with the rate

        R(Z | K) = 1/2 log det(I + D / (n e^2) (Z Z^T) * K),   R(Z) = R(Z | 1),

    of n rows of unit length, K_ij being 1 if i and j are of one class and 0 otherwise: faces of a class are spread as
    wide as all faces are. It acts on embeddings of which only cosines are computed.

    Parameters
    ----------
    layers
        Layers of f; three, as in the paper, lost all kinship on nested folds.
    balance
        l.
    distortion
        e^2.
    steps
        Steps of Adam.
    """

    keeps_axes = False
    BATCH, RATE, DECAY = 512, 1e-3, 1e-5

    def __init__(
        self,
        layers: PositiveInt = 1,
        balance: NonNegativeFloat = 0.7,
        distortion: PositiveFloat = 0.5,
        steps: PositiveInt = 600,
    ) -> None:
        self.layers, self.balance, self.distortion, self.steps = layers, balance, distortion, steps

    @staticmethod
    def move(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        """f, of (L, D, D) weights and (L, D) biases."""
        x = F.linear(x * math.sqrt(x.shape[1]), weights[0], biases[0])
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            x = F.linear(x.relu(), weight, bias)
        return x

    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        size = x.shape[1]
        layers = nn.ModuleList(nn.Linear(size, size) for _ in range(self.layers))
        optimiser = torch.optim.Adam(layers.parameters(), self.RATE, weight_decay=self.DECAY)
        for _ in range(self.steps):
            drawn, own, _ = draw(self.BATCH)
            given = F.normalize(drawn, dim=1)
            moved = self.move(drawn, [it.weight for it in layers], [it.bias for it in layers])
            made = F.normalize(moved, dim=1)
            change = (self.rate(made) - self.rate(given)).abs()
            optimiser.zero_grad()
            (self.balance * change - self.rate(made, own)).backward()
            optimiser.step()
        return {"weights": torch.stack([it.weight for it in layers]), "biases": torch.stack([it.bias for it in layers])}

    def rate(self, z: Tensor, codes: Tensor | None = None) -> Tensor:
        """R(Z), or R(Z | K), of (n, D) rows of unit length; K has a block per class, the determinant a factor."""
        blocks = [z] if codes is None else [z[codes == code] for code in codes.unique()]
        scale = z.shape[1] / (len(z) * self.distortion)
        unit = torch.eye(z.shape[1])
        return sum(torch.logdet(unit + scale * block.T @ block) for block in blocks) / 2
