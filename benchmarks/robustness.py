"""How a model's figures fall when crops are shifted, scaled or turned: for users whose crops differ from ArcFace's.

    python benchmarks/robustness.py --data data

Reads FIW's validation families and the held-out part of UTKFace below ``--data``. What a moved crop shows from outside
the image is black; a crop from the photo itself would show what lies there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from swinface.benchmarks.benchmark import Predictor
from swinface.benchmarks.verification import auc_of_same_person, embed_with_mirror
from swinface.data.datasets import ImageFolder, UTKFace
from swinface.model import SwinFace
from swinface.pretrained import best_device

MOVES = [
    ("none", {}),
    *((f"shift {pixels} pixels", {"translate": [pixels, pixels]}) for pixels in (2, 4, 8, 12)),
    *((f"scale {scale}", {"scale": scale}) for scale in (0.8, 0.9, 1.1, 1.25)),
    *((f"turn {degrees} degrees", {"angle": float(degrees)}) for degrees in (5, 10, 20, 30)),
]


def move(faces: Tensor, change: dict) -> Tensor:
    """Faces, (N, 3, 112, 112) uint8, that are shifted right and down, scaled about the centre, or turned."""
    settings = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | change
    return transforms.affine(faces, **settings, interpolation=transforms.InterpolationMode.BILINEAR)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, required=True, help="folder that holds fiw and UTKFace")
    options.add_argument("--model", default="shipped", help="folder of a SwinFace")
    options.add_argument("--people", type=int, default=200, help="people of FIW, the first ones by name")
    chosen = options.parse_args()
    model = SwinFace.from_pretrained(chosen.model).to(best_device())
    predictor = Predictor(model)
    fiw = ImageFolder(chosen.data / "fiw", below="Validation/val-faces")
    utkface = UTKFace(chosen.data / "UTKFace", part="held_out")
    people = fiw.table["identity"]
    kept = people.isin(sorted(people.unique())[: chosen.people]).to_numpy()
    faces, described = fiw.read_all()[torch.tensor(kept)], utkface.read_all()
    people, labels = people[kept].reset_index(drop=True), utkface.table
    print(f"same person: {len(faces)} faces of FIW; age and gender: {len(described)} of UTKFace")
    print(f"{'crop':18} {'AUC, same person':>17} {'MAE of age, years':>18} {'gender, %':>10}")
    for name, change in MOVES:
        embedded = embed_with_mirror(predictor.embed, move(faces, change))
        auc = auc_of_same_person(embedded, people, people.str.partition("/")[0], resamples=2).auc
        answers = predictor.answer_faces(move(described, change))
        error = np.abs(answers["age"][:, 0] - labels["age"]).mean()
        right = 100 * (answers["gender"].argmax(axis=1) == labels["gender"]).mean()
        print(f"{name:18} {auc:17.3f} {error:18.1f} {right:10.1f}", flush=True)


if __name__ == "__main__":
    main()
