"""How well a model identifies the type of kinship, for whom, and which types it confuses.

It reads ``type_predicted`` of a pairs table: one of the 11 types or ``unrelated`` for each pair. Types are those of
unordered pairs: a father and his daughter are ``fd``, whoever is face a. What tells the 11 types apart is the gender of
both people and the generations between them, so a model that hides gender or age can hardly tell types apart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.data.vocabulary import PREDICTED_TYPES, TYPES
from kinface.fairness.audit import FairnessAudit
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import Z, interval_of_mean, interval_of_rate, reach_of_jeffreys, standard_error
from swinface.files import InputError, one_line

COLUMN = "type_predicted"
UNRELATED = PREDICTED_TYPES[-1]


def can_audit_types(pairs: pd.DataFrame) -> bool:
    """Whether a type is predicted for the pairs, and known of some kin pair."""
    return COLUMN in pairs and bool(pairs.loc[pairs["kin"], "type"].notna().any())


def audit_types(audit: FairnessAudit) -> pd.DataFrame:
    """How often the type of kinship is identified in each group of an audit, with 95% intervals over families.

    Returns
    -------
    pd.DataFrame
        A row per group with kin pairs of known type, all pairs first; the groups of ``type`` are those of one true
        type, whose accuracy is its recall. Columns: ``grouping``, ``group``; ``pairs`` and ``families``, of these kin
        pairs; ``accuracy``, the share whose type is predicted; ``balanced_accuracy``, the mean of the recalls of the
        types that the group has; ``missed``, the share of these kin pairs that are called unrelated, which are errors;
        ``non_kin`` pairs and ``rejected``, the share of these that are called unrelated. Each share has ``_low`` and
        ``_high``. ``chance`` and ``balanced_chance`` are the two accuracies that the same predictions give if they
        are shuffled among all kin pairs.

    Raises
    ------
    InputError
        The pairs have no predicted types, a name among these is unknown, or no kin pair has a type.
    """
    truth, predicted = read_types(audit)
    kin, other = truth.isin(TYPES).to_numpy(), (truth == UNRELATED).to_numpy()
    called = predicted[kin].value_counts(normalize=True).to_dict()
    by_chance = truth.map(lambda name: called.get(name, 0.0)).to_numpy(float)
    right, unrelated, rows = (truth == predicted).to_numpy(float), (predicted == UNRELATED).to_numpy(float), []
    for grouping, label in audit.labels.items():
        for group in label.cat.categories:
            member = (label == group).to_numpy()
            own, non_kin = np.flatnonzero(member & kin), np.flatnonzero(member & other)
            if not len(own):
                continue
            dyads, types = audit.dyads[own], truth.to_numpy()[own]
            families = pd.unique(audit.pairs[["family_a", "family_b"]].iloc[own].to_numpy().ravel())
            row = {"grouping": grouping, "group": group, "pairs": len(own), "families": pd.notna(families).sum()}
            row |= _with_ends("accuracy", interval_of_mean(right[own], dyads))
            row |= {"chance": by_chance[own].mean()}
            row |= _with_ends("balanced_accuracy", interval_of_balanced(right[own], types, dyads))
            row |= {"balanced_chance": pd.Series(by_chance[own]).groupby(types).first().mean()}
            row |= _with_ends("missed", interval_of_mean(unrelated[own], dyads))
            row |= {"non_kin": len(non_kin)}
            rows.append(row | _with_ends("rejected", interval_of_mean(unrelated[non_kin], audit.dyads[non_kin])))
    return pd.DataFrame(rows)


def _with_ends(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def interval_of_balanced(right: np.ndarray, types: np.ndarray, dyads: Dyads) -> tuple[float, float, float]:
    """The mean of the recalls of K types, and its 95% interval, from whether each pair is ``right`` and its true type.

    The influence value of pair p of type k is (right_p - recall_k) / (K n_k), with n_k the pairs of that type. Those of
    a recall of 0 or 1 are all 0: its variance is that of its Jeffreys interval. A type from fewer than
    ``FEWEST_FAMILIES`` families leaves no interval.
    """
    type_of, names = pd.factorize(types)
    count = np.bincount(type_of)
    recall = np.bincount(type_of, right) / count
    error = standard_error((right - recall[type_of]) / (len(names) * count[type_of]), dyads)
    units = dyads.count(type_of, len(names), right > 0)["all"]
    extreme = reach_of_jeffreys(units[np.isin(recall, (0, 1))]) / (Z * len(names))
    ends = interval_of_rate(recall.mean(), np.sqrt(error**2 + (extreme**2).sum()), units.min())
    return float(recall.mean()), *map(float, ends)


def count_confusions(audit: FairnessAudit, *, shares: bool = False) -> pd.DataFrame:
    """How many pairs of each true type, in rows, are predicted as each type, in columns.

    Non-kin pairs are ``unrelated``. With ``shares``, shares of the pairs of a row. Rows are the types that the pairs
    have; columns are all. Raises ``InputError`` as ``audit_types``.
    """
    truth, predicted = read_types(audit)
    counts = pd.crosstab(truth, predicted, rownames=["type"], colnames=[COLUMN])
    rows = [name for name in PREDICTED_TYPES if name in counts.index]
    counts = counts.reindex(rows, columns=pd.Index(PREDICTED_TYPES, name=COLUMN), fill_value=0)
    return counts.div(counts.sum(axis="columns"), axis="index") if shares else counts


def read_types(audit: FairnessAudit) -> tuple[pd.Series, pd.Series]:
    """The true type of each pair, and the predicted one; true is ``unrelated`` of non-kin pairs, or missing if unknown.

    Raises ``InputError`` as ``audit_types``.
    """
    pairs, source = audit.pairs, audit.origin.name_pairs()
    if COLUMN not in pairs:
        raise InputError(f"{source}: no column {COLUMN!r}; a model with a type head writes it, or any other of yours.")
    predicted = pairs[COLUMN]
    wrong = ~predicted.isin(PREDICTED_TYPES)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        given = "it is missing" if pd.isna(predicted[row]) else f"not {predicted[row]!r}"
        faces = one_line(f"{pairs['face_a'][row]}, {pairs['face_b'][row]}")
        rule = f"{COLUMN} must be one of {' '.join(PREDICTED_TYPES)}"
        raise InputError(f"{source}: row {row + 1}: {rule}; {given} ({faces}).")
    if not can_audit_types(pairs):
        raise InputError(f"{source}: no kin pair has a value in the column 'type', its true type; fill it in.")
    return pairs["type"].where(pairs["kin"], UNRELATED), predicted
