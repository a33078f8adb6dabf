"""``kinface score``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kinface.cli.inputs import HERE, Computing, embed_all
from kinface.cli.source import OURS, Source
from kinface.data.fiw import read_known_families
from kinface.data.lists import read_any_list
from kinface.data.pairs import PAIRS_ENDINGS, score_pairs, write_pairs
from kinface.data.vocabulary import TYPES
from kinface.models.inference import predict_types
from swinface.files import check_ending


def score(
    *,
    root: Path,
    list: Path,
    out: Path,
    source: Source = OURS,
    swap_grandparents: bool = False,
    computing: Computing = HERE,
) -> None:
    """Score a list of pairs by the cosine of their faces' embeddings.

    Parameters
    ----------
    root
        A FIW folder, the folder ``kinface prepare`` made of it, or any other folder that the list's paths start from.
        Persons and families of faces outside of FIW's family folders are not known, and missing in the table.
    list
        Pairs in RFIW's form (index path1 path2 type kin) or KFC's (path1 path2 type kin race); a pairs table (.parquet
        or .csv), such as ``kinface pairs`` writes; or the name of a list of the prepared folder, such as tune.
    out
        The pairs table to write, .parquet or .csv, a row per line of the list, in its order; with
        ``type_predicted`` where the model was trained on types.
    source
        Whose embeddings.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    computing
        How a model computes.
    """
    check_ending(out, PAIRS_ENDINGS, "a pairs table")
    families = read_known_families(root)
    pairs = read_any_list(list, root, families, swap_grandparents=swap_grandparents)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    network, embedding, shards = embed_all(faces, root=families.root, out=out, source=source, computing=computing)
    if not shards.first:
        shards.finish()
        return
    pairs = score_pairs(pairs, faces, embedding)
    if network is not None and network.types is not None:
        predicted = predict_types(network, pairs, faces, torch.from_numpy(embedding))
        pairs["type_predicted"] = np.array([*TYPES, "unrelated"])[predicted]
    write_pairs(pairs, out)
    shards.finish()
    print(f"{len(pairs)} pairs, {len(faces)} faces: {out}")
