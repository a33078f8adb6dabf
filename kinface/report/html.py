"""The report as one HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined

from kinface.fairness.audit import FairnessAudit
from kinface.fairness.groups import FEWEST_FAMILIES, FEWEST_PAIRS
from kinface.report.build import Report, build_report
from kinface.report.checks import Origin
from kinface.report.comparisons import write_comparison, write_matched
from kinface.report.sections import write_findings, write_groups, write_lead, write_measured
from kinface.report.standards import write_standards
from kinface.report.summary import write_summary


def render_report(
    audit: FairnessAudit,
    *,
    title: str = "Fairness report",
    origin: Origin | None = None,
    other: FairnessAudit | None = None,
    other_origin: Origin | None = None,
    matched: FairnessAudit | None = None,
    matched_origin: Origin | None = None,
    acquisition: Mapping[str, pd.DataFrame] | None = None,
) -> str:
    """Write an audit as a self-contained HTML page.

    Parameters
    ----------
    title
        Heading of the page.
    origin
        Where the pairs and the threshold come from (``kinface.Origin``). With it the page names the files, and warns of
        pairs and families that also chose the threshold.
    other, other_origin
        Audit of the same pairs scored by another model, to be compared with.
    matched, matched_origin
        Audit of a matched list scored by the same model, at the same threshold. ``audit`` and ``matched`` each need the
        other's pairs as ``beside``.
    acquisition
        By name of an attribute: failures to acquire of its groups (``fairness.standards.measure_acquisition``).

    Returns
    -------
    str
        HTML with embedded figures.

    Raises
    ------
    InputError
        The threshold was chosen on the audited pairs, or the audits cannot be compared.

    Examples
    --------
    >>> import numpy as np, pandas as pd, kinface
    >>> rng, number = np.random.default_rng(0), np.arange(200)
    >>> faces = {"face_a": [f"{i}a.jpg" for i in number], "face_b": [f"{i}b.jpg" for i in number]}
    >>> pairs = pd.DataFrame({**faces, "kin": number % 2 == 0, "score": rng.normal(size=200) + (number % 2 == 0)})
    >>> audit = kinface.audit_fairness(pairs, 0.5, resamples=100)
    >>> kinface.render_report(audit, title="200 pairs")[:15]
    '<!DOCTYPE html>'
    """
    return render(
        build_report(
            audit,
            title=title,
            origin=origin,
            other=other,
            other_origin=other_origin,
            matched=matched,
            matched_origin=matched_origin,
            acquisition=acquisition,
        )
    )


def render(report: Report) -> str:
    """The page of a report."""
    record = report.record
    sections = [write_summary(record), write_measured(record), write_findings(record)]
    if record["matched"]:
        sections.append(write_matched(record))
    if record["compared_with"]:
        sections.append(write_comparison(record))
    sections += [write_groups(record), write_standards(record)]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("kinface.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        title=record["title"],
        lead=write_lead(record),
        sections=sections,
        images={name: base64.b64encode(png).decode() for name, png in report.pictures.items()},
        independent="pairs" in record["resampled"],
        resampled=record["resampled"],
        version=record["kinface"],
        errors=record["errors_page"],
        fewest_pairs=FEWEST_PAIRS,
        fewest_families=FEWEST_FAMILIES,
    )
