"""Print the tables of the findings and of the cards from what ``recipes/findings.sh FIW OUT`` wrote.

    python benchmarks/tables.py OUT

OUT/parts.png is the findings' figure of what an MLP reads from each part of the models.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

import kinface
from kinface.data.pairs import race_group, read_pairs
from kinface.fairness.threshold import choose_threshold
from kinface.report.plots import GREY, PRINTED, TEXT, tidy
from swinface.training.history import COLOURS

MODELS = ("shipped", "shipped-debiased")
ATTACKERS = {"linear": "linear", "mlp": "MLP", "kernel": "kernel", "trees": "trees", "knn": "neighbours"}
ATTACKERS |= {"qda": "quadratic discriminant", "best": "best"}
RACES, CROSSINGS = ("African", "Asian", "Caucasian"), ("same-race", "cross-race")
ENDS = ("", "_low", "_high")
PARTS = {"levels": "levels of the trunk", **{f"FM{i}": f"MLCA, from FM{i}" for i in (1, 2, 3, 4)}}
PARTS |= {"neck": "MLCA, whole", "features": "features, after their maps", "embedding": "embedding"}
SWEEPS = {"sweep": "", "sweep-others": "yes"}  # folders, and whether their maps are fitted on other people too
KEPT = {"auc_standard": "AUC standard", "auc_matched": "AUC matched"}
LEFT = {f"{of}_{by}": f"{of}, {ATTACKERS[by]}" for of in ("race", "gender") for by in ("linear", "mlp")}
UNFAIR = {"race_equalized_odds": "equalized odds difference", "race_garbe": "GARBE"}


def number(value: float, low: float | None = None, high: float | None = None, sign: str = "") -> str:
    """A figure below one as this repository writes it, with its interval: .766 [.716, .809]."""
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


@rc_context(PRINTED)
def draw_parts(out: Path) -> Figure:
    """What an MLP reads of race and gender from each part of the two models, with 95% intervals; dashed is chance."""
    figure = Figure(figsize=(TEXT, 2.4), layout="constrained")
    panels = dict(zip(("race", "gender"), figure.subplots(1, 2, sharey=True), strict=True))
    for model, colour, marker, shift in zip(MODELS, COLOURS, "oD", (-0.14, 0.14), strict=False):
        table = read_leakage(out / f"parts-{model}")
        if "neck" not in table.index:  # nothing is erased behind it
            table = table.rename(index={"features": "neck"}, level=0)
        for attribute, axes in panels.items():
            found = table.xs((attribute, "mlp"), level=("attribute", "probe")).reindex([*PARTS])
            value, *ends = (found[f"balanced_accuracy{end}"] for end in ENDS)
            at = pd.RangeIndex(len(found)) + shift
            axes.hlines(at, *ends, color=colour, linewidth=1.3)
            axes.scatter(value, at, s=16, marker=marker, color=colour, zorder=3, label=model)
            axes.axvline(found["chance"].iloc[-1], color=GREY, linewidth=1, linestyle="--", zorder=0)
    for attribute, axes in panels.items():
        axes.set_xlabel(f"{attribute}, balanced accuracy")
        tidy(axes, grid="x")
    axes.set_yticks(range(len(PARTS)), [*PARTS.values()])
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


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
    wanted["matched"] += [("race", race, metric) for metric in ("auc", "tpr", "fmr") for race in RACES]
    wanted["matched"] += [("race", None, metric) for metric in ("equalized odds difference", "GARBE")]
    wanted["val_choose"] = [("overall", "all pairs", "auc")]
    wanted["val_choose"] += [("race crossing", group, metric) for metric in ("auc", "fmr") for group in CROSSINGS]
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


def print_thresholds(out: Path) -> None:
    """A control that leaves the embedding as it is: ``shipped`` with a threshold for each race, all of one FMR.

    They are chosen on the tune pairs, for the FMR that the one threshold has there; pairs of two races keep that one.
    """
    tune, pairs = (read_pairs(out / f"shipped-{name}.parquet", scored=True) for name in ("tune", "matched"))
    one, races = choose_threshold(tune), race_group(tune)
    strangers = ~tune["kin"].astype(bool)
    fmr = (tune["score"][strangers] >= one).mean()
    of_race = {race: tune["score"][strangers & (races == race)].quantile(1 - fmr) for race in RACES}
    rows = []
    for name, thresholds in {"one threshold": {}, "one for each race": of_race}.items():
        shifted = pairs["score"] - race_group(pairs).map(thresholds).fillna(one)
        audit = kinface.audit(pairs.assign(score=shifted), 0.0)
        found = audit.disparities.set_index(["grouping", "disparity"]).loc["race"]
        groups = audit.groups[audit.groups["grouping"] == "race"].set_index("group")
        said = [number(*found.loc[it, ["value", "low", "high"]]) for it in ("equalized odds difference", "GARBE")]
        rates = (", ".join(number(groups.loc[race, it]) for race in RACES) for it in ("tpr", "fmr"))
        rows.append([name, *said, *rates])
    header = ["`shipped`, matched pairs", "equalized odds difference", "GARBE", "TPR", "FMR"]
    show(f"Thresholds for each race ({', '.join(RACES)})", header, rows)


def print_people(out: Path) -> None:
    people = read_leakage(out / "people").loc["embedding"]
    rows = [[name, *(accuracy(people.loc[a, name]) for a in ("race", "gender"))] for name in people.loc["race"].index]
    show("People by the mean of their faces, `shipped-debiased`", ["attacker", "race", "gender"], rows)


def print_methods(out: Path) -> None:
    """The method comparison: what each method keeps and leaves, and paired differences from three of them."""
    paths = {others: out / name / "frontier.csv" for name, others in SWEEPS.items()}
    table = pd.concat([pd.read_csv(path).assign(others=others) for others, path in paths.items() if path.exists()])
    print_columns(table, "Methods", KEPT | LEFT)
    for reference, figures in {"none": KEPT | UNFAIR, "leace": KEPT | LEFT, "leace_long": KEPT | LEFT}.items():
        columns = {f"{name}_minus_{reference}": title for name, title in figures.items()}
        print_columns(table, f"Methods, differences from `{reference}`", columns, sign="+")


def print_columns(table: pd.DataFrame, title: str, columns: dict[str, str], sign: str = "") -> None:
    rows = []
    for row in table.dropna(subset=[*columns]).to_dict("records"):
        named = [f"`{row['method']}`", "" if pd.isna(row["strength"]) else f"{row['strength']:g}", row["others"]]
        rows.append([*named, *(number(*(row[name + end] for end in ENDS), sign) for name in columns)])
    show(title, ["method", "λ", "others", *columns.values()], rows)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print_attackers(folder)
    print_parts(folder)
    print_groups(folder)
    print_costs(folder)
    print_thresholds(folder)
    print_people(folder)
    if (folder / "sweep" / "frontier.csv").exists():
        print_methods(folder)
    draw_parts(folder).savefig(folder / "parts.png", dpi=200)
    print("\nUpper bounds\n", (folder / "bound.txt").read_text(encoding="utf-8"), sep="\n")
