"""What the README and the documentation tell a reader to type works, on synthetic families in FIW's place.

The commands and code on faces and photos are in ``tests/swinface/test_documentation.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from kinface.synthetic.families import synthesize
from tests.commands import run_kinface
from tests.documentation import PAGES, ROOT, read_blocks
from tests.own.recogniser import write_onnx
from tests.pages import leave_pictures_blank

# What commands are given besides, to be quick. A command that is not here needs other data.
QUICK = {
    **{name: [] for name in ("prepare", "score", "report", "runs", "compare", "pairs", "embed", "export", "nest")},
    "fit": ["--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"],
    "calibrate": [],
    "rfiw": [],
    "controls": [],
    "triplets": ["--epochs", "2"],
    "probe": ["--folds", "2", "--resamples", "100", "--kind", "linear"],
    "frontier": ["--seeds", "1", "--resamples", "100", "--kind", "linear"],
    "sweep": ["--workers", "1", "--resamples", "100", "--probe-seeds", "1"],
}
ELSEWHERE = {"verify", "web", "kinfacew"}  # photos, pages, and a set that have tests of their own


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with what the pages ask for: FIW, configurations, embeddings, scores of the user's model."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "configs").symlink_to(ROOT / "configs")
    synthesize(folder / "FIW", families=48, photos=1.5, seed=1)  # two races have the 5 families in val that probes need
    write_onnx(folder / "arcface.onnx")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("scores", "validation", "other_scores", "other_validation")):
        kin = np.arange(600) % 2 == 0
        faces = {f"face_{side}": [f"{number % 2}/{side}{row}.jpg" for row in range(600)] for side in "ab"}
        family = np.arange(600) % 60 + 100 * (number % 2)
        faces |= {"family_a": family, "family_b": np.where(kin, family, family + 1)}
        band = np.where(np.arange(600) % 5 < 2, "younger", "older")
        table = {"kin": kin.astype(int), "score": kin + rng.normal(size=600), "age_band": band}
        pd.DataFrame(faces | table).to_csv(folder / f"{name}.csv", index=False)
    return folder


def shrink_ablation(path: Path) -> Path:
    """Its first two methods, of one lambda and one seed, in two steps."""
    ablation = yaml.safe_load(path.read_text(encoding="utf-8"))
    methods = {name: strengths and strengths[:1] for name, strengths in list(ablation["methods"].items())[:2]}
    base = [*ablation["base"], "short.yaml"]
    ablation |= {"seeds": [0], "references": [next(iter(methods))], "base": base, "methods": methods}
    short = {"trainer": {"max_epochs": 2, "accelerator": "cpu"}, "data": {"batch_size": 4, "steps": 2}}
    Path("short.yaml").write_text(yaml.safe_dump(short), encoding="utf-8")
    Path(path.name).write_text(yaml.safe_dump(ablation, sort_keys=False), encoding="utf-8")
    return Path(path.name)


def carry_out(name: str, options: list[str]) -> None:
    if "embeddings.npz" in options and not Path("embeddings.npz").exists():
        faces = pd.read_parquet("tables/faces.parquet")["face"].to_numpy(str)
        np.savez("embeddings.npz", face=faces, embedding=np.random.default_rng(0).normal(size=(len(faces), 8)))
    if name == "sweep":
        options[0] = str(shrink_ablation(Path(options[0])))
    assert run_kinface(name, *options, *QUICK[name]) == 0, [name, *options]
    written = Path(options[options.index("--out") + 1]) if "--out" in options else Path("runs")
    assert written.is_file() or any(written.iterdir()), [name, *options]


@pytest.mark.slow
def test_the_pages_work_as_they_are_written(desk, monkeypatch):
    """In the order of a reader, each command once; blocks of Python of a page share their names."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    done: list[list[str]] = []
    for page in PAGES:
        names: dict[str, object] = {}
        for block in read_blocks(page):
            if block.caption is not None:
                Path(block.caption).write_text(block.text)
            elif block.language == "python" and page.name != "swinface.md":
                exec(compile(block.text, page.name, "exec"), names)
            elif block.language == "bash":
                for program, name, *options in block.commands():
                    if program == "kinface" and name not in ELSEWHERE and [name, *options] not in done:
                        carry_out(name, [*options])
                        if name == "report":  # the pictures of the first are drawn
                            leave_pictures_blank(monkeypatch)
                        done.append([name, *options])
    assert {name for name, *_ in done} == {*QUICK}
    assert (desk / "report" / "report.html").stat().st_size > 100_000
    assert "age_band" in (desk / "age_band_report" / "report.html").read_text()
