"""What makes the figures of a report wrong or doubtful: lists that must not share pairs, and warnings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinface.data.pairs import factorize_sides, families_known, list_known
from kinface.data.tables import canonical_text
from kinface.data.vocabulary import fold_word
from kinface.fairness.audit import FairnessAudit, Origin
from kinface.fairness.dyads import FAMILIES
from kinface.fairness.groups import FEWEST_PAIRS
from swinface.files import InputError

FEWEST_ACCEPTED = 0.01  # a threshold that accepts fewer pairs, or all but so few, is hardly the model's own
LARGEST_SCALE = 10  # how many times as far scores may spread as those that chose their threshold
MOST_REPEATED = 0.1  # share of rows that repeat an earlier pair; official and drawn lists have some
SAME_SCORE = 0.01  # standard deviations of all scores by which two scores of a pair may differ through rounding
FITTED_SPLITS = {"train": "trained", "training": "trained", "tune": "chosen"}


def check_validation(pairs: pd.DataFrame, origin: Origin) -> None:
    """Refuse, with ``InputError``, a threshold that was chosen on pairs that are then audited."""
    if origin.validation is None:
        return
    chosen_on = _faces_of_pairs(origin.validation)
    faces = frozenset().union(*chosen_on)
    near = pairs[pairs["face_a"].isin(faces)]
    common = chosen_on & _faces_of_pairs(near[near["face_b"].isin(faces)])
    if common:
        raise InputError(
            f"{origin.name_validation()}: {len(common):,} of its pairs are also in {origin.name_pairs()}. A threshold "
            "chosen on the audited pairs makes the model look better than it is; choose it on validation pairs."
        )


def check_matched(standard: pd.DataFrame, matched: pd.DataFrame, origin: Origin, matched_origin: Origin) -> int:
    """Check that one model scored a list and its matched list; return how many kin pairs are in both.

    Raises ``InputError`` if the lists have no kin pair in common, or different scores of one.
    """
    here, there = matched_origin.name_pairs(), origin.name_pairs()
    both = standard[standard["kin"]].merge(matched[matched["kin"]], on=["face_a", "face_b"])
    if both.empty:
        raise InputError(f"{here}: none of its kin pairs is in {there}; match that list with `kinface pairs`.")
    if ((both["score_x"] - both["score_y"]).abs() > SAME_SCORE * standard["score"].std()).any():
        raise InputError(f"{here}: scores of kin pairs differ from {there}; score both with the same model.")
    return len(both)


def list_doubts(audit: FairnessAudit) -> list[str]:
    """All that may make the figures of an audit doubtful."""
    of_scores = (*warn_of_threshold(audit), *warn_of_scores(audit), *warn_of_contradictions(audit))
    return [*of_scores, *warn_of_fitted_splits(audit), *warn_of_unknown_families(audit)]


def warn_of_threshold(audit: FairnessAudit) -> list[str]:
    """Doubts about the threshold."""
    warnings, origin = [], audit.origin
    if origin.validation is not None:
        unknown = int((~families_known(origin.validation)).sum())
        kinds = origin.validation["kin"].value_counts()
        if kinds.min() < FEWEST_PAIRS:
            warnings.append(
                f"The threshold was chosen on {kinds[True]:,} kin and {kinds[False]:,} non-kin pairs, in "
                f"{origin.name_validation()}. A threshold from so few is random; use {FEWEST_PAIRS} of each or more."
            )
        for one, many in (("family", "families"), ("person", "people"), ("face", "faces")):
            theirs = list_known(origin.validation, one)
            if audit.pairs[[f"{one}_a", f"{one}_b"]].isin(theirs).any(axis=None):  # a set of all ours takes longer
                ours = list_known(audit.pairs, one)
                shared = ours & theirs
                warnings.append(
                    f"{len(shared):,} of the {len(ours):,} audited {many} were also used to choose the threshold, in "
                    f"{origin.name_validation()}. This makes the model look better than it is. Choose the threshold on "
                    "other families."
                )
                break  # their people and faces are shared too
        else:
            theirs = {family.casefold() for family in list_known(origin.validation, "family")}
            if alike := sorted(name for name in list_known(audit.pairs, "family") if name.casefold() in theirs):
                warnings.append(
                    f"{len(alike):,} audited families, such as {alike[0]!r}, differ from families in "
                    f"{origin.name_validation()} in capital letters alone. Write the names in one way, so that it can "
                    "be checked whether the families are the same."
                )
        if unknown and list_known(audit.pairs, "family"):
            warnings.append(
                f"The families of {unknown:,} of the {len(origin.validation):,} pairs in {origin.name_validation()}, "
                "which gave the threshold, are unknown. It cannot be checked whether audited families are among them."
            )
    accepted = float((audit.pairs["score"] >= audit.threshold).mean())
    if not FEWEST_ACCEPTED <= accepted <= 1 - FEWEST_ACCEPTED:
        source = "" if origin.validation is None else f", from {origin.name_validation()},"
        warnings.append(
            f"The threshold {audit.threshold:.4f}{source} accepts {accepted:.1%} of the pairs in "
            f"{origin.name_pairs()}. Were they scored by the model that the threshold is for?"
        )
    if origin.validation is not None:
        spreads = [pairs["score"].quantile([0.1, 0.9]).diff().iloc[-1] for pairs in (audit.pairs, origin.validation)]
        if 0 < LARGEST_SCALE * min(spreads) < max(spreads):
            warnings.append(
                f"The scores in {origin.name_pairs()} spread {spreads[0] / spreads[1]:.3g} times as far as those in "
                f"{origin.name_validation()}, which gave the threshold. Give both on one scale, from one model."
            )
    if origin.validation is None and 0 < audit.threshold < 1 and audit.pairs["score"].abs().quantile(0.9) > 10:
        warnings.append(
            f"The threshold {audit.threshold:.4f} lies between 0 and 1, and a tenth of the scores in "
            f"{origin.name_pairs()} beyond 10. If they are percentages, give the threshold as a percentage too."
        )
    return warnings


def warn_of_one_validation(audit: FairnessAudit, other: FairnessAudit) -> list[str]:
    """Two models whose thresholds were chosen on the scores of one of them."""
    chosen_on = [it.origin.validation for it in (audit, other) if it.origin.validation is not None]
    if len(chosen_on) < 2 or not np.array_equal(*(pairs["score"] for pairs in chosen_on)):
        return []
    if np.array_equal(audit.pairs["score"], other.pairs["score"]):  # one model twice
        return []
    return [
        f"The thresholds of both models come from the same scores, in {audit.origin.name_validation()}. Each model "
        "needs validation pairs that it scored itself."
    ]


def warn_of_scores(audit: FairnessAudit) -> list[str]:
    """Doubts about the scores, and about pairs that are there twice."""
    warnings, overall, named = [], audit.groups.iloc[0], audit.origin.name_pairs()
    if overall["auc_high"] < 0.5:
        warnings.append(
            f"The AUC is {overall['auc']:.3f}: non-kin pairs in {named} have the higher scores. If the "
            "scores are distances, give their negative."
        )
    if audit.pairs["score"].nunique() <= 2:
        warnings.append(
            f"The scores in {named} have at most two values, like decisions. AUC, curves and other "
            "thresholds need the scores before the decision."
        )
    faces = np.sort(audit.faces[0].reshape(2, -1), axis=0)
    pair = faces[0] * faces.size + faces[1]
    if "face_m" in audit.pairs:  # of a triplet
        pair = pd.factorize(pair)[0] * len(pair) + pd.factorize(audit.pairs["face_m"])[0]
    called = pd.unique(2 * pair + audit.pairs["kin"].to_numpy())  # pairs, once for each word on their kinship
    twice, both = len(pair) - len(called), len(called) - len(pd.unique(pair))
    if twice > MOST_REPEATED * len(pair):
        warnings.append(f"{twice:,} rows of {named} repeat an earlier pair, which then counts more.")
    if both:
        warnings.append(f"{both:,} pairs of {named} are called kin in one row and non-kin in another.")
    if twice + both:
        scores = audit.pairs["score"].groupby(pair)
        several = int((scores.max() - scores.min() > SAME_SCORE * audit.pairs["score"].std()).sum())
        if several:
            warnings.append(f"{several:,} pairs of {named} have another score in another row; keep that of one model.")
    return warnings


def warn_of_contradictions(audit: FairnessAudit) -> list[str]:
    """Faces and people of whom two rows say different things."""
    pairs, named = audit.pairs, audit.origin.name_pairs()
    of_face = ("person", "family") if "face_m" in pairs else ("person", "family", "race", "gender")  # parents have one
    warnings = []
    for side, many, known in (("face", "faces", of_face), ("person", "people", ("family",))):
        name, names = audit.faces if side == "face" else factorize_sides(pairs, side)
        for what in known:
            value, values = factorize_sides(pairs, what)
            rows = np.flatnonzero((name >= 0) & (value >= 0))
            first = np.full(len(names), -1)
            first[name[rows[::-1]]] = value[rows[::-1]]
            other = rows[value[rows] != first[name[rows]]]
            if len(other):
                one, count = name[other[0]], len(np.unique(name[other]))
                both = " and ".join(repr(values[code]) for code in (first[one], value[other[0]]))
                warnings.append(
                    f"{count:,} of the {len(names):,} {many} in {named} have more than one {what}, such "
                    f"as {names[one]!r}: {both}. One of them is wrong, or two {many} have one name."
                )
    return warnings


def warn_of_fitted_splits(audit: FairnessAudit) -> list[str]:
    """Pairs that a model has seen."""
    pairs, named = audit.pairs, audit.origin.name_pairs()
    counts = pairs["split"].value_counts()
    counts = counts.groupby(counts.index.map(fold_word)).sum()
    return [
        f"{counts[split]:,} of the {len(pairs):,} pairs in {named} belong to the split {split}, on which "
        f"models are {purpose}. This makes the model look better than it is. Audit families of val or test."
        for split, purpose in FITTED_SPLITS.items()
        if split in counts
    ]


def warn_of_unknown_families(audit: FairnessAudit) -> list[str]:
    """Pairs that are treated as independent, unless somebody says what else they have in common."""
    unknown = int((~families_known(audit.pairs)).sum())
    if not unknown or audit.clusters != FAMILIES:
        return []
    return [
        f"The families of {unknown:,} of the {len(audit.pairs):,} pairs in {audit.origin.name_pairs()} are unknown "
        "(columns family_a and family_b). These pairs count as independent. Pairs that share people or families are "
        "not independent, so intervals are too narrow. It cannot be checked whether the model was trained, or the "
        "threshold chosen, on these families too."
    ]


def _faces_of_pairs(pairs: pd.DataFrame) -> set[frozenset[str]]:
    sides = (canonical_text(pairs[side], f"column {side}", paths=True) for side in ("face_a", "face_b"))
    return set(map(frozenset, zip(*sides, strict=True)))
