"""SwinFace: a Swin Transformer trunk, one multi-level channel attention per subnet, one linear head per task.

    images (B, 3, 112, 112), scaled -> Trunk -> levels (B, sum of channels, 7, 7) and summary (B, summary_size)
    summary -> embedding (B, width)
    levels -> Subnet (11 of them) -> features (B, width) -> heads (42 of them, see ``swinface.tasks``) -> logits

Reference: Qin et al., "SwinFace", IEEE TCSVT 2023, arXiv 2308.11509. Where the paper's figure and the authors' code
differ, this follows the code: with the published weights it gives the published numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from swinface.data.faces import check_scaled, scale_pixels
from swinface.files import InputError
from swinface.mlca import BATCH_NORM_EPS, MultiLevelChannelAttention, set_first_weights
from swinface.pretrained import Pretrained
from swinface.tasks import PAPER_TASKS, TASKS, check_tasks
from swinface.trunk import create_trunk

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

    model = SwinFace.from_pretrained("this folder")
    outputs = model(faces)  # (B, 3, 112, 112) uint8, RGB, aligned to ArcFace's five points

`swinface.TASKS` names every output and the meaning of its logits.
"""


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
    trunk
        Arguments of ``swinface.trunk.create_trunk``, for a trunk other than the default Swin Transformer.
    width
        Length of every subnet's features.
    embedding_size
        Length of the embedding.
    dropout
        Share of features dropped in the subnets in training.
    levels
        Which levels each MLCA reads, see ``MultiLevelChannelAttention``.
    channel_attention
        Whether each MLCA has a gate.
    untrained
        Tasks of the paper that the model was not trained on; they are frozen, and their outputs are left out.
    extra
        Tasks beyond the paper's that it was trained on, such as ``("yaw", "pitch", "roll")``.
    swin
        Arguments of ``swinface.swin.SwinTrunk``, if no ``trunk`` is given.

    Raises
    ------
    InputError
        The trunk, the levels or the name of a task are invalid, or both ``trunk`` and arguments of Swin are given.

    Examples
    --------
    >>> import swinface, torch
    >>> from swinface.model import SMALL
    >>> model = swinface.SwinFace(**SMALL).eval()
    >>> outputs = model(torch.zeros(2, 3, 112, 112))
    >>> [(name, tuple(outputs[name].shape)) for name in ("embedding", "expression", "age")]
    [('embedding', (2, 128)), ('expression', (2, 7)), ('age', (2, 1))]
    """

    def __init__(
        self,
        trunk: dict[str, Any] | None = None,
        width: int = 512,
        embedding_size: int = 512,
        dropout: float = 0.5,
        levels: Sequence[int] | None = None,
        channel_attention: bool = True,
        untrained: Sequence[str] = (),
        extra: Sequence[str] = (),
        **swin: Any,
    ) -> None:
        super().__init__()
        self.untrained, self.extra = list(untrained), list(extra)
        check_tasks(extra, "extra")
        tasks = PAPER_TASKS | {name: TASKS[name] for name in extra}
        check_tasks(untrained, "untrained", tasks)
        if trunk is not None and swin:
            raise InputError(f"{', '.join(swin)}: options of a Swin Transformer; put them into trunk, or omit trunk.")
        self.trunk = create_trunk(**(swin if trunk is None else trunk))
        last = self.trunk.summary_size
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
        used = {task.subnet for task in self.trained.values()}
        self._used = [name for name in self.subnets if name in used]
        for subnet_name in set(self.subnets) - used:
            self.subnets[subnet_name].requires_grad_(False)
        for name in self.untrained:
            self.heads[name].requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Embed and describe faces, (B, 3, 112, 112): uint8 RGB, or float as ``scale_pixels`` gives them.

        Returns ``"embedding"``, (B, embedding_size), and for every name in ``TASKS`` that is trained its logits, (B,
        classes); ``"age"`` is (B, 1), in years, and so are angles, in degrees.
        """
        return self.answer(self.read(images))

    def read(self, images: Tensor) -> tuple[Tensor, ...]:
        """The embedding of images, and the features (B, width) of each subnet that has a trained task."""
        if images.dtype == torch.uint8:
            images = scale_pixels(images)
        elif not (self.training or torch.compiler.is_compiling() or torch.jit.is_tracing()):
            check_scaled(images)
        levels, summary = self.trunk(images)
        return self.embedding(summary), *(self.subnets[name](levels) for name in self._used)

    def answer(self, read: Sequence[Tensor]) -> dict[str, Tensor]:
        """The outputs of ``forward`` from those of ``read``."""
        embedding, *features = read
        of, outputs = dict(zip(self._used, features, strict=True)), {"embedding": embedding}
        with torch.autocast(embedding.device.type, enabled=False):  # half precision rounds ages to a quarter of a year
            for name, task in self.trained.items():
                head = self.heads[name]
                outputs[name] = head(of[task.subnet].to(head.weight.dtype)) * task.unit
        return outputs
