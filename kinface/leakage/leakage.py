"""How well attackers predict an attribute from embeddings, and whether this is better than chance.

Folds and intervals rest on clusters of faces, such as families, whose members look alike and share a race.
``joblib.parallel_config(n_jobs=...)`` around a call distributes the probes over processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from itertools import islice

import numpy as np
import pandas as pd

from kinface.data.arrays import as_array, check_row_order
from kinface.data.labels import encode_labels, name_labels
from kinface.data.pairs import drop_marks
from kinface.data.tables import as_pandas, list_names
from kinface.fairness.bootstrap import draw_families
from kinface.leakage.attackers import create_attacker
from kinface.leakage.bounds import bound_attackers
from kinface.leakage.faces import choose_more, choose_tested, divide_splits, list_faces, take_rows
from kinface.leakage.judging import bound_permuted, measure_codes, measure_permuted, measure_probe
from kinface.leakage.probes import PROBES, code_online, cross_validate, label_few, run_probes
from swinface.bootstrap import check_draws, interval_around
from swinface.files import InputError

RULE = (
    "A probe finds leakage if two conditions hold: chance is outside its 95% interval, and its balanced accuracy is "
    "outside the range of 95 of 100 probes with labels permuted over persons. A value far below chance is leakage too: "
    "what some families show is reversed in others, as after erasure fitted on these same faces."
)
FEWEST_LABELLED = 4  # people


@dataclass(frozen=True)
class Leakage:
    """The result of ``probe_leakage``: how well probes predict one attribute from one table of embeddings.

    Attributes
    ----------
    table
        One row per probe: ``probe``, ``attribute``, ``classes`` (their names), ``left_out`` (classes with too few
        families), ``faces``, ``more`` (further faces that probes were fitted on), ``unknown`` (faces left out, without
        a label or a cluster), ``people`` (missing where the persons of the faces are not given), ``families`` (the
        clusters), ``chance`` (1/K); ``balanced_accuracy`` and ``auc`` (mean one-vs-rest), each the mean over seeds with
        ``_low`` and ``_high``, the ends of its 95% interval; ``permuted``, the mean balanced accuracy with labels
        permuted over persons, and ``permuted_low`` and ``permuted_high``, between which 95 of 100 such probes lie;
        ``leaks``, by ``finds_leakage``, above or below chance, missing where too few permutations say it;
        ``codelength`` in bits per face, ``codelength_uniform`` (log2 K) and ``compression``, their ratio; ``seeds``,
        ``folds``, ``resamples`` and ``seed``.
    resampled
        Probe to (resamples,), its balanced accuracy in each resample of clusters.
    permuted
        Probe to (permutations,), its balanced accuracy with each permutation of the labels.
    tested
        The faces that were tested, by their row of the embedding: ``label``, ``cluster`` and ``person``.
    """

    table: pd.DataFrame
    resampled: dict[str, np.ndarray]
    permuted: dict[str, np.ndarray]
    tested: pd.DataFrame

    @property
    def worst(self) -> pd.Series:
        """The result of the best of all probes, as an attacker would choose it.

        The columns of ``table`` that are about balanced accuracy. The maximum of several probes is above chance even
        where there is nothing to find; so the interval is that of the maximum in each resample, and ``permuted_low``
        and ``permuted_high`` are the bounds of the maximum over probes that were fitted on the same permuted labels.
        ``leaks`` follows ``RULE``.
        """
        found = self.table.set_index("probe")["balanced_accuracy"]
        low, high = interval_around(np.asarray(found.max()), np.max([*self.resampled.values()], axis=0))
        permuted = bound_permuted(np.max([*self.permuted.values()], axis=0))
        row = self.table.iloc[0][["attribute", "classes", "chance"]].to_dict() | {"probe": found.idxmax()}
        row |= {"balanced_accuracy": found.max(), "balanced_accuracy_low": low, "balanced_accuracy_high": high}
        row = pd.Series(row | permuted)
        row["leaks"] = finds_leakage(row)
        return row

    def bound(self, cells: Sequence) -> pd.Series:
        """Upper bound for attackers who see each face as one of a few cells (``bounds.bound_attackers``).

        They are (N,), of each face that was given to ``probe``, such as the nearest of some centroids of other people.
        """
        tested, settings = self.tested, self.table.iloc[0]
        cells, resamples, seed = as_array(cells)[tested.index], int(settings["resamples"]), int(settings["seed"])
        return bound_attackers(cells, tested["label"], tested["cluster"], resamples=resamples, seed=seed)


def finds_leakage(found: tuple) -> bool | None:
    """Whether a probe, a row of ``Leakage.table``, finds leakage by ``RULE``; None without permutations, or with so few
    that their bounds let every accuracy through.

    The interval takes into account that families share labels, which permuting persons undoes. The permuted labels
    show what such a probe reads from embeddings without the attribute.
    """
    if not found.permuted_high < 1:
        return None
    above = found.balanced_accuracy_low > found.chance and found.balanced_accuracy > found.permuted_high
    below = found.balanced_accuracy_high < found.chance and found.balanced_accuracy < found.permuted_low
    return bool(above or below)


def probe_leakage(
    embedding: np.ndarray,
    labels: Sequence,
    clusters: Sequence,
    *,
    persons: Sequence | None = None,
    tested: Sequence[bool] | None = None,
    attribute: str = "label",
    kinds: Sequence[str] = PROBES,
    folds: int = 5,
    seeds: int = 3,
    seed: int = 0,
    resamples: int = 1000,
    permutations: int = 20,
    codelength: bool = True,
    labelled: int | None = None,
) -> Leakage:
    """Fit probes that predict an attribute from embeddings, and test them on other clusters.

    Every face is tested once per seed, by probes fitted on the other folds of clusters. A seed changes the folds and
    where probes start.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    labels
        (N,), the attribute of each face, in any container (``kinface.data.labels``); None, NaN or a negative number
        where unknown. Such faces are left out, and so are classes with fewer clusters than ``FEWEST_FAMILIES`` or
        ``folds``.
    clusters
        (N,), the family of each face, or what else makes faces alike. Clusters are what is divided into folds and
        resampled; faces of an unknown cluster are left out.
    persons
        (N,), the person of each face. A person has one label and one cluster. The default takes the faces of one
        cluster with one label for one person. It matters for ``permuted`` alone.
    tested
        (N,) bool, by default all: the faces that are tested. Every probe is fitted on all others too, as by an attacker
        who has faces of further families. They are of other clusters than those tested, and no part of codelength.
    attribute
        Name of the attribute, for the table and for messages.
    kinds
        Which attackers to fit: ``linear``, ``mlp``, ``kernel``, ``trees``, ``qda``, or ``knn``, which uses only scores
        with faces of known class; or ``package.module.Class`` of any scikit-learn or custom classifier. All
        classes weigh the same: ``fit`` is given ``sample_weight``, or an even draw of faces if it takes none.
    folds, seeds
        In how many parts clusters are divided, and how often.
    seed, resamples
        First of the seeds, and number of bootstrap resamples of clusters, from which the 95% intervals come. The same
        clusters, resamples and seed give the same resamples, so that two models can be compared.
    permutations
        How often labels are permuted over persons; 0 leaves this out. With fewer permutations the bounds are wider.
    codelength
        Whether it is measured.
    labelled
        Fit each probe on this many people alone, drawn evenly from the classes, as an attacker with few labels would.
        Codelength is that of all people.

    Raises
    ------
    InputError
        A setting cannot be, there is no such attacker or it fails, the arrays do not fit each other, a person has two
        labels or clusters, embeddings are not finite numbers, or fewer than two classes are left.
    """
    check_draws(seed, resamples)
    kinds = list_names(kinds)
    _check_settings(kinds, folds, seeds, labelled)
    embedding = as_array(embedding)
    faces = list_faces(embedding, labels, clusters, persons)
    asked = np.ones(len(faces), bool) if tested is None else as_array(tested).astype(bool)
    tested, left_out = choose_tested(faces[asked], attribute, folds)
    more = choose_more(faces[~asked], tested)
    if labelled is not None and len(more):
        raise InputError("labelled: probes are then fitted on tested people only; do not fit on others too.")
    features = take_rows(embedding, tested.index.append(more.index))
    codes, names = encode_labels(pd.concat([tested["label"], more["label"]]))
    codes, further = codes[: len(tested)], codes[len(tested) :]
    families = np.unique(tested["cluster"].to_numpy(str), return_inverse=True)[1]
    drawn = draw_families(families.max() + 1, resamples, seed)
    trials = [cross_validate(codes, families, folds, seed + n, further) for n in range(seeds)]
    coded = [code_online(codes, families, seed + n) for n in range(seeds if codelength else 0)]
    people, of_more = (np.unique(it["person"].to_numpy(str), return_inverse=True)[1] for it in (tested, more))
    unrelated = []
    for n in range(permutations):
        rng = np.random.default_rng(seed + n)
        permuted = [_permute(*it, rng) for it in ((codes, people), (further, of_more))]
        unrelated.append(cross_validate(permuted[0], families, folds, seed + n, permuted[1]))
    if labelled is not None:
        trials, unrelated = ([label_few(it, people, labelled) for it in some] for some in (trials, unrelated))
    answers = run_probes(features, [*trials, *coded, *unrelated], kinds)
    about = {
        "attribute": attribute,
        "classes": ", ".join(names),
        "left_out": left_out,
        "faces": len(tested),
        "more": len(more),
        "unknown": int(faces[asked].isna().any(axis=1).sum()),
        "people": pd.NA if persons is None else tested["person"].nunique(),
        "families": len(drawn),
        "chance": 1 / len(names),
    }
    rows, resampled, of_permuted = [], {}, {}
    for probe in kinds:
        of_probe = iter([answer[probe] for answer in answers])
        figures, resampled[probe] = measure_probe(trials, list(islice(of_probe, seeds)), families, drawn)
        figures |= measure_codes(coded, list(islice(of_probe, len(coded))), len(names))
        of_permuted[probe] = measure_permuted(unrelated, list(of_probe), families)
        figures |= bound_permuted(of_permuted[probe])
        rows.append({"probe": probe, **about, **figures})
    table = pd.DataFrame(rows).assign(seeds=seeds, folds=folds, resamples=resamples, seed=seed)
    table["people"] = table["people"].astype("Int64")
    leaks = [finds_leakage(row) for row in table.itertuples()]
    table.insert(table.columns.get_loc("codelength"), "leaks", pd.array(leaks, dtype="boolean"))
    return Leakage(table, resampled, of_permuted, tested)


def probe(
    embedding: np.ndarray,
    people: pd.DataFrame,
    attribute: str,
    *,
    split: str | None = None,
    fit_on: str | Sequence[str] = (),
    **options: object,
) -> Leakage:
    """Fit probes that predict an attribute from embeddings, and test them on other families.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    people
        A row per face, in the same order, such as ``families.describe(faces)``: ``family``, the attribute, missing
        where unknown, and ``person`` if it is known.
    attribute
        Name of the column of the attribute.
    split
        Test the faces of this split alone, such as ``val``; by default of all splits that are not fitted on.
    fit_on
        Splits whose faces every probe is also fitted on, beside the other folds of those tested, such as ``["train",
        "tune"]``. An attacker fitted on more families is stronger; anyone with the data has these.
    options
        Those of ``probe_leakage``: ``kinds`` of attackers, ``seeds``, ``labelled`` and so on.

    Returns
    -------
    Leakage
        ``table`` has a row per probe, ``worst`` the best of them; ``bound()`` is for faces that are seen as cells.

    Raises
    ------
    InputError
        The table lacks a column, has not one row per face, or has no face of the split; or as of ``probe_leakage``.

    Examples
    --------
    >>> import numpy as np, pandas as pd, kinface
    >>> rng, family = np.random.default_rng(0), np.repeat(np.arange(40), 6)
    >>> people = pd.DataFrame({"family": family, "race": np.where(family % 2 == 0, "Asian", "Caucasian")})
    >>> embedding = rng.normal(size=(240, 8)) + 2 * (people["race"] == "Asian").to_numpy()[:, None]
    >>> leakage = kinface.probe(embedding, people, "race", kinds=["linear"])
    >>> leakage.table[["attribute", "probe", "faces", "families", "chance", "leaks"]]
      attribute   probe  faces  families  chance  leaks
    0      race  linear    240        40     0.5   True
    """
    people = as_pandas(people)
    if not isinstance(people, pd.DataFrame):
        given = repr(people) if isinstance(people, str) else f"a {type(people).__name__}"
        raise InputError(f"people: {given} is not a table; it has a row per face, such as Dataset.describe gives.")
    if not isinstance(attribute, str):
        raise InputError(f"attribute: one name, such as 'race'; got {attribute!r}.")
    taken = [it for it in [*signature(probe_leakage).parameters][3:] if it not in ("persons", "attribute", "tested")]
    for name in options.keys() - {*taken}:
        raise InputError(f"probe: no option {name!r}; the options are {', '.join(taken)}.")
    fit_on = list_names(fit_on)
    for column in ("family", attribute, *([] if split is None and not fit_on else ["split"])):
        if column not in people:
            raise InputError(f"people: no column {column!r}; it has {', '.join(map(str, people))}.")
    twice = people["face"][people["face"].duplicated() & people["face"].notna()] if "face" in people else ()
    if len(twice):
        raise InputError(f"people: face {twice.iloc[0]} is listed twice, so it would count more; keep one row of it.")
    check_row_order(embedding, people.get("face", people.index), "people")
    embedding = as_array(embedding)
    if embedding.shape[:1] != (len(people),):
        raise InputError(f"people: {len(people)} rows for an embedding of {embedding.shape}; give a row per face.")
    fitted, tested = divide_splits(people, split, fit_on)
    rows = np.flatnonzero(fitted | tested)
    people = people.iloc[rows]
    known = {"persons": people.get("person"), "attribute": attribute, "tested": tested[rows]}
    labels = drop_marks(name_labels(people[attribute], attribute).to_frame(attribute), "people")[attribute]
    found = probe_leakage(embedding[rows], labels, people["family"], **known, **options)
    return replace(found, tested=found.tested.set_axis(rows[found.tested.index]))


def compare_leakage(ours: Leakage, other: Leakage) -> pd.DataFrame:
    """Compare the balanced accuracy of probes on the embeddings of two models, on the same resamples of clusters.

    Gives a row per probe: ``probe``, ``attribute``, ``difference`` (ours - other, in balanced accuracy), ``low`` and
    ``high``, the ends of its 95% interval. Raises ``InputError`` if they were not measured on the same faces in the
    same way.
    """
    settings = ["probe", "attribute", "more", "seeds", "folds", "resamples", "seed"]
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

    From (N, D) embeddings and the (N,) persons of their faces to (people, D) means, and for each the row of the
    person's first face, by which labels and families are found. Raises ``InputError`` if a person is unknown.
    """
    names = name_labels(persons, "persons")
    if names.isna().any():
        raise InputError(f"persons: row {int(names.isna().argmax())} is unknown; name the person of each face.")
    _, first, codes = np.unique(names.to_numpy(str), return_index=True, return_inverse=True)
    embedding = as_array(embedding)
    means = np.zeros((len(first), embedding.shape[1]))
    np.add.at(means, codes, embedding)
    return means / np.bincount(codes)[:, None], first


def _check_settings(kinds: Sequence[str], folds: int, seeds: int, labelled: int | None) -> None:
    if not kinds or len(set(kinds)) < len(kinds):
        raise InputError(f"kinds: {', '.join(kinds) or 'nothing'} given; name each attacker once.")
    for kind in kinds:
        create_attacker(kind, seed=0)
    if not all(isinstance(number, int | np.integer) for number in (folds, seeds)) or folds < 2 or seeds < 1:
        raise InputError(
            f"folds {folds!r}, seeds {seeds!r}: at least two folds and one seed are needed, in whole numbers."
        )
    if labelled is not None and labelled < FEWEST_LABELLED:
        raise InputError(f"labelled {labelled}: a probe needs {FEWEST_LABELLED} people or more to be fitted on.")


def _permute(codes: np.ndarray, people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Classes of faces, (N,), dealt out anew among their people, whole numbers from 0."""
    _, first = np.unique(people, return_index=True)
    return rng.permutation(codes[first])[people]
