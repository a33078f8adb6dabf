"""The network that a training starts with: its weights, which of its parts learn, and which are in half precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.layers import Mlp
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn

from swinface.files import InputError, one_line
from swinface.model import SwinFace
from swinface.tasks import PAPER_TASKS, TASKS
from swinface.trunk import split_weights


def start_network(
    arguments: dict[str, Any], learned: Sequence[str], start: Path | None, whole: bool, frozen: bool
) -> SwinFace:
    """A SwinFace with the weights that it starts from.

    Parameters
    ----------
    arguments
        Those of ``SwinFace``; ``weights`` in its ``trunk`` is a file to start from.
    learned
        The tasks that will be trained; a network that is ``frozen`` and takes over a ``whole`` model has all of that
        model's too.
    start
        Folder of a SwinFace whose trunk and embedding are taken over.
    whole
        Whether its subnets and heads are, too.
    frozen
        Whether trunk and embedding will stay as they are.

    Raises
    ------
    InputError
        No such model can be made, the weights are not those of this model, or what stays as it is has no weights.
    """
    trunk, weights = split_weights(arguments.get("trunk"))
    if frozen and start is None and weights is None:
        raise InputError("model.optimizer.trunk_rate is 0: give model.start, or the trunk stays untrained.")
    other = None if start is None else SwinFace.from_pretrained(start)
    kept = other.trained if other is not None and whole and frozen else ()
    tasks = [*learned, *(task for task in kept if task not in learned)]
    try:
        network = SwinFace(
            **{**arguments, "trunk": trunk},
            untrained=[task for task in PAPER_TASKS if task not in tasks],
            extra=[task for task in tasks if task not in PAPER_TASKS],
        )
    except InputError:
        raise
    except Exception as error:  # sizes that do not fit fail in any way
        raise InputError(f"model.swinface: no such model can be made ({one_line(error)}).") from error
    if weights is not None:
        network.trunk.take_weights(weights)
    if other is not None:
        _take_over(network, other, whole, start)
    return network


def _take_over(network: SwinFace, other: SwinFace, whole: bool, where: Path) -> None:
    for part in ("trunk", "embedding", "subnets", "heads") if whole else ("trunk", "embedding"):
        ours = getattr(network, part)
        theirs = getattr(other, part).state_dict()
        if part in ("subnets", "heads"):  # tasks that are not the paper's may be new, or no longer wanted
            kept = set(ours) & set(getattr(other, part))
            theirs = {name: value for name, value in theirs.items() if name.partition(".")[0] in kept}
            ours = nn.ModuleDict({name: ours[name] for name in ours if name in kept})
        try:
            ours.load_state_dict(theirs)
        except RuntimeError as error:
            raise InputError(f"model.start {where}: its {part} is of another size; see its config.") from error


def freeze_all_but(network: SwinFace, tasks: Sequence[str]) -> None:
    """Keep all as it is but the subnets and heads of some tasks: no gradients, no new statistics."""
    network.requires_grad_(False).eval()  # the engine keeps the mode of each part
    parts = [network.heads[name] for name in tasks]
    for part in parts + [network.subnets[name] for name in {TASKS[name].subnet for name in tasks}]:
        part.requires_grad_(True).train()


class HalfLinear(nn.Linear):
    """A linear layer in the half precision of autocast, with inputs and outputs in single precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        with torch.autocast(x.device.type):
            return super().forward(x).float()


def keep_half_to_linear(network: SwinFace) -> None:
    """Make queries, keys and values, projections and MLPs of the trunk the only part in half precision.

    The network is then called with autocast turned off; the layers turn it on for themselves, with the type that was
    set before. The residual stream, attention, patch merging, embedding, MLCA, subnets and heads stay in single
    precision, as in the authors' code. There half precision is float16; here it is that of ``trainer.precision``.
    Raises ``InputError`` if the trunk has no such layers.
    """
    layers = []
    for part in network.trunk.modules():
        if isinstance(part, WindowAttention):
            layers += [part.qkv, part.proj]
        elif isinstance(part, Mlp):
            layers += [part.fc1, part.fc2]
    if not layers:
        raise InputError("model.half: linear: this trunk has no attention or MLP of timm's; set it to all.")
    for layer in layers:
        layer.__class__ = HalfLinear  # the same weights under the same names
