"""FaCoRNet beside the losses of the configurations, all on the levels of the shipped SwinFace, and on the same pairs.

    python benchmarks/facor.py --root TABLES --out FOLDER

TABLES is what ``kinface prepare`` made. The trunk is frozen and each face's levels are computed once. A method's
learning rate is the one of ``RATES`` with the best AUC on the tune families; the pairs of ``val`` are scored once,
after that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import kinface
from kinface.models.faces import read_faces
from kinface.models.kinface import load_model
from kinface.tradeoff.measure import Protocol, draw_lists
from kinface.training.data import cache_levels
from kinface.training.fit import train
from kinface.training.relation import fit_relation
from swinface.model import SwinFace

CONFIGS = Path(__file__).resolve().parents[1] / "configs/kinface"
RATES = (2e-4, 1e-3)
METHODS = {"contrastive": ["base.yaml"], "KFC": ["base.yaml", "methods/fair_contrastive.yaml"], "FaCoR": []}


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
