"""Tables and figures for papers, and the section of a model card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import yaml
from matplotlib import rc_context
from matplotlib.figure import Figure

from kinface.data.vocabulary import in_words
from kinface.fairness.comparison import LISTS_DISPARATE_IN
from kinface.report.build import Report, name_files
from kinface.report.choices import FigureFormat, TableFormat
from kinface.report.html import decimal, make_environment, percent

METRICS = {"accuracy": "Accuracy (%)", "tpr": "TPR (%)", "fmr": "FMR (%)", "auc": "AUC"}


# What pdflatex has no letter for, though it reads UTF-8.
SYMBOLS = {"\u2212": "$-$", "\u221e": r"$\infty$"}
ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
SMALL = r"\footnotesize\setlength{\tabcolsep}{3pt}"  # so that the longest names fit on a page of two columns


def tabulate_groups(rows: Sequence[dict], grouping: str) -> pd.DataFrame:
    """All pairs and the groups of a grouping: their sizes, and metrics with 95% intervals, as text.

    ``rows`` are those of ``FairnessAudit.groups`` as plain values (``swinface.files.to_plain``).
    """
    rows = [row for row in rows if row["grouping"] in ("overall", grouping)]
    return pd.DataFrame(
        {
            "Group": [in_words(row["group"], row["grouping"]) for row in rows],
            "Kin": [row["kin"] for row in rows],
            "Non-kin": [row["non_kin"] for row in rows],
            "Families": [row["families"] for row in rows],
            **{name: [_with_interval(row, metric) for row in rows] for metric, name in METRICS.items()},
        }
    )


def _with_interval(row: dict, metric: str) -> str:
    form = decimal if metric == "auc" else percent
    return form(row[metric]) + _name_interval(row, f"{metric}_", form)


def tabulate_disparities(rows: Sequence[dict], grouping: str) -> pd.DataFrame:
    """Every disparity of a grouping with its interval and what equal groups exceed in 5% of samples, as text."""
    rows = [row for row in rows if row["grouping"] == grouping]
    return pd.DataFrame(
        {
            "Disparity": [row["disparity"] for row in rows],
            "Groups": [row["compared_groups"] for row in rows],
            "Value": [decimal(row["value"]) + _name_interval(row) for row in rows],
            "Ideal": [f"{row['ideal']:g}" for row in rows],
            "Chance limit": [decimal(row["chance"]) for row in rows],
        }
    )


def write_table(table: pd.DataFrame, form: TableFormat, title: str) -> str:
    """A table as text; LaTeX over both columns of a page, with the rules of the package booktabs and a caption."""
    if form == "csv":
        return table.to_csv(index=False)
    if form == "latex":
        style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
        caption = title.translate(ESCAPED) + r", with 95\% confidence intervals."
        options = {"environment": "table*", "position": "t", "position_float": "centering"}
        text = style.to_latex(hrules=True, caption=caption, **options)
        text = text.replace("\\centering\n", f"\\centering\n{SMALL}\n", 1)
        for symbol, command in SYMBOLS.items():
            text = text.replace(symbol, command)
        return f"% needs \\usepackage{{booktabs}}\n{text}"
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure as .pdf with its fonts embedded, or as .svg with letters as outlines."""
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[path.suffix]
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": path.stem}):
        figure.savefig(path, metadata=undated)


def save_for_papers(report: Report, folder: Path, tables: list[TableFormat], figures: list[FigureFormat]) -> None:
    """Write ``table_*`` and ``table_disparities_*``, one of each for a grouping, and the figures of a report."""
    endings = {"latex": "tex", "csv": "csv", "markdown": "md"}
    groups = report.record["groups"]
    groupings = dict.fromkeys(row["grouping"] for row in groups if row["grouping"] != "overall")
    files = name_files(groupings)
    made = {files[name]: (tabulate_groups(groups, name), f"Results by {name}") for name in groupings}
    for name in dict.fromkeys(row["grouping"] for row in report.record["disparities"]):
        table = tabulate_disparities(report.record["disparities"], name)
        made[f"disparities_{files[name]}"] = table, f"Disparities by {name}"
    for form in tables:
        for name, (table, title) in made.items():
            text = write_table(table, form, title)
            (folder / f"table_{name}.{endings[form]}").write_text(text, encoding="utf-8")
    for ending in figures:
        for name, figure in report.figures.items():
            save_figure(figure, folder / f"{name}.{ending}")


def write_card(report: Report) -> str:
    """The section of a model card on fairness, in Markdown, under the metadata of the Hugging Face Hub.

    The metadata are a ``model-index`` as ``huggingface_hub.ModelCardData`` reads and writes it: a result for all pairs
    and one for each group of race and of custom groupings, which is a configuration of the list of pairs. Intervals
    and n stand in the names of metrics, as the format has no other place for them.
    """
    record = report.record
    chosen = [
        name for name in ("race", *record["own_groupings"]) if any(it["grouping"] == name for it in record["groups"])
    ]
    groups = [_index_group(row, record) for row in record["groups"] if row["grouping"] in ("overall", *chosen)]
    unequal = [_index_disparities(name, record) for name in chosen]
    results = [result for result in (*groups, *unequal) if result["metrics"]]
    metadata = yaml.safe_dump(
        {"model-index": [{"name": record["models"][0], "results": results}]}, sort_keys=False, allow_unicode=True
    )
    tables = {name: write_table(tabulate_groups(record["groups"], name), "markdown", "") for name in chosen}
    template = make_environment().get_template("card.md")
    return template.render(record=record, verdict=report.verdict, metadata=metadata, tables=tables)


def _index_group(row: dict, record: dict) -> dict:
    config = None if row["grouping"] == "overall" else f"{row['grouping']}: {row['group']}"
    counts = f"{row['kin']:,} kin, {row['non_kin']:,} non-kin pairs"
    metrics = []
    for metric, kind in (("auc", "roc_auc"), ("accuracy", "accuracy"), ("tpr", "tpr"), ("fmr", "fmr")):
        if row[metric] is not None:
            name = f"{metric.upper() if len(metric) < 4 else metric}{_name_interval(row, f'{metric}_')}, {counts}"
            metrics.append({"type": kind, "value": round(row[metric], 4), "name": name})
    return _index(record, config, metrics)


def _index_disparities(grouping: str, record: dict) -> dict:
    metrics = [
        {
            "type": row["disparity"].lower().replace(" ", "_"),
            "value": round(row["value"], 4),
            "name": f"{row['disparity']}{_name_interval(row)}, {row['compared_groups']} groups",
        }
        for row in record["disparities"]
        if (row["grouping"], row["disparity"]) in ((grouping, name) for name in LISTS_DISPARATE_IN)
        and isinstance(row["value"], float)
    ]
    return _index(record, grouping, metrics)


def _name_interval(row: dict, metric: str = "", form: Callable[..., str] = decimal) -> str:
    low, high = row[f"{metric}low"], row[f"{metric}high"]
    return "" if low is None else f" [{form(low)}, {form(high)}]"


def _index(record: dict, config: str | None, metrics: list[dict]) -> dict:
    scores = record["scores"]
    dataset = {"name": scores["list"], "type": scores["list"], "config": config, "split": scores["split"]}
    return {
        "task": {"type": "kinship-verification", "name": "Kinship verification"},
        "dataset": {key: value for key, value in dataset.items() if value is not None},
        "metrics": metrics,
    }
