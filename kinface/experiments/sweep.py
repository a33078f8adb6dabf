"""A sweep: the runs of an ablation in one folder, the lists they are all measured on, and their table.

``swinface compare`` trains variants too. Both merge configurations in one way (``swinface.settings``) and differ in
the rest: a comparison is of a few long trainings, one after the other on all devices, by benchmarks of faces; a sweep
is of hundreds of short ones side by side, with lambdas and seeds, by pairs and probes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kinface.data.families import Families
from kinface.data.pairs import read_pairs, write_pairs
from kinface.experiments.ablation import Ablation
from kinface.experiments.inputs import Inputs, check_inputs
from kinface.experiments.runner import LOG, Job
from kinface.experiments.workers import assign_devices, carry_out_all, find_devices
from kinface.tradeoff.measure import Frontier, Protocol, compare, draw_lists
from kinface.training.fit import check_config
from swinface.cores import count_cores
from swinface.files import InputError, naming


@dataclass(frozen=True)
class Sweep:
    """An ablation in a folder: ``plan`` it, ``run`` it, ``write`` its table."""

    ablation: Ablation
    out: Path
    protocol: Protocol
    jobs: list[Job]  #: one for each method, lambda and seed
    wanted: list[Job]  #: those of them that ``run`` carries out

    @classmethod
    def plan(
        cls, ablation: Ablation, out: Path, protocol: Protocol | None = None, *, methods: Collection[str] | None = None
    ) -> Sweep:
        """Check everything that can be refused before the first run; by default all methods are to be run.

        Raises ``InputError`` if a method is unknown, its configuration is refused, or the folder holds another sweep.
        """
        protocol = protocol or Protocol()
        jobs = [Job(run, out, protocol) for run in ablation.runs]
        for method in methods or []:
            if method not in ablation.methods:
                known = ", ".join(ablation.methods)
                raise InputError(f"no method {method!r}; the methods of this ablation are {known}.")
        wanted = [job for job in jobs if not methods or job.run.method in methods]
        for method, job in {job.run.method: job for job in reversed(wanted)}.items():
            with naming(f"methods.{method}"):
                check_config(job.run.config, job.run.files)
        for job in jobs:
            job.check_folder()
        return cls(ablation, out, protocol, jobs, wanted)

    def run(
        self,
        families: Families,
        pairs: pd.DataFrame,
        *,
        workers: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> int:
        """Train and measure what is not done, and return how many runs failed.

        It goes on from the last checkpoint of a run, and leaves runs to other processes that have them. All are
        measured on the list ``pairs``; a matched one is drawn from it. ``workers`` are the runs at a time, as of
        ``kinface.experiments.workers.assign_devices``; ``say`` is called with a line of text on how far it is, the time
        left, and what failed. Raises ``InputError`` if the folder holds a sweep of another list, or
        people, embeddings or custom code have changed since a run of it was trained.
        """
        inputs = Inputs(families)
        for job in self.jobs:
            check_inputs(job.folder, inputs.digest(job.run.config, self.protocol))
        lists, counts = draw_lists(pairs, families, self.protocol)
        write_lists(lists, self.out)
        alike = ", ".join(self.protocol.match)
        say(
            f"{len(lists['standard']):,} pairs, and {len(lists['matched']):,} matched by {alike}: "
            f"{counts['matched'].sum():,} of {counts['kin'].sum():,} kin pairs have a matched non-kin pair"
        )
        left = [job for job in self.wanted if job.result is None]
        devices = assign_devices(workers, find_devices(), count_cores())[: max(1, len(left))]
        say(f"{len(self.wanted)} runs, {len(self.wanted) - len(left)} of them done; {len(devices)} at a time")
        start, ended, failed = time.monotonic(), 0, 0

        def tell(job: Job, error: str | None) -> None:
            nonlocal ended, failed
            ended, failed = ended + 1, failed + (error is not None)
            minutes = (time.monotonic() - start) / ended * (len(left) - ended) / 60
            said = _summarise(job) if error is None else f"FAILED: {error} (more in {job.folder / LOG})"
            say(f"[{ended}/{len(left)}] {job.run.name}: {said}; about {minutes:.0f} min left")

        carry_out_all(left, devices, tell)
        return failed

    def write(self, show: Sequence[str] = ()) -> Frontier | None:
        """Compare all runs that are done, and write the files of ``Frontier.write``; None where no run is done."""
        order = self.ablation.methods
        while runs := [(job.run.method, job.run.strength, it) for job in self.jobs if (it := job.result) is not None]:
            runs.sort(key=lambda run: (order.index(run[0]), run[1] or 0.0))
            found = compare(runs, self.protocol, self.ablation.references)
            found.write(self.out, show)
            if len(runs) == self.done:  # otherwise another process has done one meanwhile
                return found
        return None

    @property
    def done(self) -> int:
        """How many runs are done."""
        return sum(job.result is not None for job in self.jobs)


def _summarise(job: Job) -> str:
    points = job.result.points
    leaks = ", ".join(f"{name} {points[f'{name}_best']:.2f}" for name in job.protocol.attributes)
    return f"AUC {points['auc_standard']:.3f}, matched {points['auc_matched']:.3f}; best attacker: {leaks}"


def describe_inputs(
    root: Path,
    embeddings: Path | None = None,
    swinface: Path | None = None,
    cache: Path | None = None,
    others: Path | None = None,
    others_embeddings: Path | None = None,
) -> dict[str, Any]:
    """The settings of every run of a sweep, as ``read_ablation`` takes them; options are those of ``kinface sweep``.

    Raises ``InputError`` if they exclude each other.
    """
    if (swinface is None) != (cache is None) or (swinface is not None and embeddings is not None):
        raise InputError("give embeddings, or swinface and cache together, or neither to train on images.")
    given = {"root": root, "embeddings": embeddings, "others": others, "others_embeddings": others_embeddings}
    inputs: dict[str, Any] = {"data": {name: str(path) for name, path in given.items() if path is not None}}
    inputs["trainer"] = {"enable_progress_bar": False}
    if swinface is not None:
        inputs["data"] |= {"cache": str(cache), "augment": False}
        inputs["model"] = {"network": {"swinface": str(swinface), "trained_stages": 0}}
    return inputs


def write_lists(lists: dict[str, pd.DataFrame], out: Path) -> None:
    """Write the lists that are not there yet. Raises ``InputError`` if the folder holds a sweep of another list."""
    columns = ["face_a", "face_b", "kin", "type", "race_a", "race_b", "gender_a", "gender_b"]
    for name, pairs in lists.items():
        path = out / f"{name}.parquet"
        if not path.exists():
            write_pairs(pairs, path)
        elif not read_pairs(path)[columns].astype(str).equals(pairs[columns].astype(str)):
            advice = "and runs there were measured on it; choose another folder"
            raise InputError(f"{path}: not the pairs of the list, {advice}.")
