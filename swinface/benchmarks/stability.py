"""How much a model's predictions change with the presentation of a face: black bars, scale, grey, compression.

A face's age does not depend on what surrounds the photo. A model whose predictions do has learned to tell its data sets
apart. Held-out faces of the same sets cannot reveal this: their presentation is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from swinface.benchmarks.benchmark import Predictor, Result, by_group, divide
from swinface.benchmarks.protocols import LabelledFaces
from swinface.data.align import IMAGE_SIZE
from swinface.data.augment import compress


def add_bars(faces: Tensor, top: float = 0.0, sides: float = 0.0) -> Tensor:
    """Black bars over shares of the height at the top and of the width at both sides."""
    faces, across = faces.clone(), round(sides * IMAGE_SIZE)
    faces[..., : round(top * IMAGE_SIZE), :] = 0
    faces[..., :across] = faces[..., IMAGE_SIZE - across :] = 0
    return faces


def move(faces: Tensor, **change: object) -> Tensor:
    """Scale, rotate or shift faces; areas outside the image repeat its edges, so no bar appears."""
    around = IMAGE_SIZE // 2
    padded = transforms.pad(faces, [around] * 4, padding_mode="edge")
    settings = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | change
    moved = transforms.affine(padded, **settings, interpolation=transforms.InterpolationMode.BILINEAR)
    return moved[..., around:-around, around:-around]


def shrink(faces: Tensor, side: int) -> Tensor:
    """Reduce faces to ``side`` pixels across and down, and enlarge them again."""
    return transforms.resize(transforms.resize(faces, [side, side]), list(faces.shape[-2:]))


# From (N, 3, 112, 112) uint8 to the same. The first two are what the crops of UTKFace and of RAF-DB leave outside.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "bars as UTKFace's": lambda faces: add_bars(faces, top=0.22, sides=0.09),
    "bars as RAF-DB's": lambda faces: add_bars(faces, top=0.18, sides=0.16),
    "scale 0.85": lambda faces: move(faces, scale=0.85),
    "scale 1.15": lambda faces: move(faces, scale=1.15),
    "shift 4 pixels": lambda faces: move(faces, translate=[4, 4]),
    "turn 10 degrees": lambda faces: move(faces, angle=10.0),
    "grey": lambda faces: transforms.rgb_to_grayscale(faces, 3),
    "28 pixels": lambda faces: shrink(faces, 28),
    "JPEG quality 10": lambda faces: torch.stack([compress(face, 10) for face in faces]),
}


class Stability(LabelledFaces):
    """How much the predictions for a source's faces change under each of ``CHANGES``. It needs no labels.

    Age: the mean absolute change in years. Gender and expression: the share of faces, in per cent, whose prediction
    changes. The figure of a task is that of the change with the largest effect; the table has all changes, and the
    figure of age is also given by group.
    """

    metrics = ("age moves, years", "gender changes %", "expression changes %")
    tasks = ("age", "gender", "expression")

    def run(self, model: Predictor) -> list[Result]:
        table, faces = self.source.table, self.source.read_all()
        before = model.answer_faces(faces)
        results, rows = {}, []
        for name, change in CHANGES.items():
            after = model.answer_faces(change(faces))
            row = {"change": name}
            for task, metric in zip(self.tasks, self.metrics, strict=True):
                if task not in before:
                    continue
                if task == "age":
                    moved = np.abs(after[task][:, 0] - before[task][:, 0]).astype(float)
                    row["median age"] = np.median(after[task])
                else:
                    moved = 100.0 * (after[task].argmax(axis=1) != before[task].argmax(axis=1))
                values = np.stack([moved, np.ones(len(moved))], axis=1)
                result = divide(metric, values, table)
                row |= {metric: result.ours, f"{metric}, low": result.low, f"{metric}, high": result.high}
                if task not in results or result.ours > results[task][0].ours:
                    results[task] = result, values
            rows.append(row)
        for task, (result, values) in results.items():
            results[task] = replace(result, groups=by_group(table, result.metric, values) if task == "age" else {})
        first, *others = results.values()
        return [replace(first, tables={"changes": pd.DataFrame(rows).set_index("change")}), *others]
