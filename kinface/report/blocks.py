"""What a page is made of, and how numbers are written on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup, escape

DASH = Markup('<span class="none">–</span>')


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``style`` is empty, ``note`` (small print) or ``warning``."""

    kind: ClassVar[str] = "paragraph"
    text: str
    style: str = ""


@dataclass(frozen=True)
class Items:
    """A list with bullets."""

    kind: ClassVar[str] = "items"
    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table; the first ``names`` columns are text, the others numbers. ``faint`` rows are in grey italics."""

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    faint: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A figure of the report, by its name."""

    kind: ClassVar[str] = "picture"
    name: str
    caption: str


Block = Heading | Paragraph | Items | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation leads to."""

    id: str
    title: str
    blocks: Sequence[Block]


def say(text: str, /, *values: object, **named: object) -> Markup:
    """HTML with values in place of ``{}`` and ``{name}``; the values are escaped."""
    return Markup(text).format(*values, **named)


def bold(text: str) -> Markup:
    return say("<b>{text}</b>", text=text)


def percent(value: float | None) -> str:
    """A rate as a percentage."""
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """A difference of rates in percentage points."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def decimal(value: float | str | None, sign: str = "") -> str:
    """A number with three decimals; infinite ones are given as text."""
    if value is None:
        return "–"
    return (value.replace("Infinity", "∞") if isinstance(value, str) else f"{value:{sign}.3f}").replace("-", "−")


def signed(value: float | None) -> str:
    """A difference with three decimals."""
    return decimal(value, "+")


def estimate(row: dict, metric: str) -> Markup:
    """A metric with its interval, in a cell: AUC as a number, all else in percent."""
    form = decimal if metric == "auc" else percent
    if row[metric] is None:
        return DASH
    if row[f"{metric}_low"] is None:
        return say('{value}<small class="none">no interval</small>', value=form(row[metric]))
    ends = [form(row[f"{metric}_{end}"]) for end in ("low", "high")]
    return say("{value}<small>{low}–{high}</small>", value=form(row[metric]), low=ends[0], high=ends[1])


def change(row: dict | None, in_points: bool) -> Markup:
    """A difference with its interval and the two values, in a cell; bold where the interval excludes 0.

    A group with too few pairs has no interval.
    """
    if row is None or not isinstance(row["difference"], float | int):
        return DASH
    form, plain = (points, percent) if in_points else (signed, decimal)
    low, high = row["low"], row["high"]
    shown = isinstance(low, float | int) and isinstance(high, float | int) and (low > 0 or high < 0)
    value = form(row["difference"])
    interval = say("<small>{} to {}</small>", form(low), form(high))
    return say(
        '{value}{interval}<small class="none">{ours}, {other}</small>',
        value=bold(value) if shown else escape(value),
        interval=interval if low is not None else say('<small class="none">too few pairs</small>'),
        ours=plain(row["ours"]),
        other=plain(row["other"]),
    )


def pick(rows: Sequence[dict], **wanted: object) -> dict | None:
    """The first row with these values."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)
