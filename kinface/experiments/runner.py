"""One run of an ablation, trained and measured: ``python -m kinface.experiments.runner FOLDER LISTS``.

Each run is a process.

The process holds on for as long as its standard input is open, logs to standard error, and says on standard output,
in one line, what went wrong.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from threadpoolctl import threadpool_limits

from kinface.data.families import Families
from kinface.data.fiw import read_families
from kinface.data.pairs import read_pairs, score_pairs
from kinface.experiments.ablation import Run
from kinface.experiments.tradeoff import ATTRIBUTES, LISTS, Result, measure, read_result, write_result
from kinface.fairness.threshold import choose_threshold
from kinface.models.faces import read_faces
from kinface.models.inference import embed_faces, embed_tensor, load_model
from kinface.models.kinface import KinFace
from kinface.training.cache import cache_levels
from kinface.training.fit import fit
from swinface.data.embeddings import Embeddings
from swinface.files import InputError, replacing

EXPERIMENT, LOG = "experiment.yaml", "log.txt"  # of each run, beside what `kinface fit` writes


MODEL = "model.safetensors"


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

    def check_folder(self) -> None:
        """Refuse a folder that holds a run of another configuration.

        Raises
        ------
        InputError
            It does.
        """
        earlier = self.folder / EXPERIMENT
        if earlier.exists() and yaml.safe_load(earlier.read_text(encoding="utf-8")) != self.run.config:
            raise InputError(
                f"{self.folder}: was run with another configuration, see its {EXPERIMENT}; delete the folder to run it "
                "again, or choose another one for the sweep."
            )

    def write(self) -> None:
        """Write the configuration to the run's folder."""
        with replacing(self.folder / EXPERIMENT) as partial:
            partial.write_text(yaml.safe_dump(self.run.config, sort_keys=False), encoding="utf-8")


def carry_out(folder: Path, lists: Path) -> None:
    """Train and measure a run, as far as that is not done.

    Parameters
    ----------
    folder
        Of the run; holds ``experiment.yaml``.
    lists
        Folder of the lists to measure on.

    Raises
    ------
    InputError
        The configuration or its data are bad.
    """
    config = yaml.safe_load((folder / EXPERIMENT).read_text(encoding="utf-8"))
    with _one_core():
        if not (folder / MODEL).exists():
            fit([f"--config={folder / EXPERIMENT}", f"--run={folder}"])
        write_result(folder, _measure(folder, config["data"], lists))


def _measure(folder: Path, data: dict[str, Any], lists: Path) -> Result:
    families = read_families(data["root"])
    listed = {name: read_pairs(lists / f"{name}.parquet") for name in LISTS}
    people = list_faces(families, listed["standard"])
    faces = [*people["face"]]
    embedding = embed(load_model(folder), families.root, faces, data)
    scored = {name: score_pairs(pairs, faces, embedding) for name, pairs in listed.items()}
    threshold = choose_threshold(read_pairs(folder / "tune_scores.parquet", scored=True))
    return measure(scored, threshold, embedding, people)


def list_faces(families: Families, pairs: pd.DataFrame) -> pd.DataFrame:
    """All faces of the splits that a list is of, with what is known of their persons."""
    faces = families.faces[["face", "person", "family", "split"]]
    of_pairs = faces["face"].isin({*pairs["face_a"], *pairs["face_b"]})
    faces = faces[faces["split"].isin(faces["split"][of_pairs].unique())]
    return faces.merge(families.people[["person", *ATTRIBUTES]], on="person", how="left")


def embed(model: KinFace, root: Path, faces: list[str], data: dict[str, Any]) -> np.ndarray:
    """Embed faces with the inputs that a configuration's ``data`` names.

    Returns
    -------
    np.ndarray
        (N, D), of unit length; what a frozen trunk makes of faces is read from the cache.
    """
    if data.get("cache") is None:
        inputs = data.get("embeddings")
        return embed_faces(model, root, faces, None if inputs is None else Embeddings(Path(inputs)))
    return embed_tensor(model, cache_levels(model.trunk, read_faces(root, faces), Path(data["cache"])))


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


def main() -> None:
    """Carry out the run that the command line names."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what is printed belongs to the log
    try:
        carry_out(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        traceback.print_exc()
        os.write(answer, (" ".join(str(error).split()) or type(error).__name__).encode())
        sys.exit(1)


def _end_with_input() -> None:
    """End the process once standard input is closed, as it is when the process that holds it open is killed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main()
