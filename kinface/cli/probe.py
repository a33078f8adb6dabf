"""``kinface probe``."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from kinface.data.fiw import read_people
from kinface.data.pairs import find_places
from kinface.data.tables import write_intervals
from swinface.bootstrap import check_draws
from swinface.data.embeddings import read_arrays
from swinface.files import InputError, naming, replacing_folder, write_json

if TYPE_CHECKING:
    from kinface.leakage.leakage import Leakage

DOTS_PER_INCH = 150
OUTPUTS = ("leakage.csv", "leakage.json", "leakage.png")


def probe(
    embeddings: Path,
    *,
    people: Path,
    attribute: list[str],
    out: Path,
    split: str | None = None,
    fit_on: list[str] | None = None,
    kind: list[str] | None = None,
    compare: Path | None = None,
    each: Literal["face", "person"] = "face",
    labelled: int | None = None,
    seeds: int = 3,
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Measure how well attackers predict an attribute from embeddings of families that they were not fitted on.

    ``out`` then holds ``leakage.csv``, ``leakage.json`` and ``leakage.png``.

    Parameters
    ----------
    embeddings
        Table of embeddings (.npz with face and embedding). Further arrays in it with a row of numbers per face, such as
        those of ``kinface embed --features``, are probed too.
    people
        Folder of ``kinface prepare``, or a .parquet or .csv table with a row per face: face, person, family and the
        attributes.
    attribute
        Column to predict, such as race, gender or one of your own; repeat the option for several.
    out
        Folder to write to.
    split
        Test only faces of this split, such as val.
    fit_on
        Split whose faces every probe is fitted on too, such as train; repeat the option for several. An attacker
        fitted on more families is stronger, and anyone with the data set has these families.
    kind
        Which probes to fit: linear, mlp, kernel, trees, qda (a quadratic discriminant) or knn, which uses scores
        alone; or the path of any classifier with scikit-learn's fit and predict, such as sklearn.svm.SVC, or
        mine.Attacker of a file mine.py in the working folder. Repeat the option for several. The default is linear and
        mlp. Of several, the result of the best is given too.
    compare
        Embeddings of the same faces by another model; its results and the differences from them are added.
    each
        What is attacked: each face, or each person by the mean of all faces.
    labelled
        Fit each probe on only this many people, as an attacker with few labels would.
    seeds
        How often the folds are drawn and the probes are fitted.
    folds
        Number of parts that families are divided into; each part is tested with probes fitted on the others.
    resamples
        Resamples of families, for the 95% intervals.
    seed
        First of the seeds of folds and probes; also the seed of the resamples.
    """
    from kinface.leakage.leakage import RULE, average_people
    from kinface.leakage.probes import PROBES
    from kinface.report.plots import plot_leakage

    kinds = PROBES if kind is None else tuple(kind)
    if not attribute or len(set(attribute)) < len(attribute):
        raise InputError("--attribute: name each attribute once, such as --attribute race --attribute gender.")
    check_draws(seed, resamples, fewest=100)
    faces, arrays = read_arrays(embeddings)
    described = read_people(people)
    with naming(embeddings):
        described = described.iloc[find_places(faces, described["face"], f"not in {people}; add it there")]
    described = described.reset_index(drop=True)
    splits = {*described["split"].dropna()} if split is not None and "split" in described else set()
    described = _choose(described, people, attribute, split, fit_on or [])
    models = {str(embeddings): {name: values[described.index] for name, values in arrays.items()}}
    if compare is not None:
        if compare == embeddings:
            raise InputError(f"--compare {compare}: these are the same embeddings; name another model's.")
        models[str(compare)] = _read_same_faces(compare, list(described["face"]), arrays)
    if each == "person":
        persons = described["person"]
        for arrays in models.values():
            for name, values in arrays.items():
                arrays[name], first = average_people(values, persons)
        described = described.iloc[first].reset_index(drop=True)
    settings = {"seeds": seeds, "folds": folds, "resamples": resamples, "seed": seed, "labelled": labelled}
    settings["fit_on"] = fit_on or []
    found = _measure(models, described, attribute, settings | {"kinds": kinds, "split": split})
    tables = [leakage.table.assign(file=file, representation=name) for (file, name, _), leakage in found.items()]
    table = pd.concat(tables, ignore_index=True)
    table = table[["file", "representation", *table.columns.drop(["file", "representation"])]]
    worst = pd.DataFrame(
        [{"file": file, "representation": name, **leakage.worst} for (file, name, _), leakage in found.items()]
    )
    differences = _compare(found, str(embeddings), str(compare))
    record = {
        "kinface": version("kinface"),
        "embeddings": str(embeddings),
        "compared_with": None if compare is None else str(compare),
        "people": str(people),
        "sources": _name_sources(described, attribute),
        "split": _name_splits(described, fit_on or []),
        "rule": RULE,
        "each": each,
        **settings,
        "leakage": table.to_dict("records"),
        "worst": worst.to_dict("records"),
        "differences": differences.to_dict("records"),
    }
    with replacing_folder(out, owned=OUTPUTS) as folder:
        table.to_csv(folder / "leakage.csv", index=False)
        write_json(folder / "leakage.json", record)
        plot_leakage(table).savefig(folder / "leakage.png", dpi=DOTS_PER_INCH)
    _print_summary(record, table, worst, differences, out, many=len(kinds) > 1)
    if spare := sorted(splits - {split, *(fit_on or [])}):
        print(f"probes fitted on more families read more: add {' '.join(f'--fit-on {name}' for name in spare)}")


def _choose(
    described: pd.DataFrame, path: Path, attribute: list[str], split: str | None, fit_on: list[str]
) -> pd.DataFrame:
    """The faces of one split, and of those to fit on too, by their row."""
    for name in attribute:
        if name not in described or name in ("face", "person", "family"):
            raise InputError(f"--attribute {name}: no such column in {path}; it has {', '.join(described.columns)}.")
    if split is None:
        return described
    if "split" not in described:
        raise InputError(f"--split {split}: {path} has no column 'split'; leave the option out.")
    chosen = described[described["split"].isin([split, *fit_on])]
    if not chosen["split"].eq(split).any():
        there = ", ".join(sorted(described["split"].dropna().unique()))
        raise InputError(f"--split {split}: no embedded face belongs to it; their splits are {there or 'unknown'}.")
    return chosen


def _read_same_faces(path: Path, faces: list[str], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Another model's arrays with the names of ``arrays``, for these faces in this order."""
    others, found = read_arrays(path)
    with naming(path):
        rows = find_places(faces, others, "there is no embedding of it; embed the same faces with both models")
    return {name: values[rows] for name, values in found.items() if name in arrays}


def _measure(
    models: dict[str, dict[str, np.ndarray]],
    described: pd.DataFrame,
    attributes: list[str],
    settings: dict[str, object],
) -> dict[tuple[str, str, str], Leakage]:
    """(file, representation, attribute) to the leakage."""
    from joblib import parallel_config

    from kinface.leakage.leakage import probe as probe_table

    wanted = [(file, name, it) for file, arrays in models.items() for name in arrays for it in attributes]
    with parallel_config(n_jobs=-1):
        return {
            (file, name, attribute): probe_table(models[file][name], described, attribute, **settings)
            for file, name, attribute in tqdm(wanted, desc="probe", unit="table", leave=False, disable=None)
        }


def _compare(found: dict[tuple[str, str, str], Leakage], ours: str, other: str) -> pd.DataFrame:
    from kinface.leakage.leakage import compare_leakage

    both = [(name, it) for file, name, it in found if file == ours and (other, name, it) in found]
    tables = [compare_leakage(found[ours, *it], found[other, *it]).assign(representation=it[0]) for it in both]
    columns = ["representation", "attribute", "probe", "difference", "low", "high"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _name_splits(described: pd.DataFrame, fit_on: list[str]) -> str:
    """The splits that are tested."""
    splits = described["split"].dropna().unique() if "split" in described else []
    return ", ".join(sorted({*splits} - {*fit_on}))


def _name_sources(described: pd.DataFrame, attributes: list[str]) -> dict[str, str]:
    """Attribute to the source of its labels, where it is known."""
    columns = {name: described[f"{name}_source"].dropna() for name in attributes if f"{name}_source" in described}
    return {name: ", ".join(sorted(source.unique())) for name, source in columns.items()}


def _print_summary(
    record: dict, table: pd.DataFrame, worst: pd.DataFrame, differences: pd.DataFrame, out: Path, *, many: bool
) -> None:
    for (file, attribute), group in table.groupby(["file", "attribute"], sort=False):
        first = group.iloc[0]
        source = record["sources"].get(attribute)
        print(f"{file}: {attribute}" + (f", {source}" if source else "") + f": {first['classes']}")
        left_out = f"; left out: {first['left_out']}" if first["left_out"] else ""
        left_out += f"; {first['unknown']:,} more without {attribute}" if first["unknown"] else ""
        split = f" of {record['split']}" if record["split"] else ""
        print(f"{first['faces']:,} faces, {first['people']:,} people, {first['families']:,} families{split}{left_out}")
        if first["more"]:
            print(f"every probe is also fitted on {first['more']:,} faces of {', '.join(record['fit_on'])}")
        shown = {
            "features": group["representation"],
            "probe": group["probe"],
            "balanced accuracy": write_intervals(group, "balanced_accuracy"),
            "chance": group["chance"].map("{:.3f}".format),
            "labels permuted": _within(group),
            "AUC": write_intervals(group, "auc"),
            "bits per face": [f"{row.codelength:.2f} of {row.codelength_uniform:.2f}" for row in group.itertuples()],
            "leakage": _say_leakage(group),
        }
        print(pd.DataFrame(shown).to_string(index=False))
        best = worst[(worst["file"] == file) & (worst["attribute"] == attribute)] if many else worst[:0]
        said = write_intervals(best, "balanced_accuracy"), _within(best), _say_leakage(best)
        for row, reads, permuted, leakage in zip(best.itertuples(), *said, strict=True):
            print(
                f"{row.representation}: best of these ({row.probe}): {reads}, labels permuted {permuted}; "
                f"leakage {leakage}"
            )
        print()
    if len(differences):
        print(f"{record['embeddings']} minus {record['compared_with']}, balanced accuracy, on the same resamples")
        print(differences.to_string(index=False, float_format="{:+.3f}".format) + "\n")
    print(
        "Bits per face: the online codelength of the labels given the embeddings, and without them. Where the first is "
        "larger, probes that are fitted on few families are misleading.\n"
        + "The interval and range of permuted labels of the best of several probes allow for that choice.\n" * many
        + f"{record['rule']}\nwrote {out / 'leakage.json'}"
    )


def _within(table: pd.DataFrame) -> list[str]:
    return [f"{low:.3f} to {high:.3f}" for low, high in zip(table["permuted_low"], table["permuted_high"], strict=True)]


def _say_leakage(table: pd.DataFrame) -> list[str]:
    below = table["balanced_accuracy"] < table["chance"]
    found = np.where(below, "found, below chance", "found")
    wide = table["permuted_high"] >= 1
    return [*np.select([wide, table["leaks"].eq(True)], ["not known, bounds reach 1", found], "not found")]
