"""``kinface fit``."""

from __future__ import annotations

from kinface.training.fit import fit as train


def fit(arguments: list[str]) -> None:
    """Train a kinship model, and print its AUC on the tune pairs.

    Parameters
    ----------
    arguments
        See ``kinface.training.fit.fit``.
    """
    done = train(arguments)
    if done is not None:
        print(f"best epoch {done.epoch}: AUC {done.auc:.3f} on {done.pairs} tune pairs; model written to {done.folder}")
