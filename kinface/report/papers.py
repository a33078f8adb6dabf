"""Tables, figures and a paragraph for papers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from kinface.data.vocabulary import in_words
from kinface.report.build import Report, name_files
from kinface.report.html import decimal, percent

TableFormat = Literal["latex", "csv", "markdown"]
FigureFormat = Literal["pdf", "svg"]


WIDTH = 7.16  # inches, of the text on a page with two columns


METRICS = {"accuracy": "Accuracy (%)", "tpr": "TPR (%)", "fmr": "FMR (%)", "auc": "AUC"}


def tabulate_groups(record: dict, grouping: str) -> pd.DataFrame:
    """All pairs and the groups of a grouping: their sizes, and metrics with 95% intervals, as text."""
    rows = [row for row in record["groups"] if row["grouping"] in ("overall", grouping)]
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
    value, low, high = (form(row[f"{metric}{end}"]) for end in ("", "_low", "_high"))
    return value if row[f"{metric}_low"] is None else f"{value} [{low}, {high}]"


def tabulate_disparities(record: dict) -> pd.DataFrame:
    """Every disparity of every grouping with its interval and what equal groups exceed in 5% of samples, as text."""
    rows = record["disparities"]
    return pd.DataFrame(
        {
            "Grouping": [row["grouping"] for row in rows],
            "Disparity": [row["disparity"] for row in rows],
            "Groups": [row["compared_groups"] for row in rows],
            "Value": [_disparity_with_interval(row) for row in rows],
            "Ideal": [f"{row['ideal']:g}" for row in rows],
            "Chance limit": [decimal(row["chance"]) for row in rows],
        }
    )


def _disparity_with_interval(row: dict) -> str:
    value, low, high = (decimal(row[name]) for name in ("value", "low", "high"))
    return value if row["low"] is None else f"{value} [{low}, {high}]"


def write_table(table: pd.DataFrame, form: TableFormat, caption: str) -> str:
    """A table as text; LaTeX with the rules of the package booktabs."""
    if form == "csv":
        return table.to_csv(index=False)
    if form == "latex":
        style = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
        caption = re.sub(r"([&%$#_{}])", r"\\\1", caption.replace("\\", "/"))
        text = style.to_latex(hrules=True, caption=caption, position="t", position_float="centering")
        return f"% needs \\usepackage{{booktabs}}\n{text}"
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure at ``WIDTH`` as .pdf with its fonts embedded, or as .svg with letters as outlines."""
    size = figure.get_size_inches()
    figure.set_size_inches(WIDTH, size[1] * WIDTH / size[0])
    undated = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}[path.suffix]
    with rc_context({"pdf.fonttype": 42, "svg.hashsalt": path.stem}):
        figure.savefig(path, metadata=undated)
    figure.set_size_inches(size)


def save_for_papers(report: Report, folder: Path, tables: list[TableFormat], figures: list[FigureFormat]) -> None:
    """Write ``table_*``, one for each grouping and one of the disparities, and the figures of a report."""
    endings = {"latex": "tex", "csv": "csv", "markdown": "md"}
    record = report.record
    groupings = dict.fromkeys(row["grouping"] for row in record["groups"] if row["grouping"] != "overall")
    files = name_files(groupings)
    made = {files[name]: (tabulate_groups(record, name), f"Results by {name}") for name in groupings}
    made["disparities"] = (tabulate_disparities(record), "Disparities")
    for form in tables:
        for name, (table, caption) in made.items():
            (folder / f"table_{name}.{endings[form]}").write_text(
                write_table(table, form, f"{caption}, with 95% confidence intervals."), encoding="utf-8"
            )
    for ending in figures:
        for name, figure in report.figures.items():
            save_figure(figure, folder / f"{name}.{ending}")
