"""What debiasing costs and what it removes: the figures of each run of a sweep, and a table that compares methods::

    result = measure({"standard": pairs, "matched": others}, threshold, embedding, people, Protocol())
    write_result(run, result)
    table = tabulate([("none", None, read_result(run)), ...], references=["none"])

Every run is measured on the same resamples of families, so differences between methods are paired.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.fairness.audit import FairnessAudit, audit_fairness
from kinface.fairness.disparities import find_disparity
from kinface.fairness.groups import compared_groups
from kinface.leakage.leakage import probe_leakage
from kinface.leakage.probes import PROBES
from swinface.bootstrap import interval_around, symmetric_interval
from swinface.files import InputError, one_line, replacing

LISTS = ("standard", "matched")


ATTRIBUTES = ("race", "gender")


UNFAIRNESS = {"equalized odds difference": "equalized_odds", "GARBE": "garbe"}  # over races, on the matched list


FIGURES = (
    *(f"{metric}_{listed}" for metric in ("auc", "accuracy") for listed in LISTS),
    *(f"{attribute}_{probe}" for attribute in ATTRIBUTES for probe in PROBES),
    *UNFAIRNESS.values(),
)


# What a method should leave at most: of three races about what LEACE leaves, of gender the same share of the way from
# chance to 1.
TARGETS = {"race_linear": 0.45, "race_mlp": 0.52, "gender_linear": 0.5875, "gender_mlp": 0.64}


RECORD, DRAWS = "result.json", "result.npz"


Key = tuple[str, float | None]  # a method and its lambda


@dataclass(frozen=True)
class Protocol:
    """How runs are measured, the same for all runs of a sweep.

    Attributes
    ----------
    resamples
        Of families, for the 95% intervals.
    probe_seeds
        How often folds are drawn and probes start anew.
    seed
        Of the resamples, and the first of those of the probes.
    """

    resamples: int = 1000
    probe_seeds: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """The figures of one run.

    Attributes
    ----------
    points
        Figure of ``FIGURES`` to its value from all data. AUC and accuracy are of all pairs of a list; ``race_linear``
        and the like are balanced accuracies of fresh probes; ``equalized_odds`` and ``garbe`` are over races on the
        matched list. Not a number where there are too few pairs or families.
    draws
        Figure to (resamples,), its value in each resample of families.
    about
        What the figures rest on: the threshold, and for each list and attribute its numbers of pairs, faces and such.
    protocol
        How the run was measured.
    """

    points: dict[str, float]
    draws: dict[str, np.ndarray]
    about: dict
    protocol: Protocol = field(default_factory=Protocol)


def measure(
    scored: dict[str, pd.DataFrame],
    threshold: float,
    embedding: np.ndarray,
    people: pd.DataFrame,
    protocol: Protocol,
) -> Result:
    """Measure a model by its scores of the lists and by its embeddings.

    Parameters
    ----------
    scored
        A scored pairs table for each of ``LISTS``.
    threshold
        Chosen on other pairs.
    embedding
        (N, D), a row per face.
    people
        A row per row of ``embedding``: ``person``, ``family``, ``race``, ``gender``.
    """
    points, draws, about = {}, {}, {"threshold": threshold}
    for listed, pairs in scored.items():
        audited = audit_fairness(pairs, threshold, resamples=protocol.resamples, seed=protocol.seed)
        for metric in ("auc", "accuracy"):  # the first group is all pairs
            points[f"{metric}_{listed}"] = float(audited.groups[metric].iloc[0])
            draws[f"{metric}_{listed}"] = audited.drawn[metric][:, 0]
        about[listed] = {name: int(audited.groups[name].iloc[0]) for name in ("pairs", "kin", "families")}
        if listed == "matched":
            for name, figure in UNFAIRNESS.items():
                points[figure], draws[figure] = _measure_unfairness(audited, name)
    for attribute in ATTRIBUTES:
        leakage = probe_leakage(
            embedding,
            people[attribute],
            people["family"],
            persons=people["person"],
            attribute=attribute,
            seeds=protocol.probe_seeds,
            resamples=protocol.resamples,
            seed=protocol.seed,
            codelength=False,
            permutations=0,
        )
        found = leakage.table.set_index("probe")
        for probe in PROBES:
            points[f"{attribute}_{probe}"] = float(found["balanced_accuracy"][probe])
            draws[f"{attribute}_{probe}"] = leakage.resampled[probe]
        about[attribute] = json.loads(found[["classes", "faces", "people", "families", "chance"]].iloc[0].to_json())
    return Result(points, draws, about, protocol)


def _measure_unfairness(audited: FairnessAudit, name: str) -> tuple[float, np.ndarray]:
    """A disparity over the races that can be compared: its value and its value in each resample."""
    disparity = find_disparity(name)
    rows = compared_groups(audited.groups, "race", disparity.rates)
    if len(rows) < 2:
        return np.nan, np.full(audited.resamples, np.nan)
    point = disparity(*(audited.groups[rate].to_numpy()[rows] for rate in disparity.rates))
    return float(point), disparity(*(audited.drawn[rate][:, rows] for rate in disparity.rates))


def write_result(folder: Path, result: Result) -> None:
    """Write ``result.npz``, then ``result.json``, whose presence says that a run is done."""
    with replacing(folder / DRAWS) as partial:
        np.savez(partial, **result.draws)
    points = {figure: None if math.isnan(value) else value for figure, value in result.points.items()}
    record = {"figures": points, "about": result.about, "protocol": asdict(result.protocol)}
    with replacing(folder / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_result(folder: Path) -> Result | None:
    """What ``write_result`` wrote; None where there is nothing.

    Raises
    ------
    InputError
        The files are broken.
    """
    if not (folder / RECORD).exists():
        return None
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        points = {name: _to_number(record["figures"][name]) for name in FIGURES}
        protocol = Protocol(**record.get("protocol", {}))  # early results have none, and were measured by the defaults
        with open(folder / DRAWS, "rb") as file, np.load(file, allow_pickle=False) as table:
            draws = {name: np.asarray(table[name], dtype=float) for name in FIGURES}
        if any(drawn.shape != (protocol.resamples,) for drawn in draws.values()):
            raise ValueError(f"{DRAWS} needs {protocol.resamples} numbers per figure")
        about = record["about"] | {name: dict(record["about"][name]) for name in (*LISTS, *ATTRIBUTES)}
    except Exception as error:  # on damaged bytes numpy and what unpacks for it raise exceptions of many kinds
        reason = one_line(error)
        raise InputError(f"{folder / RECORD}: not a whole result ({reason}); delete it to measure again.") from error
    return Result(points, draws, about, protocol)


def _to_number(value: object) -> float:
    """A number of a record, in which None stands for not a number."""
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"{value!r} is not a number")
    return np.nan if value is None else float(value)


def tabulate(results: Sequence[tuple[str, float | None, Result]], references: Sequence[str] = ()) -> pd.DataFrame:
    """One row per method and lambda.

    A figure is the mean over seeds, from all data and in each resample of families. Its 95% interval shows how much
    it depends on the families that happen to be tested; the smallest and the largest value over seeds show how much it
    depends on the seed. Intervals are percentiles, those of unfairness symmetric (``swinface.bootstrap``).

    Parameters
    ----------
    results
        Method, lambda (None where it has none) and result of each run.
    references
        Methods without lambdas to compare all others with.

    Returns
    -------
    pd.DataFrame
        ``method``, ``strength``, ``seeds`` (their number), and for each of ``FIGURES`` the columns FIGURE,
        FIGURE_low, FIGURE_high, FIGURE_min, FIGURE_max; then for each reference FIGURE_minus_REFERENCE with ``_low``
        and ``_high``, the paired difference on the same resamples, missing where the reference is missing.
    """
    runs: dict[Key, list[Result]] = {}
    for method, strength, result in results:
        runs.setdefault((method, strength), []).append(result)
    means = {key: {figure: _average(own, figure) for figure in FIGURES} for key, own in runs.items()}
    rows = []
    for key, own in runs.items():
        row = {"method": key[0], "strength": key[1], "seeds": len(own)}
        for figure in FIGURES:
            seeds = [result.points[figure] for result in own]
            row |= _describe(figure, figure, *means[key][figure])
            row |= {f"{figure}_min": float(np.min(seeds)), f"{figure}_max": float(np.max(seeds))}
        for reference in references:
            for figure in FIGURES:
                value, drawn = means[key][figure]
                other, other_drawn = means.get((reference, None), {}).get(figure, (np.nan, np.full_like(drawn, np.nan)))
                row |= _describe(f"{figure}_minus_{reference}", figure, value - other, drawn - other_drawn)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({"strength": "float64"})


def _average(results: Sequence[Result], figure: str) -> tuple[float, np.ndarray]:
    """The mean over seeds, from all data and in each resample."""
    value = float(np.mean([result.points[figure] for result in results]))
    return value, np.mean([result.draws[figure] for result in results], axis=0)


def _describe(column: str, figure: str, value: float, drawn: np.ndarray) -> dict[str, float]:
    """A value and the ends of its 95% interval, which for unfairness itself does not go below 0."""
    if figure in UNFAIRNESS.values():
        low, high = symmetric_interval(value, drawn)
        low = max(low, 0.0) if column == figure else low
    else:
        low, high = interval_around(np.asarray(value), drawn)
    return {column: value, f"{column}_low": float(low), f"{column}_high": float(high)}


def write_frontier(
    folder: Path,
    table: pd.DataFrame,
    about: dict,
    protocol: Protocol,
) -> None:
    """Write ``frontier.csv`` and ``frontier.json``.

    Parameters
    ----------
    about
        What the figures rest on (``Result.about``), without the threshold, which differs between runs.
    protocol
        How all runs were measured.
    """
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    record = {"about": about, **asdict(protocol), "rows": rows}
    with replacing(folder / "frontier.csv") as partial:
        table.to_csv(partial, index=False)
    with replacing(folder / "frontier.json") as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
