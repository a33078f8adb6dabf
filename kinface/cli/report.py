"""``kinface report``."""

from __future__ import annotations

import shlex
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kinface.data.annotations import EMPTY
from kinface.data.pairs import check_kinds, read_pairs
from kinface.data.tables import canonical_text, read_table
from kinface.data.vocabulary import fold_word
from kinface.report.choices import FigureFormat, TableFormat
from swinface.bootstrap import check_draws
from swinface.files import InputError, digest_file, naming, replacing_folder, write_json

if TYPE_CHECKING:
    from kinface.fairness.audit import Origin

FIGURES = ("verdict", "verdict_column", "controls", "types", "rates_*", "scores_*", "roc_*", "det_*", "differences_*")
OWNED = (
    *(f"{name}.{ending}" for name in FIGURES for ending in ("png", "pdf", "svg")),
    *(f"table_*.{ending}" for ending in ("tex", "csv", "md")),
    "groups_matched.csv",
    "types.csv",
    "confusions.csv",
    "errors.html",
    "model_card.md",
)


def report(
    scores: Path,
    *,
    out: Path,
    threshold_from: Path | None = None,
    threshold: float | None = None,
    by: list[str] | None = None,
    disparity: list[str] | None = None,
    compare: Path | None = None,
    compare_threshold_from: Path | None = None,
    matched: Path | None = None,
    acquisition: Path | None = None,
    faces: Path | None = None,
    title: str = "Fairness report",
    tables: list[TableFormat] | None = None,
    figures: list[FigureFormat] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Write the fairness report of a scored list of pairs.

    ``out`` then holds ``report.html`` (self-contained), ``groups.csv``, ``metrics.json``, the figures as PNG, and
    ``model_card.md``, the section of a model card with the metadata of the Hugging Face Hub; with ``matched`` also
    ``groups_matched.csv``. If the scores have ``type_predicted``, the page has a section on types of kinship, and there
    are ``types.csv`` and ``confusions.csv``.

    Parameters
    ----------
    scores
        Scored pairs table (.parquet, .csv or .xlsx) to audit. The columns face_a, face_b, kin and score are enough.
    out
        Folder to write to.
    threshold_from
        Validation pairs scored by the same model. The threshold is the score with the largest TPR - FMR
        (share of kin pairs accepted minus share of non-kin pairs accepted) on them.
    threshold
        The threshold itself, instead of validation pairs.
    by
        Grouping to add to those by race, gender and type: a column such as age_band, an attribute X with the columns
        X_a and X_b, or an intersection such as "race x age_band"; repeat the option for several.
    disparity
        A disparity of your own to measure too, such as mine.measure of a file mine.py in the working folder;
        repeat the option for several.
    compare
        The same list scored by another model; the report adds the differences to it.
    compare_threshold_from
        Validation pairs scored by that other model, for its own threshold.
    matched
        A list of the same kin pairs with matched non-kin pairs (``kinface pairs``), scored by the same model. The
        report shows both lists at the same threshold. To compare two models on a matched list, give the matched
        lists as SCORES and --compare.
    acquisition
        A table of photos for failures to acquire, with ``acquired`` (1 where a usable face was found) or ``problem``
        (empty there), as in the aligned.csv of ``swinface align``; ``race``, ``gender`` or columns named by --by; and
        ``person`` where it is known.
    faces
        The folder that the paths of faces start from. With it, ``errors.html`` is written too: for each race, the
        pairs with the largest errors and their faces. That page is as confidential as the faces. The section of
        controls then includes colours, sizes and sharpness of the images.
    title
        Heading of the page.
    tables
        Write tables for papers too, ``table_*``: latex (for the package booktabs), csv or markdown; repeat the option
        for several.
    figures
        Write the figures for papers too, at the width of one column or of both: pdf with fonts embedded, or svg; repeat
        the option for several.
    resamples
        Number of resamples for the 95% intervals of disparities and of their differences.
    seed
        Seed of the resamples.
    """
    from kinface.fairness.audit import FairnessAudit, Origin, audit_fairness
    from kinface.fairness.disparities import find_disparity
    from kinface.fairness.threshold import choose_threshold
    from kinface.fairness.types import audit_types, count_confusions
    from kinface.report.build import build_report
    from kinface.report.checks import check_matched, check_validation
    from kinface.report.errors import render_errors
    from kinface.report.html import render, render_lines
    from kinface.report.papers import save_for_papers, write_card

    command = _write_command(dict(locals()))
    if (threshold_from is None) == (threshold is None):
        raise InputError("give either --threshold-from, validation pairs of the same model, or --threshold, a number.")
    if (compare is None) != (compare_threshold_from is None):
        raise InputError("--compare and --compare-threshold-from go together: each model has its own threshold.")
    check_draws(seed, resamples, fewest=100)
    for name in disparity or ():
        with naming("--disparity"):
            find_disparity(name)
    lists = {path: _read(path) for path in (scores, compare, matched) if path is not None}
    origin, other_origin = _originate(scores, threshold_from), _originate(compare, compare_threshold_from)
    if matched is not None:
        matched_origin = Origin(str(matched), origin.validation, origin.validation_file)
        check_validation(lists[matched], matched_origin)
        check_matched(lists[scores], lists[matched], origin, matched_origin)

    def audit(path: Path, value: float, beside: Path | None, origin: Origin) -> FairnessAudit:
        options = {"groupings": by or (), "disparities": disparity or (), "resamples": resamples, "seed": seed}
        with naming(path):
            return audit_fairness(lists[path], value, beside=lists.get(beside), **options, checked=True, origin=origin)

    value, others = choose_threshold(origin.validation) if threshold is None else threshold, {}
    ours = audit(scores, value, matched, origin)
    if matched is not None:
        others["matched"] = audit(matched, value, scores, matched_origin)
    if compare is not None:
        others["other"] = audit(compare, choose_threshold(other_origin.validation), matched, other_origin)
    failures = None if acquisition is None else _read_acquisition(acquisition, by)
    errors = None if faces is None else render_errors(ours, faces)
    page = None if errors is None else "errors.html"
    read = (scores, threshold_from, compare, compare_threshold_from, matched, acquisition)
    made_by = {"command": command, "inputs": {str(path): digest_file(path) for path in read if path is not None}}
    parts = {"acquisition": failures, "faces": faces, "errors_page": page, **made_by}
    result = build_report(ours, title=title, **others, **parts)
    with replacing_folder(out, owned=OWNED) as folder:
        if errors is not None:
            (folder / "errors.html").write_text(errors, encoding="utf-8")
        for name, png in result.pictures.items():
            (folder / f"{name}.png").write_bytes(png)
        ours.groups.to_csv(folder / "groups.csv", index=False)
        if matched is not None:
            others["matched"].groups.to_csv(folder / "groups_matched.csv", index=False)
        if result.record["types"] is not None:
            audit_types(ours).to_csv(folder / "types.csv", index=False)
            count_confusions(ours).to_csv(folder / "confusions.csv")
        write_json(folder / "metrics.json", result.record)
        (folder / "report.html").write_text(render(result), encoding="utf-8")
        (folder / "model_card.md").write_text(write_card(result), encoding="utf-8")
        save_for_papers(result, folder, tables or [], figures or [])
    print("\n".join(render_lines(result)))
    print(f"wrote {out / 'report.html'}")


def _write_command(given: dict) -> str:
    """The command line of these values of the parameters of ``report``."""
    words = ["kinface", "report", str(given["scores"])]
    for name, parameter in signature(report).parameters.items():
        if name != "scores" and given[name] != parameter.default:
            values = given[name] if isinstance(given[name], list) else [given[name]]
            words += [word for value in values for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(words)


def _read_acquisition(path: Path, by: list[str] | None) -> dict[str, pd.DataFrame]:
    """Failures to acquire by race, gender and the user's own groups, as far as the table has them."""
    from kinface.fairness.standards import measure_acquisition

    photos = read_table(path, "table of photos")
    if "acquired" not in photos:
        if "problem" not in photos:
            raise InputError(f"{path}: no column 'acquired' (1 or 0), or 'problem' (empty where a face was found).")
        problem = canonical_text(photos["problem"], f"{path}: column problem").map(fold_word, na_action="ignore")
        photos["acquired"] = problem.isna() | problem.isin(EMPTY)
    groups = [name for name in dict.fromkeys(("race", "gender", *(by or ()))) if name in photos]
    if not groups:
        raise InputError(f"{path}: no column race, gender or one of --by; add one to group the photos by.")
    with naming(path):
        return {name: measure_acquisition(photos, name) for name in groups}


def _originate(scores: Path | None, threshold_from: Path | None) -> Origin:
    from kinface.fairness.audit import Origin

    validation = None if threshold_from is None else _read(threshold_from)
    return Origin(str(scores), validation, None if validation is None else str(threshold_from))


def _read(path: Path) -> pd.DataFrame:
    pairs = read_pairs(path, scored=True)
    check_kinds(pairs["kin"], str(path))
    return pairs
