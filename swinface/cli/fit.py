"""``swinface fit``."""

from __future__ import annotations

from swinface.files import printable
from swinface.training.fit import fit as train
from swinface.training.history import CURVES, METRICS


def fit(arguments: list[str]) -> None:
    """Train a SwinFace, and print the epoch that was kept, its figures on the validation data, and where it is.

    Parameters
    ----------
    arguments
        See ``swinface.training.fit.fit``.
    """
    done = train(arguments)
    if done is None:
        return
    kept = "the best on the validation data" if done.figures else "the last, as there are no validation data"
    print(f"{done.steps} steps; kept epoch {done.epoch} (counted from 0), {kept}")
    for name, value in done.figures.items():
        print(printable(f"  {name:<32} {value:.4f}"))
    print(printable(f"wrote the model, {METRICS} and {CURVES} to {done.folder}"))
