"""The trunk of SwinFace: a Swin Transformer, as published or with convolutions in its early stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.models.swin_transformer import SwinTransformer, WindowAttention
from torch import Tensor, nn
from torch.nn import functional

from swinface.data.align import IMAGE_SIZE
from swinface.files import InputError
from swinface.trunk import GRID, Trunk


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut (He et al., CVPR 2016), (B, channels, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + convolutions(x))."""
        return functional.relu(x + self.convolutions(x))


class ConvolutionalMerging(nn.Sequential):
    """Halves the side of a grid by a strided convolution, then refines it by residual blocks.

    Takes tokens (B, H, W, in_channels), or images (B, 3, H, W) as a stem, and gives tokens (B, H/2, W/2, out_channels).
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: int, stem: bool = False) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            *(ResidualBlock(out_channels) for _ in range(blocks)),
        )
        self.stem = stem

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with channels last in memory, where tokens and maps are views of each other."""
        maps = x.contiguous(memory_format=torch.channels_last) if self.stem else x.permute(0, 3, 1, 2)
        return super().forward(maps).permute(0, 2, 3, 1)


class SwinTrunk(Trunk):
    """Swin Transformer (Liu et al., ICCV 2021) with a tap after every patch merging and one before its final norm.

    The summary is the mean of the last level's tokens after that norm. A stage is one of Swin's, with the patch merging
    at its start; the patch embedding belongs to none. Raises ``InputError`` if the sizes do not end at 7x7, or
    ``convolutions`` does not fit them.

    Parameters
    ----------
    embed_dim, depths, num_heads, patch_size, drop_path
        See the Swin paper. Every stage but the first halves the side of the token grid, and the last must reach
        7x7: four stages with patches of 2 pixels, three with 4.
    convolutions
        Residual blocks per stage ahead of its attention. They come with strided convolutions in place of Swin's
        patches and mergings; None is Swin as published.
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        patch_size: int = 2,
        drop_path: float = 0.1,
        convolutions: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        stages = len(depths)
        if len(num_heads) != stages or patch_size * GRID * 2 ** (stages - 1) != IMAGE_SIZE:
            raise InputError(
                f"patch_size {patch_size} with {stages} depths and {len(num_heads)} num_heads does not end at "
                f"{GRID}x{GRID} tokens; use patch_size 2 with four stages or 4 with three."
            )
        self.swin = SwinTransformer(
            img_size=IMAGE_SIZE,
            patch_size=patch_size,
            num_classes=0,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=GRID,
            drop_path_rate=drop_path,
        )
        if convolutions is not None:
            if len(convolutions) != stages or patch_size != 2:
                raise InputError(
                    f"convolutions {list(convolutions)}: give one number per stage, {stages}, and patch_size 2."
                )
            self._convolve(convolutions, embed_dim)
        self.summary_size = self.swin.num_features
        self.channels = [embed_dim * 2**stage for stage in range(1, stages)] + [self.summary_size]

    def _convolve(self, blocks: Sequence[int], width: int) -> None:
        """Replace patches and mergings by strided convolutions and residual blocks."""
        self.swin.patch_embed = ConvolutionalMerging(3, width, blocks[0], stem=True)
        for stage, count in zip(self.swin.layers[1:], blocks[1:], strict=True):
            stage.downsample = ConvolutionalMerging(width, 2 * width, count)
            width *= 2

    def read(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The grids of tokens after each merging and at the end, as maps, and the mean of the last one's."""
        # On a GPU one kernel computes attention, with the relative bias and the mask of shifted windows as one additive
        # mask; on a CPU that kernel is slower than the steps on their own.
        for part in self.swin.modules():
            if isinstance(part, WindowAttention):
                part.fused_attn = images.device.type == "cuda"
        tokens, taps = self.swin.patch_embed(images), []
        for stage in self.swin.layers:
            tokens = stage.downsample(tokens)
            taps.append(tokens)
            tokens = stage.blocks(tokens)
        taps = [*taps[1:], tokens]  # the first stage has no merging
        maps = [tap.permute(0, 3, 1, 2) for tap in taps]  # timm keeps channels last
        return maps, self.swin.norm(tokens).mean(dim=(1, 2))

    def stages(self) -> list[set[nn.Parameter]]:
        """The parameters of each stage of Swin."""
        return [set(stage.parameters()) for stage in self.swin.layers]
