"""The notebooks run from a fresh kernel, without any data and on FIW where it is at hand, and are kept as agreed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kinface.tradeoff.figure import plot_changes
from kinface.tradeoff.measure import Protocol, Result, compare

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
SECONDS = 600  # that a cell may take on a busy machine; none takes a tenth of it
MOST_CELLS, MOST_LINES = 14, 15
DRAWN = {"01_data": 1, "02_swinface": 2, "03_bias_audit": 4, "04_tradeoff": 2, "05_debiased": 2}  # figures
ABOUT = {
    **{listed: {"pairs": 4662, "kin": 2331, "families": 130} for listed in ("standard", "matched")},
    "race": {"classes": "African, Asian, Caucasian", "faces": 3021, "people": 589, "families": 130, "chance": 1 / 3},
    "gender": {"classes": "f, m", "faces": 3021, "people": 589, "families": 130, "chance": 0.5},
}


def read_cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def run_notebooks(names: Sequence[str], folder: Path, **given: Path) -> dict[str, list[dict]]:
    """Execute copies, each in a fresh kernel with nothing given but what is named: name to its outputs."""
    copies = [Path(shutil.copy(NOTEBOOKS[name], folder)) for name in names]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KINFACE_", "PYTEST_"))}
    environment |= {"TMPDIR": str(folder), "IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    environment |= {key: str(value) for key, value in given.items()}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbmake", f"--nbmake-timeout={SECONDS}"]
    done = subprocess.run(
        [*command, "--overwrite", *copies], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return {copy.stem: [it for cell in read_cells(copy) for it in cell.get("outputs", [])] for copy in copies}


@pytest.fixture(scope="module")
def without_data(tmp_path_factory) -> dict[str, list[dict]]:
    return run_notebooks([*NOTEBOOKS], tmp_path_factory.mktemp("without_data"))


@pytest.fixture(scope="module")
def on_fiw(shared_data, tmp_path_factory) -> dict[str, list[dict]]:
    given = {"KINFACE_FIW": shared_data / "fiw", "KINFACE_MODEL": shared_data / "teacher" / "dlib_fiw.npz"}
    return run_notebooks(["01_data", "03_bias_audit"], tmp_path_factory.mktemp("on_fiw"), **given)


def read_text(outputs: list[dict]) -> str:
    """What was printed and the tables that were shown, as text."""
    shown = [output.get("data", {}).get("text/plain", output.get("text", [])) for output in outputs]
    return "\n".join("".join(lines) for lines in shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_without_any_data(name, without_data):
    outputs = without_data[name]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == DRAWN[name]


@pytest.mark.slow
def test_who_is_in_fiw(on_fiw):
    text = read_text(on_fiw["01_data"])
    assert re.search(r"val +114 +590 +2957 +960", text)
    assert re.search(r"predicted by deepface +0 +3015 +0", text)
    assert "standard list, race alone: AUC 0.597" in text
    assert "matched list, race alone: AUC 0.500" in text


@pytest.mark.slow
def test_a_model_is_audited_on_fiw(on_fiw):
    text = read_text(on_fiw["03_bias_audit"])
    found = r" +0\.\d+ \[0\.\d+, 0\.\d+\] +0\."
    assert re.search(rf"race +embedding +linear{found}333 +True", text)
    assert re.search(rf"gender +embedding +mlp{found}5\d* +True", text)
    assert "Indian (1 family)" in text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_short_and_comes_without_outputs(name):
    content = json.loads(NOTEBOOKS[name].read_text(encoding="utf-8"))
    cells = content["cells"]
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert len(cells) <= MOST_CELLS
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        text = "".join(cell["source"])
        assert not re.search(r"(^|[\s\"'(=])(/|~/|[A-Z]:\\)\w", text), text  # a path of somebody's machine
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert sum(not line.startswith(("import ", "from ")) for line in cell["source"]) <= MOST_LINES


def test_each_says_what_it_reads_and_the_readme_names_all():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for notebook in NOTEBOOKS.values():
        first, *others = ("".join(cell["source"]) for cell in read_cells(notebook))
        read = {*re.findall(r"KINFACE_[A-Z]+", "".join(others))}
        assert read and read <= {*re.findall(r"KINFACE_[A-Z]+", first)} and all(name in readme for name in read)
        assert notebook.name in readme


def draw_result(seed: int, **points: float) -> Result:
    random = np.random.default_rng(seed)
    figures = ["tradeoff", "auc_matched", "auc_standard"]
    figures += [f"{name}_{probe}" for name in ("race", "gender") for probe in ("linear", "mlp", "best")]
    points = dict.fromkeys(figures, 0.6) | points
    draws = {name: value + 0.01 * random.standard_normal(100) for name, value in points.items()}
    return Result(points, draws, ABOUT)


@pytest.fixture
def sweep(tmp_path):
    """A sweep of three methods: one that costs much, one that leaves little, one that leaves less but costs much."""
    least, less = ({f"{name}_{probe}": left for name in ("race", "gender") for probe in ("linear", "mlp")}
                   for left in (0.51, 0.55))  # fmt: skip
    runs = [
        ("none", None, draw_result(0, auc_matched=0.7)),
        ("mild", 0.1, draw_result(1, auc_matched=0.69, **less)),
        ("harsh", 1.0, draw_result(2, auc_matched=0.6, **least)),
    ]
    found = compare(runs, Protocol(resamples=100))
    found.write(tmp_path)
    return tmp_path, found.table


def test_the_answer_is_the_method_that_leaves_least_of_those_that_keep_kinship(sweep):
    folder, _ = sweep
    cells = ["".join(cell["source"]) for cell in read_cells(NOTEBOOKS["04_tradeoff"]) if cell["cell_type"] == "code"]
    reading, answering = (next(cell for cell in cells if word in cell) for word in ("frontier.csv", "best ="))
    imports = cells[0].replace("%", "#")
    names = {"out": folder}
    exec("\n".join([imports, reading, answering]), names)
    assert names["names"][names["best"]] == "mild, λ 0.1"
    assert list(names["answer"]["still read"]) == ["", "", True, True, True, True]
    assert names["answer"]["difference"].iloc[0].startswith("-0.010 [")


def test_differences_to_a_reference_are_drawn_with_their_intervals(sweep):
    _, table = sweep
    figure = plot_changes(table, "none", ABOUT)
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["mild, λ 0.1", "harsh, λ 1"]
    assert panel.get_xlabel() == "AUC, matched list\n4,662 pairs"
    lines, shown, open_points = panel.collections
    ends = table[["auc_matched_minus_none_low", "auc_matched_minus_none_high"]].to_numpy()[1:]
    np.testing.assert_allclose([segment[:, 0] for segment in lines.get_segments()], ends)
    assert (ends[0][0] < 0 < ends[0][1]) and ends[1][1] < 0
    np.testing.assert_allclose(shown.get_offsets(), [[table["auc_matched_minus_none"][2], 1]])
    np.testing.assert_allclose(open_points.get_offsets(), [[table["auc_matched_minus_none"][1], 0]])
