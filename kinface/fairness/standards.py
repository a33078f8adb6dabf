"""What reports after NIST and ISO/IEC 19795-10 show beside rates by group: score shifts, FMR between every two groups,
several operating points, and failures to acquire.

Intervals are 95% and come from the families of the audit (``kinface.fairness.intervals``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinface.data.arrays import as_number
from kinface.data.pairs import drop_marks
from kinface.data.tables import canonical_text, list_names, truth, warn_of_look_alikes
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.dyads import Dyads
from kinface.fairness.groupings import natural_order
from kinface.fairness.groups import has_enough
from kinface.fairness.intervals import interval_of_difference, interval_of_mean, standard_error
from kinface.fairness.threshold import scores_and_kin
from swinface.files import InputError

POINTS = (0.01, 0.05, 0.1)  # FMR of validation pairs at which a report gives figures


def choose_threshold_at_fmr(pairs: pd.DataFrame, fmr: float) -> float:
    """Choose the lowest score, of any pair, at which at most a share ``fmr`` of the non-kin pairs is accepted.

    The pairs are scored validation pairs, never those that are then audited. Raises ``InputError`` if ``fmr`` is not
    between 0 and 1, there are too few non-kin pairs to tell it from 0, or a score or ``kin`` is missing.

    >>> import pandas as pd
    >>> scored = pd.DataFrame({"kin": [False] * 4 + [True], "score": [0.1, 0.2, 0.3, 0.4, 0.9]})
    >>> choose_threshold_at_fmr(scored, 0.25)
    0.4
    """
    if not 0 < fmr < 1:
        raise InputError(f"a false match rate lies between 0 and 1; got {fmr}.")
    score, kin = scores_and_kin(pairs)
    scores = np.sort(score[~kin])
    allowed = int(np.floor(fmr * len(scores) + 1e-9))
    if allowed < 1:
        raise InputError(f"{len(scores)} non-kin pairs are too few for a threshold at FMR {fmr:g}.")
    above = score[score > (scores[-allowed - 1] if allowed < len(scores) else -np.inf)]
    return float(above.min(initial=np.inf) if len(above) else np.nextafter(scores[-1], np.inf))


def audit_operating_points(
    audit: FairnessAudit,
    validation: pd.DataFrame,
    *,
    fmrs: Sequence[float] = POINTS,
    groupings: Sequence[str] = ("overall", "race"),
) -> pd.DataFrame:
    """FMR and FNMR of groups at several thresholds for all, each chosen by the FMR of validation pairs.

    Parameters
    ----------
    validation
        Scored pairs, of other families.
    fmrs
        Their false match rates; those for which they are too few are left out.
    groupings
        Groupings of the audit; those that it lacks are left out.

    Returns
    -------
    pd.DataFrame
        ``chosen_at``, ``threshold``, ``grouping``, ``group``, ``kin``, ``non_kin``; ``fmr`` and ``fnmr``, each with
        ``_low`` and ``_high``.
    """
    rows = []
    score, kin = audit.pairs["score"].to_numpy(), audit.pairs["kin"].to_numpy()
    non_kin = (~scores_and_kin(validation)[1]).sum()
    enough = [fmr for fmr in (as_number(it, "FMR") for it in fmrs) if fmr * non_kin >= 1]
    groups = audit.groups[audit.groups["grouping"].isin(list_names(groupings))]
    members = [(audit.labels[group.grouping] == group.group).to_numpy() for group in groups.itertuples()]
    for fmr in enough:
        threshold = choose_threshold_at_fmr(validation, fmr)
        wrong = np.where(kin, score < threshold, score >= threshold).astype(float)
        for group, member in zip(groups.itertuples(), members, strict=True):
            row = {"chosen_at": fmr, "threshold": threshold, "grouping": group.grouping, "group": group.group}
            row |= {"kin": group.kin, "non_kin": group.non_kin}
            for name, of_kind in (("fmr", ~kin), ("fnmr", kin)):
                rates = interval_of_mean(wrong[member & of_kind], audit.dyads[member & of_kind])
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), rates, strict=True))
            rows.append(row)
    return pd.DataFrame(rows)


def match_across_groups(audit: FairnessAudit, attribute: str = "race") -> pd.DataFrame:
    """The FMR between people of every two values of an attribute, the same value included (as in NIST IR 8280, 2019).

    A row per unordered pair of values: ``a``, ``b``, ``non_kin``, ``families``, ``fmr``, ``fmr_low``, ``fmr_high``.
    Raises ``InputError`` if the pairs have no such attribute.
    """
    columns = [f"{attribute}_{side}" for side in "ab"]
    lacking = [column for column in columns if column not in audit.pairs]
    if lacking:
        raise InputError(f"the pairs have no column {lacking[0]!r}; an attribute X of persons has X_a and X_b.")
    texts = pd.concat([canonical_text(audit.pairs[column], f"column {column}") for column in columns])
    names = sorted(texts.dropna().unique(), key=natural_order)
    first, second = np.sort(pd.Categorical(texts, names).codes.astype(int).reshape(2, -1), axis=0)
    places = np.flatnonzero(~audit.pairs["kin"] & (first >= 0))
    accepted, cells = (audit.pairs["score"] >= audit.threshold).to_numpy(float), []
    of_cell = pd.Series(places).groupby((first * len(names) + second)[places]).indices  # all pairs are read once
    for cell, found in sorted(of_cell.items()):
        a, b = divmod(cell, len(names))
        rows, group = places[found], np.zeros(len(found), int)
        dyads = audit.dyads[rows]
        families = int(dyads.count(group, 1, group > 0)["all"][0])
        cells.append((names[a], names[b], len(rows), families, *interval_of_mean(accepted[rows], dyads)))
    return pd.DataFrame(cells, columns=["a", "b", "non_kin", "families", "fmr", "fmr_low", "fmr_high"])


def shift_scores(audit: FairnessAudit) -> pd.DataFrame:
    """How far the scores of each group's kin and non-kin pairs lie from those of all pairs of that kind.

    A shift is the difference of means in standard deviations of all pairs of the kind. A group whose non-kin pairs are
    shifted upwards has more false matches at any threshold for all; one whose kin pairs are shifted downwards, more
    false non-matches (ISO/IEC 19795-10 asks for such shifts). A group with too few pairs has no interval
    (``groups.has_enough``). Gives ``grouping``, ``group``, ``kind`` (``kin`` or ``non-kin``), ``pairs``, ``shift``,
    ``low``, ``high``.
    """
    groups = audit.groups[audit.groups["grouping"] != "overall"]
    score, kin = audit.pairs["score"].to_numpy(), audit.pairs["kin"].to_numpy()
    members = [(audit.labels[group.grouping] == group.group).to_numpy() for group in groups.itertuples()]
    found = []
    for kind, of_kind, metric in (("kin", kin, "tpr"), ("non-kin", ~kin, "fmr")):
        scores, dyads, enough = score[of_kind], audit.dyads[of_kind], has_enough(groups, metric)
        deviation, from_all = scores.std(), scores - scores.mean()
        for group, rows, judged in zip(groups.itertuples(), members, enough, strict=True):
            own = np.flatnonzero(rows[of_kind])
            if not len(own) or deviation == 0:
                continue
            mean, low, high = scores[own].mean(), np.nan, np.nan
            shift = (mean - scores.mean()) / deviation
            if judged:
                influence = -from_all / len(scores)
                influence[own] += (scores[own] - mean) / len(own)
                low, high = interval_of_difference(shift, standard_error(influence / deviation, dyads, own) ** 2)
            row = {"grouping": group.grouping, "group": group.group, "kind": kind, "pairs": len(own)}
            found.append(row | {"shift": float(shift), "low": float(low), "high": float(high)})
    return pd.DataFrame(found, columns=["grouping", "group", "kind", "pairs", "shift", "low", "high"])


def measure_acquisition(photos: pd.DataFrame, by: str) -> pd.DataFrame:
    """The share of photos of each group in which no usable face was found: failure to acquire (ISO/IEC 19795-1).

    ``photos`` has a row per photo: ``acquired`` (1 or 0, or as ``kinface.data.tables.truth`` reads it), the column
    ``by`` of the group, and ``person``, if people are known: photos of one person depend on each other.

    Gives a row per group: ``group``, ``photos``, ``failed``, ``rate``, ``rate_low``, ``rate_high``. Photos of an
    unknown group are the last row, without a ``group``: a label may be missing because no face was found. Raises
    ``InputError`` if a column is missing, ``acquired`` is neither 1 nor 0, or no photo is of a known group. Warns of
    marks of the unknown (``kinface.data.pairs.drop_marks``), and of groups that look alike.
    """
    for column in ("acquired", by):
        if column not in photos:
            raise InputError(f"the table of photos has no column {column!r}.")
    photos = photos.reset_index(drop=True)
    acquired = truth(photos["acquired"], "column acquired")
    person = photos.get("person", pd.Series(index=photos.index, dtype=object))
    told = {name: canonical_text(column, f"column {name}") for name, column in ((by, photos[by]), ("person", person))}
    told = drop_marks(pd.DataFrame(told), "photos")
    label = canonical_text(told[by], f"column {by}")
    if acquired.isna().any():
        raise InputError(f"row {int(acquired.isna().argmax()) + 1}: acquired is 1 or 0 in every row.")
    if label.isna().all():
        raise InputError(f"no photo has a value of {by!r}.")
    warn_of_look_alikes(label.dropna().unique(), f"photos: groups of {by!r}", stacklevel=2)
    person = told["person"].where(told["person"].notna(), photos.index)  # the photo itself, as a number
    rows = []
    for group in [*sorted(label.dropna().unique(), key=natural_order), *[None] * label.hasnans]:
        of_group = label.isna() if group is None else label == group
        failed = ~acquired[of_group].to_numpy(bool)
        units, count = pd.factorize(person[of_group])
        _, low, high = interval_of_mean(failed, Dyads(units, units, np.arange(len(count))))
        rows.append((group, len(failed), int(failed.sum()), failed.mean(), low, high))
    return pd.DataFrame(rows, columns=["group", "photos", "failed", "rate", "rate_low", "rate_high"])
