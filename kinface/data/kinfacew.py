"""KinFaceW-I and -II as their authors publish them -> a pairs table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from scipy.io import loadmat

from kinface.data.pairs import COLUMNS, check_pairs
from kinface.data.vocabulary import ROLE_GENDER
from swinface.files import InputError

KINDS = {"fd": "father-dau", "fs": "father-son", "md": "mother-dau", "ms": "mother-son"}  # type to folder of images


FOLDS = (1, 2, 3, 4, 5)


def read_kinfacew(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the authors' lists.

    Returns
    -------
    tuple
        A pairs table with a further column ``fold``, and the types whose lists are not there. A person is the
        name of an image, such as ``fd_001_1``, and the family is ``fd_001``: a person in two types counts as two.

    Raises
    ------
    InputError
        There is no list, or one is broken; names the file and row.
    """
    root = Path(root)
    paths = {kind: root / "meta_data" / f"{kind}_pairs.mat" for kind in KINDS}
    missing = [kind for kind, path in paths.items() if not path.is_file()]
    if len(missing) == len(KINDS):
        raise InputError(f"{root}: no lists meta_data/*_pairs.mat; give KinFaceW's folder as its authors publish it.")
    name = root.resolve().name
    tables = [_read_list(path, kind).assign(list=name) for kind, path in paths.items() if kind not in missing]
    pairs = pd.concat(tables, ignore_index=True).reindex(columns=[*COLUMNS, "fold"])
    return check_pairs(pairs, str(root)), missing


def _read_list(path: Path, kind: str) -> pd.DataFrame:
    """One type's pairs: a cell array ``pairs`` of fold, kin, image of the parent, image of the child."""
    try:
        cells = loadmat(path)["pairs"]
        rows = [tuple(cell.item() for cell in row) for row in cells]
        table = pd.DataFrame(rows, columns=["fold", "kin", "image_a", "image_b"])
    except Exception as error:  # scipy fails in any way on bytes that are no .mat file, and we on something else in it
        raise InputError(
            f"{path}: not a list of KinFaceW, a cell array `pairs` of fold, kin, image1 and image2 ({error}); "
            "take the authors' file."
        ) from error
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
