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
    """Train each method with each lambda and seed, and measure how much kinship and race or gender each run keeps.

    Each run has a folder, ``out/runs/METHOD-LAMBDA-SEED``. Finished runs are skipped and interrupted runs continue,
    so the command can be stopped and run again. It can also run several times at once, on one machine or on several
    that share ``out``: each process takes the next run that no other process works on. ``out`` then holds
    ``frontier.csv``, ``frontier.json``, ``frontier.png`` and ``frontier.html``, as for ``kinface frontier``.

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
        Table of people outside FIW that erasers are also fitted on, see ``kinface fit --data.others``.
    others_embeddings
        Their embeddings, where runs are trained on ``embeddings``.
    workers
        Runs at a time, each in a process of its own. By default one on each CUDA device, or without one, one on each
        core.
    only
        Methods to run. The table has all finished methods.
    attribute
        Attribute that attackers predict, by default race and gender; repeat the option for several.
    match
        What the non-kin pairs of the matched list have in common with the kin pairs, see ``kinface pairs``; the default
        is the attributes and the type.
    show
        Methods that the figure highlights whatever their rank.
    fit_on
        Split whose faces every probe is fitted on too, such as train, see ``kinface probe``; repeat the option for
        several.
    resamples
        Resamples of families, for the 95% intervals.
    probe_seeds
        How often the folds are drawn and the probes are fitted.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    from kinface.experiments.ablation import read_ablation
    from kinface.experiments.sweep import Sweep, describe_inputs
    from kinface.tradeoff.measure import Protocol

    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: must be at least 1.")
    named = {"attributes": attribute or ("race", "gender"), "match": match or (), "fit_on": fit_on or ()}
    protocol = Protocol(**named, seeds=probe_seeds, resamples=resamples)
    matrix = read_ablation(ablation, describe_inputs(root, embeddings, swinface, cache, others, others_embeddings))
    planned = Sweep.plan(matrix, out, protocol, methods=only)
    families = read_families(root)
    pairs = families.pairs(list, swap_grandparents=swap_grandparents)
    try:
        failed = planned.run(families, pairs, workers=workers, say=partial(print, flush=True))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues from the last checkpoint of each run") from None
    if (found := planned.write(show or ())) is not None:
        print_frontier(found)
        print(f"{planned.done} of {len(planned.jobs)} runs are done: {out / 'frontier.csv'}")
    if failed:
        raise InputError(
            f"{failed} of {len(planned.wanted)} runs failed, see above; fix the cause and repeat the command to try "
            "them again."
        )
