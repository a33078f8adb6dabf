"""The data of a training run: streams of batches, and benchmarks on data set aside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import lightning
import numpy as np
import pandas as pd
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch.utils.data import DataLoader, Sampler

from swinface.benchmarks.benchmark import Benchmark
from swinface.cores import count_cores
from swinface.data.streams import Batches, Stream, keep_decoded
from swinface.files import InputError, digest_file
from swinface.inference import work_together
from swinface.photos.alignment import warn_unaligned


class Steps(Sampler):
    """The numbers of an epoch's batches, counted from the start of the run, also before it was interrupted."""

    def __init__(self, per_epoch: int, count_done: Callable[[], int]) -> None:
        self.per_epoch, self.count_done = per_epoch, count_done

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        done = self.count_done()
        return iter(range(done, done + self.per_epoch))


class KeptData(lightning.LightningDataModule):
    """Data that must not change when a run is resumed: the classes that it has learned would be other people's, and
    its best epoch and threshold could be chosen on people that it was trained on.

    A checkpoint keeps ``digest``, of what the run learns from and is chosen by, which a subclass gives.
    """

    digest: str
    learned_from: ClassVar[str]  #: what the digest is of, for messages

    def state_dict(self) -> dict[str, str]:
        return {"digest": self.digest}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Raise ``InputError`` if the run began with other data."""
        if state != self.state_dict():
            raise InputError(
                f"{self.learned_from} are not those that the run began with; restore them, or start a new run in "
                "another folder."
            )


class FaceData(KeptData):
    """The streams that SwinFace trains on.

    Parameters
    ----------
    streams
        Streams by name: ``recognition`` trains identities; ``age_gender``, ``celeba`` and ``expression`` train the
        tasks that name them. Streams whose sources have a teacher are also used for distillation.
    epoch_size
        Faces of an epoch, of all streams and processes together, so that its length does not depend on the number of
        devices. Each stream cycles through its own data.
    workers
        Processes that decode and augment; at most the number of cores.
    cache
        Folder for decoded faces, 38 kB each; useful for sets that are seen many times.
    whiten
        Whether teachers' embeddings are whitened by the within-identity covariance of ``recognition``.
    validation
        Benchmarks to run after each epoch, by name, on people or images that the streams do not have. The epoch with
        the lowest mean error is kept, see ``swinface.training.validation``. Without a benchmark the last epoch is kept.
    seed
        Seed of the run; set from ``seed_everything``.
    """

    learned_from = "data.streams: faces, labels or teachers"

    def __init__(
        self,
        streams: dict[str, Stream],
        epoch_size: PositiveInt = 100_000,
        workers: NonNegativeInt = 0,
        cache: Path | None = None,
        whiten: bool = False,
        validation: dict[str, Benchmark] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not streams:
            raise InputError("data.streams: name at least one stream to train on.")
        for name, stream in streams.items():
            if not stream.sources:
                raise InputError(f"data.streams.{name}.sources: name at least one data set, or leave the stream out.")
        self.streams, self.epoch_size, self.workers, self.cache, self.seed = streams, epoch_size, workers, cache, seed
        self.whiten = whiten
        self.validation = validation or {}

    @property
    def batch_size(self) -> int:
        """Faces of a batch and process."""
        return sum(stream.batch_size for stream in self.streams.values())

    def rows(self, stream: str) -> slice:
        """The rows of a batch that are a stream's."""
        names = list(self.streams)
        start = sum(self.streams[name].batch_size for name in names[: names.index(stream)])
        return slice(start, start + self.streams[stream].batch_size)

    @property
    def steps(self) -> int:
        """Batches of an epoch, for each process."""
        return max(1, round(self.epoch_size / (self.batch_size * self.trainer.world_size)))

    def setup(self, stage: str) -> None:
        """Read labels. One process checks the faces for all, and decodes them if they are kept."""
        tasks = self.trainer.lightning_module.tasks
        work_together(lambda: self._check_faces() if self.trainer.is_global_zero else None, self.trainer.world_size)
        self.batches = Batches(
            self.streams, tasks, self.seed, self.trainer.global_rank, self.trainer.world_size, self.cache, self.whiten
        )

    @cached_property
    def digest(self) -> str:
        """Of the faces' names, what is known of each, and the teachers' files; not of pixels."""
        digest = hashlib.sha256()
        for place, table in self.batches.tables.items():
            digest.update(pd.util.hash_pandas_object(table["image"], index=False).to_numpy())
            for known in (self.batches.identity, self.batches.labels):
                digest.update(np.ascontiguousarray(known.get(place, ())))
            if (teacher := self.batches.sources[place].teacher) is not None:
                digest.update(digest_file(teacher).encode())
        return digest.hexdigest()

    def _check_faces(self) -> None:
        """Warn of faces that are not aligned, and fill the cache."""
        for stream in self.streams.values():
            for source in stream.sources:
                warn_unaligned(source.read, range(len(source)), source.root)
                if self.cache is not None:
                    keep_decoded(source, self.cache)

    def train_dataloader(self) -> DataLoader:
        """One item is one batch, see ``Batches``."""
        steps = Steps(self.steps, lambda: self.trainer.fit_loop.total_batch_idx + 1)
        return DataLoader(
            self.batches,
            batch_size=None,
            sampler=steps,
            num_workers=min(self.workers, count_cores()),
            persistent_workers=self.workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )

    def val_dataloader(self) -> DataLoader | list:
        """One item, for which all benchmarks are run; none without benchmarks."""
        return DataLoader([0], batch_size=None) if self.validation else []
