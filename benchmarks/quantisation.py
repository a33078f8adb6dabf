"""What bfloat16 and int8 cost each task and each group.

    python benchmarks/quantisation.py --data DATA --tables TABLES

DATA has the data sets ``fiw``, ``RAF-DB``, ``CelebA`` and ``UTKFace``; TABLES is what ``kinface prepare DATA/fiw``
made. The released models are exported in float32 and in int8, calibrated on 512 faces of FIW's training people, and
evaluated on held-out people. The tables have size and speed (one thread, processor time), and for each figure and group
the value in float32 and the differences of bfloat16 and int8 from it, with paired 95% intervals: families are resampled
for pairs of faces, people for single faces, and images if people are not known.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from forward import measure
from torch import Tensor

import kinface
from kinface.data.dataset import Dataset
from swinface.benchmarks.benchmark import Benchmark, Predictor, Result, by_group, divide
from swinface.benchmarks.protocols import Age, Attributes, Expression, Gender, LabelledFaces
from swinface.benchmarks.verification import auc_of_same_person, embed_with_mirror
from swinface.bootstrap import percentile_interval
from swinface.data.datasets import CelebA, ImageFolder, RafDb, UTKFace
from swinface.data.faces import read_face, scale_pixels, stack_faces
from swinface.data.source import Source
from swinface.export import CALIBRATED_ON, export
from swinface.inference import inference
from swinface.model import SwinFace
from swinface.tasks import TASKS

LIST = "fiw/lists/val_choose.txt"
KINSHIP = ("shipped", "shipped-debiased")
PAIRS = 40_000  # of faces, for recognition; drawn, half of one person
FEWEST = 30  # faces of a group
BATCH = 16  # faces at once, where speed is measured
PROBES = {"kinds": ["linear", "mlp"], "codelength": False, "permutations": 0}


class Exported(Predictor):
    """Answers of an exported file."""

    def __init__(self, model: SwinFace, file: Path) -> None:
        super().__init__(model)
        self._run = open_file(file)

    def embed(self, faces: Tensor) -> np.ndarray:
        """As of a model."""
        return self._run(faces)["embedding"]

    def answer_faces(self, faces: Tensor) -> dict[str, np.ndarray]:
        """As of a model."""
        parts = [self._run(part) for part in faces.split(self.batch)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def open_file(file: Path) -> Callable[[Tensor], dict[str, np.ndarray]]:
    """An exported file as a function of faces, (N, 3, 112, 112) uint8."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda faces: dict(zip(names, session.run(None, {"images": faces.numpy()}), strict=True))


class Recognition(LabelledFaces):
    """AUC of pairs of one person against pairs of two, also among people of one race and of one gender."""

    metrics = ("AUC",)

    def run(self, model: Predictor) -> list[Result]:
        """Evaluate a model. Families are resampled."""
        table = self.source.table
        embeddings = embed_with_mirror(model.embed, self.source.read_all())

        def verify(chosen: np.ndarray, **groups: dict) -> Result:
            people = table["identity"][chosen]
            found = auc_of_same_person(embeddings[chosen], people, people.str.partition("/")[0], pairs=PAIRS)
            return Result.drawn("AUC", found.auc, found.draws, found.same + found.different, **groups)

        groups = {}
        named = {"race": table["race"], "gender": table["gender"].map(dict(enumerate(TASKS["gender"].labels)))}
        for grouping, column in named.items():
            for group, count in column.value_counts().items():
                if count >= FEWEST:
                    groups[grouping, group] = verify((column == group).to_numpy())
        return [verify(np.ones(len(table), dtype=bool), groups=groups)]


class Changes(LabelledFaces):
    """Share of faces, in per cent, whose expression is another than that of a reference. It needs no labels."""

    metrics = ("faces with another answer %",)

    def __init__(self, source: Source, reference: Predictor) -> None:
        super().__init__(source)
        self.reference = reference

    def run(self, model: Predictor) -> list[Result]:
        """Compare a model with the reference."""
        table = self.source.table
        given = [each.answer(self.source)["expression"].argmax(axis=1) for each in (model, self.reference)]
        values = np.stack([100.0 * (given[0] != given[1]), np.ones(len(table))], axis=1)
        return [divide(self.metrics[0], values, table, by_group(table, self.metrics[0], values))]


def list_benchmarks(data: Path, tables: Path, reference: Predictor) -> dict[str, Benchmark]:
    """What is measured of SwinFace, by name; none of these people or images was trained on."""
    labels = {"age": tables / "faces.parquet", "gender": tables / "people.parquet", "race": tables / "people.parquet"}
    fiw = ImageFolder(data / "fiw", below="Validation/val-faces", labels=labels)
    utk = UTKFace(data / "UTKFace", part="held_out")
    celeba = {part: CelebA(data / "CelebA", part=part) for part in ("held_out", "train")}
    return {
        "same person, FIW": Recognition(fiw),
        "age, FIW": Age(fiw),
        "age, UTKFace": Age(utk),
        "gender, FIW": Gender(fiw),
        "gender, UTKFace": Gender(utk),
        "expression, RAF-DB": Expression(RafDb(data / "RAF-DB", part="held_out")),
        "expression, FIW": Changes(fiw, reference),
        "attributes, CelebA": Attributes(celeba["held_out"], celeba["train"]),
    }


def compare_results(name: str, results: dict[str, list[Result]]) -> list[dict]:
    """A row for the first figure of a benchmark and for each group: float32, and the others' paired differences."""
    first = {runtime: found[0] for runtime, found in results.items()}
    places = [("all", ""), *(place for place, found in first["float32"].groups.items() if found.n >= FEWEST)]
    rows = []
    for place in places:
        of = {runtime: found if place[0] == "all" else found.groups[place] for runtime, found in first.items()}
        base = of.pop("float32")
        row = {"figure": f"{name}, {base.metric}", "group": " ".join(place).strip(), "n": base.n}
        row["float32"] = f"{base.ours:.3f}"
        for runtime, found in of.items():
            low, high = percentile_interval(found.draws - base.draws, interpolate=True)
            row[runtime] = f"{found.ours - base.ours:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append(row)
    return rows


def compare_kinship(name: str, model: kinface.KinFace, families: Dataset, listed: Path, int8: Path) -> list[dict]:
    """Rows as of ``compare_results`` for a kinship model: AUC and FMR at its threshold, and race in it."""
    held = families.faces["split"] == "val"
    faces = families.faces["face"][held].to_list()
    pairs, people = families.pairs(listed), families.describe(faces)
    images = stack_faces(lambda face: read_face(families.root / face), faces)
    embed = {
        "float32": partial(model.embed, images, precision="full", runtime="torch"),
        "bfloat16": partial(model.embed, images, precision="fast", runtime="torch"),
        "int8": lambda: np.concatenate([open_file(int8)(part)["embedding"] for part in images.split(128)]),
    }
    embeddings = {runtime: call() for runtime, call in embed.items()}
    audits = {
        runtime: kinface.audit(kinface.score(pairs, embedding, faces), float(model.threshold))
        for runtime, embedding in embeddings.items()
    }
    found = {runtime: kinface.compare(audit, audits["float32"]) for runtime, audit in audits.items()}
    groupings = ["overall", "race", "gender pair"]
    base = found["float32"][found["float32"]["grouping"].isin(groupings) & found["float32"]["low"].notna()]
    counts = audits["float32"].groups.set_index(["grouping", "group"])["pairs"]
    rows = []
    for metric in ("auc", "fmr"):
        for at in base.index[base["metric"] == metric]:
            place = base.loc[at, ["grouping", "group"]].to_list()
            row = {"figure": f"{name}, {metric.upper()}", "group": " ".join(place), "n": counts[tuple(place)]}
            row["float32"] = f"{base['ours'][at]:.3f}"
            rows.append(row | {runtime: write(found[runtime].loc[at]) for runtime in ("bfloat16", "int8")})
    left = {runtime: kinface.probe(it, people, "race", **PROBES) for runtime, it in embeddings.items()}
    compared = {runtime: kinface.compare(it, left["float32"]) for runtime, it in left.items()}
    for at, probe in left["float32"].table.iterrows():
        row = {"figure": f"{name}, race read by {probe['probe']}", "group": "all", "n": probe["faces"]}
        row["float32"] = f"{probe['balanced_accuracy']:.3f}"
        rows.append(row | {runtime: write(compared[runtime].loc[at]) for runtime in ("bfloat16", "int8")})
    return rows


def write(row: pd.Series) -> str:
    """A difference with its interval."""
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row[["difference", "low", "high"]])


def compare_speed(name: str, model: torch.nn.Module, files: dict[str, Path]) -> list[dict]:
    """Size and speed of a model's files on onnxruntime, and of its weights in bfloat16 on torch."""
    images = torch.randint(256, (BATCH, 3, 112, 112), dtype=torch.uint8)
    weights = Path(import_module(type(model).__module__.partition(".")[0]).__file__).parent / "weights"
    sizes = {"bfloat16": weights / name.partition("-")[2] / "model.safetensors", **files}

    def run() -> object:
        with inference(torch.device("cpu"), "fast"):
            return model(scale_pixels(images) if isinstance(model, SwinFace) else images)

    calls = {"bfloat16": run} | {kind: partial(open_file(file), images) for kind, file in files.items()}
    seconds = measure(calls, torch.device("cpu"), rounds=5)
    return [
        {
            "model": f"{type(model).__name__} {name}",
            "type": kind,
            "MB": f"{sizes[kind].stat().st_size / 1e6:.1f}",
            "faces/s": round(BATCH / seconds[kind]),
        }
        for kind in ("float32", "bfloat16", "int8")
    ]


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--tables", type=Path, required=True)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    families = kinface.read_families(chosen.tables)
    train = families.faces["face"][families.faces["split"] == "train"]
    train = train.iloc[np.linspace(0, len(train) - 1, CALIBRATED_ON).round().astype(int)]
    faces = stack_faces(lambda face: read_face(families.root / face), train.to_list())
    swinface = SwinFace.from_pretrained("shipped")
    models = {name: kinface.KinFace.from_pretrained(name) for name in KINSHIP}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: {kind: Path(folder, f"{name}-{kind}.onnx") for kind in ("float32", "int8")} for name in models}
        own = {kind: Path(folder, f"{kind}.onnx") for kind in ("float32", "int8")}
        for kind, given in (("float32", None), ("int8", faces)):
            export(swinface, own[kind], int8=given)
            for name, model in models.items():
                model.export(files[name][kind], int8=given)
        speed = compare_speed("shipped", swinface, own)
        for name, model in models.items():
            speed += compare_speed(name, model, files[name])
        print(pd.DataFrame(speed).to_string(index=False), flush=True)
        answers = {
            "float32": Predictor(swinface, precision="full", runtime="torch"),
            "bfloat16": Predictor(swinface, precision="fast", runtime="torch"),
            "int8": Exported(swinface, own["int8"]),
        }
        rows = []
        for name, benchmark in list_benchmarks(chosen.data, chosen.tables, answers["float32"]).items():
            rows += compare_results(name, {kind: benchmark.run(model) for kind, model in answers.items()})
        for name in models:
            rows += compare_kinship(name, models[name], families, chosen.data / LIST, files[name]["int8"])
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
