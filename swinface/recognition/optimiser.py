"""AdamW for identity centres, of which a step uses a sample, see ``swinface.recognition.margin``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class SampledAdamW(torch.optim.AdamW):
    """AdamW which, in a parameter with a sparse gradient, changes only the rows of the gradient.

    Neither momentum nor weight decay changes the classes that a step did not use, and they cost no time. Their moments
    stay; as in Partial FC, steps are counted for the whole parameter. Dense gradients are handled as in AdamW. The
    arguments are AdamW's.

    In the authors' code, each step's sample replaces the first parameter of the optimiser's last group. That is the
    weight of the gender head, which then never learns. This is not copied.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure``, if given, computes the gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    sparse.append((parameter, parameter.grad))
                    self._step_rows(parameter, group)
                    parameter.grad = None  # AdamW refuses it
        super().step()
        for parameter, gradient in sparse:
            parameter.grad = gradient
        return loss

    def _step_rows(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """AdamW's step on the rows of a (K, D) parameter that are in its sparse gradient."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        gradient = parameter.grad.coalesce()
        rows = gradient.indices()[0]
        wholes = parameter, state["exp_avg"], state["exp_avg_sq"]
        parts = [whole[rows] for whole in wholes]
        adamw(
            parts[:1],
            [gradient.values()],
            parts[1:2],
            parts[2:],
            [],
            [state["step"]],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )
        for whole, part in zip(wholes, parts, strict=True):
            whole.index_copy_(0, rows, part)
