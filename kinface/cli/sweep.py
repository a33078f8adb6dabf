"""``kinface sweep``."""

from __future__ import annotations

import time
from pathlib import Path

import joblib

from kinface.data.fiw import read_families
from kinface.data.lists import read_any_list
from kinface.experiments.ablation import Ablation, read_ablation
from kinface.experiments.runner import LOG, Job
from kinface.experiments.sweep import (
    MATCHED_BY,
    check_folders,
    describe_inputs,
    draw_lists,
    select_jobs,
    tabulate_jobs,
    write_lists,
)
from kinface.experiments.tradeoff import ATTRIBUTES, TARGETS, Protocol, read_result, write_frontier
from kinface.experiments.workers import assign_devices, carry_out_all, find_devices
from kinface.report.plots import plot_frontier
from swinface.files import InputError, replacing, working_alone

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
    others: Path | None = None,
    others_embeddings: Path | None = None,
    workers: int | None = None,
    only: list[str] | None = None,
    resamples: int = 1000,
    probe_seeds: int = 3,
    swap_grandparents: bool = False,
) -> None:
    """Train each method of an ablation with each lambda and seed, and measure what it costs and what it removes.

    Each run has a folder, ``out/runs/METHOD-LAMBDA-SEED``. A run that is done is skipped and one that was interrupted
    goes on, so the command can be stopped and given again. ``out`` then holds ``frontier.csv``, ``frontier.json`` and a
    figure for each attribute, ``frontier_race.png`` and ``frontier_gender.png``.

    Parameters
    ----------
    ablation
        Methods, lambdas and seeds, as in ``configs/kinface/ablation.yaml``.
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    list
        The pairs to measure on, as for ``kinface score``. Probes read all faces of the splits of these pairs. A second
        list is drawn from it, ``out/matched.parquet``, with non-kin pairs of the same race, type and gender.
    out
        Folder to write to.
    embeddings
        Train on this table of embeddings in place of images.
    swinface
        Train on the trunk of this SwinFace, frozen.
    cache
        Folder that keeps the outputs of that trunk for each face.
    others
        Table of people beside FIW that erasures are fitted on as well, see ``kinface fit --data.others``.
    others_embeddings
        Their embeddings, where runs are trained on ``embeddings``.
    workers
        Runs at a time, each in a process of its own. By default one on each CUDA device, or without one, one on each
        core.
    only
        Methods to run. The table has all methods that are done.
    resamples
        Of families, for the 95% intervals.
    probe_seeds
        How often the folds of the probes are drawn and the probes start anew.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least 1.")
    if resamples < 100:
        raise InputError(f"--resamples {resamples}: an interval needs at least 100, better 1000.")
    if probe_seeds < 1:
        raise InputError(f"--probe-seeds {probe_seeds}: at least 1.")
    matrix = read_ablation(ablation, describe_inputs(root, embeddings, swinface, cache, others, others_embeddings))
    protocol = Protocol(resamples, probe_seeds)
    jobs = [Job(run, out, protocol) for run in matrix.expand()]
    wanted = select_jobs(jobs, only)
    with working_alone(out):
        check_folders(jobs, protocol)
        families = read_families(root)
        lists, counts = draw_lists(read_any_list(list, root, families, swap_grandparents=swap_grandparents), families)
        write_lists(lists, out)
        print(
            f"{len(lists['standard']):,} pairs, and {len(lists['matched']):,} matched by {', '.join(MATCHED_BY)}: "
            f"{counts['matched'].sum():,} of {counts['kin'].sum():,} kin pairs have a matched non-kin pair"
        )
        failed = _carry_out(wanted, assign_devices(workers, find_devices(), joblib.cpu_count()))
        _write_frontier(jobs, matrix, protocol, out)
    if failed:
        raise InputError(
            f"{failed} of {len(wanted)} runs failed, see above; fix the cause and repeat the command to try them again."
        )


def _carry_out(jobs: list[Job], devices: list[str | None]) -> int:
    """Carry out the jobs that are not done, print their progress, and return how many failed."""
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
        raise KeyboardInterrupt("the same command goes on from the last checkpoint of each run") from None
    return failed


def _summarise(job: Job) -> str:
    points = read_result(job.folder).points
    leaks = [f"{name} {points[f'{name}_linear']:.2f} linear {points[f'{name}_mlp']:.2f} MLP" for name in ATTRIBUTES]
    return f"AUC {points['auc_standard']:.3f}, matched {points['auc_matched']:.3f}; {', '.join(leaks)}"


def _write_frontier(jobs: list[Job], matrix: Ablation, protocol: Protocol, out: Path) -> None:
    """Write the table and the figures of all jobs that are done."""
    tabulated = tabulate_jobs(jobs, matrix)
    if tabulated is None:
        return
    table, about = tabulated
    write_frontier(out, table, about, protocol)
    for attribute in ATTRIBUTES:
        with replacing(out / f"frontier_{attribute}.png") as partial:
            plot_frontier(table, attribute, about, TARGETS).savefig(partial, dpi=DOTS_PER_INCH)
    print(f"{table['seeds'].sum()} of {len(jobs)} runs are done: {out / 'frontier.csv'}, {out / 'frontier_race.png'}")
