"""``kinface demo``."""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from kinface.cli.inputs import Source
from kinface.cli.prepare import prepare
from kinface.cli.report import report
from kinface.data.fiw import read_families
from kinface.synthetic.families import synthesize
from kinface.synthetic.pedigree import DISADVANTAGED
from swinface.files import InputError

MODELS = {"baseline": [], "debiased": ["methods/ours"]}  # the overlays of each on the base
PHOTOS = 2.5  # of a person on average
ATTRIBUTES = ("race", "gender")
QUICK = {"seeds": 1, "resamples": 200, "codelength": False, "permutations": 0}  # of the probes


def demo(
    *,
    out: Path = Path("demo"),
    families: int = 320,
    appearance: float = 0.4,
    bias: float = 0.9,
    config: list[Path] | None = None,
    seed: int = 0,
) -> None:
    """Draw synthetic families, train a baseline and a debiased model, and report for whom each fails.

    Parameters
    ----------
    out
        Folder to write to; an earlier demo there is replaced.
    families
        Number of families.
    appearance
        How clearly race and gender show in a face, from 0 to 1.
    bias
        Share of the inherited traits that noise replaces in faces of the disadvantaged race; the report must find it.
    config
        More configuration files for the training of both models, such as configs/smoke.yaml.
    seed
        Seed of the families, the training and the resamples.
    """
    for needed in ("torch", "lightning"):  # which are imported later, and the work of the first steps would be lost
        if find_spec(needed) is None:
            raise ModuleNotFoundError(name=needed)
    clear(out)
    root, tables = out / "families", out / "tables"
    listed = root / "lists" / "val_choose_kfc.txt"
    _say(1, "draw families in the layout of FIW, with known genes and a known bias")
    synthesize(root, families=families, photos=PHOTOS, appearance=appearance, bias=bias, seed=seed)
    _say(2, "check them and write their tables")
    prepare(root, out=tables, seed=seed)
    from kinface.cli.fit import fit
    from kinface.cli.score import score  # torch takes seconds to import, and the work is visible by now

    runs = {name: out / "runs" / name for name in MODELS}
    options = [f"--data.root={tables}", f"--data.cache={out / 'cache'}", f"--seed_everything={seed}"]
    for step, (name, run) in enumerate(runs.items(), start=3):
        _say(step, f"train the {name} model and score the validation list")
        with as_file(files("kinface.configs")) as shipped:
            overlays = [shipped / "kinface" / f"{overlay}.yaml" for overlay in ("base", *MODELS[name], "demo")]
            fit([*(f"--config={file}" for file in (*overlays, *(config or []))), *options, f"--run={run}"])
        score(root=tables, list=listed, out=run / "scores.parquet", source=Source(model=run))
    _say(5, "report for whom the baseline fails, and what the debiased model changes")
    report(
        runs["baseline"] / "scores.parquet",
        threshold_from=runs["baseline"] / "tune_scores.parquet",
        compare=runs["debiased"] / "scores.parquet",
        compare_threshold_from=runs["debiased"] / "tune_scores.parquet",
        out=out / "report",
        title="Synthetic families: the baseline compared with the debiased model",
        seed=seed,
    )
    _compare_with_truth(out / "report")
    _compare_leakage(tables, runs)
    print(f"\nreport: {out / 'report' / 'report.html'}")


def _compare_with_truth(report: Path) -> None:
    """Print what was planted and what the report found of it."""
    print(f"\nplanted: faces of {DISADVANTAGED} people show fewer of the inherited traits, which lowers AUC; found:")
    record = json.loads((report / "metrics.json").read_text())
    races = [row for row in record["contrasts"] if row["grouping"] == "race"]
    for row in races:
        said = "  <- significant" if row["significant"] else ""
        if not said and (row["low"] > 0 or row["high"] < 0):
            said = f"  <- not significant: p is {row['p_adjusted']:.3f} after correction for the number of races"
        interval = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        print(f"  {row['metric'].upper()} of {row['group']} minus {row['reference']} pairs: {interval}{said}")
    if not races:
        print("  nothing: there are too few families to compare races")


def _compare_leakage(tables: Path, runs: dict[str, Path]) -> None:
    """Print how well a linear attacker predicts race and gender from each model's embeddings of validation families."""
    from kinface.leakage.leakage import probe
    from kinface.models.kinface import load_model

    families = read_families(tables)
    faces = families.describe().query("split == 'val'")
    print("\nbalanced accuracy of a linear attacker on the embeddings:")
    for name, run in runs.items():
        embedding = load_model(run).embed(list(faces["face"]), root=families.root)
        for attribute in ATTRIBUTES:
            try:
                (row,) = probe(embedding, faces, attribute, kinds=["linear"], **QUICK).table.itertuples()
            except InputError as error:
                print(f"  {name}, {attribute}: not measured: {error}")
                continue
            ends = f"[{row.balanced_accuracy_low:.2f}, {row.balanced_accuracy_high:.2f}]"
            print(f"  {name}, {attribute}: {row.balanced_accuracy:.2f} {ends}, chance {row.chance:.2f}")


def clear(out: Path) -> None:
    """Remove an earlier demo; refuse any other folder."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "families" / "truth").is_dir():
        raise InputError(f"{out}: not empty, and not an earlier demo; choose another folder.")
    shutil.rmtree(out)


def _say(step: int, what: str) -> None:
    print(f"\n[{step}/5] {what}", flush=True)
