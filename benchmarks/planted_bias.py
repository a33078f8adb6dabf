"""Does the audit find a bias that was planted, and nothing where none was? ``python benchmarks/planted_bias.py``.

In the worlds of ``kinface.synthetic.planted`` race and gender show with strength s and genes are known. In each a
baseline and a debiased model are trained on the training families, and on the validation families fresh probes of race
are fitted to both and pairs scored, random ones and matched ones. With s > 0 the audit should say that the baseline
leaks race, and the debiased model should leak none and know kinship as well; with s = 0 a claim that anything leaks is
a false alarm. It takes some minutes on two cores; the same options give the same table.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import jsonargparse
import numpy as np
import pandas as pd
import torch
import yaml
from joblib import Parallel, delayed
from scipy.stats import binom
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from kinface.data.families import read_prepared_list
from kinface.data.pairs import score_pairs
from kinface.data.vocabulary import RACES
from kinface.leakage.leakage import probe_leakage
from kinface.leakage.probes import PROBES
from kinface.models.kinface import load_model
from kinface.synthetic.planted import EMBEDDINGS, GENES, plant
from kinface.training.fit import fit
from swinface.data.embeddings import Embeddings, read_arrays
from swinface.files import replacing

BASE = {
    "trainer": {"precision": "32-true", "accelerator": "cpu", "enable_progress_bar": False},
    "model": {
        "attributes": {"race": [*RACES]},
        "verification": {"options": {"temperature": 0.2}},
        "select": "matched",
        "network": {"width": 512, "size": 32},
        "optimizer": {"learning_rate": 2e-3},
    },
    "data": {"batch_size": 64},
}
METHODS = {
    "baseline": {},
    "debiased": {
        "hide": {"race": {"method": "kernel", "reads": "embedding", "strength": 0.1}},
        "erase": [{"attributes": ["race"]}],
    },
}
FIRST_SEED = 100  # what is above was chosen in the worlds of seeds 0 and 1
LISTS = {"standard": "val", "matched": "val_matched"}
LEVEL = 0.05  # of false alarms, which the audit promises


def run_world(
    appearance: float,
    seed: int,
    *,
    families: int,
    epochs: int,
    steps: int,
    methods: Sequence[str] = tuple(METHODS),
    folds: int = 5,
    probe_seeds: int = 3,
    permutations: int = 20,
) -> pd.DataFrame:
    """Plant one world, train a model by each method, and measure them on its validation families.

    Parameters
    ----------
    epochs, steps
        Of training, and batches of each epoch.
    folds, probe_seeds, permutations
        Of the audit.

    Returns
    -------
    pd.DataFrame
        A row per method, and one for ``genes``, what is known of kinship who sees the genes: ``appearance``, ``seed``,
        ``model``, ``auc_standard``, ``auc_matched``; for each probe its balanced accuracy, by its name, and whether
        it is said to find race, ``linear_leaks`` and ``mlp_leaks``; ``chance``.
    """
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as silence, redirect_stdout(silence):
        world = Path(folder) / "world"
        planted = plant(world, families=families, appearance=appearance, seed=seed)
        people = planted.faces[planted.faces["split"] == "val"]
        faces, inputs = [*people["face"]], Embeddings(world / EMBEDDINGS)
        rows = []
        for method in methods:
            run = train(world, method, seed, epochs, steps)
            embedding = load_model(run).embed(inputs[faces])
            given = {"persons": people["person"], "attribute": "race", "folds": folds, "seeds": probe_seeds}
            given |= {"permutations": permutations, "codelength": False}
            leakage = probe_leakage(embedding, people["race"], people["family"], **given)
            found = leakage.table.set_index("probe")
            of_probes = {"chance": found["chance"].iloc[0], **found["balanced_accuracy"]}
            of_probes |= {f"{probe}_leaks": bool(found["leaks"][probe]) for probe in PROBES}
            rows.append({"model": method, **measure_kinship(world, faces, embedding), **of_probes})
        everyone, arrays = read_arrays(world / GENES)
        rows.append({"model": "genes", **measure_kinship(world, everyone, arrays["embedding"])})
    table = pd.DataFrame(rows)
    table.insert(0, "appearance", appearance)
    table.insert(1, "seed", seed)
    return table


def train(world: Path, method: str, seed: int, epochs: int, steps: int) -> Path:
    """Train a model on the features of a planted world, and return its folder."""
    config = {
        "seed_everything": seed,
        "trainer": BASE["trainer"] | {"max_epochs": epochs},
        "model": BASE["model"] | METHODS[method],
        "data": BASE["data"] | {"root": str(world), "embeddings": str(world / EMBEDDINGS), "steps": steps},
    }
    file, run = world / f"{method}.yaml", world / method
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    fit(file, run=run)
    return run


def measure_kinship(world: Path, faces: list[str], embedding: np.ndarray) -> dict[str, float]:
    """AUC of the cosine on both validation lists."""
    lists = {name: read_prepared_list(world, listed) for name, listed in LISTS.items()}
    scored = {name: score_pairs(pairs, faces, embedding) for name, pairs in lists.items()}
    return {f"auc_{name}": roc_auc_score(pairs["kin"], pairs["score"]) for name, pairs in scored.items()}


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A row per strength and model: how many worlds, in how many each probe is said to find race, and means."""
    rows = []
    for (appearance, model), worlds in table.groupby(["appearance", "model"], sort=False):
        row = {"s": appearance, "model": model, "worlds": len(worlds)}
        audited = worlds["chance"].notna().all()
        for probe in PROBES:
            row[f"{probe} finds race"] = f"{worlds[f'{probe}_leaks'].sum()} of {len(worlds)}" if audited else ""
        row |= {probe: worlds[probe].mean() for probe in PROBES}
        rows.append(row | {f"AUC {name}": worlds[f"auc_{name}"].mean() for name in LISTS})
    return pd.DataFrame(rows)


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """What the debiased model has less or more than the baseline: mean over worlds with its 95% t-interval."""
    figures = [*PROBES, *(f"auc_{name}" for name in LISTS)]
    models = {name: rows.set_index(["appearance", "seed"])[figures] for name, rows in table.groupby("model")}
    difference = (models["debiased"] - models["baseline"]).groupby("appearance")
    mean, count = difference.mean(), difference.size()
    reach = difference.std().mul(student.ppf(0.975, count - 1) / np.sqrt(count), axis=0)
    shown = mean.map("{:+.3f}".format) + " ± " + reach.map("{:.3f}".format)
    return shown.rename_axis("s").reset_index()


def judge_false_alarms(table: pd.DataFrame) -> Iterator[str]:
    """For each model and probe, how often a bias was found where there is none, and what the stated level allows."""
    for model, worlds in table[(table["appearance"] == 0) & table["chance"].notna()].groupby("model", sort=False):
        allowed = int(binom.ppf(0.95, len(worlds), LEVEL))
        for probe in PROBES:
            alarms = int(worlds[f"{probe}_leaks"].sum())
            verdict = "within" if alarms <= allowed else "MORE THAN"
            yield (
                f"s = 0, {model}, {probe}: {alarms} false alarms in {len(worlds)} worlds, {verdict} the {allowed} that "
                f"a rate of {LEVEL:.0%} stays within in 95 of 100 such benchmarks"
            )


def _run_alone(*arguments: float, **options: float) -> pd.DataFrame:
    torch.set_num_threads(1)  # worlds side by side; and so sums do not depend on the number of cores
    return run_world(*arguments, **options)


def main(
    strengths: list[float] = [0.0, 0.25, 0.5, 1.0],  # noqa: B006
    seeds: int = 5,
    seeds_of_nothing: int = 20,
    families: int = 320,
    epochs: int = 6,
    steps: int = 40,
    workers: int = 2,
    out: Path | None = None,
) -> None:
    """Plant worlds, train and audit a baseline and a debiased model in each, and print what was found.

    Parameters
    ----------
    strengths
        s, how plainly race and gender show, each from 0 to 1.
    seeds
        Worlds for each s above 0.
    seeds_of_nothing
        Worlds for s = 0, where every claim is a false alarm.
    families
        Of each world; every fourth is for validation.
    epochs, steps
        Of training, and batches of each epoch.
    workers
        Worlds at a time, each on one core.
    out
        Csv file for the figures of every model.
    """
    jobs = [(s, FIRST_SEED + n) for s in strengths for n in range(seeds if s else seeds_of_nothing)]
    run = delayed(_run_alone)
    worlds = Parallel(n_jobs=workers, return_as="generator_unordered")(
        run(s, seed, families=families, epochs=epochs, steps=steps) for s, seed in jobs
    )
    table = pd.concat(tell_progress(worlds, len(jobs))).sort_values(["appearance", "seed"], kind="stable")
    if out is not None:
        with replacing(out) as partial:
            table.to_csv(partial, index=False)
    print(f"\nrace, on validation families of worlds of {families} families; chance is {table['chance'].mean():.2f}")
    print(summarise(table).round(3).to_string(index=False, na_rep=""))
    print("\ndebiased less baseline")
    print(compare(table).to_string(index=False))
    print("", *judge_false_alarms(table), sep="\n")


def tell_progress(worlds: Iterable[pd.DataFrame], count: int) -> Iterator[pd.DataFrame]:
    """Pass worlds on, a line for each with the balanced accuracies of the linear and the MLP probe."""
    print("* where a probe is said to find race", flush=True)
    start = time.monotonic()
    for done, world in enumerate(worlds, start=1):
        minutes = (time.monotonic() - start) / done * (count - done) / 60
        audited = world[world["chance"].notna()].to_dict("records")
        said = [" ".join([row["model"], *(_describe_probe(row, probe) for probe in PROBES)]) for row in audited]
        s, seed = world[["appearance", "seed"]].iloc[0]
        print(f"[{done}/{count}] s {s:g}, seed {seed:g}: {', '.join(said)}; about {minutes:.0f} min left", flush=True)
        yield world


def _describe_probe(row: dict[str, float], probe: str) -> str:
    return f"{row[probe]:.2f}{'*' if row[f'{probe}_leaks'] else ''}"


if __name__ == "__main__":
    jsonargparse.auto_cli(main, as_positional=False)
