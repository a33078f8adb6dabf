"""Intervals, answers computed once, and the command from a configuration to its table and files."""

from __future__ import annotations

import json
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from swinface.benchmarks import protocols as benchmarks
from swinface.benchmarks.benchmark import COLUMNS, Predictor, Result, estimate
from swinface.cli.evaluate import evaluate
from swinface.data.datasets import CelebA, ImageFolder, UTKFace
from swinface.data.faces import scale_pixels
from swinface.data.labels import ATTRIBUTES
from swinface.files import InputError
from swinface.inference import Shards
from swinface.model import SMALL, SwinFace
from swinface.tasks import PAPER_TASKS
from tests.commands import run_swinface

CONFIGS = [
    Path(__file__).resolve().parents[3] / "configs" / "swinface" / f"{name}.yaml" for name in ("evaluate", "held_out")
]


@pytest.fixture(scope="module")
def untaught() -> list[str]:
    return ["age", "oval_face"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, untaught) -> Path:
    """Folder of a small model with random weights that was not trained on two tasks."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    SwinFace(**SMALL, untrained=untaught).eval().save_pretrained(folder)
    return folder


# Intervals


def test_estimate_draws_groups_together():
    values = np.array([[1.0, 1], [0, 1], [5, 1], [2, 1], [4, 1]])
    groups = ["b", "a", "b", "c", "a"]
    table = pd.DataFrame({"identity": groups})
    ours, draws = estimate(values, table, lambda totals: totals[..., :1] / totals[..., 1:], draws=200)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(200):
        times = dict(zip("abc", rng.multinomial(3, [1 / 3] * 3), strict=True))
        drawn = [value for (value, _), group in zip(values, groups, strict=True) for _ in range(times[group])]
        means.append(np.mean(drawn))
    assert ours == [2.4]
    np.testing.assert_allclose(draws[:, 0], means)
    result = Result.drawn("mean", ours[0], draws[:, 0], 5)
    np.testing.assert_allclose([result.low, result.high], np.percentile(means, [2.5, 97.5]))


def test_estimate_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(3).normal(10, 2, (400, 1))
    faces = pd.DataFrame(index=range(400))
    ours, draws = estimate(np.hstack([values, np.ones((400, 1))]), faces, lambda it: it[..., :1] / it[..., 1:])
    assert ours[0] == pytest.approx(values.mean())
    low, high = np.percentile(draws[:, 0], [2.5, 97.5])
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


# Answers


def test_answers_are_the_models_and_computed_once(face_sets, model):
    network = SwinFace.from_pretrained(model)
    source = UTKFace(face_sets / "UTKFace")
    predictor = Predictor(network, batch=4, precision="full", runtime="torch")
    answers = predictor.answer(source)
    with torch.inference_mode():
        expected = network(scale_pixels(source.read_all()))
    assert set(answers) == set(expected) - {"embedding"}
    for name, values in answers.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
    np.testing.assert_allclose(predictor.embed(source.read_all()), expected["embedding"], atol=1e-5)
    passes = []
    network.trunk.register_forward_hook(lambda *_: passes.append(1))
    assert predictor.answer(UTKFace(face_sets / "UTKFace")) is answers
    assert not passes
    predictor.answer(UTKFace(face_sets / "UTKFace", crop=(0, 0, 1, 1)))
    assert len(passes) == 3


def test_parts_of_another_runtime_are_not_used(face_sets, model, tmp_path, monkeypatch):
    """An evaluation with ``auto`` that was begun on torch does not go on with OpenVINO, once that is installed."""
    network, source, found = SwinFace.from_pretrained(model), UTKFace(face_sets / "UTKFace"), None
    monkeypatch.setattr("swinface.runtimes.find_spec", lambda _: found)
    monkeypatch.setattr("swinface.runtimes.Runner._open", lambda *_: lambda images: network.read(torch.tensor(images)))
    Predictor(network, shards=Shards(tmp_path)).answer(source)
    found = True
    with pytest.raises(InputError, match="holds parts of a computation on other faces or of another model"):
        Predictor(network, shards=Shards(tmp_path)).answer(source)


# The command


def write_bin(path: Path, pairs: int) -> None:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(2 * pairs):
        buffer = BytesIO()
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    path.write_bytes(pickle.dumps((images, [pair % 2 == 0 for pair in range(pairs)]), protocol=2))


def of(name: str, **arguments) -> dict:
    return {"class_path": f"swinface.benchmarks.protocols.{name}", "init_args": arguments}


def source(name: str, root: Path, **arguments) -> dict:
    return {"class_path": f"swinface.data.datasets.{name}", "init_args": {"root": str(root), **arguments}}


@pytest.fixture
def config(face_sets, tmp_path) -> dict:
    write_bin(tmp_path / "lfw.bin", 20)
    utkface = source("UTKFace", face_sets / "UTKFace")
    celeba = source("CelebA", face_sets / "CelebA")
    return {
        "lfw": of("Verification", path=str(tmp_path / "lfw.bin"), paper={"accuracy %": 99.87}),
        "cfp_fp": of("Verification", path=str(tmp_path / "cfp_fp.bin")),
        "raf_db": of("Expression", source=source("RafDb", face_sets / "RAF-DB"), paper={"accuracy %": 90.97}),
        "raf_db_test": of(
            "Expression",
            source=source("RafDb", face_sets / "RAF-DB", subset="test"),
            requires=str(face_sets / "RAF-DB/basic/Image/aligned/test_0001_aligned.jpg"),
        ),
        "utkface_age": of("Age", source=utkface),
        "utkface_gender": of("Gender", source=utkface),
        "celeba": of("Attributes", source=celeba, train=celeba, paper={"accuracy %, smiling": 93.18}),
        "fiw": of("SamePerson", source=source("ImageFolder", face_sets / "fiw", below="Train/train-faces")),
    }


def call(config: dict, tmp_path: Path, *arguments) -> int:
    path = tmp_path / "evaluate.yaml"
    path.write_text(yaml.safe_dump({"benchmarks": config}, sort_keys=False))
    return run_swinface("evaluate", "--config", path, *arguments)


def test_data_may_have_one_of_several_layouts(face_sets, tmp_path):
    places = [tmp_path / "official", tmp_path / "kaggle"]
    benchmark = benchmarks.Age(UTKFace(face_sets / "UTKFace"), requires=places)
    assert benchmark.find_obstacle(["age"]) == f"no {places[0]} or {places[1]}"
    places[1].touch()
    assert benchmark.find_obstacle(["age"]) is None


@pytest.mark.parametrize("place", ["list_eval_partition.txt", "Eval/list_eval_partition.txt"])
def test_celeba_is_evaluated_in_each_layout_of_its_authors(place, tmp_path):
    celeba = yaml.safe_load(CONFIGS[0].read_text())["benchmarks"]["celeba"]
    (tmp_path / "data" / "CelebA" / place).parent.mkdir(parents=True)
    (tmp_path / "data" / "CelebA" / place).touch()
    assert [path for path in celeba["init_args"]["requires"] if (tmp_path / path).exists()] == [f"data/CelebA/{place}"]


def test_evaluate_runs_what_it_finds_and_writes_it(config, face_sets, model, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "old_table.csv").write_text("of an earlier time")
    assert call(config, tmp_path, "--model", model, "--out", out) == 0
    printed = capsys.readouterr().out
    missing = face_sets / "RAF-DB/basic/Image/aligned/test_0001_aligned.jpg"
    assert f"skipped cfp_fp: no {tmp_path / 'cfp_fp.bin'}\n" in printed
    assert f"skipped raf_db_test: no {missing}\n" in printed
    assert "skipped utkface_age: the model is not trained on age\n" in printed
    assert "raf_db_confusion, true expression by row" in printed
    assert "utkface_gender_groups, grouping and group by row" in printed

    record = json.loads((out / "results.json").read_text())
    assert record["model"] == str(model)
    assert set(record["skipped"]) == {"cfp_fp", "raf_db_test", "utkface_age"}
    rows = {(row["benchmark"], row["metric"]): row for row in record["results"]}
    assert all(tuple(row) == COLUMNS for row in record["results"])
    assert list(rows) == [
        ("lfw", "accuracy %"),
        ("raf_db", "accuracy %"),
        ("raf_db", "balanced accuracy %"),
        ("utkface_gender", "accuracy %"),
        ("utkface_gender", "accuracy % above 12 years"),
        ("celeba", "mean accuracy % of 39 attributes"),
        ("celeba", "mean accuracy % of 39 attributes, commoner answer"),
        ("celeba", "accuracy %, smiling"),
        ("fiw", "AUC"),
    ]
    lfw = rows["lfw", "accuracy %"]
    assert (lfw["n"], lfw["paper"]) == (20, 99.87)
    assert lfw["difference"] == pytest.approx(lfw["ours"] - 99.87)
    assert rows["fiw", "AUC"]["paper"] is rows["fiw", "AUC"]["difference"] is None

    network, faces = SwinFace.from_pretrained(model), UTKFace(face_sets / "UTKFace")
    with torch.inference_mode():
        said = network(scale_pixels(faces.read_all()))["gender"].argmax(dim=1).numpy()
    gender = rows["utkface_gender", "accuracy %"]
    assert (gender["ours"], gender["n"]) == (100 * (said == faces.table["gender"]).mean(), 10)
    line = next(line for line in printed.splitlines() if line.split()[:1] == ["lfw"])
    cells = [f"{lfw['ours']:.2f}", f"[{lfw['low']:.2f},", f"{lfw['high']:.2f}]", "99.87", f"{lfw['difference']:+.2f}"]
    assert line.split() == ["lfw", "accuracy", "%", *cells, "20"]

    table = pd.read_csv(out / "results.csv")
    assert tuple(table.columns) == COLUMNS
    np.testing.assert_allclose(table["ours"], [row["ours"] for row in record["results"]])
    assert sorted(path.name for path in out.iterdir()) == [
        "celeba_attributes_table.csv",
        "celeba_groups_table.csv",
        "notes.txt",
        "raf_db_confusion_table.csv",
        "results.csv",
        "results.json",
        "utkface_gender_groups_table.csv",
    ]
    assert pd.read_csv(out / "raf_db_confusion_table.csv", index_col=0).to_numpy().sum() == 10
    attributes = pd.read_csv(out / "celeba_attributes_table.csv", index_col="attribute")
    assert set(attributes.index) == set(ATTRIBUTES) - {"oval_face"}
    groups = pd.read_csv(out / "utkface_gender_groups_table.csv")
    assert list(groups.columns) == ["grouping", "group", "accuracy %", "low", "high", "n"]
    assert groups.groupby("grouping")["n"].sum().to_dict() == {"race": 10, "gender": 10, "age": 10}


def test_one_benchmark_can_be_changed_on_the_command_line(config, model, tmp_path, capsys):
    write_bin(tmp_path / "other.bin", 12)
    arguments = ["--benchmarks.lfw.path", tmp_path / "other.bin", "--model", model]
    assert call({"lfw": config["lfw"]}, tmp_path, *arguments) == 0
    assert capsys.readouterr().out.split()[-1] == "12"


def test_data_that_cannot_be_used_do_not_cost_the_other_figures(config, model, tmp_path, capsys):
    (tmp_path / "lfw.bin").write_bytes(b"not a pickle")
    chosen = {name: config[name] for name in ("lfw", "raf_db")}
    assert call(chosen, tmp_path, "--model", model, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "failed lfw: " in error
    assert "1 of 2 benchmarks have data that cannot be used, see above." in error
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(record["failed"]) == ["lfw"]
    assert len(record["results"]) == 2


def test_nothing_to_run_is_an_error(config, model, tmp_path, capsys):
    assert call({"cfp_fp": config["cfp_fp"]}, tmp_path, "--model", model) == 2
    assert "no benchmark could be run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"pth": "lfw.bin"}, "pth"),
        ({"paper": {"accuracy": 99.87}}, "no metric 'accuracy'; choose from accuracy %"),
        ({"paper": {"accuracy %": "high"}}, "paper"),
    ],
)
def test_a_wrong_key_is_refused_by_name(change, named, config, model, tmp_path, capsys):
    config["lfw"]["init_args"] |= change
    assert call({"lfw": config["lfw"]}, tmp_path, "--model", model) == 2
    assert named in capsys.readouterr().err


def test_an_output_that_is_a_file_is_refused_before_any_work(config, model, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder to write to"):
        evaluate(benchmarks={}, model=model, out=tmp_path / "out")
    with pytest.raises(InputError, match="benchmarks: 'utkface/age' would be in the names of files"):
        evaluate(benchmarks={"utkface/age": None}, model=model, out=tmp_path / "new")


def test_figures_are_written_if_the_output_pipe_is_closed(config, model, tmp_path, monkeypatch):
    """As with `swinface evaluate --out out | head`."""

    def leave(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("swinface.cli.evaluate._print", leave)
    monkeypatch.setattr("os.dup2", lambda *_: None)  # the test has a place of its own for what is printed
    assert call({"lfw": config["lfw"]}, tmp_path, "--model", model, "--out", tmp_path / "out") == 1
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["results"]) == 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_read_and_skips_what_is_not_there(config, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_swinface("evaluate", "--config", config, "--model", model) == 2
    skipped = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("skipped ")]
    assert skipped == [f"skipped {name}" for name in yaml.safe_load(config.read_text())["benchmarks"]]


def test_a_shipped_configuration_on_real_faces(shared_data, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(shared_data)

    def read_table(source) -> pd.DataFrame:  # thirty of the real rows
        return original[type(source)](source).iloc[:: max(1, len(original[type(source)](source)) // 30)]

    original = {kind: kind._read_table for kind in (UTKFace, CelebA, ImageFolder)}
    for kind in original:
        monkeypatch.setattr(kind, "_read_table", read_table)
    chosen = {"celeba", "utkface_gender"}
    shipped = yaml.safe_load(CONFIGS[1].read_text())["benchmarks"]
    assert call({name: shipped[name] for name in sorted(chosen)}, tmp_path, "--model", model) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines() if "accuracy" in line} >= chosen


def test_every_task_has_a_benchmark():
    judged = {
        task for name in ("Age", "Gender", "Expression", "Attributes") for task in getattr(benchmarks, name).tasks
    }
    assert judged == set(PAPER_TASKS)
