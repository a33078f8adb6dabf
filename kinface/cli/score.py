"""``kinface score``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from kinface.cli.inputs import embed_listed
from kinface.data.fiw import read_known_families
from kinface.data.lists import read_any_list
from kinface.data.pairs import PAIRS_ENDINGS, score_pairs, write_pairs
from kinface.data.vocabulary import TYPES
from kinface.models.inference import predict_types
from swinface.files import check_ending
from swinface.inference import Precision


def score(
    *,
    root: Path,
    list: Path,
    out: Path,
    model: Path | None = None,
    inputs: Path | None = None,
    embeddings: Path | None = None,
    swap_grandparents: bool = False,
    precision: Precision = "fast",
    devices: int = 1,
    num_nodes: int = 1,
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
    model
        Folder of a trained model; by default the one that comes with the package.
    inputs
        Table of the embeddings that a model without trunk reads.
    embeddings
        Score these embeddings, of any other model, in place of a model.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    precision
        ``fast``: the trunk in bfloat16 where the device multiplies in it natively; ``full``: float32.
    devices
        Devices of each machine. What is done is kept in ``OUT.parts``, and an interrupted command goes on from it.
    num_nodes
        Machines that share the folder of ``out``; start the same command on each.
    """
    check_ending(out, PAIRS_ENDINGS, "a pairs table")
    families = read_known_families(root)
    pairs = read_any_list(list, root, families, swap_grandparents=swap_grandparents)
    faces = sorted({*pairs["face_a"], *pairs["face_b"]})
    source = {"model": model, "inputs": inputs, "embeddings": embeddings}
    how = {"precision": precision, "devices": devices, "num_nodes": num_nodes}
    network, embedding, shards = embed_listed(faces, root=families.root, out=out, **source, **how)
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
