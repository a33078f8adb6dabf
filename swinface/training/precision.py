"""Half precision where the authors' code has it: in the linear layers of the trunk's blocks."""

from __future__ import annotations

import torch
from timm.layers import Mlp
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn

from swinface.files import InputError
from swinface.model import SwinFace


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
