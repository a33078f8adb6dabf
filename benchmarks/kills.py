"""Kill commands at random moments, run them again, and compare with runs that were never killed.

    python benchmarks/kills.py --kills 100 --root FIW --embeddings dlib_fiw.npz

Each command is first run whole, which also takes its time. It is then killed (SIGKILL, with all its processes) at a
random moment of that time and started again. The outputs must be byte-identical, and no other file may be left.
Without ``--root``, synthetic families are drawn. The table has a row per command; the exit code is 1 if one differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]

DONE = "this run is complete"  # what ``fit`` says of a run that was killed after its last file

KINFACE = [sys.executable, "-c", "from kinface.cli.main import main; main()"]

IGNORED = {"last.ckpt", "best.ckpt"}  # equal checkpoints may differ in bytes; the model made of them is compared


def list_commands(desk: Path, root: Path, embeddings: Path, tables: Path) -> dict[str, list[str]]:
    """Command to its arguments; each writes to ``out``, a folder or file below the current folder."""
    scores, tune = desk / "scores.parquet", desk / "tune.parquet"
    fit = [
        "fit",
        "--config",
        str(ROOT / "configs/kinface/base.yaml"),
        "--config",
        str(ROOT / "configs/kinface/methods/ours.yaml"),
    ]
    fit += ["--data.root", str(tables), "--data.embeddings", str(embeddings), "--trainer.max_epochs", "4"]
    fit += ["--trainer.accelerator", "cpu", "--data.steps", "20", "--run", "out"]
    of_vectors = ["--root", str(tables), "--embeddings", str(embeddings)]
    report = ["report", str(scores), "--threshold-from", str(tune), "--resamples", "300", "--out", "out"]
    return {
        "prepare": ["prepare", str(root), "--out", "out"],
        "fit": fit,
        "score": ["score", "--root", str(tables), "--list", str(desk / "list.txt"), "--out", "out.parquet"],
        "embed": ["embed", "--root", str(desk / "few"), "--out", "out.npz"],
        "report": report,
        "probe": ["probe", str(desk / "faces.npz"), "--people", str(tables), "--attribute", "gender", "--split", "tune",
                  "--kind", "linear", "--resamples", "100", "--out", "out"],
        "sweep": ["sweep", str(desk / "ablation.yaml"), "--root", str(tables), "--embeddings", str(embeddings),
                  "--list", "tune", "--workers", "1", "--resamples", "100", "--probe-seeds", "1", "--out", "out"],
        "rfiw 1": ["rfiw", "--track", "1", *of_vectors, "--list", "val", "--threshold-from", "tune", "--out", "out"],
        "rfiw 2": ["rfiw", "--track", "2", *of_vectors, "--list", "tune", "--threshold-from", "train", "--out", "out"],
        "rfiw 3": ["rfiw", "--track", "3", "--root", str(tables), "--list", "tune", "--out", "out"],
        "triplets": ["triplets", *of_vectors, "--epochs", "5", "--out", "out"],
        "calibrate": ["calibrate", str(scores), "--validation", str(tune), *of_vectors[2:], "--out", "out"],
    }  # fmt: skip


def run(arguments: list[str], folder: Path, after: float | None = None) -> int:
    """The exit code; a process that is killed ``after`` seconds has none of its own, but -9."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    process = subprocess.Popen(
        [*KINFACE, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return -signal.SIGKILL
    if process.returncode and DONE not in said:
        raise SystemExit(f"{' '.join(arguments)}\n{said[-2000:]}")
    return 0


def read_files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def prepare_desk(desk: Path, root: Path, embeddings: Path) -> Path:
    """What the commands read: tables, scores, a short list, a few families, an ablation. Returns the tables."""
    tables = desk / "tables"
    run(["prepare", str(root), "--out", str(tables)], desk)
    common = ["score", "--root", str(tables), "--embeddings", str(embeddings)]
    lines = (root / "lists" / "val_choose.txt").read_text().splitlines(keepends=True)
    (desk / "list.txt").write_text("".join(lines[:1200]))
    run([*common, "--list", str(root / "lists" / "val_choose.txt"), "--out", str(desk / "scores.parquet")], desk)
    run([*common, "--list", "tune", "--out", str(desk / "tune.parquet")], desk)
    few = desk / "few" / "Validation" / "val-faces"
    few.mkdir(parents=True)
    for family in sorted((root / "Validation" / "val-faces").iterdir())[:20]:
        (few / family.name).symlink_to(family)
    with np.load(embeddings) as table:
        faces = pd.read_parquet(tables / "faces.parquet")
        chosen = np.isin(table["face"], faces.loc[faces["split"] == "tune", "face"])
        np.savez(desk / "faces.npz", face=table["face"][chosen], embedding=table["embedding"][chosen])
    short = {"trainer": {"max_epochs": 2, "accelerator": "cpu"}, "data": {"steps": 10}}
    (desk / "short.yaml").write_text(yaml.safe_dump(short))
    ablation = {"seeds": [0], "base": ["base", "embeddings", "short.yaml"]}
    ablation |= {"methods": {"none": None, "reversal_race": [10.0]}}
    (desk / "ablation.yaml").write_text(yaml.safe_dump(ablation, sort_keys=False))
    return tables


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--kills", type=int, default=100, help="of all commands together")
    options.add_argument("--root", type=Path, help="a FIW folder; by default synthetic families")
    options.add_argument("--embeddings", type=Path, help="table of embeddings of its faces; by default made up")
    options.add_argument("--only", action="append", help="only this command; may be repeated")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    rng, failed = np.random.default_rng(chosen.seed), False
    with tempfile.TemporaryDirectory() as folder:
        desk, root, embeddings = Path(folder) / "desk", chosen.root, chosen.embeddings
        desk.mkdir()
        if root is None:
            root = desk / "families"
            run(["synthesize", str(root), "--families", "60"], desk)
        root = root.resolve()
        if embeddings is None:
            faces = [path.relative_to(root).as_posix() for path in sorted(root.glob("*/*/F*/MID*/*.jpg"))]
            embeddings = desk / "embeddings.npz"
            np.savez(embeddings, face=np.array(faces), embedding=rng.normal(size=(len(faces), 64)).astype(np.float32))
        tables = prepare_desk(desk, root, embeddings.resolve())
        commands = list_commands(desk, root, embeddings.resolve(), tables)
        commands = {name: it for name, it in commands.items() if not chosen.only or name in chosen.only}
        print(
            f"{'command':10} {'seconds':>7} {'kills':>6} {'finished before':>16} {'equal':>6} {'stray files':>12}",
            flush=True,
        )
        for place, (name, arguments) in enumerate(commands.items()):
            work = Path(folder) / "run"  # one place for all, as checkpoints hold the path of their folder
            start = time.perf_counter()
            run(arguments, work)
            seconds, expected = time.perf_counter() - start, read_files(work)
            shutil.rmtree(work)
            times = chosen.kills // len(commands) + (place < chosen.kills % len(commands))
            kills = equal = early = 0
            stray: set[str] = set()
            differing: set[str] = set()
            for _ in range(times):
                kills += run(arguments, work, after=rng.uniform(0.3, 1) * seconds) == -signal.SIGKILL
                run(arguments, work)
                found = read_files(work)
                stray |= found.keys() - expected.keys()
                other = {key for key, value in expected.items() if found.get(key) != value}
                other = {key for key in other if Path(key).name not in IGNORED}
                differing |= other
                equal += not other
                shutil.rmtree(work)
            early = times - kills
            failed |= equal < times or bool(stray)
            names = ", ".join(sorted(stray)) or "none"
            print(f"{name:10} {seconds:7.1f} {kills:6} {early:16} {equal:4}/{times} {names:>12}", flush=True)
            for key in sorted(differing):
                print(f"{'':10} differs: {key}", flush=True)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
