"""``kinface controls``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.data.fiw import read_known_families
from kinface.data.pairs import read_pairs
from kinface.data.tables import write_intervals
from swinface.files import check_ending, naming, replacing


def controls(list: Path, *, out: Path, root: Path | None = None, seed: int = 0) -> None:
    """Score a list of pairs by properties other than kinship: the same photograph, race, age, colours.

    ``out`` has the AUC of each control alone, and that of the model's scores among pairs that the control scores alike.

    Parameters
    ----------
    list
        A pairs table (.parquet, .csv or .xlsx), scored or not; with --root also a list in any form that
        ``kinface score`` reads.
    out
        Table to write, .csv.
    root
        A FIW folder, the folder ``kinface prepare`` made of it, or any other folder that the paths of faces start from.
        Without it no control reads images, or annotations that the list does not have.
    seed
        Seed of the shuffled labels.
    """
    from kinface.leakage import controls as room

    check_ending(out, (".csv",), "a table of controls")
    families = None if root is None else read_known_families(root)
    pairs = read_pairs(list) if families is None else families.pairs(list)
    known = {} if families is None else {"faces": families.faces, "root": families.root}
    with naming(list):
        found = room.controls(pairs, **known, seed=seed)
    with replacing(out) as partial:
        found.to_csv(partial, index=False)
    print(f"{len(pairs):,} pairs, {int(pairs['kin'].sum()):,} of them kin: AUC of each control; chance level: .5")
    shown = {"control": found["control"], "pairs": found["pairs"], "alone": write_intervals(found, "auc")}
    shown["significant"] = found["significant"].map({True: "yes", False: ""})
    if "model" in found:
        shown |= {name: write_intervals(found, column) for name, column in COLUMNS.items()}
        shown["kin left out"] = ["" if pd.isna(count) else f"{count:,}" for count in found["left_out"]]
    print(pd.DataFrame(shown).to_string(index=False))
    if "model" in found:
        print("among alike: the model's AUC, each kin pair compared with non-kin pairs that the control scores alike")
    print(f"wrote {out}")


COLUMNS = {"model": "model", "among alike": "model_alike", "difference": "difference"}
