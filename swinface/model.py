"""SwinFace: a Swin Transformer trunk, one multi-level channel attention per subnet, one linear head per task.

    images (B, 3, 112, 112) -> Trunk -> levels (B, sum of channels, 7, 7) and summary (B, last channels)
    summary -> embedding (B, width)
    levels -> Subnet (11 of them) -> features (B, width) -> heads (42 of them, see ``swinface.tasks``) -> logits

Reference: Qin et al., "SwinFace", IEEE TCSVT 2023, arXiv 2308.11509. Where the paper's figure and the authors' code
differ, this follows the code: with the published weights it gives the published numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional

from swinface.data.faces import IMAGE_SIZE
from swinface.files import InputError
from swinface.mlca import BATCH_NORM_EPS, MultiLevelChannelAttention, set_first_weights
from swinface.pretrained import Pretrained
from swinface.tasks import PAPER_TASKS, TASKS

GRID = 7  # every level is pooled to GRID x GRID positions


# Arguments of a size that a CPU can train: SwinFace(**SMALL). Early stages, with many tokens, have convolutions, which
# learn more per image and per second from small sets (Xiao et al., "Early Convolutions Help Transformers See Better",
# NeurIPS 2021); attention is in the last two stages. Cost of one image:
#             parameters (trunk, embedding)    multiply-adds (trunk)
# published   67.4 M (28.5)                    6.09 G (4.48)
# SMALL        3.0 M  (1.9)                    0.35 G (0.30)
SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "depths": (0, 0, 1, 1),
    "num_heads": (1, 2, 4, 8),
    "convolutions": (1, 1, 1, 0),
    "width": 48,
    "embedding_size": 128,
}


MODEL_CARD = """---
{{ card_data }}
---
SwinFace ([Qin et al., 2023]({{ paper_url }})): identity embedding, gender, age, expression and 39 attributes of a face.

    from swinface import SwinFace
    from swinface.data.faces import scale_pixels

    model = SwinFace.from_pretrained("this folder")
    outputs = model(scale_pixels(faces))  # (B, 3, 112, 112) uint8, RGB, aligned to ArcFace's five points

`swinface.TASKS` names every output and the meaning of its logits.
"""


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


class Trunk(nn.Module):
    """Swin Transformer (Liu et al., ICCV 2021) with a tap after every patch merging and one before its final norm.

    Parameters
    ----------
    embed_dim, depths, num_heads, patch_size, drop_path
        As in the Swin paper. Every stage but the first halves the side of the token grid, and the last must reach
        7x7: four stages with patches of 2 pixels, three with 4.
    convolutions
        Residual blocks per stage ahead of its attention. They come with strided convolutions in place of Swin's
        patches and mergings; None is Swin as published.

    Attributes
    ----------
    arguments : dict
        The constructor's arguments, to make the same trunk in another model.
    channels : list of int
        Channels of each level: ``embed_dim`` times 2, 4, ... after each merging, and once more the last.
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
        self.arguments = {
            "embed_dim": embed_dim,
            "depths": list(depths),
            "num_heads": list(num_heads),
            "patch_size": patch_size,
            "drop_path": drop_path,
            "convolutions": None if convolutions is None else list(convolutions),
        }
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
            self._convolve(convolutions)
        last = self.swin.num_features
        self.channels = [embed_dim * 2**stage for stage in range(1, stages)] + [last]

    def _convolve(self, blocks: Sequence[int]) -> None:
        """Replace patches and mergings by strided convolutions and residual blocks."""
        stages, width = self.swin.layers, self.arguments["embed_dim"]
        if len(blocks) != len(stages) or self.arguments["patch_size"] != 2:
            raise InputError(
                f"convolutions {list(blocks)}: give one number per stage, {len(stages)}, and patch_size 2."
            )
        self.swin.patch_embed = ConvolutionalMerging(3, width, blocks[0], stem=True)
        for stage, count in zip(stages[1:], blocks[1:], strict=True):
            stage.downsample = ConvolutionalMerging(width, 2 * width, count)
            width *= 2

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels side by side, and one vector for the face.

        Parameters
        ----------
        images
            (B, 3, 112, 112), float, as ``scale_pixels`` gives them.

        Returns
        -------
        levels : Tensor
            (B, sum(channels), 7, 7), each level average-pooled to 7x7; split along axis 1 by ``channels``.
        summary : Tensor
            (B, last of channels), the mean of the last level's tokens after the final norm.
        """
        tokens, taps = self.swin.patch_embed(images), []
        for stage in self.swin.layers:
            tokens = stage.downsample(tokens)
            taps.append(tokens)
            tokens = stage.blocks(tokens)
        taps = [*taps[1:], tokens]  # the first stage has no merging
        maps = [tap.permute(0, 3, 1, 2) for tap in taps]  # timm keeps channels last
        levels = torch.cat([functional.avg_pool2d(level, level.shape[-1] // GRID) for level in maps], dim=1)
        return levels, self.swin.norm(tokens).mean(dim=(1, 2))


class Subnet(nn.Module):
    """The features of a group of tasks: MLCA, then twice linear, ReLU and dropout.

    Parameters
    ----------
    attention
        The subnet's own MLCA.
    width
        Length of its output and of the features.
    dropout
        Share of features dropped in training.
    """

    def __init__(self, attention: MultiLevelChannelAttention, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.features = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.features.apply(set_first_weights)

    def forward(self, levels: Tensor) -> Tensor:
        """Map levels (B, sum(in_channels), 7, 7) to features (B, width)."""
        return self.features(self.attention(levels))


class SwinFace(
    nn.Module,
    Pretrained,
    library_name="swinface",
    paper_url="https://arxiv.org/abs/2308.11509",
    model_card_template=MODEL_CARD,
    pipeline_tag="image-feature-extraction",
):
    """One forward pass for a face's identity embedding, gender, age, expression and 39 attributes.

    The defaults are the published size: 67.4 M parameters, of which the trunk with its embedding has 28.5, MLCA 33.1,
    subnets and heads 5.8. (The paper counts 67.8 M, with a classifier in the trunk that nothing uses.)
    ``SwinFace(**SMALL)`` is a size that a CPU can train.

    Parameters
    ----------
    embed_dim, depths, num_heads, patch_size, drop_path, convolutions
        The trunk, see ``Trunk``.
    width
        Length of every subnet's features.
    embedding_size
        Length of the embedding.
    dropout
        Share of features dropped in the subnets in training.
    levels, channel_attention
        Which levels each MLCA reads and whether it has a gate, see ``MultiLevelChannelAttention``.
    untrained
        Tasks of the paper that the model was not trained on; they are frozen, and their outputs are left out.
    extra
        Tasks beyond the paper's that it was trained on, such as ``("yaw", "pitch", "roll")``.

    Examples
    --------
    >>> model = SwinFace(**SMALL).eval()
    >>> outputs = model(torch.zeros(2, 3, 112, 112))
    >>> [(name, tuple(outputs[name].shape)) for name in ("embedding", "expression", "age")]
    [('embedding', (2, 128)), ('expression', (2, 7)), ('age', (2, 1))]
    """

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        patch_size: int = 2,
        drop_path: float = 0.1,
        convolutions: Sequence[int] | None = None,
        width: int = 512,
        embedding_size: int = 512,
        dropout: float = 0.5,
        levels: Sequence[int] | None = None,
        channel_attention: bool = True,
        untrained: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.untrained, self.extra = list(untrained), list(extra)
        tasks = PAPER_TASKS | {name: TASKS[name] for name in extra}
        self.trunk = Trunk(embed_dim, depths, num_heads, patch_size, drop_path, convolutions)
        last = self.trunk.channels[-1]
        self.embedding = nn.Sequential(
            nn.Linear(last, last, bias=False),
            nn.BatchNorm1d(last, eps=BATCH_NORM_EPS),
            nn.Linear(last, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size, eps=BATCH_NORM_EPS),
        )
        self.embedding.apply(set_first_weights)

        def subnet() -> Subnet:
            attention = MultiLevelChannelAttention(self.trunk.channels, width, levels, channel_attention)
            return Subnet(attention, width, dropout)

        self.subnets = nn.ModuleDict({name: subnet() for name in dict.fromkeys(task.subnet for task in tasks.values())})
        self.heads = nn.ModuleDict({name: nn.Linear(width, task.classes) for name, task in tasks.items()})
        self.heads.apply(set_first_weights)
        self.trained = {name: task for name, task in tasks.items() if name not in self.untrained}
        for subnet_name in set(self.subnets) - {task.subnet for task in self.trained.values()}:
            self.subnets[subnet_name].requires_grad_(False)
        for name in self.untrained:
            self.heads[name].requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Embed and describe faces.

        Parameters
        ----------
        images
            (B, 3, 112, 112), float, as ``scale_pixels`` gives them.

        Returns
        -------
        dict of str to Tensor
            ``"embedding"``, (B, embedding_size), and for every name in ``TASKS`` that is trained its logits,
            (B, classes); ``"age"`` is (B, 1), in years, and so are angles, in degrees.
        """
        levels, summary = self.trunk(images)
        used = {task.subnet for task in self.trained.values()}
        features = {name: subnet(levels) for name, subnet in self.subnets.items() if name in used}
        embedding, outputs = self.embedding(summary), {}
        with torch.autocast(
            images.device.type, enabled=False
        ):  # half precision would round ages to a quarter of a year
            for name, task in self.trained.items():
                head = self.heads[name]
                outputs[name] = head(features[task.subnet].to(head.weight.dtype)) * task.unit
        return {"embedding": embedding, **outputs}
