"""``kinface nest``."""

from __future__ import annotations

from pathlib import Path

from kinface.data.families import DATASET
from kinface.data.fiw import read_families
from kinface.data.prepare import check_out, nest_families, write_prepared
from swinface.files import InputError


def nest(root: Path, *, out: Path, folds: int = 4, tune: float = 0.15, seed: int = 0) -> None:
    """Divide the training families into folds, to choose options without using the reported families.

    ``out/1``, ``out/2``, ... are folders as ``kinface prepare`` makes them. In each, different families are the split
    ``val``, and the families of the official ``val`` and ``test`` are absent. Run ``kinface sweep --root out/1
    --list val`` on each, and take the option with the best mean.

    Parameters
    ----------
    root
        The folder that ``kinface prepare`` made of FIW, or a FIW folder.
    out
        Folder to write to.
    folds
        Number of folds.
    tune
        Share of a fold's remaining families on which epochs and thresholds are chosen.
    seed
        Seed of the draws.
    """
    families = read_families(root)
    check_out(families.root, out)
    for path in out.glob("*"):
        if path.name.isdecimal() and int(path.name) > folds and (path / DATASET).is_file():
            raise InputError(f"{path} is a fold of an earlier division, of other families; remove it.")
        if path.resolve() == root.resolve():
            raise InputError(f"{path} is the folder that is divided; name another folder to write to.")
    for number, prepared in enumerate(nest_families(families, folds=folds, tune=tune, seed=seed), 1):
        write_prepared(prepared, out / str(number))
        counts = prepared.families.faces.groupby("split")["family"].nunique()
        print(f"{out / str(number)}: families: {', '.join(f'{name} {counts[name]}' for name in counts.index)}")
