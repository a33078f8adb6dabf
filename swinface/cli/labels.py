"""``swinface labels``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from swinface.files import InputError, check_ending, replacing
from swinface.photos.folder import LOG, read_whole_log
from swinface.photos.originals import SETS, list_faces


def labels(
    set: Literal["adience", "morph", "imdb_wiki", "affectnet", "pose"], annotations: Path, *, faces: Path, out: Path
) -> None:
    """Make the label list that training needs, from the published files of a data set and its aligned faces.

    After ``swinface align PHOTOS --out ROOT/data``, use ``--faces ROOT/data --out ROOT/label.txt``. ROOT is then a data
    set that configurations can name.

    Parameters
    ----------
    set
        The data set; or ``pose``, head pose estimated from landmarks, for any set.
    annotations
        The published labels: Adience's folder of fold_*_data.txt, MORPH's csv, imdb.mat or wiki.mat, AffectNet's csv;
        for ``pose``, the aligned.csv in the folder of faces.
    faces
        Folder written by ``swinface align``. Photos without a face there are left out.
    out
        File to write, .txt: a header, then a face per line.
    """
    check_ending(out, [".txt"], "a list of labels")
    log = read_whole_log(faces / LOG)
    found = SETS[set](annotations)
    table = list_faces(found, log, str(annotations))
    spaced = table["name"].str.contains(r"\s")
    if spaced.any():
        raise InputError(f"{faces}: {table['name'][spaced].iloc[0]!r} has white space in its name; rename the photo.")
    with replacing(out) as partial:
        table.to_csv(partial, sep=" ", index=False)
    print(f"{len(found):,} photos have labels, {len(table):,} of these have a face: {out}")
