"""``kinface sweep``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from kinface.cli.frontier import print_frontier
from kinface.data.fiw import read_families
from kinface.data.lists import read_any_list
from swinface.files import InputError

if TYPE_CHECKING:
    from kinface.experiments.runner import Job


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
    attribute: list[str] | None = None,
    match: list[str] | None = None,
    show: list[str] | None = None,
    resamples: int = 1000,
    probe_seeds: int = 3,
    swap_grandparents: bool = False,
) -> None:
    """Train each method of an ablation with each lambda and seed, and measure what it costs and what it removes.

    Each run has a folder, ``out/runs/METHOD-LAMBDA-SEED``. A run that is done is skipped and one that was interrupted
    goes on, so the command can be stopped and given again. Started several times, also on several machines that share
    ``out``, each process takes the next run that nobody has. ``out`` then holds ``frontier.csv``, ``frontier.json``,
    ``frontier.png`` and ``frontier.html``, as of ``kinface frontier``.

    Parameters
    ----------
    ablation
        Methods, lambdas and seeds, as in ``configs/kinface/ablation.yaml``.
    root
        A FIW folder, or the folder ``kinface prepare`` made of it.
    list
        The pairs to measure on, as for ``kinface score``. Probes read all faces of the splits of these pairs. A second
        list is drawn from it, ``out/matched.parquet``, with matched non-kin pairs.
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
    attribute
        What is measured to be left, by default race and gender; repeat the option for several.
    match
        What the non-kin pairs of the matched list have in common with the kin pairs, see ``kinface pairs``; the default
        is the attributes and the type.
    show
        Methods that the figure tells apart whatever their rank.
    resamples
        Resamples of families, for the 95% intervals.
    probe_seeds
        How often the folds of the probes are drawn and the probes start anew.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    import joblib

    from kinface.experiments.ablation import read_ablation
    from kinface.experiments.runner import Job
    from kinface.experiments.sweep import compare_jobs, describe_inputs, select_jobs, write_lists
    from kinface.experiments.workers import assign_devices, find_devices
    from kinface.tradeoff.measure import Protocol, draw_lists

    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least 1.")
    protocol = Protocol(
        tuple(attribute or ("race", "gender")), tuple(match or ()), seeds=probe_seeds, resamples=resamples
    )
    matrix = read_ablation(ablation, describe_inputs(root, embeddings, swinface, cache, others, others_embeddings))
    jobs = [Job(run, out, protocol) for run in matrix.expand()]
    wanted = select_jobs(jobs, only)
    for job in jobs:
        job.check_folder()
    families = read_families(root)
    standard = read_any_list(list, root, families, swap_grandparents=swap_grandparents)
    lists, counts = draw_lists(standard, families, protocol)
    write_lists(lists, out)
    print(
        f"{len(lists['standard']):,} pairs, and {len(lists['matched']):,} matched by {', '.join(protocol.match)}: "
        f"{counts['matched'].sum():,} of {counts['kin'].sum():,} kin pairs have a matched non-kin pair"
    )
    failed = _carry_out(wanted, assign_devices(workers, find_devices(), joblib.cpu_count()))
    while (found := compare_jobs(jobs, matrix, protocol)) is not None:
        found.write(out, show or ())
        done = sum(job.result is not None for job in jobs)
        if found.table["seeds"].sum() == done:  # otherwise another process has done one meanwhile
            print_frontier(found)
            print(f"{done} of {len(jobs)} runs are done: {out / 'frontier.csv'}")
            break
    if failed:
        raise InputError(
            f"{failed} of {len(wanted)} runs failed, see above; fix the cause and repeat the command to try them again."
        )


def _carry_out(jobs: list[Job], devices: list[str | None]) -> int:
    """Carry out the jobs that are not done, print their progress, and return how many failed."""
    from kinface.experiments.runner import LOG
    from kinface.experiments.workers import carry_out_all

    left = [job for job in jobs if job.result is None]
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
    points = job.result.points
    leaks = ", ".join(f"{name} {points[f'{name}_best']:.2f}" for name in job.protocol.attributes)
    return f"AUC {points['auc_standard']:.3f}, matched {points['auc_matched']:.3f}; best probe: {leaks}"
