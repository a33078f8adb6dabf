"""How does the number of families that attackers are fitted on change what they read from embeddings?

    python benchmarks/attacker_families.py --people TABLES --embeddings shipped.npz shipped-debiased.npz --out families

TABLES is what ``kinface prepare`` made; the embeddings are of ``kinface embed``. All attackers are tested on the split
``val``, in five folds of its families. They are fitted on the other folds, and on some or all families of the splits
``train`` and ``tune`` too. OUT.csv and OUT.png are written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import parallel_config
from matplotlib import rc_context
from matplotlib.figure import Figure
from tables import ENDS
from tqdm import tqdm

import kinface
from kinface.report.plots import GREY, PRINTED, TEXT, tidy
from swinface.data.embeddings import read_arrays
from swinface.training.history import COLOURS

MORE = (0, 57, 114, 228, 456)  # families, beside the 91 of the other folds
KINDS = ("kernel", "qda")  # of six, the two that read most of the released debiased model
ATTRIBUTES = ("race", "gender")
QUICK = {"permutations": 0, "codelength": False}


def measure(embedding: np.ndarray, people: pd.DataFrame, name: str) -> pd.DataFrame:
    """A row per attribute, attacker and number of families."""
    val = people["split"] == "val"
    families = np.random.default_rng(0).permutation(people["family"][~val].unique())
    tested = people["family"][val].nunique()
    rows = []
    for attribute in ATTRIBUTES:
        for more in tqdm(MORE, f"{name}, {attribute}", leave=False, disable=None):
            chosen = people.assign(
                split=np.where(val, "val", np.where(people["family"].isin(families[:more]), "on", ""))
            )
            fit_on = ["on"] if more else []
            table = kinface.probe(embedding, chosen, attribute, split="val", fit_on=fit_on, kinds=KINDS, **QUICK).table
            rows.append(table.assign(model=name, fitted_on=min(more, len(families)) + round(tested * 4 / 5)))
    return pd.concat(rows)


@rc_context(PRINTED)
def draw(table: pd.DataFrame) -> Figure:
    """What is left of each attribute by the number of families, with 95% intervals; dashed is the chance level."""
    figure = Figure(figsize=(TEXT, 2.2), layout="constrained")
    for axes, attribute in zip(figure.subplots(1, len(ATTRIBUTES)), ATTRIBUTES, strict=True):
        of_attribute = table[table["attribute"] == attribute]
        for colour, (model, of_model) in zip(COLOURS, of_attribute.groupby("model", sort=False), strict=False):
            for kind, marker, shift in zip(KINDS, "os", (0.99, 1.01), strict=True):
                found = of_model[of_model["probe"] == kind]
                value, low, high = (found[f"balanced_accuracy{end}"] for end in ENDS)
                bars, at = [value - low, high - value], found["fitted_on"] * shift
                axes.errorbar(at, value, bars, color=colour, marker=marker, label=f"{model}, {kind}")
        axes.axhline(of_attribute["chance"].iloc[0], color=GREY, linewidth=1, linestyle="--", zorder=0)
        axes.set_xscale("log")
        axes.set_xticks(at := sorted(of_attribute["fitted_on"].unique()), at)
        axes.minorticks_off()
        axes.set_xlabel("families that an attacker is fitted on")
        axes.set_title(f"{attribute}, balanced accuracy")
        tidy(axes, grid="y")
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Measure, and write the table and the figure."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--people", type=Path, required=True)
    options.add_argument("--embeddings", type=Path, nargs="+", required=True)
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    families, tables = kinface.read_families(chosen.people), []
    for path in chosen.embeddings:
        faces, arrays = read_arrays(path, ["embedding"])
        with parallel_config(n_jobs=-1):
            tables.append(measure(arrays["embedding"], families.describe(faces), path.stem))
    table = pd.concat(tables)
    columns = ["model", "attribute", "probe", "fitted_on", *(f"balanced_accuracy{end}" for end in ENDS)]
    table[columns].to_csv(chosen.out.with_suffix(".csv"), index=False)
    draw(table).savefig(chosen.out.with_suffix(".png"), dpi=200)
    print(table[columns].to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
