"""``kinface sweep``: the runs of an ablation, measured alike, and the frontier of what debiasing costs and removes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
import yaml
from threadpoolctl import threadpool_limits

from kinface.ablation import Ablation, Run, read_ablation
from kinface.faces import cache_levels, read_faces
from kinface.fairness import choose_threshold
from kinface.families import Families
from kinface.fit import check_config, fit
from kinface.fiw import read_any_list, read_families
from kinface.frontier import ATTRIBUTES, LISTS, TARGETS, measure, read_result, tabulate, write_frontier, write_result
from kinface.matching import match_pairs
from kinface.model import KinFace
from kinface.pairs import read_pairs, score_pairs, write_pairs
from kinface.plots import plot_frontier
from kinface.score import embed_faces, embed_tensor, load_model
from swinface.embeddings import Embeddings
from swinface.files import InputError, replacing, working_alone

MATCHED_BY = ("race", "type", "gender")
EXPERIMENT, LOG = "experiment.yaml", "log.txt"  # of each run, beside what `kinface fit` writes
MODEL = "model.safetensors"
STOPPED = 143  # exit status of a process that was told to end
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
        Runs at a time, each on a core; by default as many as there are cores.
    only
        Methods to run; the table has all that are done.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    """
    if (swinface is None) != (cache is None) or (swinface is not None and embeddings is not None):
        raise InputError("give --embeddings, or --swinface and --cache together, or neither for images as in base.")
    inputs = {"data": {"root": str(root)}, "trainer": {"enable_progress_bar": False}}
    if embeddings is not None:
        inputs["data"] |= {"embeddings": str(embeddings)}
    if swinface is not None:
        inputs["data"] |= {"cache": str(cache), "augment": False}
        inputs["model"] = {"swinface": str(swinface), "trained_stages": 0}
    matrix = read_ablation(ablation, inputs)
    for method in only or []:
        if method not in matrix.methods:
            raise InputError(f"--only {method}: the methods of {ablation} are {', '.join(matrix.methods)}.")
    jobs = [Job(run, out) for run in matrix.expand()]
    wanted = [job for job in jobs if not only or job.run.method in only]
    _check_configurations(wanted)
    with working_alone(out):
        _check_folders(jobs)
        families = read_families(root)
        _write_lists(read_any_list(list, root, families, swap_grandparents=swap_grandparents), families, out)
        failed = _carry_out_all(wanted, workers or joblib.cpu_count())
        _write_frontier(jobs, matrix, out)
    if failed:
        raise InputError(f"{failed} of {len(wanted)} runs failed; once mended, the same command tries these again.")


@dataclass(frozen=True)
class Job:
    """A run, and the folder of the sweep that it belongs to, which holds the lists it is measured on."""

    run: Run
    out: Path

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out / "runs" / self.run.name

    @property
    def is_done(self) -> bool:
        """Whether it is trained and measured."""
        return read_result(self.folder) is not None

    def carry_out(self) -> str | None:
        """Train and measure as far as that is not done, and return what went wrong."""
        with replacing(self.folder / EXPERIMENT) as partial:
            partial.write_text(yaml.safe_dump(self.run.config, sort_keys=False), encoding="utf-8")
        with _logged(self.folder / LOG), _one_core():
            try:
                if not (self.folder / MODEL).exists():
                    fit([f"--config={self.folder / EXPERIMENT}", f"--run={self.folder}"])
                self._measure()
            except Exception as error:
                traceback.print_exc()
                return " ".join(str(error).split()) or type(error).__name__
        return None

    def _measure(self) -> None:
        families = read_families(self.run.config["data"]["root"])
        lists = {name: read_pairs(self.out / f"{name}.parquet") for name in LISTS}
        people = _list_faces(families, lists["standard"])
        faces = [*people["face"]]
        embedding = self._embed(load_model(self.folder), families.root, faces)
        scored = {name: score_pairs(pairs, faces, embedding) for name, pairs in lists.items()}
        threshold = choose_threshold(read_pairs(self.folder / "tune_scores.parquet", scored=True))
        write_result(self.folder, measure(scored, threshold, embedding, people))

    def _embed(self, model: KinFace, root: Path, faces: list[str]) -> np.ndarray:
        """(N, D) unit embeddings; what a frozen trunk makes of faces is read from the cache."""
        data = self.run.config["data"]
        if data.get("cache") is None:
            inputs = data.get("embeddings")
            return embed_faces(model, root, faces, None if inputs is None else Embeddings(Path(inputs)))
        return embed_tensor(model, cache_levels(model.trunk, read_faces(root, faces), Path(data["cache"])))


def _check_configurations(jobs: list[Job]) -> None:
    """Refuse, before anything is run, what ``kinface fit`` would not read."""
    first_of_methods = {job.run.method: job for job in reversed(jobs)}
    for method, job in first_of_methods.items():
        try:
            check_config(job.run.config)
        except (InputError, ArgumentError) as error:
            raise InputError(f"methods.{method}: {error}") from None


def _check_folders(jobs: list[Job]) -> None:
    """Refuse folders of runs that had another configuration than they would have now."""
    for job in jobs:
        earlier = job.folder / EXPERIMENT
        if earlier.exists() and yaml.safe_load(earlier.read_text(encoding="utf-8")) != job.run.config:
            raise InputError(
                f"{job.folder}: was run with another configuration, see its {EXPERIMENT}; delete the folder to run it "
                "again, or choose another --out."
            )


def _list_faces(families: Families, pairs: pd.DataFrame) -> pd.DataFrame:
    """All faces of the splits that a list is of, with what is known of their persons."""
    faces = families.faces[["face", "person", "family", "split"]]
    of_pairs = faces["face"].isin({*pairs["face_a"], *pairs["face_b"]})
    faces = faces[faces["split"].isin(faces["split"][of_pairs].unique())]
    return faces.merge(families.people[["person", *ATTRIBUTES]], on="person", how="left")


def _write_lists(standard: pd.DataFrame, families: Families, out: Path) -> None:
    """Draw the matched list, once and for all runs, and write both.

    Raises
    ------
    InputError
        The list is of training families, or the folder holds a sweep of another list.
    """
    if "train" in {*_list_faces(families, standard)["split"]}:
        raise InputError("--list: has pairs of training families; measure on families of val or test.")
    matched, counts = match_pairs(standard, families, MATCHED_BY)
    for name, pairs in zip(LISTS, (standard, matched), strict=True):
        path = out / f"{name}.parquet"
        columns = ["face_a", "face_b", "kin", "type", "race_a", "race_b", "gender_a", "gender_b"]
        if path.exists() and not read_pairs(path)[columns].astype(str).equals(pairs[columns].astype(str)):
            raise InputError(
                f"{path}: not the pairs that --list gives; runs there are of other pairs: choose another --out."
            )
        if not path.exists():
            write_pairs(pairs, path)
    print(
        f"{len(standard):,} pairs, and {len(matched):,} matched by {', '.join(MATCHED_BY)}: "
        f"{counts['matched'].sum():,} of {counts['kin'].sum():,} kin pairs found a partner"
    )


def _carry_out_all(jobs: list[Job], workers: int) -> int:
    """Carry out what is not done, say how it goes, and return how many failed."""
    left = [job for job in jobs if not job.is_done]
    workers = min(workers, max(1, len(left)))
    print(f"{len(jobs)} runs, {len(jobs) - len(left)} of them done; {workers} at a time", flush=True)
    start, ended, failed = time.monotonic(), 0, 0

    def tell(job: Job, error: str | None) -> None:
        nonlocal ended, failed
        ended, failed = ended + 1, failed + (error is not None)
        minutes = (time.monotonic() - start) / ended * (len(left) - ended) / 60
        said = _summarise(job) if error is None else f"FAILED: {error} (more in {job.folder / LOG})"
        print(f"[{ended}/{len(left)}] {job.run.name}: {said}; about {minutes:.0f} min left", flush=True)

    try:
        (_share_out if workers > 1 else _take_turns)(left, workers, tell)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the last finished epoch of each run") from None
    return failed


def _take_turns(jobs: list[Job], workers: int, tell: Callable[[Job, str | None], None]) -> None:
    for job in jobs:
        tell(job, job.carry_out())


def _share_out(jobs: list[Job], workers: int, tell: Callable[[Job, str | None], None]) -> None:
    """Carry out jobs in processes of their own. None is handed out before one is free, so that none begins after all
    are told to stop."""
    waiting, under_way = jobs[::-1], {}
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))  # a scheduler stops the pool too
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare_worker) as pool:
        try:
            while waiting or under_way:
                while waiting and len(under_way) < workers:
                    job = waiting.pop()
                    under_way[pool.submit(_carry_out_or_end, job)] = job
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    tell(under_way.pop(done), done.result())
        except BrokenProcessPool:
            raise InputError(
                "a process was killed, as happens where memory runs out; go on with fewer --workers."
            ) from None
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def _prepare_worker() -> None:
    """Ctrl-C reaches every process of a terminal; the one that started the others tells them to end.

    They end as by an exception, so that nothing half written is left.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))


def _carry_out_or_end(job: Job) -> str | None:
    """What a process of its own does; told to stop, it ends without a word, for nobody listens any more."""
    try:
        return job.carry_out()
    except KeyboardInterrupt:
        os._exit(130)


@contextmanager
def _one_core() -> Iterator[None]:
    """Runs side by side on a core each are faster than one after the other on all."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Append what is printed to a file."""
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield


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
