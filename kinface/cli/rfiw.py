"""``kinface rfiw``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from kinface.cli.inputs import HERE, OURS, Computing, Source, check_kept, embed_all
from kinface.data.fiw import read_known_families
from kinface.data.lists import names_split
from kinface.data.pairs import families_known, write_pairs
from kinface.data.photos import list_people
from kinface.data.ranking import Fusion
from kinface.data.scoring import list_faces
from kinface.data.search import Search
from kinface.data.tables import write_intervals
from swinface.files import InputError, printable, replacing_folder, write_json

if TYPE_CHECKING:
    from kinface.fairness.audit import FairnessAudit
    from kinface.fairness.retrieval import SearchAudit
    from kinface.models.kinface import KinFace
    from kinface.models.triplets import TripletHead

PRINTED = ("overall", "type", "triplet", "race")  # groupings; the others are in figures.csv
OF_SEARCH = ("queries.csv", "matched.csv")  # written for Track 3 alone, where families are known


def rfiw(
    *,
    track: Literal[1, 2, 3],
    root: Path,
    list: Path,
    out: Path,
    gallery: Path | None = None,
    source: Source = OURS,
    head: Path | None = None,
    threshold_from: Path | None = None,
    people: bool = False,
    fusion: Fusion = "mean",
    match: tuple[str, ...] = (),
    swap_grandparents: bool = False,
    seed: int = 0,
    computing: Computing = HERE,
) -> None:
    """Run a track of the RFIW challenge: verify pairs (1) or triplets of parents and child (2), or search (3).

    ``out`` then holds ``scores.parquet`` (Track 3: ``scores.npz``), ``predictions.csv``, and ``figures.csv`` with 95%
    intervals over families, overall and by group; for Track 3 also ``queries.csv`` and ``matched.csv``. ``kinface
    report`` makes a page of the scores of Tracks 1 and 2.

    Parameters
    ----------
    track
        1: a list ``index path path type kin``. 2: ``father mother child FMD|FMS kin``. 3: ``index folder``, with the
        photos of one person, and a gallery.
    root
        The folder that the list's paths start from: a FIW folder, the one that ``kinface prepare`` made of it, or any
        other.
    list
        The list; or the name of a split of FIW, such as val, to draw pairs, triplets or queries from.
    out
        Folder to write to.
    gallery
        The gallery of Track 3, ``index path``.
    head
        Folder of a head for triplets, of ``kinface triplets``. By default a triplet's score is the mean of two cosines.
    threshold_from
        A validation list of the same track, which the threshold is chosen on. By default it is the head's or the
        model's own, chosen on the validation pairs of its training; embeddings have none.
    people
        Score each pair of people (Track 2: father, mother and child) of the list once, by the mean cosine of all their
        photos; two faces from one photograph are not compared. In Track 3, a query always has all its photos.
    fusion
        How the photos of a query are combined: ``mean`` of their cosines; ``max``, the largest cosine; ``agreement``, a
        mean in which photos unlike the others have less weight.
    match
        What the child of a non-kin triplet, drawn from a split, has in common with that of the kin triplet besides
        gender: race.
    swap_grandparents
        The list names grandparents as FIW's official lists do, which swap their genders.
    seed
        Seed of what is drawn from a split, and of the galleries of Track 3 that are matched in race.
    """
    from kinface.experiments.rfiw import search_list, verify_list
    from kinface.fairness.audit import Origin
    from kinface.report.checks import check_validation

    from_split = names_split(list)
    if track == 3 and (gallery is None) != from_split:
        raise InputError("Track 3 needs --list and --gallery, or --list val (or another split) alone.")
    for option, given, wanted in (
        ("--gallery", gallery is not None, 3),
        ("--head", head is not None, 2),
        ("--match", bool(match), 2),
        ("--fusion", fusion != "mean", 3),
        ("--swap-grandparents", swap_grandparents, 1),
    ):
        if given and track != wanted:
            raise InputError(f"{option} is for Track {wanted}.")
    if match and not from_split:
        raise InputError("--match is for triplets that are drawn from a split; a list has its own.")
    if people and (track == 3 or head is not None):
        raise InputError("--people is for Tracks 1 and 2 without a --head, which reads single photos: drop --people.")
    if threshold_from is not None and track == 3:
        raise InputError("a search has no threshold: drop --threshold-from.")
    check_kept(out, ("scores.parquet",), list, threshold_from)
    families = read_known_families(root)
    where = {"root": families.root, "out": out, "source": source, "computing": computing}

    def read(path: Path) -> pd.DataFrame:
        if track == 1:
            swap = swap_grandparents and (path == list or path.is_file())  # a prepared list may choose the threshold
            return families.pairs(path, swap_grandparents=swap, people=people, seed=seed)
        triplets = families.triplets(path, match=match, seed=seed)
        return list_people(triplets) if people else triplets

    if track == 3:
        search = families.search(list, gallery, seed=seed)
        _, embedding, shards = embed_all(search.faces, **where)
        if shards.first:
            found = search_list(search, search.faces, embedding, fusion=fusion, seed=seed)
            _write_search(search, *found, out)
            _print_search(search, *found, out)
    else:
        pairs, validation = read(list), None if threshold_from is None else read(threshold_from)
        check_validation(pairs, Origin(str(list), validation, str(threshold_from)))
        of_three = None
        if head is not None:
            from kinface.models.triplets import TripletHead  # torch takes seconds to import

            of_three = TripletHead.from_pretrained(head)
        photos = families.faces if people else None
        lists = (pairs,) if validation is None else (pairs, validation)
        faces = sorted({face for listed in lists for face in list_faces(listed, photos)})
        source.warn_of_trained(*lists, faces=families.faces)
        network, embedding, shards = embed_all(faces, **where)
        if shards.first:
            threshold, origin = validation, "Youden's J on the validation list"
            if validation is None:
                threshold, origin = _own_threshold(network, of_three, track == 2, people)
            audit = verify_list(pairs, threshold, faces, embedding, head=of_three, photos=photos, seed=seed)
            _write_audit(audit, origin, out)
            _print_audit(audit, origin, out)
    shards.finish()


def _own_threshold(
    network: KinFace | None, head: TripletHead | None, of_three: bool, of_people: bool
) -> tuple[float, str]:
    if head is not None:
        return float(head.threshold), "Youden's J on the tune triplets of the head's training"
    if network is None or not np.isfinite(float(network.threshold)):
        raise InputError("there is no threshold: add --threshold-from, a validation list of the same track.")
    pairs = "Youden's J on the validation pairs of the model's training"
    other = " on triplets" * of_three + " by all photos of people" * of_people
    return float(network.threshold), f"{pairs}, not{other}" if other else pairs


def _name_units(pairs: pd.DataFrame) -> str:
    known = families_known(pairs)
    if known.all():
        return "families"
    alone = "pairs, as families are unknown: intervals are too narrow"
    return "families, and pairs of unknown family" if known.any() else alone


def _write_audit(audit: FairnessAudit, origin: str, out: Path) -> None:
    pairs, threshold = audit.pairs, audit.threshold
    record = {
        "threshold": threshold,
        "threshold_from": origin,
        "intervals_over": _name_units(pairs),
        "seed": audit.seed,
    }
    accepted = (pairs["score"] >= threshold).astype(int)
    with replacing_folder(out, owned=OF_SEARCH) as folder:
        write_pairs(pairs, folder / "scores.parquet")
        predictions = pd.DataFrame({"index": range(len(pairs)), "kin": accepted, "score": pairs["score"]})
        predictions.to_csv(folder / "predictions.csv", index=False)
        audit.groups.to_csv(folder / "figures.csv", index=False)
        write_json(folder / "how.json", record)


def _print_audit(audit: FairnessAudit, origin: str, out: Path) -> None:
    print(f"threshold {audit.threshold:.4f}: {origin}; intervals are over {_name_units(audit.pairs)}")
    groups = audit.groups[audit.groups["grouping"].isin(PRINTED)]
    shown = {"n": groups["pairs"].map("{:,}".format).array}
    shown |= {"accuracy": write_intervals(groups, "accuracy", "{:.1%}"), "AUC": write_intervals(groups, "auc")}
    print(pd.DataFrame(shown, _name_groups(groups)).to_string())
    _print_unlabelled(audit.without_group.filter(items=PRINTED), len(audit.pairs), "pairs")
    print(f"wrote {out}")


def _name_groups(groups: pd.DataFrame) -> list[str]:
    rows = groups[["grouping", "group"]].itertuples(index=False)
    return [printable(group if grouping == "overall" else f"{grouping} {group}") for grouping, group in rows]


def _print_unlabelled(counts: pd.Series, total: int, what: str) -> None:
    for grouping, count in counts[counts > 0].items():
        print(f"{grouping}: {count:,} of {total:,} {what} have no label and are in no group")


def _write_search(search: Search, scores: np.ndarray, audit: SearchAudit | None, out: Path) -> None:
    with replacing_folder(out, owned=("figures.csv", "how.json", *OF_SEARCH)) as folder:
        np.savez(folder / "scores.npz", scores=scores, gallery=search.gallery["face"].to_numpy(str))
        np.savetxt(folder / "predictions.csv", np.argsort(-scores, axis=1, kind="stable"), fmt="%d", delimiter=",")
        if audit is not None:
            audit.groups.to_csv(folder / "figures.csv", index=False)
            audit.queries.to_csv(folder / "queries.csv", index=False)
            audit.matched.to_csv(folder / "matched.csv", index=False)


def _print_search(search: Search, scores: np.ndarray, audit: SearchAudit | None, out: Path) -> None:
    print(f"{len(scores)} queries, {len(search.queries):,} photos, {scores.shape[1]:,} faces in the gallery")
    if audit is None:
        print("families are unknown, so nothing can be measured: predictions.csv has each query's faces, nearest first")
    else:
        _print_search_audit(audit)
    print(f"wrote {out}")


def _print_search_audit(audit: SearchAudit) -> None:
    from kinface.fairness.retrieval import METRICS

    if audit.unknown:
        print(f"{audit.unknown} queries have no known relative in the gallery and are left out")
    groups, titles = audit.groups, ("mAP", "rank@1", "rank@5")
    shown = {"queries": groups["queries"].array}
    shown |= {title: write_intervals(groups, metric) for title, metric in zip(titles, METRICS, strict=True)}
    shown["mAP by chance"] = groups["chance_map"].map("{:.3f}".format).array
    print(pd.DataFrame(shown, _name_groups(groups)).to_string())
    changes = write_intervals(audit.matched, "difference", "{:+.3f}")
    for row, change in zip(audit.matched.to_dict("records"), changes, strict=True):
        print(
            f"race {printable(row['race'])}: mAP {row['map_random']:.3f} among {row['distractors']} faces of other "
            f"families, {row['map_matched']:.3f} if they are of the query's race: {change}"
        )
    _print_unlabelled(audit.queries[["race", "gender"]].isna().sum(), len(audit.queries), "queries")
    print("intervals are over the queries' families; the gallery is fixed")
