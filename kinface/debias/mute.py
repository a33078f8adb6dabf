"""Gaussianisation of each class."""

from __future__ import annotations

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from kinface.debias.closed_form import fit_gate
from kinface.debias.learned import Draw, Learned

SMALLEST_SHARE = 1e-5  # distribution functions stay so far from 0 and 1


class Mute(Learned):
    """Gaussianisation of each class, routed by a predicted class (MUtE; Saillenfest, arXiv 2609.11253).

    In each round, for one class after the other, all faces are turned to the principal axes of the class, and each
    number is brought to a standard normal by the distribution function of the face's class. Distribution functions are
    histograms of faces of known class; the class whose function a face gets is predicted once, from x, in the paper by
    an MLP, here by the linear gate of ``Transport``, which balances the classes. It acts on embeddings of which only
    cosines are computed.

    Parameters
    ----------
    rounds
        How often all classes have their turn.
    bins
        Bins of each histogram.
    """

    keeps_axes = False
    DRAWN = 8000  # faces
    MARGIN = 0.1  # of a histogram beyond its data

    def __init__(self, rounds: PositiveInt = 1, bins: PositiveInt = 100) -> None:
        self.rounds, self.bins = rounds, bins

    @staticmethod
    def move(
        x: Tensor,
        gate: Tensor,
        gate_bias: Tensor,
        means: Tensor,
        axes: Tensor,
        low: Tensor,
        high: Tensor,
        below: Tensor,
    ) -> Tensor:
        """Each turn has means (D,), axes (D, D), and for each class edges (D,) and a function (D, bins + 1)."""
        chosen = (x @ gate.T + gate_bias).argmax(dim=1)
        for step in zip(means, axes, low, high, below, strict=True):
            x = _step(x, chosen, *step)
        return x

    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        fitted = fit_gate(x.double().numpy(), codes.numpy(), weight.numpy())
        gate, bias = (torch.from_numpy(part).float() for part in fitted)
        drawn, own, _ = draw(self.DRAWN)
        chosen, steps = (drawn @ gate.T + bias).argmax(dim=1), []
        for code in [*range(len(gate))] * self.rounds:
            faces = drawn[own == code]
            mean = faces.mean(dim=0)
            axes = torch.linalg.eigh((faces - mean).T @ (faces - mean))[1]
            turned = (drawn - mean) @ axes
            functions = zip(*(self._count(turned[own == code]) for code in range(len(gate))), strict=True)
            steps.append((mean, axes, *map(torch.stack, functions)))
            drawn = _step(drawn, chosen, *steps[-1])
        parts = zip(("means", "axes", "low", "high", "below"), zip(*steps, strict=True), strict=True)
        return {"gate": gate, "gate_bias": bias} | {name: torch.stack(part) for name, part in parts}

    def _count(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(D,) lower and upper edges and the (D, bins + 1) distribution function of (n, D) numbers."""
        least, most = rows.amin(dim=0), rows.amax(dim=0)
        margin = torch.maximum(self.MARGIN * (most - least), 1e-6 * (1 + least.abs()))
        low, high = least - margin, most + margin
        place = (rows - low) / (most - least + 2 * margin) * self.bins
        counts = F.one_hot(place.long().clamp(0, self.bins - 1), self.bins).sum(dim=0)
        return low, high, F.pad((counts.cumsum(dim=1) / len(rows)).float(), (1, 0))


def _step(x: Tensor, chosen: Tensor, mean: Tensor, axes: Tensor, low: Tensor, high: Tensor, below: Tensor) -> Tensor:
    turned, bins = (x - mean) @ axes, below.shape[-1] - 1
    low, high = low[chosen], high[chosen]
    place = ((turned - low) / (high - low) * bins).clamp(0, bins - 1e-3)
    left = place.nan_to_num().floor().long()
    numbers = torch.arange(x.shape[1], device=x.device)
    lower, upper = (below[chosen[:, None], numbers, left + step] for step in (0, 1))
    share = torch.lerp(lower, upper, place - left)
    return torch.special.ndtri(share.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE))
