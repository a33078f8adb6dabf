"""Orthogonal projection against the maximum mean discrepancy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from torch import Tensor

from kinface.debias.leace import project_leace
from kinface.debias.learned import SMALLEST, Draw, Learned


class Leopard(Learned):
    """Orthogonal projection that makes the densities of the classes alike (LEOPARD; Saillenfest & Lemberger, 2025).

    In the D - K + 1 directions that LEACE leaves, U (D - K + 1, r) minimises the mean over pairs of classes of the
    squared maximum mean discrepancy of U U^T x, for the sum of five Gaussian kernels around the mean squared distance,
    plus g / r^2 ``|U^T U - I|^2`` (arXiv 2507.12341, the cascaded form). The map is the orthogonal projection onto its
    span.

    Parameters
    ----------
    rank
        r, as a share of D.
    penalty
        g.
    steps
        Steps of Adam.
    """

    BATCH, RATE = 768, 1e-3

    def __init__(
        self, rank: ClosedUnitInterval = 0.9, penalty: NonNegativeFloat = 100.0, steps: PositiveInt = 400
    ) -> None:
        self.rank, self.penalty, self.steps = rank, penalty, steps

    @staticmethod
    def move(x: Tensor, projection: Tensor) -> Tensor:
        """x P."""
        return x @ projection

    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        size = x.shape[1]
        centred = x.double().numpy()
        centred = centred - weight.numpy() @ centred
        leace = np.eye(size) - project_leace(centred, [codes.numpy()], weight.numpy())
        _, strength, rows = np.linalg.svd(leace)
        left = torch.from_numpy(rows[strength > 1e-6 * strength[0]]).float().T
        rank = min(max(1, round(self.rank * size)), left.shape[1])
        basis = torch.eye(left.shape[1], rank).requires_grad_()
        optimiser = torch.optim.Adam([basis], self.RATE)
        for _ in range(self.steps):
            drawn, own, _ = draw(self.BATCH)
            projected = drawn @ left @ basis @ basis.T
            sides = [projected[own == code] for code in own.unique()]
            apart = torch.stack([measure_discrepancy(a, b) for a, b in combinations(sides, 2)]).mean()
            crooked = (basis.T @ basis - torch.eye(rank)).square().sum()
            optimiser.zero_grad()
            (apart + self.penalty / rank**2 * crooked).backward()
            optimiser.step()
        kept = left @ torch.linalg.svd(basis.detach(), full_matrices=False)[0]
        return {"projection": kept @ kept.T}


def measure_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012, eq. 3) of (n, D) and (m, D) samples.

    The kernel is the sum of exp(-d^2 / (f s)) with s the mean squared distance and f one of 1/4, 1/2, 1, 2 and 4.
    """
    both = torch.cat([a, b])
    squared = torch.cdist(both, both).square()
    count, first = len(both), len(a)
    scale = (squared.detach().sum() / (count**2 - count)).clamp(min=SMALLEST)
    alike = sum(torch.exp(-squared / (factor * scale)) for factor in (0.25, 0.5, 1.0, 2.0, 4.0))
    alike = alike - torch.diag(alike.diagonal())
    same_a = alike[:first, :first].sum() / (first * (first - 1))
    same_b = alike[first:, first:].sum() / ((count - first) * (count - first - 1))
    return same_a + same_b - 2 * alike[:first, first:].mean()
