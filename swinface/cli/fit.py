"""``swinface fit``."""

from __future__ import annotations

from swinface.training.fit import fit as train


def fit(arguments: list[str]) -> None:
    """Train a SwinFace, and print where it is.

    Parameters
    ----------
    arguments
        See ``swinface.training.fit.fit``.
    """
    done = train(arguments)
    if done is not None:
        kept = "" if done.error is None else f"; mean error on the validation data {done.error:.4f}"
        print(f"{done.steps} steps{kept}; model written to {done.folder}")
