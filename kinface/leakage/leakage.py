"""How much of an attribute fresh probes read from embeddings, and whether it is more than chance.

Folds and intervals rest on clusters of faces, such as families, whose members look alike and share a race.
``joblib.parallel_config(n_jobs=...)`` around a call distributes the probes over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from kinface.fairness.bootstrap import draw_families, weighted_metrics
from kinface.fairness.groups import FEWEST_FAMILIES
from kinface.leakage import probes
from kinface.leakage.probes import ATTACKERS, PROBES, ROUNDS, Trial, code_online, cross_validate, label_few, run_probes
from swinface.bootstrap import interval_around
from swinface.files import InputError

RULE = (
    "A probe finds leakage if two conditions hold: the lower end of its 95% interval is above chance, and its balanced "
    "accuracy is above the bound that 95 of 100 probes stay below whose labels were permuted over persons."
)


FEWEST_LABELLED = 4  # people


@dataclass(frozen=True)
class Leakage:
    """The result of ``probe_leakage``: what fresh probes read of one attribute from one table of embeddings.

    Attributes
    ----------
    table
        One row per probe: ``probe``, ``attribute``, ``classes`` (their names), ``left_out`` (classes with too few
        families), ``faces``, ``people``, ``families`` (the clusters), ``chance`` (1/K); ``balanced_accuracy`` and
        ``auc`` (mean one-vs-rest), each the mean over seeds with ``_low`` and ``_high``, the ends of its 95% interval;
        ``permuted``, the mean balanced accuracy with labels permuted over persons, and ``permuted_high``, which 95 of
        100 such probes stay below; ``leaks``, by ``finds_leakage``, missing without permutations; ``codelength`` in
        bits per face, ``codelength_uniform`` (log2 K) and ``compression``, their ratio; ``seeds``, ``folds``,
        ``resamples`` and ``seed``.
    resampled
        Probe to (resamples,), its balanced accuracy in each resample of clusters.
    permuted
        Probe to (permutations,), its balanced accuracy with each permutation of the labels.
    tested
        The faces that were tested, by their row: ``label``, ``cluster`` and ``person``.
    """

    table: pd.DataFrame
    resampled: dict[str, np.ndarray]
    permuted: dict[str, np.ndarray]
    tested: pd.DataFrame

    @property
    def worst(self) -> pd.Series:
        """What the best of all probes reads: what an attacker can do counts, not what one probe finds.

        The columns of ``table`` that are about balanced accuracy. The maximum of several probes is above chance even
        where there is nothing to find; so the interval is that of the maximum in each resample, and ``permuted_high``
        the bound of the maximum over probes that were fitted on the same permuted labels. ``leaks`` follows ``RULE``.
        """
        found = self.table.set_index("probe")["balanced_accuracy"]
        low, high = interval_around(np.asarray(found.max()), np.max([*self.resampled.values()], axis=0))
        permuted = _bound_permuted(np.max([*self.permuted.values()], axis=0))
        row = self.table.iloc[0][["attribute", "classes", "chance"]].to_dict() | {"probe": found.idxmax()}
        row |= {"balanced_accuracy": found.max(), "balanced_accuracy_low": low, "balanced_accuracy_high": high}
        row = pd.Series(row | permuted)
        return pd.concat([row, pd.Series({"leaks": finds_leakage(row)})])


def finds_leakage(found: tuple) -> bool | None:
    """Whether a probe, a row of ``Leakage.table``, finds leakage by ``RULE``; None without permutations.

    The interval takes into account that families share labels, which permuting persons undoes. The permuted labels
    show what such a probe reads from embeddings without the attribute.
    """
    if np.isnan(found.permuted_high):
        return None
    return bool(found.balanced_accuracy_low > found.chance and found.balanced_accuracy > found.permuted_high)


def probe_leakage(
    embedding: np.ndarray,
    labels: Sequence,
    clusters: Sequence,
    *,
    persons: Sequence | None = None,
    attribute: str = "label",
    kinds: Sequence[str] = PROBES,
    folds: int = 5,
    seeds: int = 3,
    seed: int = 0,
    resamples: int = 1000,
    permutations: int = 5,
    codelength: bool = True,
    labelled: int | None = None,
    rounds: int = ROUNDS,
) -> Leakage:
    """Fit fresh probes that predict an attribute from embeddings, and test them on clusters they never saw.

    Every face is tested once per seed, by probes fitted on the other folds of clusters. A seed changes the folds and
    where probes start.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    labels
        (N,), the attribute of each face; None or NaN where unknown. Such faces are left out, and so are classes with
        fewer clusters than ``FEWEST_FAMILIES`` or ``folds``.
    clusters
        (N,), the family of each face, or what else makes faces alike. Clusters are what is divided into folds and
        resampled.
    persons
        (N,), the person of each face. A person has one label and one cluster. The default takes the faces of one
        cluster with one label for one person. It matters for ``permuted`` alone.
    attribute
        Name of the attribute, for the table and for messages.
    kinds
        Of ``ATTACKERS``, which to fit; ``knn`` reads scores with faces of known class alone.
    folds, seeds
        In how many parts clusters are divided, and how often.
    seed, resamples
        First of the seeds, and number of bootstrap resamples of clusters, from which the 95% intervals come. The same
        clusters, resamples and seed give the same resamples, so that two models can be compared.
    permutations
        How often labels are permuted over persons; 0 leaves this out. With fewer permutations ``permuted_high`` is
        higher.
    codelength
        Whether it is measured.
    labelled
        Fit each probe on so many people alone, drawn evenly from the classes: what an attacker with few labels reads.
        Codelength is that of all people.
    rounds
        Length of the training of an MLP probe, in rounds of ten steps.

    Raises
    ------
    InputError
        A setting cannot be, the arrays do not fit each other, a person has two labels or clusters, a number is not
        finite, or fewer than two classes are left.

    Examples
    --------
    >>> import numpy as np, kinface
    >>> rng, family = np.random.default_rng(0), np.repeat(np.arange(40), 6)
    >>> race = np.where(family % 2 == 0, "Asian", "Caucasian")
    >>> embedding = rng.normal(size=(240, 8)) + 2 * (race == "Asian")[:, None]
    >>> leakage = kinface.probe_leakage(embedding, race, family, kinds=["linear"], attribute="race")
    >>> leakage.table[["attribute", "probe", "faces", "families", "chance", "leaks"]]
      attribute   probe  faces  families  chance  leaks
    0      race  linear    240        40     0.5   True
    """
    _check_settings(kinds, folds, seeds, labelled)
    faces = _describe_faces(embedding, labels, clusters, persons)
    tested, left_out = _choose_faces(faces, attribute, folds)
    features = _take_rows(embedding, tested.index)
    names, codes = np.unique(tested["label"].to_numpy(str), return_inverse=True)
    families = np.unique(tested["cluster"].to_numpy(str), return_inverse=True)[1]
    drawn = draw_families(families.max() + 1, resamples, seed)
    trials = [cross_validate(codes, families, folds, seed + n) for n in range(seeds)]
    coded = [code_online(codes, families, seed + n) for n in range(seeds if codelength else 0)]
    permuted = [_permute(codes, tested["person"], seed + n) for n in range(permutations)]
    unrelated = [cross_validate(it, families, folds, seed + n) for n, it in enumerate(permuted)]
    if labelled is not None:
        people = np.unique(tested["person"].to_numpy(str), return_inverse=True)[1]
        trials, unrelated = ([label_few(it, people, labelled) for it in some] for some in (trials, unrelated))
    answers = run_probes(features, [*trials, *coded, *unrelated], kinds, rounds)
    about = {
        "attribute": attribute,
        "classes": ", ".join(names),
        "left_out": left_out,
        "faces": len(tested),
        "people": tested["person"].nunique(),
        "families": len(drawn),
        "chance": 1 / len(names),
    }
    rows, resampled, of_permuted = [], {}, {}
    for probe in kinds:
        of_probe = iter([answer[probe] for answer in answers])
        figures, resampled[probe] = _judge(trials, list(islice(of_probe, seeds)), families, drawn)
        figures |= _judge_codes(coded, list(islice(of_probe, len(coded))), len(names))
        of_permuted[probe] = _measure_permuted(unrelated, list(of_probe), families)
        figures |= _bound_permuted(of_permuted[probe])
        rows.append({"probe": probe, **about, **figures})
    table = pd.DataFrame(rows).assign(seeds=seeds, folds=folds, resamples=resamples, seed=seed)
    leaks = [finds_leakage(row) for row in table.itertuples()]
    table.insert(table.columns.get_loc("codelength"), "leaks", pd.array(leaks, dtype="boolean"))
    return Leakage(table, resampled, of_permuted, tested)


def compare_leakage(ours: Leakage, other: Leakage) -> pd.DataFrame:
    """Compare what probes read from the embeddings of two models, on the same resamples of clusters.

    Returns
    -------
    pd.DataFrame
        One row per probe: ``probe``, ``attribute``, ``difference`` (ours - other, in balanced accuracy), ``low``
        and ``high``, the ends of its 95% interval.

    Raises
    ------
    InputError
        They were not measured on the same faces in the same way.
    """
    settings = ["probe", "attribute", "seeds", "folds", "resamples", "seed"]
    if not (ours.tested.equals(other.tested) and ours.table[settings].equals(other.table[settings])):
        raise InputError(
            "only leakage of the same faces, attribute, probes, seeds, folds and resamples can be compared."
        )
    found = ours.table["balanced_accuracy"] - other.table["balanced_accuracy"]
    drawn = np.column_stack([ours.resampled[probe] - other.resampled[probe] for probe in ours.table["probe"]])
    low, high = interval_around(found.to_numpy(), drawn)
    return ours.table[["probe", "attribute"]].assign(difference=found, low=low, high=high)


def average_people(embedding: np.ndarray, persons: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each person's faces, for an attacker who has all photos of a person.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    persons
        (N,), the person of each face.

    Returns
    -------
    tuple
        (people, D) means, and for each the row of the person's first face, by which labels and families are found.
    """
    _, first, codes = np.unique(np.asarray(persons, str), return_index=True, return_inverse=True)
    means = np.zeros((len(first), np.shape(embedding)[1]))
    np.add.at(means, codes, embedding)
    return means / np.bincount(codes)[:, None], first


def _check_settings(kinds: Sequence[str], folds: int, seeds: int, labelled: int | None) -> None:
    if not kinds or not set(kinds) <= set(ATTACKERS):
        raise InputError(f"kinds: {', '.join(kinds) or 'nothing'} given; probes are {', '.join(ATTACKERS)}.")
    if folds < 2 or seeds < 1:
        raise InputError(f"folds {folds}, seeds {seeds}: at least two folds and one seed are needed.")
    if labelled is not None and labelled < FEWEST_LABELLED:
        raise InputError(f"labelled {labelled}: a probe needs {FEWEST_LABELLED} people or more to be fitted on.")


def _describe_faces(
    embedding: np.ndarray, labels: Sequence, clusters: Sequence, persons: Sequence | None
) -> pd.DataFrame:
    """A row per face: ``label``, ``cluster`` and ``person``."""
    if np.ndim(embedding) != 2:
        raise InputError(f"embedding: its shape is {np.shape(embedding)}; it must be (N, D), a row per face.")
    given = {"labels": labels, "clusters": clusters} | ({} if persons is None else {"persons": persons})
    for name, values in given.items():
        if len(values) != len(embedding):
            raise InputError(f"{name}: {len(values)} values for {len(embedding)} rows of embedding; give one per row.")
    faces = pd.DataFrame({name[:-1]: pd.Series(values).array for name, values in given.items()})
    if persons is None:
        faces["person"] = faces.groupby(["cluster", "label"], dropna=False).ngroup()
    return faces


def _choose_faces(faces: pd.DataFrame, attribute: str, folds: int) -> tuple[pd.DataFrame, str]:
    """The faces of classes with enough clusters, by their row, and what was left out."""
    known = faces.dropna()
    for column, what in (("cluster", "cluster (family)"), ("label", attribute)):
        person = known.drop_duplicates(["person", column])["person"]
        changing = person[person.duplicated()]
        if len(changing):
            raise InputError(f"person {changing.iloc[0]!r} has more than one {what}; a person has one.")
    counts = known.groupby("label")["cluster"].nunique()
    fewest = max(FEWEST_FAMILIES, folds)
    lost = counts[counts < fewest]
    left_out = ", ".join(f"{name} ({count} {'families' if count > 1 else 'family'})" for name, count in lost.items())
    if len(counts) - len(lost) < 2:
        raise InputError(
            f"{attribute}: fewer than two classes have {fewest} families each, so there is nothing to tell apart "
            f"(left out: {left_out or 'none'}; {len(faces) - len(known)} faces without a value)."
        )
    return known[~known["label"].isin(lost.index)], left_out


def _take_rows(embedding: np.ndarray, rows: pd.Index) -> np.ndarray:
    taken = np.asarray(embedding)[rows].astype(np.float32)
    if not np.isfinite(taken).all():
        raise InputError(f"embedding: row {rows[np.argmin(np.isfinite(taken).all(axis=1))]} is not finite.")
    return taken


def _permute(labels: np.ndarray, person: pd.Series, seed: int) -> np.ndarray:
    """Labels after persons exchanged theirs at random: (N,), one for all faces of a person."""
    _, first, codes = np.unique(person.to_numpy(str), return_index=True, return_inverse=True)
    return np.random.default_rng(seed).permutation(labels[first])[codes]


def _judge(
    trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, drawn: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    """Balanced accuracy and AUC of one probe with their intervals, and the former in each resample."""
    everyone = np.ones((len(drawn), 1), dtype=np.float32)
    weights = np.hstack([everyone, drawn])
    wider = _widening(trials[0].labels, families)
    figures = {}
    for metric, measure in (("auc", _auc), ("balanced_accuracy", _recalls)):
        of_classes = measure(trials, answers, families, weights)
        values = _widen(of_classes, wider).mean(axis=0)
        low, high = interval_around(values[0], values[1:])
        figures = {metric: values[0], f"{metric}_low": low, f"{metric}_high": high} | figures
    return figures, values[1:]


def _recalls(
    trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Share of the faces of each class that are recognised, mean over trials: (K, weightings).

    Parameters
    ----------
    weights
        (families, weightings).
    """
    labels = trials[0].labels
    right = np.zeros(len(labels))
    for trial, answer in zip(trials, answers, strict=True):
        for (_, test), given in zip(trial.splits, answer, strict=True):
            right[test] += (given.argmax(axis=1) == labels[test]) / len(trials)
    found = _family_sums(labels, families, right) @ weights
    with np.errstate(invalid="ignore"):  # a resample without the class
        return found / (_family_sums(labels, families) @ weights)


def _auc(trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class against all others, mean over trials: (K, weightings).

    Pairs of a face of the class and another one count only if the same probe was tested on both: scores of different
    probes have no common scale.
    """
    labels = trials[0].labels
    found = np.zeros((labels.max() + 1, weights.shape[1]))
    for trial, answer in zip(trials, answers, strict=True):
        ordered, pairs = np.zeros_like(found), np.zeros_like(found)
        for (_, test), given in zip(trial.splits, answer, strict=True):
            weight = weights[families[test]]
            for number, score in enumerate(given.T):
                of_class = labels[test] == number
                count = np.prod([weight[rows].sum(axis=0, dtype=np.float64) for rows in (of_class, ~of_class)], axis=0)
                auc = weighted_metrics(score, of_class, weight, 0.5, {})["auc"]
                ordered[number] += np.where(count > 0, auc * count, 0)
                pairs[number] += count
        with np.errstate(invalid="ignore"):
            found += ordered / pairs / len(trials)
    return found


def _family_sums(labels: np.ndarray, families: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Sum of values, by default of ones, over the faces of each class and family: (K, families)."""
    sizes = labels.max() + 1, families.max() + 1
    return np.bincount(labels * sizes[1] + families, values, sizes[0] * sizes[1]).reshape(sizes)


def _widening(labels: np.ndarray, families: np.ndarray) -> np.ndarray:
    """(K,) how much wider a class's resamples must spread, because few families make it up.

    The bootstrap of n families has a variance n / (n - 1) too small, and the quantiles of a normal distribution where
    Student's with n - 1 degrees of freedom are due (Hesterberg, The American Statistician 69(4), 2015, section 3.2).
    n is the effective number of families, (sum of faces)^2 / sum of squared faces (Kish, Survey Sampling, 1965).
    """
    faces = _family_sums(labels, families)
    effective = faces.sum(axis=1) ** 2 / (faces**2).sum(axis=1)
    return np.sqrt(effective / (effective - 1)) * student.ppf(0.975, effective - 1) / norm.ppf(0.975)


def _widen(values: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Resamples (K, 1 + resamples) moved away from the first column, (K,) times as far, within 0 and 1."""
    return np.clip(values[:, :1] + factor[:, None] * (values - values[:, :1]), 0, 1)


def _judge_codes(coded: list[Trial], answers: list[list[np.ndarray]], classes: int) -> dict[str, float]:
    bits = np.mean([probes.codelength(*pair) for pair in zip(coded, answers, strict=True)]) if coded else np.nan
    return {"codelength": bits, "codelength_uniform": np.log2(classes), "compression": np.log2(classes) / bits}


def _measure_permuted(trials: list[Trial], answers: list[list[np.ndarray]], families: np.ndarray) -> np.ndarray:
    """(permutations,) balanced accuracy with each permutation of the labels."""
    everyone = np.ones((families.max() + 1, 1))
    pairs = zip(trials, answers, strict=True)
    return np.array([_recalls([trial], [answer], families, everyone).mean() for trial, answer in pairs])


def _bound_permuted(found: np.ndarray) -> dict[str, float]:
    """Mean balanced accuracy with permuted labels, and the bound that one more would stay below in 95 of 100 cases.

    It is the upper prediction bound of a normal sample of unknown variance, mean + t_{0.95, n-1} s sqrt(1 + 1/n) (Hahn
    & Meeker, Statistical Intervals, 1991, section 4.7), which is correct for few permutations too.
    """
    if len(found) < 2:
        return {"permuted": np.nan, "permuted_high": np.nan}
    count, mean = len(found), np.mean(found)
    reach = student.ppf(0.95, count - 1) * np.std(found, ddof=1) * np.sqrt(1 + 1 / count)
    return {"permuted": mean, "permuted_high": mean + reach}
