"""``kinface report``."""

from __future__ import annotations

import io
import json
import math
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from kinface.data.pairs import families_known, read_pairs
from kinface.fairness.audit import FairnessAudit, audit_fairness
from kinface.fairness.comparison import LISTS_DISPARATE_IN, compare_audits, compare_lists
from kinface.fairness.contrasts import find_race_reward, find_unequal_prevalence
from kinface.fairness.threshold import choose_threshold
from kinface.report.html import decimal, render
from kinface.report.plots import plot_differences, plot_rates, plot_roc, plot_scores
from swinface.files import InputError, replacing_folder

DOTS_PER_INCH = 150


FEWEST_ACCEPTED = 0.01  # a threshold that divides fewer pairs, or all but so few, is hardly the model's own


OWNED = ("rates_*.png", "scores_*.png", "roc_*.png", "differences_*.png", "groups_matched.csv")


SAME_SCORE = 0.01  # standard deviations of all scores by which one pair's two scores may differ for lack of precision


FITTED_SPLITS = {"train": "trained", "tune": "chosen"}


GAPS_BY_CHANCE = 0.05  # the share of gaps between equal groups that pass what chance gives them


def report(
    scores: Path,
    *,
    threshold_from: Path,
    out: Path,
    compare: Path | None = None,
    compare_threshold_from: Path | None = None,
    matched: Path | None = None,
    title: str = "For whom does it fail?",
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Write the fairness report of a scored list of pairs.

    ``out`` then holds ``report.html`` (self-contained), ``groups.csv``, ``metrics.json`` and the figures as PNG; with
    ``matched`` also ``groups_matched.csv``.

    Parameters
    ----------
    scores
        Scored pairs table (.parquet or .csv) to audit.
    threshold_from
        Validation pairs scored by the same model; the threshold is where Youden's J is largest on them.
    out
        Folder to write to.
    compare
        The same list scored by another model; the report adds the differences to it.
    compare_threshold_from
        Validation pairs scored by that other model, for its own threshold.
    matched
        A list of the same kin pairs with matched non-kin pairs (``kinface pairs``), scored by the same model: the
        report shows both lists at the one threshold. To compare two models on a matched list, give the matched lists
        themselves as SCORES and --compare.
    title
        Heading of the page.
    resamples
        Of families, for the 95% intervals; of pairs where their families are not known.
    seed
        Of the resamples.
    """
    if (compare is None) != (compare_threshold_from is None):
        raise InputError("--compare and --compare-threshold-from go together: each model has its own threshold.")
    if resamples < 100:
        raise InputError(f"--resamples {resamples}: an interval needs at least 100, better 1000.")
    beside = None if matched is None else _read(matched)
    audit, about = _audit(scores, threshold_from, resamples, seed, beside)
    changes, other, second, lists = None, None, None, None
    if matched is not None:
        second, lists = _audit_matched(audit, scores, matched, threshold_from)
    if compare is not None:
        other_audit, other = _audit(compare, compare_threshold_from, resamples, seed, beside)
        try:
            changes = compare_audits(audit, other_audit)
        except InputError as error:
            raise InputError(f"{compare} cannot be compared with {scores}: {error}") from None
    figures = {name: _to_png(figure) for name, figure in _draw(audit, changes).items()}
    about["warnings"] += _warn_of_fitted_splits(audit.pairs, scores) + _warn_of_unknown_families(audit.pairs, scores)
    about["warnings"] += [] if second is None else _warn_of_unknown_families(second.pairs, matched)
    record = {"title": title, **about, "matched": lists, "compared_with": other, "resamples": resamples, "seed": seed}
    record["resampled"] = _name_resampled(audit.pairs if second is None else pd.concat([audit.pairs, second.pairs]))
    record = _to_plain(record | _collect(audit, changes))
    with replacing_folder(out, owned=OWNED) as folder:
        for name, png in figures.items():
            (folder / f"{name}.png").write_bytes(png)
        audit.groups.to_csv(folder / "groups.csv", index=False)
        if second is not None:
            second.groups.to_csv(folder / "groups_matched.csv", index=False)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        (folder / "metrics.json").write_text(text, encoding="utf-8")
        (folder / "report.html").write_text(render(record, figures), encoding="utf-8")
    _print_summary(record, out)


def _audit(
    scores: Path, threshold_from: Path, resamples: int, seed: int, beside: pd.DataFrame | None
) -> tuple[FairnessAudit, dict]:
    """Audit one scored list, and what has to be said of where its figures come from."""
    pairs, validation = _read(scores), _read(threshold_from)
    _refuse_common_pairs(pairs, scores, validation, threshold_from)
    families, shared = _families(pairs), _families(pairs) & _families(validation)
    audit = audit_fairness(pairs, choose_threshold(validation), resamples=resamples, seed=seed, beside=beside)
    about = {
        "scores": _describe(scores, pairs),
        "threshold": {"value": audit.threshold, "rule": "Youden's J", **_describe(threshold_from, validation)},
        "warnings": [
            f"{len(shared):,} of the {len(families):,} families judged here also chose the threshold, in "
            f"{threshold_from}; this flatters the model. Choose it on other families."
        ]
        if shared
        else [],
    }
    unknown = int((~families_known(validation)).sum())
    if unknown and families:
        about["warnings"].append(
            f"The families of {unknown:,} of the {len(validation):,} pairs in {threshold_from}, which chose the "
            "threshold, are not known: whether families judged here are among them cannot be checked."
        )
    accepted = float((pairs["score"] >= audit.threshold).mean())
    if not FEWEST_ACCEPTED <= accepted <= 1 - FEWEST_ACCEPTED:
        about["warnings"].append(
            f"The threshold {audit.threshold:.4f}, from {threshold_from}, accepts {accepted:.1%} of the pairs in "
            f"{scores}: are both files scored by the same model?"
        )
    return audit, about


def _audit_matched(
    standard: FairnessAudit, scores: Path, matched: Path, threshold_from: Path
) -> tuple[FairnessAudit, dict]:
    """Audit the matched list at the threshold and on the resamples of the standard one; both side by side."""
    pairs = _read(matched)
    _refuse_common_pairs(pairs, matched, _read(threshold_from), threshold_from)
    twice = standard.pairs[standard.pairs["kin"]].merge(pairs[pairs["kin"]], on=["face_a", "face_b"])
    if twice.empty:
        raise InputError(f"{matched}: none of its kin pairs is in {scores}; match that list with `kinface pairs`.")
    if ((twice["score_x"] - twice["score_y"]).abs() > SAME_SCORE * standard.pairs["score"].std()).any():
        raise InputError(f"{matched}: scores of kin pairs differ from {scores}; score both with the same model.")
    audit = audit_fairness(
        pairs, standard.threshold, resamples=len(standard.resampled["auc"]), seed=standard.seed, beside=standard.pairs
    )
    return audit, {
        "scores": _describe(matched, pairs),
        "kin_in_both": len(twice),
        "groups": audit.groups.to_dict("records"),
        "disparities": audit.disparities.to_dict("records"),
        "differences": compare_lists(audit, standard).to_dict("records"),
    }


def _refuse_common_pairs(pairs: pd.DataFrame, scores: Path, validation: pd.DataFrame, threshold_from: Path) -> None:
    common = _faces_of_pairs(pairs) & _faces_of_pairs(validation)
    if common:
        raise InputError(
            f"{threshold_from}: {len(common):,} of its pairs are also in {scores}. A threshold chosen on the pairs it "
            "is judged on flatters the model; choose it on validation pairs."
        )


def _warn_of_fitted_splits(pairs: pd.DataFrame, scores: Path) -> list[str]:
    counts = pairs["split"].value_counts()
    return [
        f"{counts[split]:,} of the {len(pairs):,} pairs judged here, in {scores}, are of the split {split}, on which "
        f"models are {purpose}; this flatters the model. Judge it on families of val or test."
        for split, purpose in FITTED_SPLITS.items()
        if split in counts
    ]


def _warn_of_unknown_families(pairs: pd.DataFrame, scores: Path) -> list[str]:
    unknown = int((~families_known(pairs)).sum())
    if not unknown:
        return []
    return [
        f"The families of {unknown:,} of the {len(pairs):,} pairs judged here, in {scores}, are not known. Such pairs "
        "are resampled one by one, as if they were independent; pairs that share people or families are not, so "
        "intervals are too narrow. Whether their families also trained the model or chose the threshold cannot be "
        "checked."
    ]


def _name_resampled(pairs: pd.DataFrame) -> str:
    """What intervals come from: resamples of families, of pairs, or of families and pairs."""
    of_family = pairs[["family_a", "family_b"]].notna().any(axis="columns")
    return "families" if of_family.all() else "families and pairs" if of_family.any() else "pairs"


def _read(path: Path) -> pd.DataFrame:
    pairs = read_pairs(path, scored=True)
    for kin, name in ((True, "kin"), (False, "non-kin")):
        if not (pairs["kin"] == kin).any():
            raise InputError(f"{path}: column kin: the list has no {name} pairs; an audit needs both.")
    return pairs


def _faces_of_pairs(pairs: pd.DataFrame) -> set[frozenset[str]]:
    return set(map(frozenset, zip(pairs["face_a"], pairs["face_b"], strict=True)))


def _families(pairs: pd.DataFrame) -> set[str]:
    return set(pairs["family_a"].dropna()) | set(pairs["family_b"].dropna())


def _describe(path: Path, pairs: pd.DataFrame) -> dict:
    """What a scored list is: its file, lists, splits, sizes, and who labelled race and gender."""

    def values(column: str) -> str:
        return ", ".join(sorted(pairs[column].dropna().unique())) or "not stated"

    return {
        "file": str(path),
        "list": values("list"),
        "split": values("split"),
        "pairs": len(pairs),
        "kin": int(pairs["kin"].sum()),
        "non_kin": int((~pairs["kin"]).sum()),
        "families": len(_families(pairs)),
        "pairs_of_unknown_families": int((~families_known(pairs)).sum()),
        "race_source": values("race_source"),
        "gender_source": values("gender_source"),
    }


def _collect(audit: FairnessAudit, changes: pd.DataFrame | None) -> dict:
    """All figures of the report."""
    gaps = audit.gaps.to_dict("records")
    return {
        "kinface": version("kinface"),
        "groups": audit.groups.to_dict("records"),
        "disparities": audit.disparities.to_dict("records"),
        "gaps": gaps,
        "shown_by_chance": GAPS_BY_CHANCE * sum(gap["comparable"] for gap in gaps),
        "contrasts": audit.contrasts.to_dict("records"),
        "race_reward": find_race_reward(audit.groups, audit.resampled),
        "unequal_prevalence": find_unequal_prevalence(audit.groups),
        "differences": [] if changes is None else changes.to_dict("records"),
    }


def _draw(audit: FairnessAudit, changes: pd.DataFrame | None) -> dict[str, Figure]:
    figures = {}
    for grouping in audit.groups["grouping"].unique():
        name = grouping.replace(" ", "_")
        if grouping != "overall":
            figures[f"rates_{name}"] = plot_rates(audit, grouping)
        if grouping != "race and gender":  # too many groups to tell their curves apart
            figures[f"scores_{name}"] = plot_scores(audit, grouping)
            figures[f"roc_{name}"] = plot_roc(audit, grouping)
    if changes is not None:
        figures["differences_race"] = plot_differences(changes, "race")
    return figures


def _to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _to_plain(value: object) -> object:
    """For JSON, which has no such numbers: what is not a number becomes null, what is infinite the text Infinity."""
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _print_summary(record: dict, out: Path) -> None:
    overall = record["groups"][0]
    for metric in ("accuracy", "tpr", "fmr", "auc"):
        value, low, high = (decimal(overall[metric + end]) for end in ("", "_low", "_high"))
        print(f"{metric:>8}  {value}  [{low}, {high}]")
    for row in record["matched"]["differences"] if record["matched"] else []:
        if row["metric"] in ("auc", *LISTS_DISPARATE_IN) and row["group"] in ("all pairs", None):
            ours, other = decimal(row["ours"]), decimal(row["other"])
            low, high = decimal(row["low"], "+"), decimal(row["high"], "+")
            print(f"{row['metric']} on the matched list {ours}, on this one {other}; difference [{low}, {high}]")
    examined = [gap for gap in record["gaps"] if gap["comparable"]]
    shown, by_chance = sum(gap["shown"] for gap in examined), record["shown_by_chance"]
    print(f"{shown} of {len(examined)} gaps between groups are shown (of equal groups about {by_chance:.1f}):")
    for gap in examined:
        if gap["shown"]:
            high, low = (f"{gap[end]} {decimal(gap[f'{end}_value'])}" for end in ("highest", "lowest"))
            print(f"  {gap['grouping']}, {gap['metric']}: {high}, {low}")
    for warning in record["warnings"]:
        print(f"warning: {warning}")
    print(f"wrote {out / 'report.html'}")
