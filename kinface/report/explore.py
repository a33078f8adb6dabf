"""The rates of every group at many thresholds, and the charts that show them where a page's slider stands.

The charts are Vega-Lite, declared in ``templates/charts.json``: the page needs no drawing code of its own. The package
vl-convert has the runtime as one script (0.9 MB; that of plotly has 4.5), so the page needs no network.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
import vl_convert

from kinface.data.vocabulary import in_words
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.disparities import DISPARITIES, find_disparity
from kinface.fairness.groupings import OVERALL
from kinface.fairness.groups import compared_groups
from kinface.fairness.standards import POINTS, choose_threshold_at_fmr
from kinface.fairness.threshold import scores_and_kin

STEPS = 101  # positions of the slider
BINS = 40  # of the distributions of scores
MODES = ("one", "fmr", "tpr")  # one threshold for all groups, or for each its own: for equal FMR, or equal TPR


def trace_thresholds(audit: FairnessAudit, groupings: list[str]) -> dict:
    """The rates and disparities of groups at every position of a slider.

    At the position k of the first ``STEPS``, the threshold is the lowest at which at most the share (k / (STEPS - 1))^2
    of all non-kin pairs is accepted. The positions behind these are marks: the audit's own threshold, and those at an
    FMR of ``POINTS`` of the validation pairs. In the mode ``fmr`` the threshold of each group is the lowest at which
    its FMR is at most that of all pairs; in the mode ``tpr``, the highest at which its TPR is at least that of all
    pairs. Groups that are not compared keep the threshold of all pairs.

    Gives ``marks`` (name to position) and ``groupings``, each with ``groups`` (all pairs first), ``edges`` and
    ``densities`` (two for each group, kin and non-kin) of the scores, and for each of ``MODES``: ``threshold``, ``fmr``
    and ``fnmr``, each (groups, positions), and ``disparities``, name to (positions,).
    """
    score, kin = audit.pairs["score"].to_numpy(), audit.pairs["kin"].to_numpy()
    marks, validation = {"this report": audit.threshold}, audit.origin.validation
    if validation is not None:
        marks = {"Youden's J": audit.threshold}
        enough = [fmr for fmr in POINTS if fmr * (~scores_and_kin(validation)[1]).sum() >= 1]
        marks |= {f"FMR {fmr:.0%}": choose_threshold_at_fmr(validation, fmr) for fmr in enough}
    shares = np.linspace(0, 1, STEPS) ** 2
    threshold = np.append(_at_fmr(np.sort(score[~kin]), shares), list(marks.values()))
    return {
        "marks": {name: STEPS + place for place, name in enumerate(marks)},
        "groupings": {name: _trace_grouping(audit, name, threshold) for name in groupings},
    }


def _trace_grouping(audit: FairnessAudit, grouping: str, threshold: np.ndarray) -> dict:
    score, kin = (audit.pairs[name].to_numpy()[audit.ranked] for name in ("score", "kin"))
    code = audit.labels[grouping].cat.codes.to_numpy()[audit.ranked]
    rows = audit.groups.index[audit.groups["grouping"].isin([OVERALL, grouping])]
    groups = audit.groups.loc[rows]
    members = [code > -2, *(code == number for number in range(len(groups) - 1))]
    ordered = [[score[some & kind] for kind in (kin, ~kin)] for some in members]
    compared = rows.isin(compared_groups(audit.groups, grouping, ("auc",)))
    traced = {mode: _trace_mode(ordered, compared, threshold, mode) for mode in MODES}
    named = {row: place for place, row in enumerate(rows)}
    for mode in traced.values():
        mode["disparities"] = _trace_disparities(audit, grouping, groups, mode, named)
    low, high = np.percentile(score, [0.1, 99.9])
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    densities = [[_density(part, edges) for part in parts] for parts in ordered]
    return {
        "groups": [
            {"name": in_words(group.group, group.grouping), "kin": group.kin, "non_kin": group.non_kin, "compared": yes}
            for group, yes in zip(groups.itertuples(), [True, *compared[1:].tolist()], strict=True)
        ],
        "edges": shorten(edges),
        "densities": densities,
        **{mode: {name: shorten(values) for name, values in found.items()} for mode, found in traced.items()},
    }


def _trace_mode(ordered: list, compared: np.ndarray, threshold: np.ndarray, mode: str) -> dict[str, np.ndarray]:
    """Thresholds and rates of all pairs and of the groups, each (groups, positions)."""
    thresholds = np.tile(threshold, (len(ordered), 1))
    fnmr, fmr = _rates(*ordered[0], threshold)
    for place in np.flatnonzero(compared):
        if mode == "fmr":
            thresholds[place] = _at_fmr(ordered[place][1], fmr)
        elif mode == "tpr":
            thresholds[place] = _at_tpr(ordered[place][0], 1 - fnmr)
    rates = np.array([_rates(*parts, at) for parts, at in zip(ordered, thresholds, strict=True)])
    for kind in (0, 1):  # all pairs, each at the threshold of its group
        counts = np.array([len(parts[kind]) for parts in ordered])
        for place in np.flatnonzero(compared):
            moved = rates[place, kind] - _rates(*ordered[place], threshold)[kind]
            rates[0, kind] += moved * counts[place] / counts[0]
    return {"threshold": thresholds, "fnmr": rates[:, 0], "fmr": rates[:, 1]}


def _trace_disparities(audit: FairnessAudit, grouping: str, groups: pd.DataFrame, mode: dict, named: dict) -> dict:
    """Every disparity of the audit that depends on the threshold, between the groups that it compares."""
    kin = (groups["kin"] / groups["pairs"]).to_numpy()[:, None]
    fmr, fnmr = mode["fmr"], mode["fnmr"]
    rates = {"fmr": fmr, "fnmr": fnmr, "tpr": 1 - fnmr, "accuracy": 1 - kin * fnmr - (1 - kin) * fmr}
    rates["positive_rate"] = kin * (1 - fnmr) + (1 - kin) * fmr
    traced = {}
    for name in dict.fromkeys([*DISPARITIES.names(), *audit.disparities["disparity"]]):
        disparity = find_disparity(name)
        places = [named[row] for row in compared_groups(audit.groups, grouping, disparity.rates)]
        if len(places) > 1 and set(disparity.rates) <= set(rates):
            traced[name] = disparity(*(rates[rate][places].T for rate in disparity.rates))
    return traced


def _rates(kin: np.ndarray, non_kin: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FNMR and FMR at thresholds, (positions,), of sorted scores; not a number without pairs of the kind."""
    below = [np.searchsorted(part, threshold) / (len(part) or np.nan) for part in (kin, non_kin)]
    return below[0], 1 - below[1]


def _at_fmr(non_kin: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The lowest thresholds that accept at most these shares of sorted scores."""
    allowed = np.floor(shares * len(non_kin) + 1e-9).astype(int)
    return np.append(non_kin[0], np.nextafter(non_kin, np.inf))[len(non_kin) - allowed]


def _at_tpr(kin: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The highest thresholds that accept at least these shares of sorted scores."""
    needed = np.ceil(shares * len(kin) - 1e-9).astype(int)
    return np.append(kin, np.nextafter(kin[-1], np.inf))[len(kin) - needed]


def _density(score: np.ndarray, edges: np.ndarray) -> list[float]:
    return shorten(np.histogram(score, edges)[0] / max(len(score), 1) / (edges[1] - edges[0]))


def shorten(values: object) -> object:
    """Four digits are what a screen shows; what is no finite number is null."""
    if isinstance(values, dict):
        return {name: shorten(part) for name, part in values.items()}
    if np.ndim(values):
        return [shorten(part) for part in values]
    return float(f"{values:.4g}") + 0.0 if np.isfinite(values) else None  # not -0


@cache
def load_charts() -> tuple[str, dict[str, dict]]:
    """The runtime of Vega-Lite as script, and the charts."""
    declared = files("kinface.report").joinpath("templates/charts.json").read_text(encoding="utf-8")
    return vl_convert.javascript_bundle(), json.loads(declared)
