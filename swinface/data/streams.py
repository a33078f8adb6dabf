"""Streams of training batches. Batch k depends only on the run's seed and k, so a resumed run sees the same batches.

A stream mixes sources by their shares and cycles through each on its own. One batch has a part of every stream.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import Dataset

from swinface.data.align import IMAGE_SIZE
from swinface.data.augment import STILL, Augmentation, make_input
from swinface.data.cache import map_computed
from swinface.data.embeddings import Embeddings, find_variance_within
from swinface.data.faces import covered, stack_faces
from swinface.data.source import Source
from swinface.files import InputError, tidy_path
from swinface.tasks import TASKS

DECODED = 1024  # faces that are decoded at once for the cache
SHRINKAGE = 0.1  # share of the mean variance that is added to each, where teachers are whitened


@dataclass(frozen=True)
class Unlabelled:
    """Tasks for which faces of a stream without a label get pseudo-labels, see ``swinface.training.pseudo``.

    Parameters
    ----------
    tasks
        Tasks with classes; another stream must have labels of them.
    confidence
        Lowest probability of a pseudo-label that is used.
    weight
        Weight of the loss on pseudo-labels, relative to that on labels.
    after
        Share of training after which pseudo-labels are used.
    """

    tasks: list[str]
    confidence: ClosedUnitInterval = 0.9
    weight: NonNegativeFloat = 0.5
    after: ClosedUnitInterval = 0.25


@dataclass
class Stream:
    """A part of every batch.

    Parameters
    ----------
    batch_size
        Faces of a batch and process.
    sources
        Data sets; each gives faces in proportion to its ``share``.
    augment
        How faces are changed, see ``swinface.data.augment``.
    pseudo_labels
        Tasks for which faces without a label get pseudo-labels.
    """

    batch_size: PositiveInt
    sources: list[Source]
    augment: Augmentation = "flip"
    pseudo_labels: Unlabelled | None = None


class Batches(Dataset):
    """Item k is the k-th batch of a run.

    Parameters
    ----------
    streams
        By name; those that a task names (``swinface.tasks``) give its labels.
    tasks
        Tasks whose labels are given, if a source has some.
    seed
        Seed of the run.
    rank
        Number of this process.
    processes
        Number of processes. They share one draw of ``batch_size * processes`` faces per stream.
    cache
        Folder for every source's decoded faces, mapped into memory: each face is decoded only once.
    whiten
        Whether teachers' embeddings are whitened by the within-identity covariance.

    Attributes
    ----------
    tasks
        The tasks with labels, in the order of the labels' columns.
    """

    def __init__(
        self,
        streams: dict[str, Stream],
        tasks: list[str],
        seed: int,
        rank: int = 0,
        processes: int = 1,
        cache: Path | None = None,
        whiten: bool = False,
    ) -> None:
        self.streams, self.seed, self.rank, self.processes = streams, seed, rank, processes
        # Everything about a source is kept by its place, (stream, number).
        self.sources = {
            (name, number): source for name, stream in streams.items() for number, source in enumerate(stream.sources)
        }
        self.tables = {place: source.table for place, source in self.sources.items()}
        self.shares = {name: self._divide_shares(name) for name in streams}
        self.faces = {place: keep_decoded(source, cache) for place, source in self.sources.items()} if cache else {}
        self.tasks, self.labels = self._read_labels(tasks)
        self.identity, self.identities = self._number_identities()
        self.teacher, self.teacher_size = self._read_teachers(whiten)
        self._orders: dict[tuple[str, int], tuple[int, np.ndarray]] = {}

    def _divide_shares(self, stream: str) -> list[float]:
        """The share of each source of a stream; those of a group divide theirs by their numbers of faces."""
        sources = self.streams[stream].sources
        faces, shares = [len(source) for source in sources], [source.share for source in sources]
        for group in {source.group for source in sources} - {None}:
            members = [number for number, source in enumerate(sources) if source.group == group]
            share, total = sum(shares[number] for number in members), sum(faces[number] for number in members)
            for number in members:
                shares[number] = share * faces[number] / total
        return shares

    def _read_labels(self, tasks: list[str]) -> tuple[list[str], dict[tuple[str, int], np.ndarray]]:
        """The tasks that have a label somewhere, and the (N, tasks) labels of each source that has some."""
        known = {place: table.dropna(axis=1, how="all") for place, table in self.tables.items()}
        columns = {
            place: [task for task in tasks if place[0] in TASKS[task].streams and task in table]
            for place, table in known.items()
        }
        self._check_learned(known)
        found = [task for task in tasks if any(task in own for own in columns.values())]
        for (stream, _), own in columns.items():
            moved = [task for task in own if TASKS[task].geometric]
            if moved and self.streams[stream].augment not in STILL:
                raise InputError(
                    f"data.streams.{stream}.augment: {self.streams[stream].augment!r} moves faces, which changes their "
                    f"{moved[0]}; choose {' or '.join(STILL)}."
                )
        labels = {place: known[place][own].reindex(columns=found) for place, own in columns.items() if own}
        return found, {place: table.to_numpy(np.float32) for place, table in labels.items()}

    def _check_learned(self, known: dict[tuple[str, int], pd.DataFrame]) -> None:
        """Refuse a stream from which no task, teacher or recognition could learn; ``known`` has labels by place."""
        for name, stream in self.streams.items():
            own = [task for task in TASKS if name in TASKS[task].streams]
            labelled = any(task in table for place, table in known.items() if place[0] == name for task in own)
            taught = stream.pseudo_labels is not None or any(source.teacher is not None for source in stream.sources)
            if not (labelled or taught or name == "recognition"):
                names = dict.fromkeys(["recognition", *(it for task in TASKS.values() for it in task.streams)])
                why = "its sources have no labels of its tasks" if own else f"streams are named {', '.join(names)}"
                raise InputError(f"data.streams.{name}: nothing would be learned from it; {why}.")

    def class_shares(self, task: str) -> list[float]:
        """How often each class of a task occurs among the faces with a label, sources counted by their shares."""
        column, counts = self.tasks.index(task), np.zeros(TASKS[task].classes)
        for place, labels in self.labels.items():
            known = labels[:, column][~np.isnan(labels[:, column])].astype(int)
            if len(known):
                counts += self.shares[place[0]][place[1]] * np.bincount(known, minlength=len(counts)) / len(known)
        return (counts / counts.sum()).tolist()

    def _number_identities(self) -> tuple[dict[tuple[str, int], np.ndarray], int]:
        """Every source's (N,) identity numbers, and how many there are; -1 where a face has none.

        Only people of the stream ``recognition`` have numbers; in a set that occurs twice they have the same.
        """
        numbers: dict[str, int] = {}
        columns = {}
        for (stream, number), table in self.tables.items():
            if stream != "recognition" or "identity" not in table:
                columns[stream, number] = np.full(len(table), -1)
                continue
            where = self.sources[stream, number].people_root
            codes, people = pd.factorize(table["identity"])
            known = [numbers.setdefault(f"{where}/{person}", len(numbers)) for person in people]
            columns[stream, number] = np.where(codes < 0, -1, np.array([*known, -1])[codes]).astype(np.int32)
        return columns, len(numbers)

    def _read_teachers(self, whiten: bool) -> tuple[dict[tuple[str, int], np.ndarray], int]:
        """Every source's (N, D) teacher embeddings, NaN where there is none, and D; 0 without any teacher.

        They have unit length and are then centred: otherwise the cosines of all faces would be nearly the same.
        """
        paths = {source.teacher for source in self.sources.values() if source.teacher is not None}
        tables = {path: Embeddings(path) for path in paths}
        sizes = {table.size for table in tables.values()}
        if len(sizes) > 1:
            raise InputError(f"teachers of one run must agree in size; these have {sorted(sizes)} numbers per face.")
        size = max(sizes, default=0)
        columns = {}
        for place, source in self.sources.items():
            images = self.tables[place]["image"]
            columns[place] = np.full((len(images), size), np.nan, np.float32)
            if source.teacher is not None:
                known = images.map(tidy_path).isin(tables[source.teacher].rows).to_numpy()
                if not known.any():
                    raise InputError(f"{source.teacher}: has none of the faces below {source.root}.")
                columns[place][known] = tables[source.teacher][list(images[known])]
        if size:
            with np.errstate(invalid="ignore"):  # zeros, which say nothing of a face, become NaN
                columns = {place: column / np.linalg.norm(column, axis=1)[:, None] for place, column in columns.items()}
            mean = np.nanmean(np.concatenate(list(columns.values())), axis=0)
            columns = {place: column - mean for place, column in columns.items()}
        if whiten:
            columns = self._whiten(columns)
        return columns, size

    def _whiten(self, columns: dict[tuple[str, int], np.ndarray]) -> dict[tuple[str, int], np.ndarray]:
        """Teachers' embeddings in which all directions differ as much between faces of one identity.

        A teacher's numbers tell of a face's pose and light, too; whitened ones tell more of the person (WCCN; Hatch,
        Kajarekar & Stolcke, Interspeech 2006).
        """
        known = {place: ~np.isnan(column).any(axis=1) for place, column in columns.items()}
        values = np.concatenate([columns[place][rows] for place, rows in known.items()]).astype(float)
        people = np.concatenate([self.identity[place][rows] for place, rows in known.items()])
        try:
            variance, axes = find_variance_within(values, people)
        except ValueError as error:
            raise InputError(f"data.whiten: of faces of the stream recognition that have a teacher, {error}") from None
        scale = axes / np.sqrt(variance + SHRINKAGE * variance.mean())
        return {place: (column @ scale).astype(np.float32) for place, column in columns.items()}

    def __getitem__(self, step: int) -> dict:
        """One batch: ``images`` (B, 3, 112, 112) float32, scaled, the streams one after the other; ``identity`` (B,)
        int64, -1 where unknown; ``teacher`` (B, D); ``labels`` (B, T) float32 of the T ``tasks``, NaN where unknown or
        where the row's stream does not teach the task; ``step``."""
        generator = np.random.SeedSequence([self.seed, step, self.rank])
        images, rows = [], []
        # RandAugment draws from Python's and numpy's generators too. The GPU's is not touched: a worker that was forked
        # from a process with CUDA must not use it.
        with isolate_rng(include_cuda=False):
            seeds = generator.generate_state(3)
            torch.default_generator.manual_seed(int(seeds[0]))
            random.seed(int(seeds[1]))
            np.random.seed(int(seeds[2]))  # noqa: NPY002
            for name, stream in self.streams.items():
                drawn = self._draw(name, step)
                frames = torch.tensor([covered(self.sources[place].crop) for place, _ in drawn])
                images.append(make_input(self._read(drawn), stream.augment, frames))
                rows += drawn
        return {
            "images": torch.cat(images),
            "identity": torch.tensor([int(self.identity[place][row]) for place, row in rows]),
            "teacher": torch.from_numpy(np.stack([self.teacher[place][row] for place, row in rows])),
            "labels": self._look_up_labels(rows),
            "step": step,
        }

    def _look_up_labels(self, rows: list[tuple[tuple[str, int], int]]) -> Tensor:
        labels = np.full((len(rows), len(self.tasks)), np.nan, np.float32)
        for number, (place, row) in enumerate(rows):
            if place in self.labels:
                labels[number] = self.labels[place][row]
        return torch.from_numpy(labels)

    def _draw(self, name: str, step: int) -> list[tuple[tuple[str, int], int]]:
        """(place, row) of this process's faces of a stream's part of a batch.

        Each source goes on where its part of the last batch ended.
        """
        stream = self.streams[name]
        size = stream.batch_size * self.processes
        counts = [count_faces(done * size, self.shares[name]) for done in (step, step + 1)]
        drawn = []
        for number in range(len(stream.sources)):
            faces = len(self.tables[name, number])
            for position in range(counts[0][number], counts[1][number]):
                cycle, rest = divmod(position, faces)
                drawn.append(((name, number), int(self._order(name, number, cycle, faces)[rest])))
        return drawn[self.rank :: self.processes]

    def _order(self, name: str, number: int, cycle: int, faces: int) -> np.ndarray:
        """The order of a source's faces in one of its cycles; only the last one is kept in memory."""
        kept = self._orders.get((name, number))
        if kept is None or kept[0] != cycle:
            entropy = [self.seed, list(self.streams).index(name), number, cycle]
            order = np.random.default_rng(entropy).permutation(faces).astype(np.int32)
            kept = self._orders[name, number] = cycle, order
        return kept[1]

    def _read(self, drawn: list[tuple[tuple[str, int], int]]) -> Tensor:
        if self.faces:
            return torch.from_numpy(np.stack([self.faces[place][row] for place, row in drawn]))
        return torch.from_numpy(np.stack([self.sources[place].read(row).transpose(2, 0, 1) for place, row in drawn]))


def count_faces(total: int, shares: Sequence[float]) -> list[int]:
    """How many of a stream's first ``total`` faces are from each source. No number falls when ``total`` grows.

    >>> count_faces(10, [2, 1, 1])
    [5, 2, 3]
    """
    counts, left = [], total
    for place in range(len(shares) - 1):
        counts.append(math.floor(left * shares[place] / sum(shares[place:]) + 1e-9))
        left -= counts[-1]
    return [*counts, left]


def keep_decoded(source: Source, folder: Path) -> np.ndarray:
    """A source's faces, (N, 3, 112, 112) uint8, decoded once and mapped from a file named by ``Source.digest``."""
    path = folder / f"faces-{source.digest()}.npy"
    shape = (len(source), 3, IMAGE_SIZE, IMAGE_SIZE)

    def decode(part: slice) -> np.ndarray:
        return stack_faces(source.read, range(part.start, part.stop)).numpy()

    return map_computed(path, shape, np.uint8, decode, DECODED, "decode")
