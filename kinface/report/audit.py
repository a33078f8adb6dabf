"""For whom a kinship model fails: an audit and its methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from kinface.data.pairs import check_kinds, check_pairs
from kinface.data.tables import as_pandas, list_names
from kinface.fairness.audit import FairnessAudit, Origin, audit_fairness
from kinface.fairness.comparison import compare_audits, compare_lists
from kinface.fairness.dyads import FAMILIES
from kinface.fairness.groupings import Specification
from kinface.fairness.standards import POINTS, audit_operating_points, match_across_groups, shift_scores
from kinface.fairness.threshold import choose_threshold
from kinface.fairness.types import audit_types, count_confusions
from kinface.leakage.controls import controls
from kinface.leakage.leakage import Leakage, compare_leakage
from kinface.report.build import build_report
from kinface.report.checks import check_validation, list_doubts, warn_of_one_validation
from kinface.report.curves import plot_det, plot_roc
from kinface.report.html import render
from kinface.report.papers import tabulate_groups, write_table
from kinface.report.plots import plot_confusions, plot_rates, plot_scores, plot_verdict
from swinface.files import InputError, to_plain


@dataclass(frozen=True)
class Audit(FairnessAudit):
    """The result of ``audit``: its tables are attributes, further questions are methods.

    ``groups``, ``disparities``, ``gaps`` and ``contrasts`` and their columns are those of
    ``kinface.fairness.audit.FairnessAudit``.

    Attributes
    ----------
    beside
        The other list of pairs, which this one can be compared with.
    """

    beside: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def validation(self) -> pd.DataFrame | None:
        """The scored pairs on which the threshold was chosen; None where it was given."""
        return self.origin.validation

    def shifts(self) -> pd.DataFrame:
        """How far the scores of each group lie from those of all (``kinface.fairness.standards.shift_scores``)."""
        return shift_scores(self)

    def across(self, attribute: str = "race") -> pd.DataFrame:
        """FMR between every two values of an attribute (``kinface.fairness.standards.match_across_groups``)."""
        return match_across_groups(self, attribute)

    def at_fmr(self, *fmrs: float, groupings: Sequence[str] = ("overall", "race")) -> pd.DataFrame:
        """FMR and FNMR of groups at thresholds for all with these FMR of the validation pairs, by default .01, .05, .1.

        See ``kinface.fairness.standards.audit_operating_points``.

        Raises
        ------
        InputError
            The audit was given a number as its threshold, and no validation pairs; or these are too few for all FMRs,
            or it has none of the groupings.
        """
        if self.validation is None:
            raise InputError("an FMR is that of validation pairs; give them to audit in place of a number.")
        found = audit_operating_points(self, self.validation, fmrs=fmrs or POINTS, groupings=groupings)
        if found.empty:
            raise InputError(
                f"there is no such point: the {len(self.validation):,} validation pairs are too few, or none of "
                f"{', '.join(list_names(groupings))} is among the groupings {', '.join(self.labels)}."
            )
        return found

    def controls(self, faces: pd.DataFrame | None = None, *, root: str | Path | None = None) -> pd.DataFrame:
        """How well properties other than kinship tell kin from non-kin pairs, and the AUC of the scores without them.

        Parameters, errors and columns are those of ``kinface.leakage.controls.controls``.
        """
        return controls(self.pairs, faces, root=root, clusters=self.clusters, seed=self.seed)

    def types(self) -> pd.DataFrame:
        """How often the type of kinship is identified in each group, for pairs with ``type_predicted``.

        Columns and errors are those of ``kinface.fairness.types.audit_types``.

        Examples
        --------
        >>> import pandas as pd, kinface
        >>> pairs = pd.DataFrame({"kin": [True, True, True, False], "score": [0.9, 0.8, 0.2, 0.1]})
        >>> pairs = pairs.assign(type=["fd", "fd", "ms", "ms"], type_predicted=["fd", "md", "ms", "unrelated"])
        >>> pairs = pairs.assign(face_a=[*"abcd"], face_b=[*"efgh"], family_a=[*"1234"], family_b=[*"1235"])
        >>> audit = kinface.audit(pairs, 0.5)
        >>> audit.types().query("grouping in ['overall', 'type']")[["group", "pairs", "accuracy", "balanced_accuracy"]]
               group  pairs  accuracy  balanced_accuracy
        0  all pairs      3  0.666667               0.75
        1         fd      2  0.500000               0.50
        2         ms      1  1.000000               1.00
        """
        return audit_types(self)

    def confusions(self, *, shares: bool = False) -> pd.DataFrame:
        """Pairs of each true type, by the type that is predicted (``kinface.fairness.types.count_confusions``)."""
        return count_confusions(self, shares=shares)

    def plot_confusions(self) -> Figure:
        """Which types of kinship are taken for which others (``kinface.report.plots.plot_confusions``)."""
        return plot_confusions(self)

    def to_latex(self, grouping: str = "race") -> str:
        """A table of all pairs and the groups of a grouping, for LaTeX's booktabs: n, and metrics with 95% intervals.

        It has the width of both columns of a page. Raises ``InputError`` if there is no such grouping.
        """
        self._check_grouping(grouping)
        rows = to_plain(self.groups.to_dict("records"))
        return write_table(tabulate_groups(rows, grouping), "latex", f"Results by {grouping}")

    def plot_verdict(self, *, column: bool = False) -> Figure:
        """Relatives missed and strangers accepted in every group (``kinface.report.plots.plot_verdict``)."""
        return plot_verdict(self, column=column)

    def plot_rates(self, grouping: str = "race") -> Figure:
        """Accuracy, TPR, FMR and AUC of groups, with their intervals (``kinface.report.plots.plot_rates``).

        Like all figures of an audit it has the size at which papers print it, in letters of 7 points, and can be
        changed. Raises ``InputError`` if there is no such grouping, as the others do.
        """
        self._check_grouping(grouping)
        return plot_rates(self, grouping)

    def plot_scores(self, grouping: str = "race") -> Figure:
        """Distributions of the scores of kin and non-kin pairs of groups (``kinface.report.plots.plot_scores``)."""
        self._check_grouping(grouping)
        return plot_scores(self, grouping)

    def plot_roc(self, grouping: str = "race") -> Figure:
        """ROC curves of groups, with their points at the threshold (``kinface.report.curves.plot_roc``)."""
        self._check_grouping(grouping)
        return plot_roc(self, grouping)

    def plot_det(self, grouping: str = "race") -> Figure:
        """DET curves of groups, with their points at the threshold (``kinface.report.curves.plot_det``)."""
        self._check_grouping(grouping)
        return plot_det(self, grouping)

    def _check_grouping(self, grouping: str) -> None:
        if grouping not in self.labels:
            raise InputError(f"no grouping {grouping!r}; this audit has {', '.join(self.labels)}.")

    def report(
        self,
        *,
        title: str = "Fairness report",
        other: Audit | None = None,
        matched: Audit | None = None,
        **parts: object,
    ) -> str:
        """Write the audit as a self-contained HTML page.

        Parameters
        ----------
        title
            Heading of the page.
        other
            Audit of the same pairs scored by another model.
        matched
            Audit of a matched list at the same threshold. Each of the two has the other's pairs as ``beside``.
        parts
            What else the page shows: parameters of ``kinface.report.build.build_report``.

        Raises
        ------
        InputError
            The audits cannot be compared.
        """
        for name, given in (("other", other), ("matched", matched)):
            if not isinstance(given, FairnessAudit | None):
                raise InputError(f"{name}: a {type(given).__name__} is no audit; give a result of kinface.audit.")
        return render(build_report(self, title=title, other=other, matched=matched, **parts))


def audit(
    pairs: pd.DataFrame,
    threshold: float | pd.DataFrame,
    *,
    groupings: Iterable[Specification] | Mapping[str, Specification] = (),
    disparities: Sequence[str] = (),
    clusters: Sequence[str] | None = FAMILIES,
    resamples: int = 1000,
    seed: int = 0,
    beside: pd.DataFrame | None = None,
) -> Audit:
    """Measure every group, and the disparities between groups, at one threshold for all.

    Parameters
    ----------
    pairs
        Scored pairs table (``read_pairs``) with kin and non-kin pairs. ``face_a``, ``face_b``, ``kin`` and ``score``
        are enough, with the columns to group by.
    threshold
        A pair is accepted as kin where its score is at least this. Or validation pairs of other families, scored by the
        same model: the threshold is then that with the largest TPR - FMR on them, and ``threshold_range`` says how far
        other validation families would move it.
    groupings
        How pairs are divided into groups, besides those by race, gender and type, which are there as far as the pairs
        have the labels. Each entry, or each value of a dictionary from name to entry, is

        - a column of the pairs, such as ``age_band``: pairs with the same value are a group;
        - an attribute of persons, X, where the pairs have the columns X_a and X_b: pairs of persons with the same value
          are a group, all others are the group cross-X, which is measured but not compared;
        - the name of a default grouping: ``race``, ``race crossing``, ``gender pair``, ``type``, ``generation gap``,
          ``race and gender``;
        - a function that takes the pairs and returns a value for each;
        - a list of these, or their names joined by " x ": the intersection.
    disparities
        Paths ``package.module.name`` of custom disparities (``kinface.fairness.disparities.Disparity``).
    clusters
        One or two columns. Pairs with a value of these in common depend on each other. None: all are independent.
    resamples, seed
        Draws and seed from which the intervals and chance limits of disparities come; all other intervals need none.
    beside
        Another list of pairs, such as a matched one, to compare this one with.

    Returns
    -------
    Audit
        ``groups``, ``gaps``, ``contrasts``, ``disparities`` and ``threshold_range`` are tables; ``shifts()``,
        ``across()``, ``at_fmr()`` and ``controls()`` give more, and of pairs with ``type_predicted`` also ``types()``
        and ``confusions()``; ``plot_verdict()``, ``plot_rates()``, ``plot_scores()``, ``plot_roc()``, ``plot_det()``
        and ``plot_confusions()`` give figures, ``to_latex()`` a table for papers and ``report()`` the page.

    Raises
    ------
    InputError
        The pairs are no scored pairs table or of one kind, a grouping or cluster has no column, the threshold is not
        finite or is chosen on the audited pairs, or a disparity is none.

    Warns
    -----
    UserWarning
        What the report's page warns of: scores that look like distances, a threshold of another scale, families that
        the threshold was chosen or the model trained on, unknown families, and repeated pairs.

    Notes
    -----
    Intervals come from dyadic cluster-robust variance, wider where families are few (``kinface.fairness.intervals``).

    Examples
    --------
    >>> import numpy as np, pandas as pd, kinface
    >>> rng, number = np.random.default_rng(0), np.arange(800)
    >>> kin, band = number % 2 == 0, np.where(number % 3 == 0, "adult and child", "adults")
    >>> score = kin + rng.normal(size=800) - 1.5 * (kin & (band == "adult and child"))
    >>> faces = {"face_a": [f"{i}a.jpg" for i in number], "face_b": [f"{i}b.jpg" for i in number]}
    >>> families = {"family_a": number, "family_b": np.where(kin, number, number + 1)}
    >>> pairs = pd.DataFrame({**faces, **families, "kin": kin, "score": score, "band": band})
    >>> audit = kinface.audit(pairs, 0.5, groupings=["band"])
    >>> audit.groups[["group", "pairs", "tpr"]].round(2)
                 group  pairs   tpr
    0        all pairs    800  0.47
    1  adult and child    267  0.15
    2           adults    533  0.63
    >>> audit.gaps.query("metric == 'tpr'")[["grouping", "highest", "lowest", "significant"]]
      grouping highest           lowest  significant
    1     band  adults  adult and child         True
    >>> audit.report(title="800 pairs")[:15]
    '<!DOCTYPE html>'

    With validation pairs in place of a number:

    >>> audit = kinface.audit(pairs[200:], pairs[:199], groupings=["band"])
    >>> audit.at_fmr(0.05)[["chosen_at", "group", "fmr"]].round(2)
       chosen_at      group   fmr
    0       0.05  all pairs  0.05
    """
    validation, threshold = None, as_pandas(threshold)
    if isinstance(threshold, pd.DataFrame):
        validation = check_pairs(threshold, "validation pairs", scored=True)
        threshold = choose_threshold(validation)
    elif isinstance(threshold, str | Path):
        raise InputError(f"threshold: {str(threshold)!r} is not a table; read it first, with kinface.read_pairs.")
    options = {"groupings": groupings, "disparities": disparities, "clusters": clusters, "beside": beside}
    origin = Origin(validation=validation)
    found = audit_fairness(pairs, threshold, **options, resamples=resamples, seed=seed, origin=origin)
    check_kinds(found.pairs["kin"], "pairs")
    check_validation(found.pairs, origin)
    found = Audit(**vars(found), beside=None if beside is None else check_pairs(beside, "beside"))
    for text in list_doubts(found):
        warnings.warn(text, stacklevel=2)
    return found


def compare(ours: Audit | Leakage, other: Audit | Leakage) -> pd.DataFrame:
    """Compare two models, or one model on two lists, with paired intervals.

    Parameters
    ----------
    ours, other
        Two audits of one list, of two models; two audits of one model, each with the other's pairs as ``beside``; or
        what was probed of one attribute from two tables of embeddings of the same faces.

    Returns
    -------
    pd.DataFrame
        Of two models ``kinface.fairness.comparison.compare_audits``, of two lists
        ``kinface.fairness.comparison.compare_lists``, of probes ``kinface.leakage.leakage.compare_leakage``; each with
        ``difference`` (ours - other), ``low`` and ``high``, the ends of its 95% interval.

    Raises
    ------
    InputError
        The two do not belong together; the message names the first row and column that differ.

    Examples
    --------
    >>> import numpy as np, pandas as pd, kinface
    >>> rng, number = np.random.default_rng(0), np.arange(400)
    >>> faces = {"face_a": [f"{i}a.jpg" for i in number], "face_b": [f"{i}b.jpg" for i in number]}
    >>> families = {"family_a": number, "family_b": number + number % 2}
    >>> pairs = pd.DataFrame({**faces, **families, "kin": number % 2 == 0})
    >>> noise = rng.normal(size=(2, 400))
    >>> better, worse = (pairs.assign(score=3 * pairs["kin"] / spread + noise[0]) for spread in (1, 4))
    >>> audits = [kinface.audit(scored, 0.5) for scored in (better, worse)]
    >>> kinface.compare(*audits).query("metric == 'auc'")[["group", "ours", "other", "difference"]].round(2)
           group  ours  other  difference
    5  all pairs  0.98   0.68         0.3
    """
    kind = Leakage if isinstance(ours, Leakage) else FairnessAudit
    for given in (ours, other):
        if not isinstance(given, kind):
            raise InputError(
                f"a {type(given).__name__} cannot be compared; give two results of audit, or two of probe."
            )
    if kind is Leakage:
        return compare_leakage(ours, other)
    names = ["face_a", "face_b"]
    beside = getattr(ours, "beside", None)  # an Audit has it, a FairnessAudit has not
    if beside is not None and beside[names].equals(other.pairs[names]):
        return compare_lists(ours, other)
    found = compare_audits(ours, other)
    for text in warn_of_one_validation(ours, other):
        warnings.warn(text, stacklevel=2)
    return found
