"""What the folder of a run records: its epochs and curves, and a comparison of runs. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from swinface.files import InputError, one_line, printable
from swinface.settings import read_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFIG, METRICS, CURVES = "config.yaml", "metrics.csv", "curves.png"
MODEL = "model.safetensors"  # written last: a run that has it is complete

# What a run that is resumed may change: its result does not depend on it.
FREE = (
    "run",
    "checkpoint_steps",
    "logger",
    "data.workers",
    "data.cache",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.profiler",
)

# Okabe & Ito's palette, which people with any kind of colour vision can tell apart (Color Universal Design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")


@dataclass(frozen=True)
class History:
    """How the tables of epochs of a package's runs are read."""

    best: str  #: the column by which the best epoch is chosen; without it, the last epoch is the best
    largest: bool  #: whether its largest value is the best, or the smallest
    figures: tuple[str, ...]  #: columns that say how good a model is: patterns, such as ``tune_auc*``
    panels: Mapping[str, str]  #: heading of a panel of the curves to a pattern of its columns
    always: bool = False  #: whether all runs have ``best``, so that lists leave out those without, of other programs

    def read(self, run: Path) -> pd.DataFrame:
        """The table of a run's epochs. Raises ``InputError`` if there is none, or it is broken."""
        path = run / METRICS
        try:
            table = pd.read_csv(path)
            table["epoch"] = table["epoch"].astype(int)
            wrong = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
            if wrong or table.empty:
                raise ValueError("it has no row" if table.empty else f"{wrong[0]} has text")
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not the table of a run's epochs ({one_line(error)}).") from error
        return table

    def find_best(self, epochs: pd.DataFrame) -> pd.Series:
        """The row of the best epoch; of equal ones the first."""
        if self.best not in epochs or epochs[self.best].isna().all():
            return epochs.iloc[-1]
        return epochs.loc[epochs[self.best].idxmax() if self.largest else epochs[self.best].idxmin()]

    def pick_figures(self, epoch: pd.Series) -> pd.Series:
        """What says how good the model of an epoch is."""
        picked = epoch[[name for pattern in self.figures for name in _match([*epoch.index], pattern)]].dropna()
        return picked[~picked.index.duplicated()]

    def plot(self, epochs: pd.DataFrame) -> Figure:
        """Draw losses and validation figures over epochs; a dashed line is the best epoch.

        Of each panel the first columns have colours, and all others are grey.
        """
        from matplotlib.figure import Figure  # slow to import, and lists of runs need none

        panels = {title: _match([*epochs], pattern) for title, pattern in self.panels.items()}
        panels = {title: columns for title, columns in panels.items() if columns}
        figure = Figure(figsize=(1 + 4.5 * len(panels), 4.2), layout="constrained")
        best = int(self.find_best(epochs)["epoch"])
        for axes, (title, columns) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            told = dict(zip(columns, ("black", *COLOURS), strict=False))
            for name in reversed(columns):
                look = {"color": told.get(name, "#bbbbbb"), "zorder": 3 if name in told else 2}
                label = printable(name).replace("$", r"\$") if name in told else None
                axes.plot(epochs["epoch"], epochs[name], marker=".", linewidth=1.3, label=label, **look)
            axes.axvline(best, color="#6e6e6e", linestyle="--", linewidth=1)
            values = epochs[columns].to_numpy()
            if values.min() > 0 and values.max() > 20 * values.min():
                axes.set_yscale("log")
            others = f"; {len(columns) - len(told)} more are grey" if len(columns) > len(told) else ""
            axes.set_title(f"{title}{others}", fontsize=10, loc="left")
            axes.set_xlabel(f"epoch; the best is {best}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.legend(*map(reversed, axes.get_legend_handles_labels()), fontsize=8, frameon=False)
        return figure

    def list_runs(self, folder: Path) -> pd.DataFrame:
        """The runs in a folder and in all folders below it, see ``swinface.list_runs``."""
        runs = [path.parent for path in sorted(Path(folder).rglob(METRICS)) if (path.parent / CONFIG).exists()]
        tables = {run: self.read(run) for run in runs}
        runs = [run for run in runs if self.best in tables[run] or not self.always]
        if not runs:
            raise InputError(f"{folder}: no run found, a folder with {CONFIG} and {METRICS} after its first epoch.")
        configs = pd.DataFrame([_describe(run) for run in runs], dtype=object)
        differing = [name for name in configs if len({*configs[name].map(repr)}) > 1]
        rows = []
        for run in runs:
            epochs, best = tables[run], self.find_best(tables[run])
            state = {
                "run": run.relative_to(folder).as_posix(),
                "complete": (run / MODEL).exists(),
                "epochs": len(epochs),
            }
            rows.append(state | {"best epoch": int(best["epoch"])} | self.pick_figures(best).to_dict())
        found = pd.DataFrame(rows)
        settings = configs[differing].rename(columns={name: f"setting {name}" for name in found})  # such as epochs
        return pd.concat([found.iloc[:, :4], settings, found.iloc[:, 4:]], axis=1)


def _match(columns: list[str], pattern: str) -> list[str]:
    return [name for name in columns if fnmatchcase(name, pattern)]


def _describe(run: Path) -> dict[str, Any]:
    """What the result of a run depends on, by the path of its key."""
    settings = flatten(read_settings(run / CONFIG))
    return {key: value for key, value in settings.items() if not is_free(key)}


def is_free(key: str) -> bool:
    """Whether the result of a run does not depend on a key of its configuration."""
    return any(f"{key}.".startswith(f"{free}.") for free in FREE)


def flatten(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Every value of a configuration by the path of its key.

    >>> flatten({"data": {"batch_size": 64, "streams": {}}})
    {'data.batch_size': 64, 'data.streams': {}}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return flat


FACES = History(
    "error", False, ("error", "val_*"), {"training loss": "train_*", "error on the validation data": "error*"}
)


def list_runs(folder: str | Path) -> pd.DataFrame:
    """Compare the runs of ``swinface fit`` in a folder, at any depth.

    Returns
    -------
    pd.DataFrame
        A row per run that has ended its first epoch: ``run`` (its path in ``folder``), ``complete`` (bool), ``epochs``
        (how many are done) and ``best epoch`` (counted from 0); a column per setting in which the runs differ, missing
        where a run has no such setting (those that a result does not depend on, ``FREE``, are left out); and the
        figures of the best epoch: the mean error on the validation data, and those of each benchmark.

    Raises
    ------
    InputError
        There is no run, or the files of one are broken.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import swinface
    >>> with TemporaryDirectory() as folder:
    ...     for name, rate in (("slow", 1e-4), ("fast", 1e-3)):
    ...         Path(folder, name).mkdir()
    ...         _ = Path(folder, name, "config.yaml").write_text(f"model: {{rate: {rate}}}")
    ...         _ = Path(folder, name, "metrics.csv").write_text("epoch,error\\n0,0.5\\n1,0.25")
    ...     swinface.list_runs(folder)
        run  complete  epochs  best epoch model.rate  error
    0  fast     False       2           1      0.001   0.25
    1  slow     False       2           1     0.0001   0.25
    """
    return FACES.list_runs(Path(folder))
