"""Batches of kin pairs: batch k of a run is a function of the run's seed and k, so a resumed run sees the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinface.data.families import Families, read_prepared_list
from kinface.data.fiw import read_families, read_people
from kinface.data.labels import encode_labels
from kinface.data.matching import match_pairs
from kinface.data.pairs import score_pairs
from kinface.data.prepare import SAMPLED, TUNE_MATCHES
from kinface.data.sampling import sample_pairs
from kinface.data.triplets import sample_triplets, score_triplets
from kinface.data.vocabulary import KIN, TYPES
from kinface.models.faces import BATCH, read_faces, warn_of_unaligned
from swinface.cores import count_cores
from swinface.data.augment import augment
from swinface.data.cache import map_computed
from swinface.data.embeddings import Embeddings
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.inference import digest_weights
from swinface.training.data import KeptData, Steps
from swinface.trunk import GRID, Trunk


class KinBatches(Dataset):
    """Item k is the k-th batch of a run: kin pairs of ``batch_size`` different families.

    First a family is drawn, then one of its relations, then a face of each person, so that neither large families nor
    people with many photos dominate. A family occurs once in a batch, because contrastive losses treat all other pairs
    of the batch as unrelated.

    ``faces`` and ``relations`` are tables of one split, see ``kinface.data.fiw``. Relations without one of the 11 types
    are left out, but for those of kin of whom no more is known; and those with a person without faces. For each row of
    ``faces``, ``inputs`` (N, ...) are those of the model, ``labels`` has by attribute (N,) class indices, -1 where
    unknown, and ``teacher`` (N, D) embeddings by a teacher. Processes share one draw of ``batch_size * processes``
    families. With ``augment``, images are changed at random, see ``swinface.data.augment.augment``: ``light``.
    """

    def __init__(
        self,
        inputs: Tensor,
        faces: pd.DataFrame,
        relations: pd.DataFrame,
        labels: dict[str, Tensor],
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        augment: bool = False,
        teacher: Tensor | None = None,
    ) -> None:
        self.inputs, self.labels, self.teacher = inputs, labels, teacher
        self.seed, self.rank, self.processes, self.augment = seed, rank, processes, augment
        rows = dict(faces.reset_index(drop=True).groupby("person").indices)
        kin = relations["type"].notna() | (relations["relation"] == KIN)
        usable = relations[kin & relations["person_a"].isin(rows) & relations["person_b"].isin(rows)]
        codes = {code: place for place, code in enumerate(TYPES)}
        self.families = [
            [(rows[row.person_a], rows[row.person_b], codes.get(row.type, -1)) for row in family.itertuples()]
            for _, family in usable.groupby("family", sort=True)
        ]
        if batch_size < 2:
            raise InputError(f"data.batch_size {batch_size}: a batch needs 2 families or more.")
        self.batch_size = min(batch_size, len(self.families) // processes)
        if self.batch_size < 2:
            raise InputError(
                f"{len(self.families)} families with kin pairs are too few to train on; a process needs 2."
            )

    def __len__(self) -> int:
        return max(1, sum(map(len, self.families)) // (self.batch_size * self.processes))

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Batch ``step``: ``faces`` (2B, ...), all first faces and then all second ones; ``type`` (B,), -1 if unknown;
        each label as (2B,); ``step``; ``teacher`` (2B, D) if there is a teacher."""
        random = np.random.default_rng([self.seed, step])
        drawn = random.choice(len(self.families), self.batch_size * self.processes, replace=False)
        pairs = [self._draw_pair(self.families[family], random) for family in drawn]
        a, b, kind = np.array(pairs[self.rank :: self.processes]).T
        rows = torch.from_numpy(np.concatenate([a, b]))
        faces = self.inputs[rows]
        if self.augment:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(random.integers(2**63)) + self.rank)
                faces = augment(faces, "light")
        labels = {name: values[rows] for name, values in self.labels.items()}
        teacher = {} if self.teacher is None else {"teacher": self.teacher[rows]}
        return {"faces": faces, "type": torch.from_numpy(kind), "step": step, **labels, **teacher}

    def expect_faces(self) -> Tensor:
        """(N,) how often each face is drawn, as a share of all draws."""
        shares = np.zeros(len(self.inputs))
        for relations in self.families:
            for rows in (side for *sides, _ in relations for side in sides):
                shares[rows] += 1 / (2 * len(self.families) * len(relations) * len(rows))
        return torch.from_numpy(shares)

    @staticmethod
    def _draw_pair(relations: list, random: np.random.Generator) -> tuple[int, int, int]:
        faces_a, faces_b, kind = relations[random.integers(len(relations))]
        pair = random.choice(faces_a), random.choice(faces_b)
        return (*(pair if random.random() < 0.5 else pair[::-1]), kind)


def read_tune_pairs(root: Path, families: Families) -> dict[str, pd.DataFrame]:
    """Read the pairs that select the best epoch: ``standard``, and ``matched`` if pairs can be matched.

    A prepared folder has both lists. For a FIW folder they are drawn in the same way, see ``kinface.data.matching``.
    """
    standard, matched = (read_prepared_list(root, name) for name in SAMPLED)
    lists = {"standard": sample_pairs(families, "tune") if standard is None else standard, "matched": matched}
    if matched is None:
        try:
            lists["matched"], _ = match_pairs(lists["standard"], families, TUNE_MATCHES)
        except InputError:  # too few people share attributes, or the attributes are unknown
            del lists["matched"]
    return lists


def _read_inputs(faces: pd.DataFrame, root: Path, table: Embeddings | None) -> Tensor:
    """What the model reads of a table of faces: its embeddings, or without these the images below ``root``."""
    paths = list(faces["face"])
    return read_faces(root, paths) if table is None else torch.from_numpy(table[paths])


def cache_levels(trunk: Trunk, images: Tensor, folder: Path) -> Tensor:
    """The levels of a frozen trunk, (N, sum(trunk.channels), 7, 7) float16, computed once and then mapped from a file.

    The trunk is in evaluation mode; images are (N, 3, 112, 112) uint8. The name of the file is a digest of weights and
    images, so other weights or other faces get a file of their own.
    """
    digest = hashlib.sha256(images.numpy())
    digest.update(digest_weights(trunk).encode())
    path = folder / f"levels-{digest.hexdigest()[:16]}.npy"
    device, shape = next(trunk.parameters()).device, (len(images), sum(trunk.channels), GRID, GRID)

    @torch.inference_mode()
    def compute(part: slice) -> np.ndarray:
        return trunk(scale_pixels(images[part].to(device)))[0].half().cpu().numpy()

    # Torch warns about memory that it may not write to.
    return torch.from_numpy(map_computed(path, shape, np.float16, compute, BATCH, "levels", writable=True))


class KinshipData(KeptData):
    """FIW for training: kin pairs of the train families, and the pairs of the tune families that select the best epoch.

    Parameters
    ----------
    root
        A FIW folder, or a folder that ``kinface prepare`` made of it.
    embeddings
        Train on this table of embeddings (.npz with ``face`` and ``embedding``) in place of images.
    batch_size
        Families per batch and process.
    steps
        Batches per epoch; by default each relation is drawn once per epoch on average.
    augment
        Flip, move and recolour the training images; embeddings do not change.
    workers
        Processes that augment, as far as there are cores. The decoded faces are in memory, so 0 is best without
        augmentation.
    teacher
        Table (.npz) of the embeddings of the training faces by a teacher, for ``model.distillation``.
    others
        People outside FIW to fit erasers on too; no relatives are needed. A table (.csv or .parquet) with a row per
        face, ``face``, ``person``, ``family`` and attributes; paths of faces start from its folder. A map fitted on
        more people leaves less of an attribute on other people.
    others_embeddings
        Their embeddings, by the recogniser of ``embeddings``.
    cache
        Folder for the levels of a frozen trunk, so that they are computed once and not in each epoch.
    seed
        Draws the batches; set from ``seed_everything``. The split and the tune pairs do not depend on it, so that runs
        that differ by their seed are measured on the same pairs.
    """

    learned_from = "data: its people, lists or embeddings"

    def __init__(
        self,
        root: Path,
        embeddings: Path | None = None,
        batch_size: int = 64,
        steps: PositiveInt | None = None,
        augment: bool = False,
        workers: NonNegativeInt = 0,
        teacher: Path | None = None,
        others: Path | None = None,
        others_embeddings: Path | None = None,
        cache: Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root, self.batch_size, self.steps, self.seed = root, batch_size, steps, seed
        self.augment, self.workers = augment and embeddings is None, workers
        self.cache = cache
        self.table = None if embeddings is None else Embeddings(embeddings)
        self.teacher = None if teacher is None else Embeddings(teacher)
        self.others = None if others is None else read_people(others)
        self.others_root = None if others is None else Path(others).parent
        self.others_table = None if others_embeddings is None else Embeddings(others_embeddings)
        if (self.others_table is not None) != (self.others is not None and self.table is not None):
            raise InputError("data.others_embeddings goes with data.others where the model reads data.embeddings.")
        if cache is not None and (augment or embeddings is not None):
            other = "data.augment" if augment else "data.embeddings"
            raise InputError(f"data.cache keeps the levels of unchanged images; leave out {other} or data.cache.")

    @property
    def embedding_size(self) -> int | None:
        """Numbers per embedding, or None if the model reads images."""
        return None if self.table is None else self.table.size

    @property
    def teacher_size(self) -> int | None:
        """Numbers per embedding of the teacher, or None without one."""
        return None if self.teacher is None else self.teacher.size

    def setup(self, stage: str) -> None:
        """Read families, decode every face that is used once, and read or draw the tune pairs."""
        self.families = read_families(self.root)
        self.tune_pairs = read_tune_pairs(self.root, self.families)
        faces, root = self.families.faces, self.families.root
        sides = [table[side] for table in self.tune_pairs.values() for side in ("face_a", "face_b")]
        paired = faces["face"].isin(pd.concat(sides))
        self.tune_faces = faces[paired].reset_index(drop=True)
        self.train_faces = faces[faces["split"] == "train"].reset_index(drop=True)
        if self.table is None and self.trainer.is_global_zero:
            warn_of_unaligned(root, list(self.train_faces["face"]))
        self.tune_inputs = _read_inputs(self.tune_faces, root, self.table)
        self.others_inputs = None
        if self.others is not None:
            self.others_inputs = _read_inputs(self.others, self.others_root, self.others_table)
        relations = self.families.relations
        if self.trainer.lightning_module.type_weight and (relations["relation"] == KIN).any():
            raise InputError(f"{self.root}: the types of its kin are unknown: set model.type_weight to 0.")
        self.batches = KinBatches(
            _read_inputs(self.train_faces, root, self.table),
            self.train_faces,
            relations[relations["split"] == "train"],
            self.labels(self.train_faces),
            self.batch_size,
            self.seed,
            self.trainer.global_rank,
            self.trainer.world_size,
            self.augment,
            self._read_teacher(),
        )
        self.steps = self.steps or len(self.batches)

    @cached_property
    def digest(self) -> str:
        """Of train and tune families and of others alone, and of their embeddings: what else a folder or a table has
        may change."""
        relations, faces = self.families.relations, pd.concat([self.train_faces, self.tune_faces])
        labels = {name: codes.numpy() for name, codes in self.labels(faces).items()}
        tables = [faces[["face", "person", "split"]].assign(**labels), relations[relations["split"] == "train"]]
        tables += [pairs[["face_a", "face_b", "kin"]] for pairs in self.tune_pairs.values()]
        if self.others is not None:
            tables.append(self.others[["face", "person", *(name for name in labels if name in self.others)]])
        digest = hashlib.sha256("".join(table.to_csv(index=False) for table in tables).encode())
        embeddings = [] if self.table is None else [self.batches.inputs, self.tune_inputs, self.others_inputs]
        for values in (self.batches.teacher, *embeddings):
            if values is not None:
                digest.update(values.contiguous().numpy())
        return digest.hexdigest()

    def _read_teacher(self) -> Tensor | None:
        """Embeddings of the training faces by the teacher, less their mean, which all faces share."""
        if self.teacher is None:
            return None
        taught = torch.from_numpy(self.teacher[list(self.train_faces["face"])])
        return taught - taught.mean(dim=0)

    def cache_inputs(self, trunk: Trunk) -> None:
        """Replace images by the levels of a frozen trunk."""
        self.tune_inputs = cache_levels(trunk, self.tune_inputs, self.cache)
        self.batches.inputs = cache_levels(trunk, self.batches.inputs, self.cache)
        if self.others_inputs is not None:
            self.others_inputs = cache_levels(trunk, self.others_inputs, self.cache)

    def labels(self, faces: pd.DataFrame) -> dict[str, Tensor]:
        """(N,) class indices of faces, for each attribute that the model needs; -1 if unknown."""
        people = self.families.people.set_index("person")
        labels = {}
        for name, classes in self.trainer.lightning_module.attributes.items():
            if name not in people:
                raise InputError(f"model: {name}: the people table has no column {name!r}.")
            labels[name] = torch.from_numpy(encode_labels(people[name].reindex(faces["person"]), classes, name)[0])
        return labels

    def describe_known(self) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """What erasures are fitted on, the training faces and then those of others, as ``train_inputs`` gives them.

        These are (N + M,) how much each face counts, and the family of each, -1 for others; attribute to the (N,)
        classes of training faces, and to the (M,) classes of others, where they are known.
        """
        weight, labels = self.batches.expect_faces(), self.labels(self.train_faces)
        families = torch.from_numpy(pd.factorize(self.train_faces["family"])[0])
        if self.others is None:
            return weight, families, labels, {}
        people = self.others["person"]
        of_others = torch.from_numpy(1 / people.groupby(people).transform("size").to_numpy(float) / people.nunique())
        weight = torch.cat([weight, of_others])
        families = torch.cat([families, torch.full((len(people),), -1)])
        attributes = self.trainer.lightning_module.attributes
        known = {
            name: torch.from_numpy(encode_labels(self.others[name], classes, f"data.others: {name}")[0])
            for name, classes in attributes.items()
            if name in self.others
        }
        known = {name: codes for name, codes in known.items() if len(codes[codes >= 0].unique()) > 1}
        if not known:
            raise InputError(f"data.others: no column of {', '.join(attributes)} has two of its classes; name them so.")
        return weight, families, labels, known

    def score_tune_pairs(self, embedding: Tensor, name: str = "standard") -> pd.DataFrame:
        """Score the tune pairs by the cosines of (N, D) unit embeddings of ``tune_faces``."""
        return score_pairs(self.tune_pairs[name], self.tune_faces["face"], embedding.numpy())

    def score_tune_triplets(self, embedding: Tensor) -> pd.DataFrame | None:
        """Score triplets of father, mother and child by the same embeddings; None if no two families have such."""
        try:
            triplets = sample_triplets(replace(self.families, faces=self.tune_faces), "tune")
        except InputError:
            return None
        return score_triplets(triplets, self.tune_faces["face"], embedding.numpy())

    def train_inputs(self) -> Iterator[Tensor]:
        """Inputs of the model for all training faces, in the order of ``train_faces``, then for those of others."""
        yield from self.batches.inputs.split(BATCH)
        if self.others_inputs is not None:
            yield from self.others_inputs.split(BATCH)

    def train_dataloader(self) -> DataLoader:
        """One item is one batch, see ``KinBatches``."""
        steps = Steps(self.steps, lambda: self.trainer.fit_loop.total_batch_idx + 1)
        workers = min(self.workers, count_cores())
        return DataLoader(self.batches, batch_size=None, sampler=steps, num_workers=workers)

    def val_dataloader(self) -> DataLoader:
        """The faces of the tune pairs, each once; every process reads all of them, so nothing is exchanged."""
        return DataLoader(self.tune_inputs, batch_size=BATCH)
