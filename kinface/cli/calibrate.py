"""``kinface calibrate``."""

from __future__ import annotations

from pathlib import Path

from kinface.cli.inputs import HERE, OURS, Computing, Source, check_kept, embed_all
from kinface.data.pairs import read_pairs, write_pairs
from swinface.files import InputError, naming, replacing_folder


def calibrate(
    scores: Path,
    *,
    validation: Path,
    out: Path,
    root: Path | None = None,
    source: Source = OURS,
    method: str = "faircal",
    clusters: int | None = None,
    fmr: float | None = None,
    folds: int = 5,
    seed: int | None = None,
    computing: Computing = HERE,
) -> None:
    """Make scores fairer without labels of groups: by clusters of faces, fitted on validation pairs.

    ``out`` then holds ``scores.parquet`` and ``validation.parquet``, each validation pair calibrated by other families.
    ``kinface report OUT/scores.parquet --threshold-from OUT/validation.parquet --compare SCORES ...`` shows what it
    bought.

    Parameters
    ----------
    scores
        Scored pairs table (.parquet or .csv), cosines or probabilities.
    validation
        Pairs of other families, scored by the same model, such as the tune_scores.parquet of its run.
    out
        Folder to write to.
    root
        The folder that paths of faces start from, for a model that sees images.
    method
        ``faircal``: scores become probabilities by maps of the clusters (FairCal). ``normalize``: scores are shifted by
        thresholds of the clusters (fair score normalization). Or the class path of one of your own, such as
        mine.Calibration of a file mine.py in the working folder.
    clusters
        Clusters of the faces of the validation pairs; 10 if left out.
    fmr
        False match rate of the clusters' thresholds, for ``normalize``; 0.1 if left out.
    folds
        Parts of the families that validation pairs are calibrated in.
    seed
        Seed of the clusters; 0 if left out.
    """
    from kinface.fairness.calibration import calibrate as calibrate_pairs
    from kinface.fairness.calibration import check_apart

    check_kept(out, ("scores.parquet", "validation.parquet"), scores, validation)
    pairs, others = (read_pairs(path, scored=True) for path in (scores, validation))
    with naming(validation):
        check_apart(others, pairs)
    if root is None and source.embeddings is None and source.inputs is None:
        raise InputError("name the folder that paths of faces start from, --root, or --embeddings to cluster by.")
    faces = sorted({face for table in (pairs, others) for side in ("face_a", "face_b") for face in table[side]})
    _, embedding, shards = embed_all(faces, root=root or Path(), out=out, source=source, computing=computing)
    if shards.first:
        given = {"clusters": clusters, "fmr": fmr, "seed": seed}
        options = {name: value for name, value in given.items() if value is not None}
        calibrated, result = calibrate_pairs(
            others, pairs, faces, embedding, method=method, options=options, folds=folds
        )
        with replacing_folder(out) as folder:
            write_pairs(result, folder / "scores.parquet")
            write_pairs(calibrated, folder / "validation.parquet")
        print(f"{len(result):,} pairs calibrated by {len(others):,} validation pairs: {out}")
    shards.finish()
