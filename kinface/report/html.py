"""The report as one HTML page."""

from __future__ import annotations

import base64
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from kinface.fairness.disparities import DISPARITIES
from kinface.fairness.groups import FALSE_ACCEPTS, FEWEST_FAMILIES, FEWEST_PAIRS


def render(record: dict, figures: dict[str, bytes]) -> str:
    """The page as text, from what ``metrics.json`` holds and the figures as PNG."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, points=points, decimal=decimal)
    template = environment.from_string(files("kinface.report").joinpath("page.html").read_text(encoding="utf-8"))
    images = {name: base64.b64encode(png).decode() for name, png in figures.items()}
    return template.render(
        **record,
        images=images,
        definitions=DISPARITIES,
        fewest_pairs=FEWEST_PAIRS,
        fewest_families=FEWEST_FAMILIES,
        false_accepts=FALSE_ACCEPTS,
    )


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def decimal(value: float | str | None, sign: str = "") -> str:
    if value is None:
        return "–"
    return (value.replace("Infinity", "∞") if isinstance(value, str) else f"{value:{sign}.3f}").replace("-", "−")
