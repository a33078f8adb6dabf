"""SwinFace in the structure of the authors' code, for speed alone: what our benchmarks compare with.

Windows are cut out, attention is written out, the shifted windows' mask is added to each, every level is pooled and
convolved by every subnet on its own, and outputs are a list. The weights are random.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from swinface.mlca import ChannelGate
from swinface.tasks import PAPER_TASKS, SUBNETS

WINDOW = 7


class Attention(nn.Module):
    """Attention within windows, (windows, 49, channels)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None, :] + WINDOW - 1
        self.register_buffer("index", apart[0] * (2 * WINDOW - 1) + apart[1])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        windows, tokens, channels = x.shape
        q, k, v = self.qkv(x).reshape(windows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attention = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        attention = attention + self.table[self.index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)
        if mask is not None:
            attention = attention.view(-1, len(mask), self.heads, tokens, tokens) + mask[None, :, None]
            attention = attention.view(-1, self.heads, tokens, tokens)
        return self.proj((attention.softmax(dim=-1) @ v).transpose(1, 2).reshape(windows, tokens, channels))


class Block(nn.Module):
    """A Swin block on tokens, (B, side * side, channels)."""

    def __init__(self, channels: int, heads: int, side: int, shift: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift if side > WINDOW else 0
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        mask = None
        if self.shift:
            region = torch.zeros(1, side, side, 1)
            cuts = [slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None)]
            for number, (rows, columns) in enumerate((rows, columns) for rows in cuts for columns in cuts):
                region[:, rows, columns] = number
            parts = self.cut(region).squeeze(-1)
            mask = torch.where(parts[:, None] == parts[:, :, None], 0.0, -100.0)
        self.register_buffer("mask", mask)

    def cut(self, x: Tensor) -> Tensor:
        """(B, side, side, channels) to (windows, 49, channels)."""
        parts = self.side // WINDOW
        x = x.view(len(x), parts, WINDOW, parts, WINDOW, -1).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(-1, WINDOW * WINDOW, x.shape[-1])

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        parts = self.side // WINDOW
        grid = self.norm1(x).view(batch, self.side, self.side, channels)
        if self.shift:
            grid = torch.roll(grid, (-self.shift, -self.shift), (1, 2))
        out = self.attention(self.cut(grid), self.mask)
        grid = out.view(batch, parts, parts, WINDOW, WINDOW, channels).permute(0, 1, 3, 2, 4, 5)
        grid = grid.reshape(batch, self.side, self.side, channels)
        if self.shift:
            grid = torch.roll(grid, (self.shift, self.shift), (1, 2))
        x = x + grid.view(batch, tokens, channels)
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    """Patch merging of tokens, (B, side * side, channels)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side, self.norm, self.reduction = (
            side,
            nn.LayerNorm(4 * channels),
            nn.Linear(4 * channels, 2 * channels, False),
        )

    def forward(self, x: Tensor) -> Tensor:
        grid = x.view(len(x), self.side, self.side, -1)
        near = [grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(near, dim=-1).flatten(1, 2)))


class Attend(nn.Module):
    """MLCA: each level pooled, convolved and weighed on its own."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        shares = [47, 93, 186, 186]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c, s, 3, padding=1, bias=False) for c, s in zip(channels, shares, strict=True)
        )
        self.gate, self.norm = ChannelGate(512), nn.BatchNorm1d(512)

    def forward(self, levels: list[Tensor]) -> Tensor:
        pooled = [functional.adaptive_avg_pool2d(level, WINDOW) for level in levels]
        parts = [convolve(level) for convolve, level in zip(self.convolutions, pooled, strict=True)]
        x = functional.relu(self.gate(torch.cat(parts, dim=1)))
        return self.norm(functional.adaptive_max_pool2d(x, 1).flatten(1))


class NaiveSwinFace(nn.Module):
    """The published size, with outputs as a list."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm0 = nn.Conv2d(3, 96, 2, 2), nn.LayerNorm(96)
        self.stages, self.mergings = nn.ModuleList(), nn.ModuleList()
        for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
            channels, side = 96 * 2**stage, 56 // 2**stage
            blocks = (Block(channels, heads, side, 3 * (number % 2)) for number in range(depth))
            self.stages.append(nn.Sequential(*blocks))
            if stage < 3:
                self.mergings.append(Merging(channels, side))
        self.norm = nn.LayerNorm(768)
        self.embedding = nn.Sequential(
            nn.Linear(768, 768, False), nn.BatchNorm1d(768), nn.Linear(768, 512, False), nn.BatchNorm1d(512)
        )
        self.subnets = nn.ModuleList(Attend([192, 384, 768, 768]) for _ in SUBNETS)
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5)
            )
            for _ in SUBNETS
        )
        self.heads = nn.ModuleList(nn.Linear(512, task.classes) for task in PAPER_TASKS.values())

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs for images (B, 3, 112, 112): the tasks' in the order of the table, then the embedding."""
        x, levels = self.norm0(self.embed(images).flatten(2).transpose(1, 2)), []
        for stage, blocks in enumerate(self.stages):
            x = blocks(x)
            if stage < 3:
                x = self.mergings[stage](x)
            side = int(x.shape[1] ** 0.5)
            levels.append(x.transpose(1, 2).reshape(len(x), -1, side, side))
        embedding = self.embedding(self.norm(x).mean(dim=1))
        parts = [follow(attend(levels)) for attend, follow in zip(self.subnets, self.features, strict=True)]
        owners = [SUBNETS.index(task.subnet) for task in PAPER_TASKS.values()]
        return [*(head(parts[owner]) for head, owner in zip(self.heads, owners, strict=True)), embedding]
