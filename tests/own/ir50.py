"""A custom trunk, which knows nothing of these packages: IR-50, ArcFace's network (Deng et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Unit(nn.Module):
    """BN, 3x3 convolution, PReLU, strided 3x3 convolution, BN, around a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.shortcut = nn.MaxPool2d(1, stride)
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.residual = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, after, 3, 1, 1, bias=False),
            nn.PReLU(after),
            nn.Conv2d(after, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.residual(x)


class IR50(nn.Module):
    """Four stages, each of which halves the side of the map; the embedding is the summary."""

    def __init__(
        self,
        units: Sequence[int] = (3, 4, 14, 3),
        channels: Sequence[int] = (64, 128, 256, 512),
        size: int = 512,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        first = channels[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first))
        self.body = nn.ModuleList()
        for before, after, count in zip((first, *channels), channels, units, strict=False):
            rest = [Unit(after, after, 1) for _ in range(count - 1)]
            self.body.append(nn.Sequential(Unit(before, after, 2), *rest))
        last = channels[-1]
        self.embed = nn.Sequential(
            nn.BatchNorm2d(last), nn.Dropout(dropout), nn.Flatten(), nn.Linear(last * 49, size), nn.BatchNorm1d(size)
        )

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        x, levels = self.stem(images), []
        for stage in self.body:
            x = stage(x)
            levels.append(x)
        return levels, self.embed(x)
