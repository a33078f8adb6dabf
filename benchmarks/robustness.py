"""How a model's figures change with the presentation of faces: moved, with bars, grey, or at low quality.

    python benchmarks/robustness.py --data data --tables tables
    python benchmarks/robustness.py --data data --tables tables --kinship shipped shipped-debiased

The first reads held-out faces below ``--data`` (FIW, UTKFace, RAF-DB, CK+48) and the tables of ``kinface prepare``.
Each head is tried on faces of its own training sets and of others: only UTKFace and FIW have ages, and CK+ was never
trained on. The second changes all faces of the pairs of the tables' split ``val`` a little. It measures how far their
embeddings move, and how many decisions at the model's threshold change, with 95% intervals over families.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import kinface
from kinface.fairness.bootstrap import Resamples, draw_families
from swinface.benchmarks.benchmark import Predictor
from swinface.benchmarks.stability import CHANGES, move
from swinface.benchmarks.verification import auc_of_same_person, embed_with_mirror
from swinface.bootstrap import percentile_interval
from swinface.data.augment import compress
from swinface.data.datasets import CKPlus, ImageFolder, RafDb, UTKFace
from swinface.data.faces import read_face, stack_faces
from swinface.data.source import Source
from swinface.model import SwinFace
from swinface.pretrained import best_device
from swinface.tasks import EXPRESSIONS

MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda faces: faces,
    **{f"shift {pixels} pixels": partial(move, translate=[pixels, pixels]) for pixels in (2, 4, 8, 12)},
    **{f"scale {scale}": partial(move, scale=scale) for scale in (0.8, 0.85, 0.9, 1.1, 1.15, 1.25)},
    **{f"turn {degrees} degrees": partial(move, angle=float(degrees)) for degrees in (5, 10, 20, 30)},
}

SMALL: dict[str, Callable[[Tensor], Tensor]] = {
    "noise of at most 2 of 255": lambda faces: (faces.int() + torch.randint(-2, 3, faces.shape)).clamp(0, 255).byte(),
    "JPEG, quality 90": lambda faces: torch.stack([compress(face, 90) for face in faces]),
    "shift by 1 pixel": partial(move, translate=[1, 0]),
}
QUANTILES = (0.01, 0.05)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--data", type=Path, required=True, help="folder that holds fiw, UTKFace, RAF-DB and CK+48")
    options.add_argument("--tables", type=Path, required=True, help="what `kinface prepare` wrote for FIW")
    options.add_argument("--model", default="shipped", help="folder of a SwinFace")
    options.add_argument("--people", type=int, default=200, help="people of FIW, the first ones by name")
    options.add_argument("--kinship", nargs="+", default=[], help="kinship models, which are tried instead")
    chosen = options.parse_args()
    if chosen.kinship:
        return change_pairs(chosen.kinship, chosen.tables)
    predictor = Predictor(SwinFace.from_pretrained(chosen.model).to(best_device()))
    labels = {"age": chosen.tables / "faces.parquet", "gender": chosen.tables / "people.parquet"}
    fiw = ImageFolder(chosen.data / "fiw", below="Validation/val-faces", labels=labels)
    known = set(sorted(fiw.table["identity"].unique())[: chosen.people])
    sets: dict[str, tuple[Source, np.ndarray]] = {"FIW": (fiw, fiw.table["identity"].isin(known).to_numpy())}
    sets["UTKFace"] = every(UTKFace(chosen.data / "UTKFace", part="held_out"))
    sets["RAF-DB"] = every(RafDb(chosen.data / "RAF-DB", part="held_out"))
    sets["CK+"] = every(CKPlus(chosen.data / "CK+48"))
    faces = {name: source.read_all()[torch.tensor(rows)] for name, (source, rows) in sets.items()}
    tables = {name: source.table[rows].reset_index(drop=True) for name, (source, rows) in sets.items()}
    print("faces:", ", ".join(f"{len(of)} of {name}" for name, of in faces.items()))
    print("AUC: same person, FIW. MAE of age in years: UTKFace, FIW. Gender, %: the same. Expression, %: RAF-DB, CK+.")
    print(
        f"{'change':18} {'AUC':>6} {'MAE UTK':>8} {'MAE FIW':>8} {'g. UTK':>7} {'g. FIW':>7} {'RAF-DB':>7} {'CK+':>7}"
    )
    for name, change in (MOVES | CHANGES).items():
        shown = {of: change(images) for of, images in faces.items()}
        people = tables["FIW"]["identity"]
        embedded = embed_with_mirror(predictor.embed, shown["FIW"])
        row = [auc_of_same_person(embedded, people, people.str.partition("/")[0], resamples=2).auc]
        answers = {of: predictor.answer_faces(images) for of, images in shown.items()}
        for of in ("UTKFace", "FIW"):
            row.append(np.nanmean(np.abs(answers[of]["age"][:, 0] - tables[of]["age"])))
        for of in ("UTKFace", "FIW"):
            row.append(accuracy(answers[of]["gender"], tables[of]["gender"].to_numpy()))
        row.append(accuracy(answers["RAF-DB"]["expression"], tables["RAF-DB"]["expression"].to_numpy()))
        among = answers["CK+"]["expression"][:, : EXPRESSIONS.index("neutral")]  # CK+ has no neutral
        row.append(accuracy(among, tables["CK+"]["expression"].to_numpy()))
        print(f"{name:18} {row[0]:6.3f} {row[1]:8.1f} {row[2]:8.1f}" + "".join(f"{each:8.1f}" for each in row[3:]))


def change_pairs(models: list[str], tables: Path) -> None:
    """Print how far faces and pairs of each kinship model move."""
    torch.manual_seed(0)
    families = kinface.read_families(tables)
    pairs, about = families.pairs("val"), families.faces.set_index("face")["family"]
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    _, family = np.unique(about[faces], return_inverse=True)
    images = stack_faces(lambda face: read_face(families.root / face), faces)
    shown = {name: change(images) for name, change in SMALL.items()}
    by_pairs, by_faces = Resamples(pairs), draw_families(family.max() + 1, 1000, 0)
    weight = by_pairs.weights()
    print(f"{len(faces)} faces, {len(pairs)} pairs of {family.max() + 1} families")
    for name in models:
        model = kinface.KinFace.from_pretrained(name)
        before = model.embed(images)
        accepted = kinface.score(pairs, before, faces)["score"].to_numpy() >= float(model.threshold)
        for change, moved in shown.items():
            after = model.embed(moved)
            cosine = (before * after).sum(axis=1)
            drawn = np.array([np.quantile(np.repeat(cosine, it[family].astype(int)), QUANTILES) for it in by_faces.T])
            flips = accepted != (kinface.score(pairs, after, faces)["score"].to_numpy() >= float(model.threshold))
            figures = [*zip(np.quantile(cosine, QUANTILES), *percentile_interval(drawn, interpolate=True), strict=True)]
            share = flips @ weight / weight.sum(axis=0)
            figures.append((100 * flips.mean(), *(100 * np.array(percentile_interval(share, interpolate=True)))))
            row = (f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in figures)
            print(f"{name:18} {change:26} {cosine.min():.3f}", *row, sep=" | ", flush=True)


def every(source: Source) -> tuple[Source, np.ndarray]:
    """A source and all its rows."""
    return source, np.ones(len(source), dtype=bool)


def accuracy(logits: np.ndarray, truth: np.ndarray) -> float:
    """In per cent, of faces with a known class."""
    known = ~np.isnan(truth)
    return 100 * (logits.argmax(axis=1) == truth)[known].mean()


if __name__ == "__main__":
    main()
