"""What all maps that erase an attribute have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import torch
from torch import Tensor, nn

from kinface.data.labels import encode_labels

Draw = Callable[[int], tuple[Tensor, Tensor]]


class ErasingMap(nn.Module, ABC):
    """A fitted map of features or of an embedding, the identity until it is fitted. Training does not update it.

    Parameters
    ----------
    inside
        Whether it erases in training too; otherwise it is the identity in training.
    """

    def __init__(self, inside: bool) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        if self.training and not self.inside:
            return embedding
        if torch.is_autocast_enabled(embedding.device.type):  # in half precision a map erases less
            with torch.autocast(embedding.device.type, enabled=False):
                return self._move(embedding.float())
        return self._move(embedding)

    @abstractmethod
    def _move(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D), in single precision."""


class LearnedMap(ErasingMap):
    """Common part: checks the input, and draws batches of equally many faces of each class.

    Parameters
    ----------
    size
        D, numbers per embedding.
    classes
        K, classes of the attribute.
    inside
        As of ``ErasingMap``.
    """

    def __init__(self, size: int, classes: int, inside: bool = False) -> None:
        super().__init__(inside)
        self.size, self.classes = size, classes
        self.register_buffer("fitted", torch.zeros(()))

    def _move(self, embedding: Tensor) -> Tensor:
        return torch.lerp(embedding, self._erase(embedding), self.fitted)

    @abstractmethod
    def _erase(self, embedding: Tensor) -> Tensor:
        """(B, D) to (B, D), finite even before it is fitted."""

    def fit(self, embedding: Tensor, codes: Tensor, weight: Tensor | None = None) -> Self:
        """Fit the map.

        Parameters
        ----------
        embedding
            (N, D), in the form that the map will be applied to.
        codes
            (N,) class indices from 0 to K - 1, below 0 where unknown.
        weight
            (N,), how much a face counts within its class; 1 if left out.

        Raises
        ------
        ValueError
            Fewer than two classes have faces of a weight above 0.
        """
        weight = torch.ones(len(codes)) if weight is None else weight.cpu()
        codes = torch.from_numpy(encode_labels(codes.cpu(), range(self.classes), "codes")[0])
        known = (codes >= 0) & (weight > 0)
        if len(codes[known].unique()) < 2:
            raise ValueError(f"{type(self).__name__} needs faces of two classes; got one or none.")
        device = self.fitted.device
        with ExitStack() as stack:
            for context in (torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad()):
                stack.enter_context(context)
            stack.enter_context(torch.autocast("cpu", enabled=False))
            stack.callback(self.to, device)
            self.cpu()
            torch.default_generator.manual_seed(0)
            x, codes = embedding.detach().cpu()[known].float().clone(), codes[known]
            weight = weight[known].double().clone()
            rows = [(codes == code).nonzero()[:, 0] for code in codes.unique()]

            def draw(count: int) -> tuple[Tensor, Tensor]:
                each = math.ceil(count / len(rows))
                drawn = torch.cat([own[torch.multinomial(weight[own], each, replacement=True)] for own in rows])
                return x[drawn], codes[drawn]

            self._fit(draw, x, codes, weight / weight.sum())
            self.fitted.fill_(1.0)
        return self

    @abstractmethod
    def _fit(self, draw: Draw, x: Tensor, codes: Tensor, weight: Tensor) -> None:
        """Fit to (N, D) faces of known class, or to what ``draw`` gives: about so many faces, and their classes."""
