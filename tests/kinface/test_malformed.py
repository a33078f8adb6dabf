"""Every reader refuses malformed files with one message that names the file, and raises nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from kinface.data.fiw import read_families, read_people
from kinface.data.lists import read_any_list
from kinface.data.matrices import read_matrix
from kinface.data.pairs import read_pairs
from kinface.data.prepare import prepare_families, write_prepared
from kinface.data.submissions import is_submission, read_submission
from kinface.experiments.ablation import read_ablation
from kinface.experiments.kinfacew import read_kinfacew
from kinface.experiments.runner import read_result, write_result
from kinface.models.kinface import KinFace
from kinface.tradeoff.measure import Protocol, Result
from swinface.files import InputError
from tests.commands import run_kinface
from tests.kinface.conftest import FAMILY
from tests.malformed import FIELDS, mutated, mutated_text, refuse_all, refuse_command


def face(family: int, mid: int) -> str:
    part = "Train/train-faces" if family < 5 else "Validation/val-faces"
    return f"{part}/F000{family}/MID{mid}/P00000_face0.jpg"


RFIW = "".join(f"{n} {face(1, 1)} {face(1 + n % 2, 3)} fd {1 - n % 2}\n" for n in range(4))
KFC = "".join(f"{face(1, 1)} {face(1 + n % 2, 3)} fd {1 - n % 2} {'C&AA' if n else 'I'}\n" for n in range(4))
PAIRS = pd.DataFrame(
    {
        "face_a": ["a.jpg", "b.jpg", "c.jpg"],
        "face_b": ["d.jpg", "e.jpg", "f.jpg"],
        "family_a": ["F1", "F1", "F2"],
        "family_b": ["F1", "F2", "F2"],
        "type": ["fd", None, "ms"],
        "gender_a": ["m", "f", "f"],
        "kin": [1, 0, 1],
        "score": [0.1, 0.2, 0.3],
    }
)
PEOPLE = pd.DataFrame(
    {"face": ["a.jpg", "b.jpg"], "person": ["F1/MID1", "F2/MID1"], "family": ["F1", "F2"], "race": ["Asian", None]}
)


def parquet(table: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    return stream.getvalue()


@st.composite
def mutated_table(draw: st.DrawFn, valid: pd.DataFrame) -> bytes:
    """A parquet file with broken bytes, or whole with columns dropped, or with values that mean nothing."""
    if draw(st.integers(0, 2)) == 0:
        return draw(mutated(parquet(valid)))
    table, column = valid.copy(), draw(st.sampled_from([*valid]))
    match draw(st.sampled_from(["drop", "name", "fill", "type", "empty"])):
        case "drop":
            return parquet(table.drop(columns=column))
        case "name":
            names = st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda name: name not in table)
            return parquet(table.rename(columns={column: draw(names)}))
        case "fill":
            values = FIELDS.map(lambda text: text.encode("utf-8", "replace").decode())
            table[column] = draw(st.lists(values | st.none(), min_size=len(table), max_size=len(table)))
        case "type":
            odd = [[1, 2], {"a": 1}, pd.Timestamp(0), 1.5, b"\xff", True, -7, 2**62, float("nan")]
            table[column] = [draw(st.sampled_from(odd))] * len(table)
        case "empty":
            return parquet(table.iloc[:0])
    return parquet(table)


LISTS = {
    "rfiw.txt": RFIW,
    "kfc.txt": KFC,
    "facornet.txt": RFIW.replace("\n", " 0.37\n"),
    "fd_krt.csv": "".join(f"VAL,{1 - n % 2},{face(1, 1)},{face(1 + n % 2, 3)}\n" for n in range(4)),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name, tries, root, tmp_path):
    families, path = read_families(root), tmp_path / name

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_any_list(path, root, families)

    refuse_all(mutated_text(LISTS[name], " ,\n"), read, tries, name)


def test_submissions(tries, tmp_path):
    path = tmp_path / "submission.csv"
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        if is_submission(path):
            read_submission(path, tmp_path)

    refuse_all(mutated_text("img_pair,is_related\na.jpg-b.jpg,0\nb.jpg-a.jpg,0\n", ",-\n"), read, tries, path.name)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("table", ["pairs", "people"])
def test_tables(table, kind, tries, tmp_path):
    valid = PAIRS if table == "pairs" else PEOPLE
    path = tmp_path / f"{table}.{kind}"
    inputs = mutated_table(valid) if kind == "parquet" else mutated_text(valid.to_csv(index=False), ",\n")

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_pairs(path, scored=True) if table == "pairs" else read_people(path)

    refuse_all(inputs, read, tries, path.name)


ANNOTATIONS = "face,race_net,age_net,gender_human,age_band_human\n" + "".join(
    f"{face(family, 1)},asian,{family}0.5,m,{family}0s\n" for family in range(1, 7)
)


def test_annotations(tries, root):
    path = root / "annotations" / "own.csv"
    path.parent.mkdir()

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_families(root)

    refuse_all(mutated_text(ANNOTATIONS, ",\n"), read, tries, "own.csv")


def test_a_matrix_is_never_refused_but_reported(tries, tmp_path):
    """A family with a broken ``mid.csv`` is a problem in the report of ``kinface prepare``, not the end of it."""
    path = tmp_path / "mid.csv"

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        matrix = read_matrix(path, "mid.csv")
        for problem in matrix.problems:
            assert problem[1] == "mid.csv" and len(problem) == 3
        if matrix.problems:
            raise InputError(" ".join(matrix.problems[0]))

    refuse_all(mutated_text(FAMILY, ",\n"), read, tries, "mid.csv")


def test_a_folder_with_a_broken_matrix_is_prepared_and_read_again(tries, root, tmp_path):
    path = root / "Train/train-faces/F0001/mid.csv"

    @settings(max_examples=tries, deadline=None, derandomize=True, database=None)
    @given(mutated_text(FAMILY, ",\n"))
    def check(mutant: bytes) -> None:
        path.write_bytes(mutant)
        prepared = prepare_families(read_families(root, tune=0.5))
        write_prepared(prepared, tmp_path / "out")
        assert len(read_families(tmp_path / "out").problems) == len(prepared.families.problems)

    check()


@pytest.fixture
def prepared(root, tmp_path) -> Path:
    (root / "lists").mkdir()
    (root / "lists" / "val.txt").write_text(RFIW)
    write_prepared(prepare_families(read_families(root, tune=0.5)), tmp_path / "tables")
    return tmp_path / "tables"


@pytest.mark.parametrize(
    "file", ["dataset.json", "faces.parquet", "people.parquet", "relations.parquet", "problems.csv", "annotations.csv"]
)
def test_a_prepared_folder(file, tries, prepared):
    path = prepared / file
    valid = path.read_bytes()
    if file.endswith(".parquet"):
        inputs = mutated_table(pd.read_parquet(path))
    else:
        inputs = mutated_text(valid.decode(), ' ,:{}[]"\n')

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_families(prepared)

    refuse_all(inputs, read, tries, str(prepared))


def test_the_lists_of_a_prepared_folder(tries, prepared, root):
    path, families = prepared / "pairs.parquet", read_families(prepared)
    inputs = mutated_table(pd.read_parquet(path))

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_any_list("tune", prepared, families)

    refuse_all(inputs, read, tries, ("pairs.parquet", "tune"))


ABLATION = """seeds: [0, 1]
references: [none]
base: [base.yaml]
methods:
  none:
  ours: [0.1, 1.0]
"""


@pytest.mark.parametrize("file", ["ablation.yaml", "base.yaml", "methods/ours.yaml"])
def test_ablations(file, tries, tmp_path):
    contents = {
        "ablation.yaml": ABLATION,
        "base.yaml": "trainer: {max_epochs: 1}\nmodel: {attributes: {race: [a, b]}}\ndata: {root: r}\n",
        "methods/none.yaml": "model: {}\n",
        "methods/ours.yaml": "model: {hide: {race: {method: mlp}}}\ndata: {steps: 1}\noracle: [race]\n",
    }
    (tmp_path / "methods").mkdir()
    for name, content in contents.items():
        (tmp_path / name).write_text(content)

    def read(mutant: bytes) -> None:
        (tmp_path / file).write_bytes(mutant)
        read_ablation(tmp_path / "ablation.yaml", {})

    refuse_all(mutated_text(contents[file], " :,{}[]\n"), read, tries, str(tmp_path))


@pytest.mark.parametrize("tries", [3, pytest.param(60, marks=pytest.mark.slow)])  # a process for each
@pytest.mark.filterwarnings("ignore:.* families are in two folds")
def test_kinfacew(tries, tmp_path):
    (tmp_path / "meta_data").mkdir()
    path = tmp_path / "meta_data" / "fd_pairs.mat"
    cells = np.empty((20, 4), dtype=object)
    for row in range(20):
        names = f"fd_{row // 2 + 1:03}_1.jpg", f"fd_{row // 2 + 1 + row % 2:03}_2.jpg"
        cells[row] = [np.array([[row // 4 + 1]], np.uint8), np.array([[1 - row % 2]], np.uint8), *names]
    savemat(path, {"pairs": cells})
    valid = path.read_bytes()
    read_kinfacew(tmp_path)

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_kinfacew(tmp_path)

    refuse_all(mutated(valid), read, tries, str(tmp_path))


@pytest.mark.parametrize("file", ["result.json", "result.npz"])
def test_results_of_a_sweep(file, tries, tmp_path):
    about = {name: {"pairs": 4} for name in ("standard", "matched", "race", "gender")}
    figures, protocol = ("tradeoff", "auc_matched"), Protocol(resamples=100)
    drawn = {name: np.linspace(0, 1, 100) for name in figures}
    write_result(tmp_path, Result(dict.fromkeys(figures, 0.5), drawn, about), protocol)
    path = tmp_path / file
    valid = path.read_bytes()

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        read_result(tmp_path, protocol)

    inputs = mutated_text(valid.decode(), ' ,:{}[]"\n') if file == "result.json" else mutated(valid)
    refuse_all(inputs, read, tries, "result.json")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_models(file, tries, tmp_path):
    steps, heads = [{"attributes": {"race": ["a", "b"]}}], {"race": ["a", "b"]}
    KinFace(embedding_size=3, width=4, size=4, heads=heads, erase=steps).save_pretrained(tmp_path)
    path = tmp_path / file
    valid = path.read_bytes()

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant)
        KinFace.from_pretrained(tmp_path)

    inputs = mutated_text(valid.decode(), ' ,:{}[]"\n') if file == "config.json" else mutated(valid)
    refuse_all(inputs, read, tries, str(tmp_path))


# Commands: one message, exit code 2, nothing left behind


@pytest.mark.parametrize("command", ["prepare", "pairs", "pairs of a table", "score", "report", "sweep"])
def test_commands_refuse_broken_files(command, tries, root, tmp_path):
    """Whatever a mutation leaves of the file, its last line is broken."""
    out, path, valid = tmp_path / "out.parquet", tmp_path / "own.txt", RFIW
    if command in ("pairs of a table", "report"):
        path, valid = tmp_path / "own.csv", PAIRS.to_csv(index=False)
    if command == "sweep":
        path, valid = tmp_path / "own.yaml", ABLATION
    words = {
        "prepare": ["prepare", root, "--lists", path],
        "report": ["report", path, "--threshold", 0.2],
        "score": ["score", "--root", root, "--list", path, "--embeddings", tmp_path / "none.npz"],
        "sweep": ["sweep", path, "--root", root, "--list", "none"],
    }
    words = words.get(command, ["pairs", "--root", root, "--list", path])

    def read(mutant: bytes) -> None:
        path.write_bytes(mutant + b"\nx")
        line = [*map(str, words), "--out", str(out)]
        raise InputError(refuse_command(lambda: run_kinface(*line), out))

    refuse_all(mutated_text(valid, " ,\n"), read, tries, "own.")


def test_json_that_is_no_record(prepared):
    for content in ("[]", "3", '{"root": 3}', '{"root": "\\u0000"}', "[" * 100000, json.dumps({"root": "x" * 5000})):
        (prepared / "dataset.json").write_text(content)
        with pytest.raises(InputError, match="tables"):
            read_families(prepared)
