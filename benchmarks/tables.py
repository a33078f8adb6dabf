"""Print the tables of the findings and of the cards from what ``recipes/findings.sh FIW OUT`` wrote.

python benchmarks/tables.py OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

MODELS = ("shipped", "shipped-debiased")
ATTACKERS = {"linear": "linear", "mlp": "MLP", "kernel": "kernel", "trees": "trees", "knn": "neighbours"}
ATTACKERS |= {"qda": "quadratic discriminant", "best": "best"}
RACES, CROSSINGS = ("African", "Asian", "Caucasian"), ("same-race", "cross-race")
ENDS = ("", "_low", "_high")


def number(value: float, low: float | None = None, high: float | None = None, sign: str = "") -> str:
    """A figure below one as this repository writes it, with its interval: .760 [.709, .804]."""
    text = f"{value:{sign}.3f}"
    if low is not None and high is not None and not pd.isna(low):
        text += f" [{low:.3f}, {high:.3f}]"
    return text.replace("0.", ".").replace("-", "−")


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    lines = [header, ["---"] * len(header), *rows]
    print(f"\n{title}\n", *("| " + " | ".join(line) + " |" for line in lines), sep="\n")


def read_leakage(path: Path) -> pd.DataFrame:
    """Rows of a leakage audit by representation, attribute and probe; the best of several probes is called so."""
    record = json.loads((path / "leakage.json").read_text(encoding="utf-8"))
    table = pd.DataFrame([*record["leakage"], *(row | {"probe": "best"} for row in record["worst"])])
    return table.set_index(["representation", "attribute", "probe"]).sort_index()


def accuracy(row: pd.Series) -> str:
    return number(*(row[f"balanced_accuracy{end}"] for end in ENDS))


def print_attackers(out: Path) -> None:
    found = {model: read_leakage(out / f"attackers-{model}").loc["embedding"] for model in MODELS}
    columns = [(attribute, model) for attribute in ("race", "gender") for model in MODELS]
    rows = [[name, *(accuracy(found[m].loc[a, probe]) for a, m in columns)] for probe, name in ATTACKERS.items()]
    best = [found[m].loc[a, "best"] for a, m in columns]
    rows += [["labels permuted", *(f"{number(it['permuted_low'])} to {number(it['permuted_high'])}" for it in best)]]
    show("Attackers on the embedding, balanced accuracy", ["attacker", *(f"{a}, `{m}`" for a, m in columns)], rows)


def print_parts(out: Path) -> None:
    found = {model: read_leakage(out / f"parts-{model}") for model in MODELS}
    header = ["part", *(f"{a}, {p}" for a in ("race", "gender") for p in ("linear", "MLP"))]
    for model, table in found.items():
        parts = table.index.get_level_values("representation").unique()
        keys = [(attribute, probe) for attribute in ("race", "gender") for probe in ("linear", "mlp")]
        rows = [[part, *(accuracy(table.loc[(part, *key)]) for key in keys)] for part in parts]
        show(f"Parts of `{model}`, balanced accuracy", header, rows)


def print_groups(out: Path) -> None:
    for model in MODELS:
        groups = pd.read_csv(out / f"report-{model}" / "groups.csv")
        rows = []
        for row in groups[~groups["grouping"].isin(["type", "race and gender"])].to_dict("records"):
            name = row["group"] if row["grouping"] == "overall" else f"{row['grouping']}: {row['group']}"
            figures = [number(*(row[metric + end] for end in ENDS)) for metric in ("auc", "tpr", "fmr")]
            rows.append([name, f"{row['kin']}, {row['non_kin']}", *figures])
        show(f"Groups of `{model}`, at one threshold", ["pairs", "kin, non-kin", "AUC", "TPR", "FMR"], rows)


def print_costs(out: Path) -> None:
    """What is kept, and for whom it fails: the debiased model against the other, paired."""
    wanted = {"matched": [("overall", "all pairs", "auc")]}
    wanted["matched"] += [("race", None, metric) for metric in ("equalized odds difference", "GARBE")]
    wanted["val_choose"] = [("overall", "all pairs", "auc")]
    wanted["val_choose"] += [("race crossing", group, metric) for metric in ("auc", "fmr") for group in CROSSINGS]
    wanted["val_choose"] += [("race", race, metric) for metric in ("tpr", "fmr") for race in RACES]
    rows = []
    for pairs, keys in wanted.items():
        record = json.loads((out / f"compare-{pairs}" / "metrics.json").read_text(encoding="utf-8"))
        table = {(row["grouping"], row["group"], row["metric"]): row for row in record["differences"]}
        for grouping, group, metric in (key for key in keys if key in table):  # others are of too few families
            row = table[grouping, group, metric]
            change = number(row["difference"], row["low"], row["high"], sign="+")
            name = ", ".join([metric, grouping if group is None else group, pairs])
            rows.append([name, number(row["other"]), number(row["ours"]), change])
    show("Kept, and for whom it fails", ["", *(f"`{model}`" for model in MODELS), "difference"], rows)


def print_people(out: Path) -> None:
    people = read_leakage(out / "people").loc["embedding"]
    rows = [[name, *(accuracy(people.loc[a, name]) for a in ("race", "gender"))] for name in people.loc["race"].index]
    show("People by the mean of their faces, `shipped-debiased`", ["attacker", "race", "gender"], rows)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print_attackers(folder)
    print_parts(folder)
    print_groups(folder)
    print_costs(folder)
    print_people(folder)
    print("\nUpper bounds\n", (folder / "bound.txt").read_text(encoding="utf-8"), sep="\n")
