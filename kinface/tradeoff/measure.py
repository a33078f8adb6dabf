"""How much kinship and attributes methods leave: the figures of each run, and the table that compares methods::

    result = measure({"standard": pairs, "matched": others}, embedding, people, Protocol())
    found = compare([("none", None, result), ...], Protocol())

A run is an eraser fitted to embeddings (``kinface.tradeoff.frontier``) or a trained model (``kinface.experiments``).
All are measured on the same resamples of families, so differences between methods are paired.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kinface.data.annotations import is_measurement
from kinface.data.families import Families
from kinface.data.matching import match_pairs
from kinface.fairness.audit import FairnessAudit, audit_fairness
from kinface.fairness.bootstrap import Resamples
from kinface.fairness.disparities import find_disparity
from kinface.fairness.dyads import Dyads
from kinface.fairness.groups import compared_groups
from kinface.fairness.intervals import MEASURED, estimate, move
from kinface.leakage.leakage import probe
from kinface.leakage.probes import PROBES
from kinface.tradeoff.figure import plot_methods
from kinface.tradeoff.page import render_page
from swinface.bootstrap import check_draws, interval_around, symmetric_interval
from swinface.files import InputError, replacing_folder, write_json

RULE = (
    "tradeoff is 2 AUC - 1 on the matched pairs, minus the mean over attributes of (balanced accuracy - chance) / "
    "(1 - chance) of the best probe, 0 where it is below chance"
)

LISTS = ("standard", "matched")
UNFAIRNESS = {"equalized odds difference": "equalized_odds", "GARBE": "garbe"}  # on the matched list

Run = tuple[str, float | None, "Result"]  # a method, its lambda or None, and what was measured with one seed


@dataclass(frozen=True)
class Protocol:
    """How runs are measured, the same for all that are compared; all is as for ``kinface.frontier``.

    Raises ``InputError`` if an attribute is named twice, there is none, or a number is too small.
    """

    attributes: tuple[str, ...] = ("race", "gender")
    match: tuple[str, ...] = ()
    probes: tuple[str, ...] = PROBES
    seeds: int = 3
    resamples: int = 1000
    seed: int = 0
    fit_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("attributes", "match", "probes", "fit_on"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists are those of a file
        object.__setattr__(self, "match", self.match or (*self.attributes, "type"))
        if not self.attributes or len({*self.attributes}) < len(self.attributes):
            raise InputError("attributes: name each attribute once, such as race and gender.")
        check_draws(self.seed, self.resamples, fewest=100)
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}: give at least 1.")


@dataclass(frozen=True)
class Result:
    """The figures of one run, as in ``Frontier.table``; not a number where there are too few pairs or families."""

    points: dict[str, float]  #: from all data
    draws: dict[str, np.ndarray]  #: (resamples,), in each resample of families
    about: dict  #: what they rest on: the threshold, and numbers of pairs, faces and so on of each list and attribute


@dataclass(frozen=True)
class Frontier:
    """Methods compared.

    Attributes
    ----------
    table
        One row per method and lambda: ``method``, ``strength``, ``seeds`` (their number), and the figures, means over
        seeds: ``tradeoff``, by which methods are ranked (``RULE``); ``auc_standard`` and ``auc_matched``; for each
        attribute A and probe P the balanced accuracy ``A_P``, and ``A_best``, the largest of them. Of trained models
        also ``accuracy_standard`` and ``accuracy_matched`` at the model's threshold, and ``A_equalized_odds`` and
        ``A_garbe``, over the classes of A on the matched list. Each has ``_low`` and ``_high``, the ends of its 95%
        interval over families, and ``_min`` and ``_max`` over seeds; and for each reference R ``_minus_R`` with its
        ends, the paired difference on the same resamples, missing where the reference is missing.
    about
        What the figures rest on: for each list its pairs, for each attribute its classes, faces and chance level.
    protocol
        How all runs were measured.
    """

    table: pd.DataFrame
    about: dict = field(repr=False)
    protocol: Protocol = field(repr=False)

    def plot(self, show: Sequence[str] = ()) -> Figure:
        """Plot kinship against attributes left; ``show`` names methods to highlight whatever their rank."""
        return plot_methods(self.table, self.about, show)

    def page(self, show: Sequence[str] = ()) -> str:
        """A self-contained HTML page: point at a method to see its row; choose attribute, attacker and list."""
        return render_page(self.table, self.about, self.protocol.probes, RULE, self.plot(show), show)

    def write(self, folder: Path, show: Sequence[str] = (), **inputs: str) -> None:
        """Write ``frontier.csv``, ``.json``, ``.png`` and ``.html``; names of ``inputs`` go into the JSON."""
        figure, page = self.plot(show), self.page(show)
        record = {**inputs, **asdict(self.protocol), "rule": RULE, "about": self.about}
        with replacing_folder(folder) as partial:
            self.table.to_csv(partial / "frontier.csv", index=False)
            write_json(partial / "frontier.json", record | {"rows": self.table.to_dict("records")})
            figure.savefig(partial / "frontier.png", dpi=150)
            (partial / "frontier.html").write_text(page, encoding="utf-8")


def describe_faces(families: Families, attributes: Sequence[str]) -> pd.DataFrame:
    """A row per face: ``face``, ``person``, ``family``, ``split`` and the attributes of its person.

    Raises ``InputError`` if there is no such attribute, or it has no classes.
    """
    people = families.people
    for name in attributes:
        if name not in people or name in ("person", "family", "split") or is_measurement(people[name]):
            known = ", ".join(it for it in people if f"{it}_source" in people and not is_measurement(people[it]))
            raise InputError(f"no attribute {name!r} with classes; there are {known}.")
    faces = families.faces[["face", "person", "family", "split"]]
    return faces.merge(people[["person", *attributes]], on="person", how="left")


def list_probed(faces: pd.DataFrame, pairs: pd.DataFrame, fit_on: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of ``describe_faces`` that probes are fitted or tested on: all faces of the splits of the pairs, on
    which they are tested, and of the splits ``fit_on``.

    Raises ``InputError`` if there are pairs of training families, or of a split to fit on, or no face is of one.
    """
    of_pairs = faces["face"].isin({*pairs["face_a"], *pairs["face_b"]})
    splits = {*faces["split"][of_pairs]}
    if "train" in splits:
        raise InputError("the list has pairs of training families; give a list of families of val or test.")
    for name in fit_on:
        if name in splits or not faces["split"].eq(name).any():
            raise InputError(f"fit_on {name!r}: must be a split that has faces, and no pairs of the list.")
    return faces[faces["split"].isin({*splits, *fit_on})]


def draw_lists(
    standard: pd.DataFrame, families: Families, protocol: Protocol
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """A pairs table for each of ``LISTS``, the second with matched non-kin pairs, and the counts of ``match_pairs``.

    Raises ``InputError`` if an attribute is not known, there are pairs of training families, or no pair can be matched.
    """
    list_probed(describe_faces(families, protocol.attributes), standard, protocol.fit_on)
    matched, counts = match_pairs(standard, families, protocol.match, seed=protocol.seed)
    return dict(zip(LISTS, (standard, matched), strict=True)), counts


def measure(
    scored: dict[str, pd.DataFrame],
    embedding: np.ndarray,
    people: pd.DataFrame,
    protocol: Protocol,
    threshold: float | None = None,
) -> Result:
    """Measure a method by a scored pairs table for each of ``LISTS``, and by the embeddings, (N, D).

    ``people`` has a row per row of ``embedding``: ``person``, ``family``, the attributes and, for the protocol's
    ``fit_on``, ``split``. The ``threshold`` was chosen on other pairs; None leaves out what needs one.
    """
    figures: dict[str, tuple[float, np.ndarray]] = {}
    about: dict = {} if threshold is None else {"threshold": threshold}
    for listed, pairs in scored.items():
        for metric, measured in _measure_pairs(pairs, threshold, protocol).items():
            figures[f"{metric}_{listed}"] = measured
        families = pd.concat([pairs["family_a"], pairs["family_b"]]).nunique()
        about[listed] = {"pairs": len(pairs), "kin": int(pairs["kin"].sum()), "families": int(families)}
        about[listed]["list"] = pairs["list"].iloc[0]
    lefts, audited = [], None if threshold is None else _audit(scored["matched"], people, threshold, protocol)
    options = {"kinds": protocol.probes, "codelength": False, "permutations": 0}
    options |= {name: getattr(protocol, name) for name in ("seeds", "resamples", "seed", "fit_on")}
    for attribute in protocol.attributes:
        leakage = probe(embedding, people, attribute, **options)
        found = leakage.table.set_index("probe")
        for kind, accuracy in found["balanced_accuracy"].items():
            figures[f"{attribute}_{kind}"] = accuracy, leakage.resampled[kind]
        best = found["balanced_accuracy"].max(), np.max([*leakage.resampled.values()], axis=0)
        figures[f"{attribute}_best"] = best
        told = ["classes", "faces", "more", "people", "families", "chance"]
        about[attribute] = json.loads(found[told].iloc[0].to_json())
        chance = found["chance"].iloc[0]
        lefts.append([np.maximum(it - chance, 0) / (1 - chance) for it in best])
        if audited is not None:
            for name, figure in UNFAIRNESS.items():
                figures[f"{attribute}_{figure}"] = _measure_unfairness(audited, attribute, name)
    kept = figures["auc_matched"]
    tradeoff = tuple(2 * kept[n] - 1 - np.mean([left[n] for left in lefts], axis=0) for n in (0, 1))
    figures = {"tradeoff": tradeoff, **figures}
    return Result(
        {name: float(value) for name, (value, _) in figures.items()},
        {name: drawn for name, (_, drawn) in figures.items()},
        about,
    )


def _measure_pairs(
    pairs: pd.DataFrame, threshold: float | None, protocol: Protocol
) -> dict[str, tuple[float, np.ndarray]]:
    """AUC, and accuracy at a threshold: of all pairs, and in each resample of families.

    It draws the same families as that of the probes if both lists have the same; else the two are independent.
    """
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    deviations = Resamples(pairs, protocol.resamples, protocol.seed).deviate()
    group, dyads = np.zeros(len(pairs), int), Dyads.of_pairs(pairs)
    found = estimate(score, kin, group, 1, threshold or 0.0, dyads, deviations)
    measured = {}
    for metric in ["auc"] if threshold is None else ["auc", "accuracy"]:
        place = MEASURED.index(metric)
        value = found.value[place]
        measured[metric] = float(value[0]), move(value, found.deviations[:, place])[:, 0]
    return measured


def _audit(pairs: pd.DataFrame, people: pd.DataFrame, threshold: float, protocol: Protocol) -> FairnessAudit:
    """The audit of a list by the attributes of the two persons."""
    known = people.drop_duplicates("person").set_index("person")
    for name in protocol.attributes:
        given = {f"{name}_{side}": pairs[f"person_{side}"].map(known[name]) for side in "ab"}
        pairs = pairs.assign(**{column: values for column, values in given.items() if column not in pairs})
    options = {"resamples": protocol.resamples, "seed": protocol.seed}
    return audit_fairness(pairs, threshold, groupings=protocol.attributes, **options)


def _measure_unfairness(audited: FairnessAudit, attribute: str, name: str) -> tuple[float, np.ndarray]:
    """A disparity over the classes that can be compared: its value and its value in each resample."""
    rows = compared_groups(audited.groups, attribute, find_disparity(name).rates)
    return audited.disparity(name, rows) if len(rows) > 1 else (np.nan, np.full(audited.resamples, np.nan))


def compare(runs: Sequence[Run], protocol: Protocol, references: Sequence[str] = ("none",)) -> Frontier:
    """Compare methods by their runs, one for each seed.

    A figure is the mean over seeds, from all data and in each resample of families. Its 95% interval shows how much
    it depends on the families that happen to be tested; the smallest and the largest value over seeds show how much it
    depends on the seed. Intervals are percentiles, those of unfairness symmetric (``swinface.bootstrap``). References
    are methods without lambdas that all others are compared with.
    """
    seeds: dict[tuple[str, float | None], list[Result]] = {}
    for method, strength, result in runs:
        seeds.setdefault((method, strength), []).append(result)
    figures = [*runs[0][2].points]
    means = {key: {figure: _average(own, figure) for figure in figures} for key, own in seeds.items()}
    missing = dict.fromkeys(figures, (np.nan, np.full(protocol.resamples, np.nan)))
    rows = []
    for (method, strength), own in seeds.items():
        row = {"method": method, "strength": strength, "seeds": len(own)}
        for figure, (value, drawn) in means[method, strength].items():
            of_seeds = [result.points[figure] for result in own]
            row |= _with_interval(figure, figure, value, drawn)
            row |= {f"{figure}_min": min(of_seeds), f"{figure}_max": max(of_seeds)}
        for reference in references:
            theirs = means.get((reference, None), missing)
            for figure, (value, drawn) in means[method, strength].items():
                other, other_drawn = theirs[figure]
                row |= _with_interval(f"{figure}_minus_{reference}", figure, value - other, drawn - other_drawn)
        rows.append(row)
    about = {name: runs[0][2].about[name] for name in (*LISTS, *protocol.attributes)}
    return Frontier(pd.DataFrame(rows).astype({"strength": float}), about, protocol)


def _average(results: Sequence[Result], figure: str) -> tuple[float, np.ndarray]:
    """The mean over seeds, from all data and in each resample."""
    value = float(np.mean([result.points[figure] for result in results]))
    return value, np.mean([result.draws[figure] for result in results], axis=0)


def _with_interval(column: str, figure: str, value: float, drawn: np.ndarray) -> dict[str, float]:
    """A value and the ends of its 95% interval, which for unfairness itself does not go below 0."""
    if figure.endswith(tuple(UNFAIRNESS.values())):
        low, high = symmetric_interval(value, drawn)
        low = max(low, 0.0) if column == figure else low
    else:
        low, high = interval_around(np.asarray(value), drawn)
    return {column: value, f"{column}_low": float(low), f"{column}_high": float(high)}
