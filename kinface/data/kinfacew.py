"""KinFaceW-I and -II as their authors publish them -> a pairs table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinface.data.pairs import COLUMNS, check_pairs
from kinface.data.vocabulary import ROLE_GENDER
from swinface.data.matlab import read_matlab, refuse_matlab
from swinface.files import InputError, one_line

KINDS = {"fd": "father-dau", "fs": "father-son", "md": "mother-dau", "ms": "mother-son"}  # type to folder of images
FOLDS = (1, 2, 3, 4, 5)
FORM = "a list of KinFaceW, a cell array `pairs` of fold, kin, image1 and image2"


def read_kinfacew(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the authors' lists: a pairs table with a further column ``fold``, and the types whose lists are not there.

    A person is the name of an image, such as ``fd_001_1``, and the family is ``fd_001``: a person in two types counts
    as two. Raises ``InputError``, which names the file and row, if there is no list, or one is broken.
    """
    root = Path(root)
    paths = {kind: root / "meta_data" / f"{kind}_pairs.mat" for kind in KINDS}
    missing = [kind for kind, path in paths.items() if not path.is_file()]
    if len(missing) == len(KINDS):
        raise InputError(f"{root}: no lists meta_data/*_pairs.mat; give KinFaceW's folder as its authors publish it.")
    name = root.resolve().name
    paths = {kind: path for kind, path in paths.items() if kind not in missing}
    lists = zip(paths.items(), read_matlab(paths.values(), ["pairs"], FORM), strict=True)
    tables = [_check_list(content["pairs"], path, kind).assign(list=name) for (kind, path), content in lists]
    pairs = pd.concat(tables, ignore_index=True).reindex(columns=[*COLUMNS, "fold"])
    return check_pairs(pairs, str(root)), missing


def _check_list(rows: list, path: Path, kind: str) -> pd.DataFrame:
    """One type's pairs: rows of fold, kin, image of the parent, image of the child."""
    try:
        table = pd.DataFrame([*map(tuple, rows)], columns=["fold", "kin", "image_a", "image_b"])
        table.drop_duplicates()  # fails if a cell holds several values
    except (ValueError, TypeError) as error:
        raise refuse_matlab(path, FORM, one_line(error)) from error
    rules = {
        f"fold must be one of {FOLDS}": ~table["fold"].isin(FOLDS),
        "kin must be 0 or 1": ~table["kin"].isin((0, 1)),
    }
    for side, number in (("a", 1), ("b", 2)):
        named = table[f"image_{side}"].astype(str).str.fullmatch(rf"{kind}_\d+_{number}\.\w+")
        rules[f"image{number} must be named like {kind}_001_{number}.jpg"] = ~named
    for rule, broken in rules.items():
        if broken.any():
            raise InputError(f"{path}: row {int(broken.to_numpy().argmax()) + 1}: {rule}.")
    for fold in FOLDS:
        if table.loc[table["fold"] == fold, "kin"].nunique() < 2:
            raise InputError(f"{path}: fold {fold} needs kin and non-kin pairs; take the authors' file.")
    person = {side: table[f"image_{side}"].str.rpartition(".")[0] for side in "ab"}
    return pd.DataFrame(
        {
            **{f"face_{side}": f"images/{KINDS[kind]}/" + table[f"image_{side}"] for side in "ab"},
            **{f"person_{side}": person[side] for side in "ab"},
            **{f"family_{side}": person[side].str.rpartition("_")[0] for side in "ab"},
            **{f"gender_{side}": ROLE_GENDER[side][kind] for side in "ab"},
            "gender_source": "role in the list",
            "type": kind,
            "kin": table["kin"].astype(bool),
            "split": "test",
            "fold": table["fold"].astype(int),
        }
    )
