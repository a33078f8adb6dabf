"""The trunk of a model: a Swin Transformer, any timm model with intermediate features, or your own network.

    images (B, 3, 112, 112) -> Trunk -> levels (B, sum of channels, 7, 7) and summary (B, summary_size)

Your own network is any ``torch.nn.Module`` that takes images, (B, 3, 112, 112) of mean and standard deviation
0.5, and returns its levels, a list of maps (B, channels, rows, columns) of any size from early to late, and a summary
of the face, (B, numbers). ``create_trunk`` measures the other attributes of ``Trunk``.
"""

from __future__ import annotations

import difflib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from swinface.data.align import IMAGE_SIZE
from swinface.files import InputError, one_line, running
from swinface.pretrained import check_entries, read_weights
from swinface.registry import Registry

GRID = 7  # every level is pooled to GRID x GRID positions

TRUNKS = Registry(
    "trunk", {"swin": "swinface.swin.SwinTrunk", "timm": "swinface.trunk.TimmTrunk"}, base="torch.nn.Module"
)


def create_trunk(kind: str = "swin", **options: Any) -> Trunk:
    """Make a trunk, with random weights.

    Raises ``InputError`` if there is no such trunk, it does not take these options, or it returns no levels and
    summary.

    Parameters
    ----------
    kind
        ``swin``, ``timm/MODEL`` such as ``timm/convnext_tiny.in12k``, or your own ``package.module.Class``.
    options
        Arguments of ``SwinTrunk``, of ``TimmTrunk``, or of that class. They must fit into JSON: a model's
        ``config.json`` keeps them.

    Examples
    --------
    >>> trunk = create_trunk("timm/convnext_tiny", dims=[4, 8, 16, 32], depths=[1, 1, 1, 1])
    >>> levels, summary = trunk(torch.zeros(2, 3, 112, 112))
    >>> trunk.channels, tuple(levels.shape), tuple(summary.shape)
    ([4, 8, 16, 32], (2, 60, 7, 7), (2, 32))
    """
    family, of_family, model = str(kind).partition("/")
    made = TRUNKS.create(family, **({"model": model} if of_family else {}), **options)
    trunk = made if isinstance(made, Trunk) else OwnTrunk(made, str(kind))
    trunk.arguments = {"kind": kind, **options}
    return trunk


def split_weights(trunk: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, Path | None]:
    """Arguments of ``create_trunk``, and the file ``weights`` that a configuration names among them.

    >>> split_weights({"kind": "timm/resnet18"})
    ({'kind': 'timm/resnet18'}, None)
    """
    if trunk is None:
        return None, None
    given = trunk.get("weights")
    return {name: value for name, value in trunk.items() if name != "weights"}, None if given is None else Path(given)


class Trunk(nn.Module, ABC):
    """The contract of all trunks: a subclass defines ``read``, and may define its own stages."""

    channels: list[int]  #: channels of each level, from early to late
    summary_size: int  #: numbers of the summary
    arguments: dict[str, Any]  #: those of ``create_trunk``, to make the same trunk in another model

    @abstractmethod
    def read(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The maps of the levels, (B, channels, rows, columns) each, and the summary, (B, summary_size)."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The levels of images side by side, and one vector for each face.

        Images are (B, 3, 112, 112) float, as ``scale_pixels`` gives them. Levels are (B, sum(channels), 7, 7), each
        average-pooled to 7x7, split along axis 1 by ``channels``; the summary is (B, summary_size). Raises
        ``InputError`` if images are of another size, which many networks would answer.
        """
        if images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise InputError(
                f"images: they are {tuple(images.shape)}; give aligned faces, (B, 3, {IMAGE_SIZE}, {IMAGE_SIZE})."
            )
        maps, summary = self.read(images)
        return torch.cat([_pool(level) for level in maps], dim=1), summary

    def stages(self) -> list[set[nn.Parameter]]:
        """The parameters of each stage, in the order of the forward pass.

        A stage computes a level from the one before. The last stage also has what only the summary needs.
        """
        stages, before = [], set()
        for level in range(1, len(self.channels) + 1):
            behind = self._find_behind([level])
            stages.append(behind - before)
            before |= behind
        stages[-1] |= set(self.parameters()) - before
        return stages

    def freeze(self, trained_stages: int) -> None:
        """Freeze all but the last stages; what is frozen is in evaluation mode.

        Raises ``InputError`` if there are fewer stages.
        """
        stages = self.stages()
        if not 0 <= trained_stages <= len(stages):
            raise InputError(f"trained_stages {trained_stages}: the trunk has {len(stages)} stages.")
        _freeze(self, keep=set().union(*stages[len(stages) - trained_stages :]))
        for module in self.modules():
            learns = [parameter.requires_grad for parameter in module.parameters()]
            if learns and not any(learns):
                module.eval()

    def freeze_unread(self, levels: Collection[int] | None = None) -> None:
        """Freeze what only other levels or the summary depend on: DDP would wait for its gradients.

        ``levels`` are those in use, 1 for the first; all of them if None.
        """
        _freeze(self, keep=self._find_behind(levels or range(1, len(self.channels) + 1)))

    def take_weights(self, path: Path) -> None:
        """Load a file of weights with the names of the network itself, such as timm's; a warning names surplus ones.

        Raises ``InputError`` if the file is unreadable, or lacks weights of the network.
        """
        network = getattr(self, "network", self)
        found, expected = read_weights(path), network.state_dict()
        surplus = [name for name in found if name not in expected]
        if surplus and len(surplus) < len(found):  # such as a classifier
            some = f"{len(surplus)} weights are not the trunk's ({surplus[0]}, ...)"
            warnings.warn(f"{path}: {some}; they are ignored.", stacklevel=2)
            found = {name: tensor for name, tensor in found.items() if name in expected}
        check_entries(found, expected, path)
        network.load_state_dict(found)

    def _find_behind(self, levels: Collection[int]) -> set[nn.Parameter]:
        """The parameters on which these levels depend."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        parameters = list(self.parameters())
        learning = [parameter.requires_grad for parameter in parameters]
        self.requires_grad_(True)
        with torch.enable_grad():
            maps, _ = self.read(self._blank())
            read = sum(maps[level - 1].sum() for level in levels)
            gradients = torch.autograd.grad(read, parameters, allow_unused=True)
        for parameter, learns in zip(parameters, learning, strict=True):
            parameter.requires_grad_(learns)
        for module, mode in modes.items():
            module.training = mode
        return {each for each, gradient in zip(parameters, gradients, strict=True) if gradient is not None}

    def _blank(self) -> Tensor:
        parameter = next(self.parameters(), torch.zeros(()))
        return torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE, device=parameter.device, dtype=parameter.dtype)

    def _measure(self, name: str) -> None:
        """Set ``channels`` and ``summary_size`` from what it returns for two blank faces, or raise ``InputError``."""
        self.eval()
        with running(f"trunk {name!r}, on faces of {IMAGE_SIZE}x{IMAGE_SIZE}"), torch.no_grad():
            given = self.read(self._blank())
        self.train()
        maps, summary = given if isinstance(given, tuple | list) and len(given) == 2 else ([], None)
        shapes = [tuple(it.shape) if isinstance(it, Tensor) else () for it in (*maps, summary)]
        axes = [len(shape) if shape[:1] == (2,) else 0 for shape in shapes]
        if not isinstance(maps, tuple | list) or not maps or axes != [4] * len(maps) + [2]:
            raise InputError(
                f"trunk {name!r}: must return a list of levels, (faces, channels, rows, columns) each, and a summary, "
                f"(faces, numbers); it returns {_describe(given)} for two faces."
            )
        self.channels, self.summary_size = [shape[1] for shape in shapes[:-1]], shapes[-1][1]


def _pool(level: Tensor) -> Tensor:
    """A map, (B, channels, rows, columns), brought to 7x7 by averages of its places."""
    side = level.shape[-1]
    if side % GRID == 0 and level.shape[-2] == side:
        return functional.avg_pool2d(level, side // GRID)
    return functional.adaptive_avg_pool2d(level, GRID)


def _freeze(trunk: Trunk, keep: Collection[nn.Parameter]) -> None:
    for parameter in trunk.parameters():
        if parameter not in keep:
            parameter.requires_grad_(False)


def _describe(given: Any) -> str:
    """What a network returned, in short: shapes of tensors within lists."""
    if isinstance(given, Tensor):
        return str(tuple(given.shape))
    if isinstance(given, tuple | list):
        return f"[{', '.join(map(_describe, given))}]"
    return f"a {type(given).__name__}"


class OwnTrunk(Trunk):
    """Your own network, see the top of this file.

    Raises ``InputError`` if it fails on faces, or does not return levels and a summary.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network = network
        self._measure(name)

    def read(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """What the network returns."""
        return self.network(images)


class TimmTrunk(Trunk):
    """A model of timm, with random weights; nothing is downloaded. The summary is what its classifier would read.

    Raises ``InputError`` if timm has no such model, or the model does not take these options, has no intermediate
    features, or fails on faces of 112x112.

    Parameters
    ----------
    model
        Its name in timm. A tag such as ``.in12k`` determines the mean and deviation that normalise pixels.
    out_indices
        Indices, as timm counts them, of the features used as levels; by default the last four, or all if fewer.
    options
        Further arguments of ``timm.create_model``, such as ``img_size=112``, ``output_stride`` or ``drop_path_rate``.
    """

    def __init__(self, model: str, out_indices: Sequence[int] | None = None, **options: Any) -> None:
        super().__init__()
        name = f"timm/{model}"
        try:
            self.network = timm.create_model(model, pretrained=False, num_classes=0, **options)
        except Exception as error:  # models fail in any way on options that they do not expect
            near = difflib.get_close_matches(model.partition(".")[0], timm.list_models(), n=3)
            known = f"; timm has {', '.join(near)}" if near and not timm.is_model(model) else ""
            raise InputError(f"trunk {name!r}: {one_line(error)}{known}.") from error
        if not hasattr(self.network, "forward_intermediates"):
            raise InputError(f"trunk {name!r}: this model of timm gives no intermediate features; choose another.")
        self.levels = min(4, len(self.network.feature_info)) if out_indices is None else list(out_indices)
        given = self.network.pretrained_cfg
        for constant in ("mean", "std"):  # of pixels from 0 to 1; no part of the weights
            self.register_buffer(constant, torch.tensor(given[constant]).view(-1, 1, 1), persistent=False)
        self._measure(name)

    def read(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The features of the model, and what its classifier would read."""
        pixels = ((images + 1) / 2 - self.mean) / self.std
        last, maps = self.network.forward_intermediates(pixels, indices=self.levels)
        return maps, self.network.forward_head(last)
