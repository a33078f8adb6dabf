"""One run of an ablation: ``python -m kinface.experiments.runner FOLDER LISTS PROTOCOL FILE ...`` trains and measures.

Each run is a process of its own. It runs for as long as its standard input is open, logs to standard error, and writes
one line to standard output that says what went wrong. PROTOCOL is a ``Protocol`` as JSON. Custom modules are
looked for beside FILE, the configurations that the run's was merged from.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from kinface.data.families import Families
from kinface.data.fiw import read_families
from kinface.data.pairs import read_pairs, score_pairs
from kinface.debias.transport import Oracle
from kinface.experiments.ablation import Run
from kinface.experiments.inputs import INPUTS, Inputs, check_inputs
from kinface.fairness.calibration import calibrate
from kinface.fairness.threshold import choose_threshold
from kinface.models.faces import read_faces
from kinface.models.kinface import KinFace, load_model
from kinface.tradeoff.measure import LISTS, Protocol, Result, describe_faces, list_probed, measure
from kinface.training.data import cache_levels
from kinface.training.fit import check_config, fit
from swinface.data.embeddings import Embeddings
from swinface.files import InputError, one_line, replacing, working_alone, write_json
from swinface.registry import look_beside
from swinface.settings import dump_yaml, read_settings
from swinface.training.history import MODEL

# Files of each run, in addition to those of `kinface fit`; the next two are there if the run has such options.
EXPERIMENT, CALIBRATION, ORACLE, LOG = "experiment.yaml", "calibrate.yaml", "oracle.yaml", "log.txt"
RECORD, DRAWS = "result.json", "result.npz"


def write_result(folder: Path, result: Result, protocol: Protocol) -> None:
    """Write ``result.npz``, then ``result.json``, whose presence says that a run is done."""
    with replacing(folder / DRAWS) as partial:
        np.savez(partial, **result.draws)
    record = {"figures": result.points, "about": result.about, "protocol": asdict(protocol)}
    with replacing(folder / RECORD) as partial:
        write_json(partial, record)


def read_result(folder: Path, protocol: Protocol) -> Result | None:
    """What ``write_result`` wrote; None where there is nothing.

    Raises ``InputError`` if the files are broken, or the run was measured in another way, and cannot be compared.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        measured = Protocol(**record["protocol"])
        points = {name: _to_number(value) for name, value in record["figures"].items()}
        with open(folder / DRAWS, "rb") as file, np.load(file, allow_pickle=False) as table:
            draws = {name: np.asarray(table[name], dtype=float) for name in points}
        if any(drawn.shape != (measured.resamples,) for drawn in draws.values()):
            raise ValueError(f"{DRAWS} needs {measured.resamples} numbers per figure")
        about = record["about"] | {name: dict(record["about"][name]) for name in (*LISTS, *measured.attributes)}
    except Exception as error:  # on damaged bytes numpy and what unpacks for it raise exceptions of many kinds
        reason = one_line(error)
        raise InputError(f"{folder / RECORD}: not a whole result ({reason}); delete it to measure again.") from error
    if measured != protocol:
        raise InputError(
            f"{folder}: was measured with {measured}, which cannot be compared with {protocol}; delete its "
            f"{RECORD} to measure it again, or choose another folder for the sweep."
        )
    return Result(points, draws, about)


def _to_number(value: object) -> float:
    """A number of a record, in which None stands for not a number."""
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"{value!r} is not a number")
    return np.nan if value is None else float(value)


@dataclass(frozen=True)
class Job:
    """A run of a sweep."""

    run: Run
    out: Path  #: folder of the sweep, which holds the lists that the run is measured on
    protocol: Protocol = field(default_factory=Protocol)

    @property
    def folder(self) -> Path:
        return self.out / "runs" / self.run.name

    @property
    def result(self) -> Result | None:
        """What was measured; None where the run is not done."""
        return read_result(self.folder, self.protocol)

    @contextmanager
    def take(self) -> Iterator[bool]:
        """Keep other processes of the sweep from this run, and say whether it is to be carried out.

        It is not where another process has it, or where it is done.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(working_alone(self.folder.with_name(f"{self.run.name}.run")))
            except InputError:
                yield False
            else:
                yield self.result is None

    def check_folder(self) -> None:
        """Raise ``InputError`` if the folder holds a run of another configuration, or one measured in another way."""
        read_result(self.folder, self.protocol)
        if not (self.folder / EXPERIMENT).exists():
            return
        for name, content in self._settings().items():
            if _read_settings(self.folder / name) != content:
                raise InputError(
                    f"{self.folder}: was run with other settings, see its {name}; delete the folder to run it again, "
                    "or choose another folder for the sweep."
                )

    def write(self) -> None:
        """Write the settings to the run's folder."""
        for name, content in reversed(self._settings().items()):  # experiment.yaml last: then all is there
            if content is not None:
                with replacing(self.folder / name) as partial:
                    partial.write_text(dump_yaml(content), encoding="utf-8")

    def _settings(self) -> dict[str, dict[str, Any] | None]:
        return {EXPERIMENT: self.run.config, CALIBRATION: self.run.calibration, ORACLE: self.run.oracle}


def _read_settings(path: Path) -> dict[str, Any] | None:
    return read_settings(path) if path.exists() else None


def carry_out(folder: Path, lists: Path, protocol: Protocol) -> None:
    """Train the run of a folder, by its ``experiment.yaml``, unless that is done, and measure it on a folder of lists.

    Raises ``InputError`` if the configuration or its data are bad.
    """
    config = _read_settings(folder / EXPERIMENT)
    check_config(config, [folder / EXPERIMENT])
    families = read_families(config["data"]["root"])
    inputs = Inputs(families).digest(config, protocol)
    with _one_core():
        if (folder / MODEL).exists():
            check_inputs(folder, inputs)
        else:
            with replacing(folder / INPUTS) as partial:  # a run that goes on, too: `fit` refuses other inputs
                partial.write_text(dump_yaml(inputs), encoding="utf-8")
            fit(folder / EXPERIMENT, run=folder)
        write_result(folder, _measure(folder, families, config["data"], lists, protocol), protocol)


def _measure(folder: Path, families: Families, data: dict[str, Any], lists: Path, protocol: Protocol) -> Result:
    listed = {name: read_pairs(lists / f"{name}.parquet") for name in LISTS}
    people = list_probed(describe_faces(families, protocol.attributes), listed["standard"], protocol.fit_on)
    faces, model = [*people["face"]], load_model(folder)
    tune = read_pairs(folder / "tune_scores.parquet", scored=True)
    oracle, options = (_read_settings(folder / name) for name in (ORACLE, CALIBRATION))
    of_tune = {*tune["face_a"], *tune["face_b"]} - {*faces}  # probes may be fitted on them too
    everyone = faces if oracle is None and options is None else [*faces, *sorted(of_tune)]
    if oracle is None:
        embedding = embed_run(model, families.root, everyone, data)
    else:
        embedding = erase_by_class(model, families, everyone, data, oracle)
        tune = score_pairs(tune, everyone, embedding)
    scored = {name: score_pairs(pairs, everyone, embedding) for name, pairs in listed.items()}
    if options is not None:
        if "tune" in {*people["split"]} - {*protocol.fit_on}:
            raise InputError("scores are calibrated by the tune pairs; measure on families of val or test.")
        calibrated = {name: calibrate(tune, pairs, everyone, embedding, **options) for name, pairs in scored.items()}
        scored = {name: pairs for name, (_, pairs) in calibrated.items()}
        tune, _ = calibrated["standard"]  # the same for all lists
    return measure(scored, embedding[: len(faces)], people, protocol, choose_threshold(tune))


def embed_run(model: KinFace, root: Path, faces: list[str], data: dict[str, Any]) -> np.ndarray:
    """Embed faces with the inputs that the ``data`` section of a configuration names: (N, D), of unit length.

    The outputs of a frozen trunk are read from the cache.
    """
    if data.get("cache") is None:
        inputs = data.get("embeddings")
        return model.embed(faces if inputs is None else Embeddings(Path(inputs))[faces], root=root)
    return model.embed(cache_levels(model.trunk, read_faces(root, faces), Path(data["cache"])))


def erase_by_class(
    model: KinFace, families: Families, faces: list[str], data: dict[str, Any], classes: dict[str, list[str]]
) -> np.ndarray:
    """Embeddings of faces, (N, D), without attributes, where the true class of every face is known.

    The maps (quadratic LEACE, ``Oracle``) are fitted on the faces of training people, each person counting the same,
    one attribute after the other. ``classes`` is from attribute to its classes; people of any other are of no known
    class.
    """
    table = describe_faces(families, [*classes])
    training = table[table["split"] == "train"]
    weight = 1 / training.groupby("person")["face"].transform("size").to_numpy()
    people = table.set_index("face")
    lists = [[*training["face"]], faces]
    embeddings = [embed_run(model, families.root, each, data) for each in lists]
    for name, values in classes.items():
        known = people[name].where(people[name].isin(values), None)
        labels = [known.reindex(each).to_numpy(object) for each in lists]
        oracle = Oracle().fit(embeddings[0], labels[0], sample_weight=weight)
        moved = [oracle.transform(*each) for each in zip(embeddings, labels, strict=True)]
        embeddings = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in moved]
    return embeddings[1]


@contextmanager
def _one_core() -> Iterator[None]:
    """Use one core: runs in parallel on a core each are faster than one after the other on all cores."""
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
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # anything that is printed goes to the log
    for file in sys.argv[4:]:
        look_beside(file)
    try:
        carry_out(Path(sys.argv[1]), Path(sys.argv[2]), Protocol(**json.loads(sys.argv[3])))
    except Exception as error:
        traceback.print_exc()
        os.write(answer, (one_line(error) or type(error).__name__).encode())
        sys.exit(1)


def _end_with_input() -> None:
    """End this process when its standard input is closed, which also happens when its parent is killed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main()
