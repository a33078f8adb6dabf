"""``kinface sweep``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kinface.cli.frontier import print_frontier
from kinface.data.fiw import read_families
from swinface.files import InputError


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
    fit_on: list[str] | None = None,
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
    fit_on
        Split whose faces every probe is fitted on too, such as train, see ``kinface probe``; repeat the option for
        several.
    resamples
        Resamples of families, for the 95% intervals.
    probe_seeds
        How often the folds of the probes are drawn and the probes start anew.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    from kinface.experiments.ablation import read_ablation
    from kinface.experiments.sweep import Sweep, describe_inputs
    from kinface.tradeoff.measure import Protocol

    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: at least 1.")
    named = {"attributes": attribute or ("race", "gender"), "match": match or (), "fit_on": fit_on or ()}
    protocol = Protocol(**named, seeds=probe_seeds, resamples=resamples)
    matrix = read_ablation(ablation, describe_inputs(root, embeddings, swinface, cache, others, others_embeddings))
    planned = Sweep.plan(matrix, out, protocol, methods=only)
    families = read_families(root)
    pairs = families.pairs(list, swap_grandparents=swap_grandparents)
    try:
        failed = planned.run(families, pairs, workers=workers, say=partial(print, flush=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the last checkpoint of each run") from None
    if (found := planned.write(show or ())) is not None:
        print_frontier(found)
        print(f"{planned.done} of {len(planned.jobs)} runs are done: {out / 'frontier.csv'}")
    if failed:
        raise InputError(
            f"{failed} of {len(planned.wanted)} runs failed, see above; fix the cause and repeat the command to try "
            "them again."
        )
