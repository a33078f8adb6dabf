"""FaCoRNet beside the losses of the configurations, all on the levels of the shipped SwinFace, and on the same pairs.

    python benchmarks/facor.py --root TABLES --out FOLDER

TABLES is what ``kinface prepare`` made. The trunk is frozen and each face's levels are computed once. A method's
learning rate is the one of ``RATES`` with the best AUC on the tune families; the pairs of ``val`` are scored once,
after that.

FaCoRNet: the faces of a pair attend to each other before they are compared. Su, Chen, Wang, Lai & Chen, "Kinship
Representation Learning with Face Componential Relation", ICCV Workshops 2023 (arXiv 2304.04546). A face has no
embedding of its own, so it verifies pairs and cannot search.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

import kinface
from kinface.data.families import Families
from kinface.data.pairs import find_places, find_rows
from kinface.data.sampling import sample_pairs
from kinface.models.faces import read_faces
from kinface.models.kinface import load_model
from kinface.models.triplets import fit_epochs
from kinface.tradeoff.measure import Protocol, draw_lists
from kinface.training.data import KinBatches, cache_levels
from kinface.training.fit import train
from swinface.mlca import MultiLevelChannelAttention
from swinface.model import SwinFace

CONFIGS = Path(__file__).resolve().parents[1] / "configs/kinface"
RATES = (2e-4, 1e-3)
METHODS = {"contrastive": ["base.yaml"], "KFC": ["base.yaml", "methods/fair_contrastive.yaml"], "FaCoR": []}
BATCH = 256  # pairs of a list that are compared at once


class FaceRelation(nn.Module):
    """Features of two faces, each changed by where and how the other resembles it.

    An MLCA of its own makes a map M of 7 x 7 places and features f of each face; both are brought to unit length. With
    [ , ] joining channels and q, k, v_a, v_b, c learned linear maps,

    - places: A = softmax(q[M_a, M_b]^T k[M_a, M_b]), and M_a + v_a(M_a) A^T is averaged over places;
    - channels: u = c[f_a, f_b], C = softmax(max_j u_i u_j - u_i u_j), and f_a + C f_a;
    - both are added, each channel with a weight that a small MLP makes of both.

    The same for b. The A of maps that are not of unit length guides the loss, see ``relation_guided_loss``. The
    ``channels`` are those of the trunk's levels, ``Trunk.channels``, and ``width`` is W, that of the features. A pair
    is called kin from the score ``threshold`` on: Youden's J on the tune pairs of its training, NaN before.
    """

    REDUCTION = 16  # of the channels of q and k, as in the authors' code

    def __init__(self, channels: Sequence[int], width: int = 128) -> None:
        super().__init__()
        self.neck = MultiLevelChannelAttention(channels, width)
        self.query, self.key = (nn.Conv2d(2 * width, max(1, width // self.REDUCTION), 1) for _ in range(2))
        self.values = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.joint = nn.Linear(2 * width, width)
        small = max(1, width // 4)
        self.weigh = nn.Sequential(nn.Linear(2 * width, small), nn.ReLU(), nn.Linear(small, 2 * width), nn.Sigmoid())
        self.register_buffer("threshold", torch.tensor(float("nan")))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From the levels, (B, sum(channels), 7, 7), of the first and of the second faces of pairs to features, (B, W),
        of both, and the attention that guides the loss, (B, 49, 49)."""
        fused = self.neck.fuse(torch.cat([a, b]).float())
        features = functional.normalize(self.neck.norm(fused.amax(dim=(2, 3)))).chunk(2)
        maps = fused.chunk(2)
        guide = self._attend(*maps)
        maps = functional.normalize(fused, dim=1).chunk(2)
        places = self._attend(*maps)
        united = self.joint(torch.cat(features, dim=1))
        alike = united[:, :, None] * united[:, None, :]
        channels = (alike.amax(dim=2, keepdim=True) - alike).softmax(dim=2)
        joined = []
        for side, value in enumerate(self.values):
            moved = value(maps[side]).flatten(2) @ places.transpose(1, 2)
            of_places = moved.mean(dim=2) + maps[side].mean(dim=(2, 3))
            of_channels = (channels @ features[side][:, :, None])[:, :, 0] + features[side]
            weights = self.weigh(torch.cat([of_channels, of_places], dim=1)).chunk(2, dim=1)
            joined.append(of_channels * weights[0] + of_places * weights[1])
        return *joined, guide

    def _attend(self, a: Tensor, b: Tensor) -> Tensor:
        """(B, 49, 49), how much each place attends to each."""
        both = torch.cat([a, b], dim=1)
        return (self.query(both).flatten(2).transpose(1, 2) @ self.key(both).flatten(2)).softmax(dim=2)

    @torch.inference_mode()
    def score(self, pairs: pd.DataFrame, faces: Sequence[str], levels: Tensor) -> pd.DataFrame:
        """Score a table of pairs by the cosine of their features, the mean of both orders of the two faces.

        ``levels``, (N, sum(channels), 7, 7), are those of ``faces``, (N,) paths.
        """
        places = np.stack(find_rows(pairs, faces), axis=1)
        scores = []
        for start in range(0, len(pairs), BATCH):
            a, b = (levels[torch.from_numpy(places[start : start + BATCH, side])] for side in range(2))
            orders = [functional.cosine_similarity(*self(*order)[:2]) for order in ((a, b), (b, a))]
            scores.append(torch.stack(orders).mean(dim=0))
        return pairs.assign(score=torch.cat(scores).double().numpy())


def relation_guided_loss(a: Tensor, b: Tensor, attention: Tensor, scale: float = 500.0) -> Tensor:
    """The contrastive loss whose temperature is each pair's own: its attention's sum of squares over ``scale``.

    Where places attend to few others, the temperature is higher, and the pair is pulled less (relation-guided
    contrastive learning). ``a`` and ``b``, (B, W), are features of the first and the second faces of B kin pairs of
    different families, and ``attention`` is (B, 49, 49).
    """
    features = functional.normalize(torch.cat([a, b]))
    temperature = (attention.square().sum(dim=(1, 2)) / scale).repeat(2)
    count = len(features)
    itself = torch.eye(count, dtype=torch.bool, device=features.device)
    logits = (features @ features.T / temperature[:, None]).masked_fill(itself, float("-inf"))
    return functional.cross_entropy(logits, torch.arange(count, device=features.device).roll(count // 2))


def fit_relation(
    families: Families,
    faces: Sequence[str],
    levels: Tensor,
    channels: Sequence[int],
    *,
    width: int = 128,
    scale: float = 500.0,
    epochs: int = 8,
    batch: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
) -> tuple[FaceRelation, pd.DataFrame]:
    """Train on kin pairs of the split ``train``; the pairs of ``tune`` choose the epoch and the threshold.

    Parameters
    ----------
    families
        Prepared with a split ``tune``.
    faces, levels
        (N,) paths and (N, sum(channels), 7, 7) levels of a trunk, of the faces of both splits.
    channels, width, scale
        As in ``FaceRelation`` and ``relation_guided_loss``.
    epochs, batch, learning_rate, weight_decay
        Settings of AdamW, under a rate that falls to 0 along a half cosine; ``batch`` counts pairs.
    seed
        Seed of the weights and of what is drawn.

    Returns
    -------
    model
        That of the epoch with the best AUC on the tune pairs; in evaluation mode.
    log
        A row per epoch: ``epoch``, ``loss``, ``temperature`` (its mean), ``tune_auc``.
    """
    train = families.faces[families.faces["split"] == "train"].reset_index(drop=True)
    rows = find_places(train["face"], faces, "there are no levels of this face")
    relations = families.relations[families.relations["split"] == "train"]
    batches = KinBatches(torch.from_numpy(rows), train, relations, {}, batch, seed)
    tune = sample_pairs(families, "tune")

    def draw(epoch: int) -> Iterator[Tensor]:
        return (batches[step]["faces"] for step in range((epoch - 1) * len(batches), epoch * len(batches)))

    def measure(drawn: Tensor) -> dict[str, Tensor]:
        *pair, attention = model(*levels[drawn].chunk(2))
        temperature = attention.detach().square().sum(dim=(1, 2)).mean().double() / scale
        return {"loss": relation_guided_loss(*pair, attention, scale), "temperature": temperature}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FaceRelation(channels, width)
        options = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
        log = fit_epochs(model, draw, measure, lambda: model.score(tune, faces, levels), **options, steps=len(batches))
    return model, log


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--epochs", type=int, default=8)
    chosen = options.parse_args()
    families = kinface.read_families(chosen.root)
    trunk = SwinFace.from_pretrained("shipped").eval().trunk
    lists, _ = draw_lists(families.pairs("val"), families, Protocol())
    tune = families.pairs("tune")
    faces = [*families.faces.loc[families.faces["split"].isin(["train", "tune", "val"]), "face"]]
    cache = chosen.out / "levels"
    levels = cache_levels(trunk, read_faces(families.root, faces), cache)

    def fit_method(method: str, rate: float):
        """The AUC on tune pairs, and a function that scores pairs."""
        if method == "FaCoR":
            options = {"learning_rate": rate, "epochs": chosen.epochs, "seed": chosen.seed}
            model, log = fit_relation(families, faces, levels, trunk.channels, **options)
            return log["tune_auc"].max(), model, lambda pairs: model.score(pairs, faces, levels)
        run = chosen.out / f"{method}-{rate:g}"
        if not (run / "model.safetensors").exists():
            given = [f"--config={CONFIGS / name}" for name in METHODS[method]]
            given += ["--model.network.swinface=shipped", "--model.network.trained_stages=0", "--data.augment=false"]
            given += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--model.network.trunk=null"]
            given += [f"--trainer.max_epochs={chosen.epochs}", f"--model.optimizer.learning_rate={rate}"]
            given += [f"--data.root={chosen.root}", f"--data.cache={cache}", f"--seed_everything={chosen.seed}"]
            train([*given, f"--run={run}"])
        model = load_model(run)
        embedding = model.embed(levels)
        return (
            kinface.audit(kinface.score(tune, embedding, faces), 0.0, resamples=100).groups["auc"].iloc[0],
            model,
            lambda pairs: kinface.score(pairs, embedding, faces),
        )

    rows = []
    for method in METHODS:
        found = {rate: fit_method(method, rate) for rate in RATES}
        rate = max(found, key=lambda it: found[it][0])
        _, model, score = found[rate]
        row = {"method": method, "rate": rate, "tune": " ".join(f"{it[0]:.3f}" for it in found.values())}
        for name, pairs in lists.items():
            audit = kinface.audit(score(pairs), float(model.threshold))
            for metric in ("auc", "accuracy"):
                value, low, high = (audit.groups[metric + end].iloc[0] for end in ("", "_low", "_high"))
                row[f"{metric}, {name}"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
