"""Search for relatives: how well, and for whom it fails.

A relevant face of a query is one of its family; RFIW counts so, in-laws included. Faces of the query's own person are
no relatives, and are left out. Ranks count from 1, the highest score first; of equal scores the first in the gallery.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kinface.data.search import Search
from kinface.data.vocabulary import TYPES
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import FEWEST_FAMILIES, interval_of_difference, interval_of_mean, standard_error
from swinface.bootstrap import start_drawing
from swinface.files import InputError

METRICS = ("map", "rank_1", "rank_5")
MATCHED_DRAWS = 20  # galleries that are drawn to match a query's race
FEWEST_FACES = 50  # of its own race that a gallery must have for a query's race to be matched


@dataclass(frozen=True)
class SearchAudit:
    """The result of ``audit_search``.

    Attributes
    ----------
    queries
        A row per query that has a relative in the gallery: ``query``, ``person``, ``family``, ``race``, ``gender``,
        ``photos``, ``relevant`` (faces of its family in the gallery), ``map`` (its average precision), ``rank_1`` and
        ``rank_5`` (whether a relevant face is first, or among the first five), each also as expected of a random
        order (``chance_...``); ``map_random`` and ``map_matched``, see ``audit_search``.
    groups
        A row per group of queries, all first: ``grouping``, ``group``, ``queries``, ``families``; the means of the
        metrics, ``map``, ``rank_1`` and ``rank_5``, each with ``_low`` and ``_high``, the ends of its 95% interval (not
        a number where a group has fewer than ``FEWEST_FAMILIES``), and ``chance_...``. The grouping ``kinship`` counts
        only relatives of one kind as relevant, and leaves out others.
    matched
        A row per race: ``queries``, ``map_random``, ``map_matched`` and their ``difference``, each with ``_low`` and
        ``_high``; ``distractors``, how many faces of other families each gallery has.
    unknown
        Queries that are left out, as their family is unknown or has no face in the gallery.
    """

    queries: pd.DataFrame
    groups: pd.DataFrame
    matched: pd.DataFrame
    unknown: int


def rank_relevant(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """The ranks, from 1, of the relevant faces of one query, ascending: (relevant faces,).

    ``scores`` of all faces are (G,); ``relevant``, (G,) bool, says which of them are sought.
    """
    ordered, sought = np.sort(scores), scores[relevant]  # scores alone are sorted in a tenth of the time of places
    first, last = (np.searchsorted(ordered, sought, side) for side in ("left", "right"))
    if (last - first > 1).any():
        return np.flatnonzero(relevant[np.argsort(-scores, kind="stable")]) + 1
    return np.sort(len(scores) - first)


def average_precision(ranks: np.ndarray) -> float:
    """The mean, over relevant faces, of the share of relevant faces up to that rank; ranks are as of ``rank_relevant``.

    >>> average_precision(np.array([1, 4]))
    0.75
    """
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def expect_by_chance(relevant: int, faces: int) -> dict[str, float]:
    """The metrics that a random order of a gallery is expected to have.

    The average precision is that of Bestgen, "Exact Expected Average Precision of the Random Baseline for System
    Evaluation" (PBML 103, 2015): (R - 1) / (G - 1) + H_G / G * (1 - (R - 1) / (G - 1)), with H_G = 1 + 1/2 + ... + 1/G.

    >>> expect_by_chance(1, 2)
    {'map': 0.75, 'rank_1': 0.5, 'rank_5': 1.0}
    """
    share = (relevant - 1) / max(faces - 1, 1)
    harmonic = (1 / np.arange(1, faces + 1)).sum() / faces
    missed = np.cumprod([max(faces - relevant - place, 0) / max(faces - place, 1) for place in range(5)])
    values = share + harmonic * (1 - share), 1 - missed[0], 1 - missed[4]
    return dict(zip(METRICS, map(float, values), strict=True))


def _measure(scores: np.ndarray, relevant: np.ndarray) -> dict[str, float]:
    ranks = rank_relevant(scores, relevant)
    chance = expect_by_chance(len(ranks), len(scores))
    found = {"map": average_precision(ranks), "rank_1": float(ranks[0] <= 1), "rank_5": float(ranks[0] <= 5)}
    return found | {f"chance_{metric}": value for metric, value in chance.items()}


def audit_search(search: Search, scores: np.ndarray, *, seed: int = 0) -> SearchAudit:
    """Measure a search: overall, for each race and gender of the queries, and for each kind of relative.

    **Matched galleries.** A relative mostly has the query's race, so race alone finds families. For each query,
    galleries are drawn that have its relatives and the same number of faces of other families: of any race
    (``map_random``), or of the query's race alone (``map_matched``). The difference is due to race.

    **Intervals** are cluster-robust over the queries' families, as those of pairs are (``kinface.fairness.intervals``).
    They hold for this gallery only.

    Parameters
    ----------
    scores
        (queries, gallery), as ``kinface.data.ranking.score_search`` gives them.
    seed
        Seed of the matched galleries.

    Raises
    ------
    InputError
        No query is known to have a relative in the gallery, or the seed is negative.
    """
    people, of_faces = search.people, search.gallery["family"].to_numpy(object)
    rows = []
    own = 0
    for query, person in people.iterrows():
        others = _find_others(search, person["person"])
        relevant = (of_faces == person["family"]) & others
        own += int((~others).sum())
        if person["family"] is not None and relevant.any():
            about = {"query": query, **person, "relevant": int(relevant.sum())}
            rows.append(about | _measure(scores[query][others], relevant[others]))
    if own:
        warnings.warn(f"the gallery has {own:,} faces of the people who are sought; they are left out.", stacklevel=2)
    if not rows:
        raise InputError(
            "no query is known to have a relative in the gallery; families are known from FIW's folders, or from "
            "probe_list.csv and gallery_list.csv beside the lists."
        )
    queries = pd.DataFrame(rows)
    distractors = _match_galleries(search, scores, queries, start_drawing(seed))
    groups = [("overall", "all queries", queries)]
    for grouping in ("race", "gender"):
        groups += [(grouping, name, members) for name, members in queries.groupby(grouping, sort=True)]
    groups += [("kinship", kind, members) for kind, members in _measure_kinds(search, scores, queries).items()]
    measured = []
    for grouping, name, members in groups:
        chance = {f"chance_{metric}": float(members[f"chance_{metric}"].mean()) for metric in METRICS}
        measured.append({"grouping": grouping, "group": name} | _summarise(members, METRICS) | chance)
    compared = queries.dropna(subset="map_matched")
    columns = ["map_random", "map_matched"]
    matched = [
        {"race": race, **_summarise(members, columns), **_difference(members), "distractors": distractors}
        for race, members in compared.groupby("race", sort=True)
    ]
    ends = [f"{column}{end}" for column in (*columns, "difference") for end in ("", "_low", "_high")]
    empty = pd.DataFrame(columns=["race", "queries", "families", *ends, "distractors"])
    matched = pd.DataFrame(matched) if matched else empty
    return SearchAudit(queries, pd.DataFrame(measured), matched, len(people) - len(queries))


def _find_others(search: Search, person: str | None) -> np.ndarray:
    """(G,) whether each face of the gallery is not of this person, as far as it is known."""
    people = search.gallery["person"]
    return (people.isna() | (people != person)).to_numpy(bool)


def _match_galleries(search: Search, scores: np.ndarray, queries: pd.DataFrame, rng: np.random.Generator) -> int:
    """Add ``map_random`` and ``map_matched`` to the queries, in place; return how many other faces each gallery has."""
    family, race = (search.gallery[name].to_numpy(object) for name in ("family", "race"))

    def list_others(row: tuple) -> tuple[np.ndarray, np.ndarray]:  # anew: those of all queries would fill the memory
        others = family != row.family
        return np.flatnonzero(others), np.flatnonzero(others & (race == row.race))

    rows = [row for row in queries.itertuples() if row.race is not None]
    sizes = [len(list_others(row)[1]) for row in rows]
    size = min((count for count in sizes if count >= FEWEST_FACES), default=0)
    queries[["map_random", "map_matched"]] = np.nan
    for row in (row for row, count in zip(rows, sizes, strict=True) if count >= FEWEST_FACES):
        of_query, apart = scores[row.query], _find_others(search, row.person)
        relatives, both = np.flatnonzero((family == row.family) & apart), list_others(row)
        for column, pool in zip(("map_random", "map_matched"), both, strict=True):
            found = []
            for _ in range(MATCHED_DRAWS):
                drawn = np.concatenate([relatives, rng.choice(pool, size, replace=False)])
                found.append(average_precision(rank_relevant(of_query[drawn], np.arange(len(drawn)) < len(relatives))))
            queries.loc[row.Index, column] = np.mean(found)
    return size


def _measure_kinds(search: Search, scores: np.ndarray, queries: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each kind of kinship the queries with such relatives: only these are relevant, others are left out."""
    family, person = (search.gallery[name].to_numpy(object) for name in ("family", "person"))
    found: dict[str, list[dict]] = {}
    for row in queries.itertuples():
        related = np.flatnonzero(family == row.family)
        kinds = np.array([search.kinds.get((row.person, other), "") for other in person[related]], dtype=object)
        for kind in set(kinds) & TYPES.keys():
            kept = family != row.family
            kept[related] = kinds == kind
            measured = _measure(scores[row.query][kept], (family == row.family)[kept])
            found.setdefault(kind, []).append({"family": row.family, **measured})
    return {kind: pd.DataFrame(found[kind]) for kind in TYPES if kind in found}


def _summarise(members: pd.DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """Numbers of queries and families, and means over queries with their intervals."""
    dyads = _families_of(members)
    found = {"queries": len(members), "families": len(dyads.keys)}
    for column in columns:
        figures = interval_of_mean(members[column].to_numpy(float), dyads)
        found |= dict(zip((column, f"{column}_low", f"{column}_high"), figures, strict=True))
    return found


def _difference(members: pd.DataFrame) -> dict[str, float]:
    """How much lower or higher the mean is in galleries of the queries' race, with its interval."""
    dyads, change = _families_of(members), (members["map_matched"] - members["map_random"]).to_numpy(float)
    error = standard_error((change - change.mean()) / len(change), dyads)
    low, high = interval_of_difference(change.mean(), error**2 if len(dyads.keys) >= FEWEST_FAMILIES else np.nan)
    return {"difference": change.mean(), "difference_low": low, "difference_high": high}


def _families_of(members: pd.DataFrame) -> Dyads:
    units, names = pd.factorize(members["family"])
    return Dyads(units, units, np.arange(len(names)))
