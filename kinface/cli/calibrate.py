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
    """Make scores fairer without group labels, by clusters of faces that are fitted on validation pairs.

    ``out`` then holds ``scores.parquet``, and ``validation.parquet``, where each pair is calibrated on other families.
    ``kinface report OUT/scores.parquet --threshold-from OUT/validation.parquet --compare SCORES ...`` shows the effect.

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
        ``faircal``: each cluster has a map from scores to probabilities (FairCal). ``normalize``: scores are shifted by
        the thresholds of the clusters (fair score normalization). Or the class path of one of your own, such as
        mine.Calibration of a file mine.py in the working folder.
    clusters
        Number of clusters of the faces of the validation pairs; 10 by default.
    fmr
        False match rate of the clusters' thresholds, for ``normalize``; 0.1 by default.
    folds
        Number of parts of the families; the validation pairs of each part are calibrated on the other parts.
    seed
        Seed of the clusters; 0 by default.
    """
    from kinface.fairness.calibration import calibrate as calibrate_pairs
    from kinface.fairness.calibration import check_apart

    check_kept(out, ("scores.parquet", "validation.parquet"), scores, validation)
    pairs, others = (read_pairs(path, scored=True) for path in (scores, validation))
    with naming(validation):
        check_apart(others, pairs)
    if root is None and source.embeddings is None and source.inputs is None:
        raise InputError("give --root, the folder that paths of faces start from, or --embeddings to cluster by.")
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
        print(f"{len(result):,} pairs calibrated on {len(others):,} validation pairs: {out}")
    shards.finish()
