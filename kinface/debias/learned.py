"""What erasers that are learned with torch have in common; each is in the file of its paper.

They are what the closed forms are compared with. All draw the classes equally often, whatever the paper does, because
races are very unequal; the weight of a face says how much it counts within its class. What a paper leaves open, or fits
to sets of another size, was chosen on nested folds of FIW's training families (``kinface nest``). Fitting is on the
CPU, from a seed of its own, and gives the same map each time.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor

from kinface.debias.eraser import Eraser

SMALLEST = 1e-12  # below it a squared length is 0

# From a number of faces to about that many, (n, D), equally many of each class, their classes, (n,), and rows, (n,).
Draw = Callable[[int], tuple[Tensor, Tensor, Tensor]]


class Learned(Eraser):
    """An eraser that is learned for one attribute; a subclass learns its state, and moves embeddings by it.

    Attributes
    ----------
    state_
        The state by name, in single precision.
    """

    def _fit(self, X: np.ndarray, codes: list[np.ndarray], weight: np.ndarray, target: np.ndarray) -> None:
        (given,) = codes
        known = given >= 0
        with ExitStack() as stack:
            for context in (torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad()):
                stack.enter_context(context)
            stack.enter_context(torch.autocast("cpu", enabled=False))
            torch.default_generator.manual_seed(0)
            x, classes = torch.from_numpy(X[known]).float(), torch.from_numpy(given[known])
            counts, kept = torch.from_numpy(weight[known]), torch.from_numpy(target[known])
            rows = [(classes == code).nonzero()[:, 0] for code in classes.unique()]

            def draw(count: int) -> tuple[Tensor, Tensor, Tensor]:
                each = math.ceil(count / len(rows))
                drawn = torch.cat([own[torch.multinomial(counts[own], each, replacement=True)] for own in rows])
                return x[drawn], classes[drawn], drawn

            state = self._learn(draw, x, classes, counts / counts.sum(), kept)
        self.state_ = {name: tensor.detach().numpy() for name, tensor in state.items()}

    @abstractmethod
    def _learn(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The state, learned from (N, D) faces of known class, (N,) classes, weights and codes of the target (below 0
        where unknown), or from rows of these that are drawn."""

    @staticmethod
    @abstractmethod
    def move(x: Tensor, **state: Tensor) -> Tensor:
        """(B, D) to (B, D), by the state, in single precision."""

    def _move(self, X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            state = {name: torch.from_numpy(array) for name, array in self.state_.items()}
            return self.move(torch.from_numpy(X).float(), **state).double().numpy()

    def state(self) -> dict[str, np.ndarray]:
        """The learned tensors, which :meth:`move` takes."""
        return self.state_
