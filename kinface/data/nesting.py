"""Nested folds of the training families: options are chosen on them, and nothing that is reported is seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from kinface.data.families import Families, draw_evenly, family_races, line_up
from kinface.data.prepare import Prepared, sample_tune_lists
from kinface.data.sampling import sample_pairs
from swinface.files import InputError

FEWEST = 3  # families of a fold
NESTED = ("faces", "people", "relations")  # tables with a column of the split


def nest_families(families: Families, *, folds: int = 4, tune: float = 0.15, seed: int = 0) -> Iterator[Prepared]:
    """Divide the families of the splits ``train`` and ``tune`` into folds, each once the split ``val``.

    In each fold, a share ``tune`` of the other families is ``tune`` and the rest ``train``, both drawn in proportion to
    the families' races. Families of ``val`` and ``test`` are left out, so that a choice by the mean over folds, such as
    by ``kinface sweep`` on each, has not seen them. Each fold has the pairs lists ``val``, ``tune`` and, where races
    are known, ``tune_matched``. Raises ``InputError`` if there are too few families, or a fold has no pairs.
    """
    race = family_races(families.faces[families.faces["split"].isin(["train", "tune"])])
    if folds < 2 or len(race) < FEWEST * folds:
        raise InputError(f"{len(race)} training families in {folds} folds; take 2 folds or more, of {FEWEST} families.")
    if not 0 < tune < 1:
        raise InputError(f"tune {tune}: a share of the families, between 0 and 1.")
    lined_up = line_up(race.index, race, np.random.default_rng(seed))
    for fold in range(folds):
        held = lined_up[fold::folds]
        others = [family for family in lined_up if family not in {*held}]
        count = max(1, round(tune * len(others)))
        chosen = {*draw_evenly(others, count, np.random.default_rng([seed, fold]).random())}
        split = {family: "tune" if family in chosen else "train" for family in others} | dict.fromkeys(held, "val")
        nested = replace(families, **{name: _assign(getattr(families, name), split) for name in NESTED})
        lists, matching, _ = sample_tune_lists(nested, seed)
        record = {"nested": f"fold {fold + 1} of {folds}", "tune": tune, "seed": seed}
        yield Prepared(nested, [sample_pairs(nested, "val", seed=seed).assign(list="val"), *lists], matching, record)


def _assign(table: pd.DataFrame, split: dict[str, str]) -> pd.DataFrame:
    kept = table[table["family"].isin(split)]
    return kept.assign(split=kept["family"].map(split)).reset_index(drop=True)
