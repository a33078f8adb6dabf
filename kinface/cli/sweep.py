"""``kinface sweep``."""

from __future__ import annotations

import time
from argparse import ArgumentError
from pathlib import Path

import joblib
import pandas as pd

from kinface.data.families import Families
from kinface.data.fiw import read_families
from kinface.data.lists import read_any_list
from kinface.data.matching import match_pairs
from kinface.data.pairs import read_pairs, write_pairs
from kinface.experiments.ablation import Ablation, read_ablation
from kinface.experiments.runner import LOG, Job, list_faces
from kinface.experiments.tradeoff import ATTRIBUTES, LISTS, TARGETS, read_result, tabulate, write_frontier
from kinface.experiments.workers import assign_devices, carry_out_all, find_devices
from kinface.report.plots import plot_frontier
from kinface.training.fit import check_config
from swinface.files import InputError, replacing, working_alone

MATCHED_BY = ("race", "type", "gender")


DOTS_PER_INCH = 200


def sweep(
    ablation: Path,
    *,
    root: Path,
    list: Path,
    out: Path,
    embeddings: Path | None = None,
    swinface: Path | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    only: list[str] | None = None,
    swap_grandparents: bool = False,
) -> None:
    """Train each method of an ablation with each lambda and seed, and measure what it costs and what it removes.

    Each run has a folder, ``out/runs/METHOD-LAMBDA-SEED``. One that is done is skipped and one that was interrupted
    goes on, so the same command can be stopped and given again. ``out`` then holds ``frontier.csv``,
    ``frontier.json`` and a figure for each attribute, ``frontier_race.png`` and ``frontier_gender.png``.

    Parameters
    ----------
    ablation
        Methods, lambdas and seeds, as in ``configs/kinface/ablation.yaml``.
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    list
        The pairs to measure on, as of ``kinface score``, and the faces of their splits, which probes read. A second
        list is drawn from it, ``out/matched.parquet``: non-kin pairs of the same race, type and gender.
    out
        Folder to write to.
    embeddings
        Train on this table of embeddings in place of images.
    swinface
        Train on the trunk of this SwinFace, frozen.
    cache
        Folder that keeps what that trunk makes of each face.
    workers
        Runs at a time, each in a process of its own; by default one on each CUDA device, or where there is none, one
        on each core.
    only
        Methods to run; the table has all that are done.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    if (swinface is None) != (cache is None) or (swinface is not None and embeddings is not None):
        raise InputError("give embeddings, or swinface and cache together, or neither for images as in base.")
    if workers is not None and workers < 1:
        raise InputError(f"workers: 1 or more; got {workers}.")
    inputs = {"data": {"root": str(root)}, "trainer": {"enable_progress_bar": False}}
    if embeddings is not None:
        inputs["data"] |= {"embeddings": str(embeddings)}
    if swinface is not None:
        inputs["data"] |= {"cache": str(cache), "augment": False}
        inputs["model"] = {"swinface": str(swinface), "trained_stages": 0}
    matrix = read_ablation(ablation, inputs)
    for method in only or []:
        if method not in matrix.methods:
            raise InputError(f"no method {method!r}; the methods of {ablation} are {', '.join(matrix.methods)}.")
    jobs = [Job(run, out) for run in matrix.expand()]
    wanted = [job for job in jobs if not only or job.run.method in only]
    _check_configurations(wanted)
    with working_alone(out):
        for job in jobs:
            job.check_folder()
        families = read_families(root)
        _write_lists(read_any_list(list, root, families, swap_grandparents=swap_grandparents), families, out)
        failed = _carry_out(wanted, assign_devices(workers, find_devices(), joblib.cpu_count()))
        _write_frontier(jobs, matrix, out)
    if failed:
        raise InputError(f"{failed} of {len(wanted)} runs failed; once mended, the same command tries these again.")


def _check_configurations(jobs: list[Job]) -> None:
    """Refuse, before anything is run, what ``kinface fit`` would not read."""
    first_of_methods = {job.run.method: job for job in reversed(jobs)}
    for method, job in first_of_methods.items():
        try:
            check_config(job.run.config)
        except (InputError, ArgumentError) as error:
            raise InputError(f"methods.{method}: {error}") from None


def _write_lists(standard: pd.DataFrame, families: Families, out: Path) -> None:
    """Draw the matched list, once and for all runs, and write both.

    Raises
    ------
    InputError
        The list is of training families, or the folder holds a sweep of another list.
    """
    if "train" in {*list_faces(families, standard)["split"]}:
        raise InputError("the list has pairs of training families; measure on families of val or test.")
    matched, counts = match_pairs(standard, families, MATCHED_BY)
    for name, pairs in zip(LISTS, (standard, matched), strict=True):
        path = out / f"{name}.parquet"
        columns = ["face_a", "face_b", "kin", "type", "race_a", "race_b", "gender_a", "gender_b"]
        if path.exists() and not read_pairs(path)[columns].astype(str).equals(pairs[columns].astype(str)):
            raise InputError(
                f"{path}: not the pairs of the list, and runs there were measured on it; write to another folder."
            )
        if not path.exists():
            write_pairs(pairs, path)
    print(
        f"{len(standard):,} pairs, and {len(matched):,} matched by {', '.join(MATCHED_BY)}: "
        f"{counts['matched'].sum():,} of {counts['kin'].sum():,} kin pairs found a partner"
    )


def _carry_out(jobs: list[Job], devices: list[str | None]) -> int:
    """Carry out what is not done, say how it goes, and return how many failed."""
    left = [job for job in jobs if not job.is_done]
    devices = devices[: max(1, len(left))]
    print(f"{len(jobs)} runs, {len(jobs) - len(left)} of them done; {len(devices)} at a time", flush=True)
    start, ended, failed = time.monotonic(), 0, 0

    def tell(job: Job, error: str | None) -> None:
        nonlocal ended, failed
        ended, failed = ended + 1, failed + (error is not None)
        minutes = (time.monotonic() - start) / ended * (len(left) - ended) / 60
        said = _summarise(job) if error is None else f"FAILED: {error} (more in {job.folder / LOG})"
        print(f"[{ended}/{len(left)}] {job.run.name}: {said}; about {minutes:.0f} min left", flush=True)

    try:
        carry_out_all(left, devices, tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the last finished epoch of each run") from None
    return failed


def _summarise(job: Job) -> str:
    points = read_result(job.folder).points
    leaks = [f"{name} {points[f'{name}_linear']:.2f} linear {points[f'{name}_mlp']:.2f} MLP" for name in ATTRIBUTES]
    return f"AUC {points['auc_standard']:.3f}, matched {points['auc_matched']:.3f}; {', '.join(leaks)}"


def _write_frontier(jobs: list[Job], matrix: Ablation, out: Path) -> None:
    """Write the table and figures of all runs that are done."""
    found = [(job.run.method, job.run.strength, read_result(job.folder)) for job in jobs]
    found = [run for run in found if run[2] is not None]
    if not found:
        return
    order = [*matrix.methods]
    found.sort(key=lambda run: (order.index(run[0]), run[1] or 0.0))
    about = {name: found[0][2].about[name] for name in (*LISTS, *ATTRIBUTES)}
    table = tabulate(found, matrix.references)
    write_frontier(out, table, about)
    for attribute in ATTRIBUTES:
        with replacing(out / f"frontier_{attribute}.png") as partial:
            plot_frontier(table, attribute, about, TARGETS).savefig(partial, dpi=DOTS_PER_INCH)
    print(f"{len(found)} of {len(jobs)} runs are done: {out / 'frontier.csv'}, {out / 'frontier_race.png'}")
