"""The report as one HTML page, and as lines for a terminal; ``templates/`` holds every sentence."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import groupby
from operator import itemgetter

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from kinface.data.vocabulary import WORDS, in_words
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.comparison import compare_audits, find_own_groupings
from kinface.fairness.disparities import find_disparity
from kinface.fairness.groups import FEWEST_PAIRS
from kinface.fairness.intervals import FALSE_ACCEPTS, FEWEST_FAMILIES
from kinface.report.build import Report, name_files
from kinface.report.explore import STEPS, load_charts
from kinface.report.plots import COLOURS
from kinface.report.verdict import is_significant, judge_models
from swinface.files import printable, to_plain

SECTIONS = {
    "summary": "In short",
    "explore": "Move the threshold",
    "findings": "Findings",
    "comparison": "Two models",
    "matched": "Matched non-kin pairs",
    "controls": "What can be scored without kinship?",
    "groups": "Results by group",
    "types": "Types of kinship",
    "standards": "NIST and ISO/IEC 19795-10",
    "measured": "What was measured",
    "definitions": "Definitions",
    "limits": "Limits",
    "again": "For papers",
}  # the template of each, in order, and its heading


GROUPINGS = {
    "overall": "All pairs",
    "race": "Race",
    "race crossing": "Same race or two races",
    "gender pair": "Gender pair",
    "type": "Kinship type",
    "generation gap": "Generation gap",
    "race and gender": "Race and gender pair",
}  # their headings; custom groupings keep the name of their column


METRICS = {"tpr": "TPR (kin pairs accepted)", "fmr": "FMR (non-kin pairs accepted)", "auc": "AUC"}
AFFECTED_BY_PREVALENCE = ("accuracy gap", "accuracy spread", "skewed error ratio", "demographic parity difference")


def render(report: Report) -> str:
    """The self-contained HTML page of a report, with embedded figures."""
    record = report.record
    optional = {"comparison": "compared_with", "matched": "matched", "controls": "controls", "types": "types"}
    absent = [name for name, part in optional.items() if not record[part]]
    runtime, charts = load_charts()
    return make_environment().get_template("page.html").render(
        record=record,
        verdict=report.verdict,
        explored=report.explored,
        runtime=runtime,
        charts=charts,
        steps=STEPS,
        colours=COLOURS,
        ideals={row["disparity"]: row["ideal"] for row in record["disparities"]},
        contents={name: title for name, title in SECTIONS.items() if name not in absent},
        images={name: base64.b64encode(png).decode() for name, png in report.pictures.items()},
        file_names=name_files(dict.fromkeys(row["grouping"] for row in record["groups"])),
        codes=WORDS["type"],
        affected_by_prevalence=AFFECTED_BY_PREVALENCE,
        false_accepts=FALSE_ACCEPTS,
        fewest_pairs=FEWEST_PAIRS,
        fewest_families=FEWEST_FAMILIES,
    ).lstrip()  # fmt: skip


def render_lines(report: Report) -> list[str]:
    """What a terminal shows of a report; names from files cannot steer it."""
    return _render_lines("terminal.txt", record=report.record, verdict=report.verdict)


def render_comparison(
    ours: FairnessAudit, other: FairnessAudit, models: Sequence[str], by: Sequence[str] = ()
) -> list[str]:
    """Which of two models is better on the same pairs, by how much and for whom, as a terminal shows it.

    ``models`` says what the two are called, ``by`` which default groupings are shown beside race and custom
    ones. Raises ``InputError`` if the audits cannot be compared.
    """
    changes = to_plain(compare_audits(ours, other).to_dict("records"))
    groups = to_plain(ours.groups.to_dict("records"))
    shown = [name for name in dict.fromkeys([*by, *find_own_groupings(ours)]) if name in ours.labels and name != "race"]
    record = {"models": models, "differences": changes, "groups": groups, "own_groupings": shown}
    chosen = ("overall", "race", *record["own_groupings"])
    rows = [row for row in changes if row["metric"] == "auc" and row["grouping"] in chosen and row["ours"] is not None]
    counts = {(row.grouping, row.group): row for row in ours.groups.itertuples()}
    verdict = {"comparison": judge_models(record)}
    return _render_lines("compared.txt", record=record, verdict=verdict, rows=rows, counts=counts)


def _render_lines(template: str, **given: object) -> list[str]:
    safe = make_environment().overlay(finalize=lambda value: printable(value) if isinstance(value, str) else value)
    return safe.get_template(template).render(**given).strip("\n").split("\n")


@cache
def make_environment() -> Environment:
    """Reads ``templates/``, which write numbers and names by the filters below; HTML is escaped. One for all, as it
    takes longer to compile templates than to fill them."""
    environment = Environment(
        loader=PackageLoader("kinface.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    written = (percent, points, decimal, signed, p_value)
    environment.globals |= {form.__name__: form for form in written}
    environment.filters |= environment.globals | {
        "by_grouping": _by_grouping,
        "figure": partial(_rate, unit=""),
        "group": lambda row: in_words(row["group"], row["grouping"]),
        "ideal": lambda name: find_disparity(name).ideal,
        "metric_name": lambda metric: METRICS.get(metric, metric),
        "of_100": lambda share: "–" if share is None else f"{100 * share:.0f}",
        "pick": _pick,
        "rate": _rate,
        "significant": is_significant,
        "title_of": lambda grouping: GROUPINGS.get(grouping, grouping),
        "words": in_words,
    }
    return environment


def percent(value: float | None) -> str:
    """A rate as a percentage."""
    return "–" if value is None else f"{100 * value:.1f}".replace("-", "−")


def points(value: float | None) -> str:
    """A difference of rates in percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def decimal(value: float | str | None, sign: str = "") -> str:
    """A number with three decimals; infinite ones are given as text."""
    if value is None:
        return "–"
    return (value.replace("Infinity", "∞") if isinstance(value, str) else f"{value:{sign}.3f}").replace("-", "−")


def signed(value: float | str | None) -> str:
    """A difference with three decimals."""
    return decimal(value, "+")


def p_value(value: float | None) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if value is not None and value < 0.0005 else decimal(value)


def _rate(value: float | None, metric: str, unit: str = "%") -> str:
    """AUC as a number, all else in percent."""
    return decimal(value) if metric == "auc" else percent(value) + unit


def _by_grouping(rows: Sequence[dict]) -> Iterator[tuple[str, list[dict]]]:
    return ((grouping, list(of_grouping)) for grouping, of_grouping in groupby(rows, itemgetter("grouping")))


def _pick(rows: Sequence[dict], **wanted: object) -> dict | None:
    """The first row with these values."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)
