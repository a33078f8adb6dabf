"""``kinface fit``."""

from __future__ import annotations

from kinface.training.fit import fit as train


def fit(arguments: list[str]) -> None:
    """Train a kinship model with the options of ``kinface.training.fit.fit``, and print its AUC on the tune pairs."""
    done = train(arguments)
    if done is not None:
        print(f"best epoch {done.epoch}: AUC {done.auc:.3f} on {done.pairs} tune pairs; model written to {done.folder}")
