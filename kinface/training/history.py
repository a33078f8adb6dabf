"""Runs of ``kinface fit`` side by side, see ``swinface.training.history``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from swinface.training.history import History

TUNE_SCORES = "tune_scores.parquet"  # of a run: the pairs that chose its epoch and threshold, with their scores
PAIRS = History(
    "selection",
    True,
    ("tune_*",),
    {
        "training loss": "train_*",
        "AUC of the tune pairs": "tune_auc*",
        "balanced accuracy, tune faces": "tune_*_balanced_accuracy",
    },
    always=True,
)


def list_runs(folder: str | Path) -> pd.DataFrame:
    """Compare the runs of ``kinface fit`` in a folder, at any depth, such as those of a sweep.

    Returns
    -------
    pd.DataFrame
        A row per run, as of ``swinface.list_runs``. Its figures are those of the best epoch on the tune pairs: the AUC
        of all pairs, of matched pairs and of each race, and the balanced accuracy of each head and adversary.

    Raises
    ------
    InputError
        There is no run, or the files of one are broken.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import kinface
    >>> with TemporaryDirectory() as folder:
    ...     for name, rate in (("slow", 1e-4), ("fast", 1e-3)):
    ...         Path(folder, name).mkdir()
    ...         _ = Path(folder, name, "config.yaml").write_text(f"model: {{rate: {rate}}}")
    ...         _ = Path(folder, name, "metrics.csv").write_text("epoch,tune_auc,selection\\n0,0.7,0.7\\n1,0.6,0.6")
    ...     kinface.list_runs(folder)
        run  complete  epochs  best epoch model.rate  tune_auc
    0  fast     False       2           0      0.001       0.7
    1  slow     False       2           0     0.0001       0.7
    """
    return PAIRS.list_runs(Path(folder))
