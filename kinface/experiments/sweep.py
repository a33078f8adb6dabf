"""A sweep: the runs of an ablation in one folder, the lists they are all measured on, and their table.

``swinface compare`` trains variants too. Both merge configurations in one way (``swinface.settings``) and differ in
the rest: a comparison is of a few long trainings, one after the other on all devices, by benchmarks of faces; a sweep
is of hundreds of short ones side by side, with lambdas and seeds, by pairs and probes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kinface.data.pairs import read_pairs, write_pairs
from kinface.experiments.ablation import Ablation
from kinface.experiments.runner import Job
from kinface.tradeoff.measure import Frontier, Protocol, compare
from kinface.training.fit import check_config
from swinface.files import InputError


def describe_inputs(
    root: Path,
    embeddings: Path | None,
    swinface: Path | None,
    cache: Path | None,
    others: Path | None = None,
    others_embeddings: Path | None = None,
) -> dict[str, Any]:
    """The settings of every run of a sweep, as ``read_ablation`` takes them.

    Parameters
    ----------
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    embeddings
        Table of embeddings to train on in place of images.
    swinface, cache
        A SwinFace whose frozen trunk is trained on, and a folder for its outputs.
    others, others_embeddings
        People beside FIW that erasures are fitted on as well, see ``KinshipData``.

    Raises
    ------
    InputError
        They exclude each other.
    """
    if (swinface is None) != (cache is None) or (swinface is not None and embeddings is not None):
        raise InputError("give embeddings, or swinface and cache together, or neither to train on images.")
    inputs: dict[str, Any] = {"data": {"root": str(root)}, "trainer": {"enable_progress_bar": False}}
    if embeddings is not None:
        inputs["data"] |= {"embeddings": str(embeddings)}
    if others is not None:
        inputs["data"] |= {"others": str(others)}
    if others_embeddings is not None:
        inputs["data"] |= {"others_embeddings": str(others_embeddings)}
    if swinface is not None:
        inputs["data"] |= {"cache": str(cache), "augment": False}
        inputs["model"] = {"network": {"swinface": str(swinface), "trained_stages": 0}}
    return inputs


def select_jobs(jobs: Sequence[Job], methods: Collection[str] | None) -> list[Job]:
    """The jobs of some methods, or all.

    Raises
    ------
    InputError
        A method is unknown, or ``fit`` would refuse the configuration of a job.
    """
    known = dict.fromkeys(job.run.method for job in jobs)
    for method in methods or []:
        if method not in known:
            raise InputError(f"no method {method!r}; the methods of this ablation are {', '.join(known)}.")
    chosen = [job for job in jobs if not methods or job.run.method in methods]
    first_of_methods = {job.run.method: job for job in reversed(chosen)}
    for method, job in first_of_methods.items():
        try:
            check_config(job.run.config, job.run.files)
        except InputError as error:
            raise InputError(f"methods.{method}: {error}") from None
    return chosen


def write_lists(lists: dict[str, pd.DataFrame], out: Path) -> None:
    """Write the lists that are not there yet.

    Raises
    ------
    InputError
        The folder holds a sweep of another list.
    """
    columns = ["face_a", "face_b", "kin", "type", "race_a", "race_b", "gender_a", "gender_b"]
    for name, pairs in lists.items():
        path = out / f"{name}.parquet"
        if not path.exists():
            write_pairs(pairs, path)
        elif not read_pairs(path)[columns].astype(str).equals(pairs[columns].astype(str)):
            raise InputError(
                f"{path}: not the pairs of the list, and runs there were measured on it; choose another folder."
            )


def compare_jobs(jobs: Sequence[Job], ablation: Ablation, protocol: Protocol) -> Frontier | None:
    """Compare all jobs that are done, in the order of the methods; None where no job is done."""
    runs = [(job.run.method, job.run.strength, job.result) for job in jobs]
    order = [*ablation.methods]
    found = sorted((run for run in runs if run[2] is not None), key=lambda run: (order.index(run[0]), run[1] or 0.0))
    return compare(found, protocol, ablation.references) if found else None
