"""How much each task uses each level of the trunk, and which places of the face its prediction depends on.

Tasks of one subnet share a multi-level channel attention, and so the weights of the levels. The places differ by task.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from swinface.data.align import IMAGE_SIZE
from swinface.data.faces import read_face, scale_pixels, stack_faces
from swinface.files import InputError
from swinface.inference import check_ready, walk_batches
from swinface.mlca import ChannelGate, MultiLevelChannelAttention
from swinface.model import SwinFace
from swinface.tasks import TASKS
from swinface.trunk import GRID

COLUMNS = 7  # of the figure of places


def attend(model: SwinFace, files: Sequence[Path], batch: int = 64) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Weights of levels and contributions of places for a model in evaluation mode, averaged over aligned faces.

    Raises ``InputError`` if the model has no channel attention or no trained task, or an image is missing, unreadable
    or not square.

    Returns
    -------
    levels : pd.DataFrame
        A row per trained task; ``subnet`` and the mean gate of each level it reads, ``FM1`` and so on.
    places : pd.DataFrame
        A row per trained task; the 49 places of a 7x7 grid, row by row, see ``place_answers``.
    face : np.ndarray
        (112, 112, 3), the mean face, 0 to 255.
    """
    check_ready(model, SwinFace)
    if not model.trained:
        raise InputError("no task of this model is trained, so its attention has no meaning; name a trained model.")
    if not all(isinstance(subnet.attention.gate, ChannelGate) for subnet in model.subnets.values()):
        raise InputError("this model has no channel attention; name one trained with channel_attention: true.")
    subnets = {subnet: [task for task in model.trained if TASKS[task].subnet == subnet] for subnet in model.subnets}
    weights, places, face = dict.fromkeys(subnets, 0), dict.fromkeys(model.trained, 0), 0
    for rows in walk_batches(range(len(files)), batch, "attend"):
        faces = stack_faces(read_face, files[rows.start : rows.stop])
        face = face + faces.sum(dim=0)
        with torch.no_grad():
            levels, _ = model.trunk(scale_pixels(faces.to(next(model.parameters()).device)))
        for subnet, tasks in subnets.items():
            weighed, maps = weigh_levels(model.subnets[subnet].attention, levels)
            weights[subnet] = weights[subnet] + weighed.sum(dim=0)
            for task, placed in place_answers(model, subnet, tasks, maps).items():
                places[task] = places[task] + placed.sum(dim=0)
    names = [f"FM{number}" for number in next(iter(model.subnets.values())).attention.levels]
    of_tasks = {task: weights[TASKS[task].subnet] for task in model.trained}
    table = _average(of_tasks, names, len(files))
    table.insert(0, "subnet", [TASKS[task].subnet for task in table.index])
    positions = [f"row {row} column {column}" for row in range(1, GRID + 1) for column in range(1, GRID + 1)]
    return table, _average(places, positions, len(files)), face.permute(1, 2, 0).numpy() / len(files)


def _average(sums: dict[str, Tensor], columns: Sequence[str], faces: int) -> pd.DataFrame:
    means = {task: total.double().cpu().numpy() / faces for task, total in sums.items()}
    return pd.DataFrame.from_dict(means, orient="index", columns=columns).rename_axis("task")


@torch.no_grad()
def weigh_levels(attention: MultiLevelChannelAttention, levels: Tensor) -> tuple[Tensor, Tensor]:
    """How a subnet weighs the levels (B, sum(in_channels), 7, 7) of faces, and the maps that it makes of them.

    Weights, (B, levels that it reads), are the gate averaged over each level's channels, 0 to 1. Maps, (B, width, 7,
    7), are the gated channels after ReLU, whose maxima over the places are the subnet's features.
    """
    seen = []
    hook = attention.gate.register_forward_hook(lambda _, inputs, output: seen.extend([*inputs, output]))
    attention(levels)
    hook.remove()
    fused, gated = seen
    shares = attention.gate.weigh(fused).split(attention.shares, dim=1)
    weights = torch.stack([share.mean(dim=1) for share in shares], dim=1)
    return weights, functional.relu(gated)


def place_answers(model: SwinFace, subnet: str, tasks: Sequence[str], maps: Tensor) -> dict[str, Tensor]:
    """How much each place of the face contributes to the logit of the prediction, for each task of a subnet.

    Every feature is the largest of its channel's 7x7 values. The feature, times the gradient of the winning logit (for
    age: of the years) with respect to it, is added to the place of that value. So the sum over a face's places is
    gradient times features, a first-order attribution of the logit (Shrikumar et al., "Not Just a Black Box", 2016).

    From the ``maps`` of ``weigh_levels``, (B, width, 7, 7), to (B, 49), row by row, for each task.
    """
    pooled, found = maps.flatten(2).max(dim=2)
    pooled.requires_grad_()
    features = model.subnets[subnet].features(model.subnets[subnet].attention.norm(pooled))
    placed = {}
    for task in tasks:
        winning = model.heads[task](features).amax(dim=1).sum()  # faces do not touch each other
        (gradient,) = torch.autograd.grad(winning, pooled, retain_graph=True)
        share = (gradient * pooled).detach()
        placed[task] = torch.zeros(len(maps), GRID * GRID, device=maps.device).scatter_add_(1, found, share)
    return placed


def draw_levels(levels: pd.DataFrame, faces: int) -> Figure:
    """Heat map of tasks by levels with a line between subnets, as in the paper's figure of channel attention."""
    weights = levels.drop(columns="subnet")
    figure = Figure(figsize=(3.6 + 0.55 * weights.shape[1], 1.6 + 0.21 * len(levels)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(weights.to_numpy(), cmap="cividis", aspect="auto")
    middle = drawn.norm.vmin + (drawn.norm.vmax - drawn.norm.vmin) / 2
    for (row, column), weight in np.ndenumerate(weights.to_numpy()):
        colour = "black" if weight > middle else "white"
        axes.text(column, row, f"{weight:.2f}", ha="center", va="center", fontsize=6, color=colour)
    for row in np.flatnonzero(levels["subnet"].to_numpy()[1:] != levels["subnet"].to_numpy()[:-1]):
        axes.axhline(row + 0.5, color="white", linewidth=2)
    axes.set_yticks(range(len(levels)), [TASKS[task].title for task in levels.index], fontsize=8)
    axes.set_xticks(range(weights.shape[1]), weights.columns, fontsize=8)
    axes.set_title(f"Mean channel gate, {faces:,} faces\n(tasks of one subnet share it)", fontsize=9)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.5)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("mean gate of the level's channels", size=8)
    return figure


def draw_places(places: pd.DataFrame, face: np.ndarray, faces: int) -> Figure:
    """Every task's places over the mean face: orange supports the prediction, purple opposes it."""
    rows = -(-len(places) // COLUMNS)
    columns = min(COLUMNS, len(places))
    figure = Figure(figsize=(1.45 * columns, 0.9 + 1.65 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (task, values) in zip(panels, places.iterrows(), strict=False):
        draw_face(axes, face, values.to_numpy(float))
        axes.set_title(TASKS[task].title, fontsize=7)
    figure.suptitle(
        f"Contribution of each place to the prediction, mean of {faces:,} faces, over the mean face\n"
        "orange: supports it; purple: opposes it; each task has its own scale",
        fontsize=9,
    )
    return figure


def draw_face(axes: Axes, face: np.ndarray, values: np.ndarray) -> None:
    """Draw 49 places, row by row, over a grey face, (112, 112, 3) of 0 to 255: orange is above 0, purple below."""
    grid = torch.tensor(values).reshape(1, 1, GRID, GRID)
    smooth = functional.interpolate(grid, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    limit = max(np.abs(values).max(), np.finfo(float).tiny)
    axes.imshow(face.mean(axis=2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(smooth[0, 0].numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit, alpha=0.6)
