"""The figures of a report: a record of plain numbers, and pictures."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from kinface.data.pairs import families_known, list_known
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.comparison import compare_audits, compare_lists, find_own_groupings
from kinface.fairness.contrasts import find_unequal_prevalence
from kinface.fairness.disparities import find_disparity
from kinface.fairness.dyads import FAMILIES
from kinface.fairness.groupings import AND, OVERALL, intersects
from kinface.fairness.groups import compared_groups
from kinface.fairness.standards import audit_operating_points, match_across_groups, shift_scores
from kinface.fairness.types import audit_types, can_audit_types, count_confusions
from kinface.leakage.controls import measure_controls
from kinface.report.checks import (
    check_matched,
    check_validation,
    list_doubts,
    warn_of_one_validation,
    warn_of_scores,
    warn_of_threshold,
    warn_of_unknown_families,
)
from kinface.report.curves import plot_det, plot_roc
from kinface.report.explore import trace_thresholds
from kinface.report.plots import (
    plot_confusions,
    plot_controls,
    plot_differences,
    plot_rates,
    plot_scores,
    plot_verdict,
)
from kinface.report.verdict import find_verdict, name_models
from swinface.files import naming, to_plain

DOTS_PER_INCH = 200
MOST_CURVES = 12  # groups whose curves can be told apart
LONGEST_NAME = 50  # letters of a grouping in a file's name, of which systems take 255 bytes


@dataclass(frozen=True)
class Report:
    """A report before it is a page."""

    record: dict  #: all figures as plain numbers, texts and lists of these, as in ``metrics.json``
    verdict: dict  #: what matters most in it (``verdict.find_verdict``)
    figures: dict[str, Figure]  #: by name, to be changed and saved
    explored: list[dict]  #: for each model its rates and disparities at many thresholds (``explore.trace_thresholds``)

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """Name to PNG."""
        figures = tqdm(self.figures.items(), "save", unit="figure", leave=False, disable=None, delay=1)
        return {name: _to_png(figure) for name, figure in figures}


def build_report(
    audit: FairnessAudit,
    *,
    title: str = "Fairness report",
    other: FairnessAudit | None = None,
    matched: FairnessAudit | None = None,
    acquisition: Mapping[str, pd.DataFrame] | None = None,
    faces: Path | None = None,
    errors_page: str | None = None,
    command: str | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Report:
    """Collect the figures of a report.

    Parameters
    ----------
    title
        Heading of the page.
    other
        Audit of the same pairs scored by another model, to be compared with.
    matched
        Audit of a matched list scored by the same model, at the same threshold. ``audit`` and ``matched`` each need the
        other's pairs as ``beside``.
    acquisition
        By name of an attribute: failures to acquire of its groups (``fairness.standards.measure_acquisition``).
    faces
        Folder that the paths of faces start from; with it, images are controls too (``kinface.leakage.controls``).
    errors_page
        Name of a page beside the report with the pairs that are most wrong (``report.errors``).
    command, inputs
        How the page was made: the command, and the files it read with their digests.

    Raises
    ------
    InputError
        The threshold was chosen on the audited pairs, the audits cannot be compared, or a face cannot be read.
    """
    changes = None if other is None else _compare(audit, other)
    about = _describe_audit(audit) | {"warnings": list_doubts(audit)}
    about["warnings"] += [] if matched is None else warn_of_unknown_families(matched)
    without_kinship = measure_controls(audit.pairs, root=faces, dyads=audit.dyads)
    record = {
        "title": title,
        **about,
        "matched": None if matched is None else _describe_matched(matched, audit),
        "compared_with": None if other is None else _describe_compared(audit, other),
        "resamples": audit.resamples,
        "seed": audit.seed,
        "resampled": _name_resampled(audit, matched),
        "kinface": version("kinface"),
        "models": name_models(audit.origin.file, other and other.origin.file),
        "own_groupings": find_own_groupings(audit),
        **_describe_labels(audit),
        "groups": audit.groups.to_dict("records"),
        "without_group": audit.without_group.to_dict(),
        "disparities": _list_disparities(audit),
        "gaps": audit.gaps.to_dict("records"),
        "contrasts": audit.contrasts.to_dict("records"),
        "race_reward": audit.race_reward,
        "unequal_prevalence": find_unequal_prevalence(audit.groups),
        "differences": [] if changes is None else changes.to_dict("records"),
        **_follow_standards(audit),
        "types": _describe_types(audit),
        "controls": without_kinship.to_dict("records"),
        "acquisition": {name: table.to_dict("records") for name, table in (acquisition or {}).items()},
        "errors_page": errors_page,
        "made_by": {"command": command, "inputs": dict(inputs or {}), "versions": _list_versions()},
    }
    figures = _draw(audit, changes) | ({"controls": plot_controls(without_kinship)} if len(without_kinship) else {})
    record = to_plain(record)
    groupings = [grouping for grouping in audit.labels if _has_curves(audit, grouping)]
    explored = [trace_thresholds(it, groupings) for it in (audit, other) if it is not None]
    return Report(record, find_verdict(record), figures, explored)


def _list_versions() -> dict[str, str]:
    packages = ("kinface", "numpy", "pandas", "scipy", "scikit-learn", "matplotlib")
    return {"python": python_version()} | {name: version(name) for name in packages}


def _follow_standards(audit: FairnessAudit) -> dict:
    """What NIST and ISO/IEC 19795-10 ask for beside rates by group."""
    known = [
        name for name in ("race", *find_own_groupings(audit)) if name in audit.labels and f"{name}_a" in audit.pairs
    ]
    points, validation = pd.DataFrame(), audit.origin.validation
    if validation is not None:
        points = audit_operating_points(audit, validation, groupings=(OVERALL, *known))
    return {
        "shifts": shift_scores(audit).to_dict("records"),
        "across_groups": {name: match_across_groups(audit, name).to_dict("records") for name in known},
        "operating_points": points.to_dict("records"),
        "det_curves": [grouping for grouping in audit.labels if grouping != OVERALL and _has_curves(audit, grouping)],
    }


def name_files(groupings: Iterable[str]) -> dict[str, str]:
    """Grouping to what its pictures are named by: few letters, digits and underscores, no two alike."""
    names: dict[str, str] = {}
    for grouping in groupings:
        name = re.sub(r"\W+", "_", grouping)[:LONGEST_NAME]
        while name in names.values():
            name += "_"
        names[grouping] = name
    return names


def _compare(audit: FairnessAudit, other: FairnessAudit) -> pd.DataFrame:
    here, there = other.origin.file or "the other model's audit", audit.origin.name_pairs()
    with naming(f"{here} cannot be compared with {there}"):
        return compare_audits(audit, other)


def _describe_audit(audit: FairnessAudit) -> dict:
    """Where the figures of an audit come from."""
    origin = audit.origin
    check_validation(audit.pairs, origin)
    threshold = {"value": audit.threshold, "rule": "given"}
    if origin.validation is not None:
        threshold["rule"] = "Youden's J"
        threshold |= _describe_list(origin.validation, origin.validation_file)
        threshold["range"] = audit.threshold_range.to_dict("records")
    return {"scores": _describe_list(audit.pairs, origin.file), "threshold": threshold}


def _describe_compared(audit: FairnessAudit, other: FairnessAudit) -> dict:
    """The same of the other model; of its pairs, which are those of the first, nothing is said again."""
    doubts = warn_of_threshold(other) + warn_of_scores(other) + warn_of_one_validation(audit, other)
    return _describe_audit(other) | {"warnings": doubts}


def _describe_matched(matched: FairnessAudit, standard: FairnessAudit) -> dict:
    check_validation(matched.pairs, replace(standard.origin, file=matched.origin.file))
    return {
        "scores": _describe_list(matched.pairs, matched.origin.file),
        "kin_in_both": check_matched(standard.pairs, matched.pairs, standard.origin, matched.origin),
        "groups": matched.groups.to_dict("records"),
        "without_group": matched.without_group.to_dict(),
        "disparities": matched.disparities.to_dict("records"),
        "differences": compare_lists(matched, standard).to_dict("records"),
    }


def _describe_list(pairs: pd.DataFrame, file: str | None) -> dict:
    """A scored list: its file, lists, splits, sizes, and who labelled race and gender."""
    return {
        "file": file,
        "list": _join_values(pairs["list"]),
        "split": _join_values(pairs["split"]),
        "pairs": len(pairs),
        "kin": int(pairs["kin"].sum()),
        "non_kin": int((~pairs["kin"]).sum()),
        "families": len(list_known(pairs, "family")),
        "pairs_of_unknown_families": int((~families_known(pairs)).sum()),
        "race_source": _join_values(pairs["race_source"]),
        "gender_source": _join_values(pairs["gender_source"]),
    }


def _join_values(column: pd.Series) -> str:
    return ", ".join(sorted(column.dropna().astype(str).unique())) or "not stated"


def _list_disparities(audit: FairnessAudit) -> list[dict]:
    rows = audit.disparities.to_dict("records")
    for row in rows:
        rates = find_disparity(row["disparity"]).rates
        row["compared_groups"] = len(compared_groups(audit.groups, row["grouping"], rates))
    return rows


def _describe_labels(audit: FairnessAudit) -> dict:
    """Attribute to the source of its labels, as far as the pairs tell; and default attributes without labels."""
    known = {"race": "race", "gender pair": "gender"}
    own = {part for grouping in find_own_groupings(audit) for part in grouping.split(AND)} - {"race", "gender"}
    columns = [label for name, label in known.items() if name in audit.labels]
    columns += [part for part in sorted(own) if f"{part}_source" in audit.pairs]
    return {
        "label_sources": {label: _join_values(audit.pairs[f"{label}_source"]) for label in columns},
        "not_grouped_by": [name for name in known if name not in audit.labels],
    }


def _name_resampled(audit: FairnessAudit, matched: FairnessAudit | None) -> str:
    """What is resampled: families, pairs, both, or custom clusters."""
    if audit.clusters is None:
        return "pairs"
    if audit.clusters != FAMILIES:
        return f"clusters ({' and '.join(audit.clusters)})"
    audits = [audit] if matched is None else [audit, matched]
    known = pd.concat([it.pairs[list(FAMILIES)].notna().any(axis="columns") for it in audits])
    return "families" if known.all() else "families and pairs" if known.any() else "pairs"


def _describe_types(audit: FairnessAudit) -> dict | None:
    """How well types of kinship are identified, and which are confused; None where no types are predicted."""
    if not can_audit_types(audit.pairs):
        return None
    return {"groups": audit_types(audit).to_dict("records"), "confusions": count_confusions(audit).to_dict("index")}


def _draw(audit: FairnessAudit, changes: pd.DataFrame | None) -> dict[str, Figure]:
    figures = {"verdict": plot_verdict(audit), "verdict_column": plot_verdict(audit, column=True)}
    groupings = name_files(audit.labels).items()
    for grouping, name in tqdm(groupings, "draw", unit="grouping", leave=False, disable=None, delay=1):
        if grouping != OVERALL:
            figures[f"rates_{name}"] = plot_rates(audit, grouping)
        if _has_curves(audit, grouping):
            figures[f"scores_{name}"] = plot_scores(audit, grouping)
            figures[f"roc_{name}"] = plot_roc(audit, grouping)
            if grouping != OVERALL:
                figures[f"det_{name}"] = plot_det(audit, grouping)
        if changes is not None and (grouping == "race" or grouping in find_own_groupings(audit)):
            figures[f"differences_{name}"] = plot_differences(changes, grouping)
    if can_audit_types(audit.pairs):
        figures["types"] = plot_confusions(audit)
    if changes is not None and "race" not in audit.labels:
        figures["differences_race"] = plot_differences(changes, "race")
    return figures


def _has_curves(audit: FairnessAudit, grouping: str) -> bool:
    """Whether its groups are few enough for their curves to be told apart."""
    return not intersects(grouping) and len(audit.labels[grouping].cat.categories) <= MOST_CURVES


def _to_png(figure: Figure) -> bytes:
    """As PNG with 64 colours: it looks the same, at a third of the size."""
    canvas, dpi, buffer = FigureCanvasAgg(figure), figure.dpi, io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    canvas.draw()  # savefig draws twice
    figure.set_dpi(dpi)
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()
