"""Multi-level channel attention: how a subnet chooses channels from all levels of the trunk.

Reference: Qin et al., "SwinFace", IEEE TCSVT 2023, arXiv 2308.11509, section III-C.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from swinface.files import InputError

BATCH_NORM_EPS = 2e-5


def set_first_weights(module: nn.Module) -> None:
    """Start a linear layer as Swin and the authors' code do: normal weights of deviation 0.02, no bias; for ``apply``.

    So a new channel gate weighs every channel by a half. Convolutions start as torch's do, as the authors' do.
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ChannelGate(nn.Module):
    """Channel attention of CBAM (Woo et al., ECCV 2018, equation 2): x * sigmoid(MLP(mean(x)) + MLP(max(x)))."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def weigh(self, x: Tensor) -> Tensor:
        """Weights of the channels of ``x``, (B, channels, height, width): (B, channels), 0 to 1."""
        return torch.sigmoid(self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the channels of ``x``, (B, channels, height, width), by their weights."""
        return x * self.weigh(x)[:, :, None, None]


class MultiLevelChannelAttention(nn.Module):
    """MLCA (SwinFace, section III-C): a subnet's own choice of channels from all levels of the trunk.

    One 3x3 convolution per level (multi-level feature fusion), the channel gate over their concatenation, ReLU,
    global maximum, batch norm. The paper's figure draws the pooling before the ReLU; the published model, and this,
    does it after.

    ``in_channels`` are those of each level, ``Trunk.channels``. The ``width`` of the output is shared among the levels
    in proportion to them. For the paper's ablation, ``levels`` are the numbers of those that are read, 1 for FM1 (None
    is all of them), and ``channel_attention`` says whether there is a gate.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int,
        levels: Sequence[int] | None = None,
        channel_attention: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = list(in_channels)
        self.levels = list(range(1, len(in_channels) + 1)) if levels is None else list(levels)
        if not self.levels or sorted(set(self.levels) & set(range(1, len(in_channels) + 1))) != self.levels:
            raise InputError(f"levels {self.levels}: name some of 1 to {len(in_channels)}, each once, in order.")
        read = [in_channels[level - 1] for level in self.levels]
        self.shares = [round(width * channels / sum(read)) for channels in read[:-1]]
        self.shares.append(width - sum(self.shares))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, share, 3, padding=1, bias=False)
            for channels, share in zip(read, self.shares, strict=True)
        )
        self.gate = ChannelGate(width) if channel_attention else nn.Identity()
        self.gate.apply(set_first_weights)
        self.norm = nn.BatchNorm1d(width, eps=BATCH_NORM_EPS)

    def forward(self, levels: Tensor) -> Tensor:
        """Map levels (B, sum(in_channels), 7, 7), as ``Trunk`` gives them, to features (B, width)."""
        return self.norm(self.fuse(levels).amax(dim=(2, 3)))

    def fuse(self, levels: Tensor) -> Tensor:
        """The weighted channels before the maximum over places: (B, width, 7, 7)."""
        if levels.ndim != 4 or levels.shape[1] != sum(self.in_channels):
            wanted = f"(B, {sum(self.in_channels)}, 7, 7) as a trunk gives them, or images as uint8"
            raise InputError(f"levels: they are {tuple(levels.shape)}; give {wanted}.")
        parts = levels.split(self.in_channels, dim=1)
        read = zip(self.convolutions, self.levels, strict=True)
        fused = torch.cat([convolve(parts[level - 1]) for convolve, level in read], dim=1)
        return functional.relu(self.gate(fused))
