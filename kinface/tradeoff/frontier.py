"""The frontier of erasers: kinship kept against attributes left, for any attributes, measured on any embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize

from kinface.data.annotations import is_measurement
from kinface.data.families import Families
from kinface.data.matching import match_pairs
from kinface.data.pairs import score_pairs
from kinface.debias.erasers import ERASERS, erase
from kinface.fairness.bootstrap import Resamples
from kinface.fairness.intervals import MEASURED, Dyads, estimate, move
from kinface.leakage.leakage import probe_leakage
from kinface.leakage.probes import PROBES
from kinface.tradeoff.figure import plot_methods
from swinface.bootstrap import interval_around
from swinface.files import InputError

RULE = (
    "tradeoff is 2 AUC - 1 on the matched pairs, less the mean over attributes of (balanced accuracy - chance) / "
    "(1 - chance) of the best probe, 0 where it is below chance"
)

LISTS = ("standard", "matched")


@dataclass(frozen=True)
class Frontier:
    """The result of ``frontier``.

    Attributes
    ----------
    table
        One row per eraser, ``none`` first: ``method``; ``tradeoff``, by which methods are ranked (``RULE``);
        ``auc_standard`` and ``auc_matched``; and for each attribute A and probe P the balanced accuracy ``A_P``, and
        ``A_best``, the largest of them. Each of these has ``_low`` and ``_high``, the ends of its 95% interval over
        families, and ``_minus_none`` with its ends, the paired difference on the same resamples.
    about
        What the figures rest on: for each list its pairs, for each attribute its classes, faces and chance level.
    """

    table: pd.DataFrame
    about: dict = field(repr=False)

    def plot(self, show: Sequence[str] = ()) -> Figure:
        """Draw what each method keeps and leaves; ``show`` names methods that are told apart whatever their rank."""
        return plot_methods(self.table, self.about, show)


def frontier(
    embedding: np.ndarray,
    faces: Sequence[str],
    families: Families,
    pairs: pd.DataFrame,
    attributes: Sequence[str],
    *,
    erasers: Sequence[str] | Mapping[str, object] | None = None,
    match: Sequence[str] | None = None,
    probes: Sequence[str] = PROBES,
    seeds: int = 3,
    resamples: int = 1000,
    seed: int = 0,
) -> Frontier:
    """Fit erasers on the training people, and measure what they keep of kinship and leave of attributes on others.

    Kept is the AUC of kin pairs by the cosine; left is what fresh probes read (``probe_leakage``). Each training person
    counts the same. No network is trained, so it takes seconds to minutes.

    Parameters
    ----------
    embedding
        (N, D), a row per face.
    faces
        (N,), their names in the tables of ``families``.
    families
        Erasers are fitted on the faces of its split ``train``.
    pairs
        A pairs table, such as of ``sample_pairs``; what is left is measured on all embedded faces of its splits.
    attributes
        Columns of ``families.people``, which are all erased.
    erasers
        Names of ``ERASERS`` or class paths, or names of one's own to erasers. By default all that come with the
        package. ``none``, the embeddings as they are, is always there.
    match
        What the non-kin pairs of the matched list have in common with the kin pairs (``match_pairs``); by default the
        attributes and the type.
    probes
        As ``kinds`` of ``probe_leakage``.
    seeds
        How often folds of the probes are drawn.
    resamples
        Of families, for the intervals.
    seed
        Of the resamples and the matched list, and the first of those of the probes.

    Raises
    ------
    InputError
        An attribute, an eraser or something to match by is not known, an eraser fails, pairs are of training families,
        or a face has no embedding, or embeddings are no finite numbers.

    Examples
    --------
    >>> import kinface
    >>> families, images = kinface.make_families()
    >>> embedding = images[:, ::16, ::16].reshape(len(images), -1)  # what stands in for a model's
    >>> faces = [*families.faces["face"]]
    >>> pairs = kinface.sample_pairs(families, "val")
    >>> options = {"erasers": ["leace"], "probes": ["linear"], "match": ["type"], "resamples": 100}
    >>> kinface.frontier(embedding, faces, families, pairs, ["gender"], **options).table[["method"]]
      method
    0   none
    1  leace
    """
    made = _make(erasers)
    for name in attributes:
        if (
            name not in families.people
            or name in ("person", "family", "split")
            or is_measurement(families.people[name])
        ):
            known = [it for it in families.people if f"{it}_source" in families.people]
            known = [it for it in known if not is_measurement(families.people[it])]
            raise InputError(
                f"attribute {name!r}: there is no such attribute with classes; there are {', '.join(known)}."
            )
    if not attributes or len({*attributes}) < len(attributes):
        raise InputError("attributes: name each attribute once, such as race and gender.")
    about_faces = families.faces[["face", "person", "family", "split"]]
    about_faces = about_faces.merge(families.people[["person", *attributes]], on="person", how="left")
    described = about_faces.set_index("face").reindex(faces)
    embedding = np.asarray(embedding, np.float64)
    if embedding.ndim != 2 or len(embedding) != len(faces) or not np.isfinite(embedding).all():
        raise InputError(f"embedding is {embedding.shape}; it must be finite numbers, ({len(faces)}, D).")
    embedding = normalize(embedding)
    tested = {*pd.concat([pairs["face_a"], pairs["face_b"]])}
    splits = {*about_faces["split"][about_faces["face"].isin(tested)]}
    training, reported = (described["split"].isin(it).to_numpy() for it in ({"train"}, splits))
    if "train" in splits or not training.any():
        raise InputError(
            "erasers are fitted on families of train and measured on others; there must be pairs of others."
        )
    matched, _ = match_pairs(pairs, families, match or (*attributes, "type"), seed=seed)
    lists = dict(zip(LISTS, (pairs, matched), strict=True))
    draws = {name: (Dyads.of_pairs(it), Resamples(it, resamples, seed).deviate()) for name, it in lists.items()}
    people, labels = described[reported], described[[*attributes]]
    weight = 1 / described[training].groupby("person")["family"].transform("size").to_numpy()
    about, rows, reference = _describe(lists, training.sum()), [], None
    for name, eraser in made.items():
        moved = erase(
            eraser,
            (embedding[training], labels[training]),
            (embedding[reported], labels[reported]),
            sample_weight=weight,
            families=described["family"][training].to_numpy(),
            persons=described["person"][training].to_numpy(),
            name=name,
        )
        figures = {}
        for listed, table in lists.items():
            scored = score_pairs(table, [*people.index], moved)
            figures[f"auc_{listed}"] = _measure_auc(scored, *draws[listed])
        lefts = []
        for attribute in attributes:
            leakage = probe_leakage(
                moved,
                people[attribute],
                people["family"],
                persons=people["person"],
                attribute=attribute,
                kinds=probes,
                seeds=seeds,
                resamples=resamples,
                seed=seed,
                codelength=False,
                permutations=0,
            )
            found = leakage.table.set_index("probe")
            for probe in probes:
                figures[f"{attribute}_{probe}"] = found["balanced_accuracy"][probe], leakage.resampled[probe]
            best = found["balanced_accuracy"].max(), np.max([*leakage.resampled.values()], axis=0)
            figures[f"{attribute}_best"] = best
            about[attribute] = found[["classes", "faces", "people", "families", "chance"]].iloc[0].to_dict()
            chance = about[attribute]["chance"]
            lefts.append([np.maximum(it - chance, 0) / (1 - chance) for it in best])
        kept = figures["auc_matched"]
        tradeoff = tuple(2 * kept[n] - 1 - np.mean([left[n] for left in lefts], axis=0) for n in (0, 1))
        figures = {"tradeoff": tradeoff, **figures}
        reference = reference or figures
        row = {"method": name}
        for figure, (value, drawn) in figures.items():
            row |= _with_interval(figure, value, drawn)
        for figure, (value, drawn) in figures.items():
            of_none, drawn_of_none = reference[figure]
            row |= _with_interval(f"{figure}_minus_none", value - of_none, drawn - drawn_of_none)
        rows.append(row)
    return Frontier(pd.DataFrame(rows), about)


def _make(erasers: Sequence[str] | Mapping[str, object] | None) -> dict[str, object]:
    """Name to eraser, ``none`` first."""
    if not isinstance(erasers, Mapping):
        erasers = {name: ERASERS.create(name) for name in (ERASERS.names() if erasers is None else erasers)}
    return {"none": ERASERS.create("none")} | {**erasers}


def _describe(lists: dict[str, pd.DataFrame], training: int) -> dict:
    about: dict = {"training faces": int(training)}
    for name, table in lists.items():
        families = pd.concat([table["family_a"], table["family_b"]]).nunique()
        about[name] = {"pairs": len(table), "families": int(families), "list": table["list"].iloc[0]}
    return about


def _measure_auc(scored: pd.DataFrame, dyads: Dyads, deviations: np.ndarray) -> tuple[float, np.ndarray]:
    """The AUC of all pairs, and in each resample, whose families are those that the probes' resamples draw."""
    score, kin = scored["score"].to_numpy(), scored["kin"].to_numpy()
    found, auc = estimate(score, kin, np.zeros(len(kin), int), 1, 0.0, dyads, deviations), MEASURED.index("auc")
    return float(found.value[auc, 0]), move(found.value[auc], found.deviations[:, auc])[:, 0]


def _with_interval(name: str, value: float, drawn: np.ndarray) -> dict[str, float]:
    low, high = interval_around(np.asarray(value), drawn)
    return {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
