"""``kinface verify``."""

from __future__ import annotations

import json as json_format
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from swinface.choices import SHIPPED, Runtime
from swinface.files import InputError, expand_home, naming

if TYPE_CHECKING:
    from kinface.models.verify import Photos


def verify(
    a: Path,
    b: Path,
    child: Path | None = None,
    *,
    model: Path = SHIPPED,
    threshold_from: Path | None = None,
    fmr: float | None = None,
    aligned: bool = False,
    runtime: Runtime = "auto",
    json: bool = False,
) -> None:
    """Compare the faces of two people, or of father, mother and child, and decide whether they are kin.

    Give a photo of each person, several with commas between them (m1.jpg,m2.jpg), or a folder of photos. The largest
    face of each photo counts. The score is the mean cosine over all photos of two people, without pairs of photos that
    are the same picture; of three people it is the mean of father with child and mother with child.

    Parameters
    ----------
    a
        The first person; the father if there is a child.
    b
        The second person; the mother if there is a child.
    child
        Their child, if three people are to be compared.
    model
        Folder of a trained model; by default the one that comes with the package.
    threshold_from
        Validation pairs scored by this model, such as the tune_scores.parquet of its run, or of people as ``kinface
        score --people`` writes them. The threshold is the score with the largest TPR - FMR on them; by default it is
        the model's own, for one photo of each person.
    fmr
        Choose the threshold so that at most this share of the non-kin validation pairs is called kin.
    aligned
        The images are already faces, square and aligned to ArcFace's five points.
    runtime
        What the trunk runs on. ``auto``: OpenVINO on a CPU where the extra ``fast`` is installed and there are 256
        photos or more, if its results agree with those of torch; else torch.
    json
        Print one JSON object in place of text.
    """
    if fmr is not None and threshold_from is None:
        raise InputError("--fmr is a share of validation pairs: add --threshold-from.")
    from kinface.models.kinface import load_model
    from kinface.models.verify import check_verifier, measure_errors, read_errors
    from kinface.models.verify import verify as compare_photos

    network = load_model(model)
    with naming(model):
        check_verifier(network)
    threshold, errors = None, read_errors(model, triplets=child is not None)
    kind, chosen_on = "pairs", "the pairs on which it was chosen"
    if child is not None:
        kind, chosen_on = "triplets", "triplets of the faces on which it was chosen"
    if threshold_from is not None:
        from kinface.data.pairs import read_pairs
        from kinface.fairness.standards import choose_threshold_at_fmr
        from kinface.fairness.threshold import choose_threshold

        pairs = read_pairs(threshold_from, scored=True)
        threshold = choose_threshold(pairs) if fmr is None else choose_threshold_at_fmr(pairs, fmr)
        errors = measure_errors(pairs, threshold)
        kind = "triplets" if "triplet" in pairs else "pairs"
        chosen_on = f"the {kind} of {threshold_from}, on which it was chosen"
        if (kind == "triplets") != (child is not None):
            people = "two people" if child is None else "three people, a mean of two cosines"
            warnings.warn(
                f"{threshold_from}: the threshold is chosen on scores of {kind}, and applied to {people}.", stacklevel=2
            )
    people = [_split(person) for person in (a, b, child) if person is not None]
    options = {"threshold": threshold, "aligned": aligned, "runtime": runtime}
    answer = compare_photos(network, *people, **options) | {"errors": errors}
    if json:
        print(json_format.dumps(answer, indent=1))
        return
    for person, counts in zip(answer["photos"], answer["faces"], strict=True):
        for photo, count in zip(person, counts, strict=True):
            if count > 1:
                print(f"{photo}: {count} faces; the largest is used; to use another, run `kinface web`.")
    print(f"{'kin' if answer['kin'] else 'not kin'}: score {answer['score']:.3f}, threshold {answer['threshold']:.3f}")
    for parent, score in zip(("father", "mother"), answer.get("scores", []), strict=False):
        print(f"{parent} and child: {score:.3f}")
    if "type" in answer:
        print(f"most likely type, if they are kin: {answer['type']}, {answer['type_probability']:.2f}")
    if errors is not None:
        print(
            f"At this threshold, {errors['fmr']:.0%} of {errors['non_kin']:,} non-kin {kind} are called kin and "
            f"{errors['fnmr']:.0%} of {errors['kin']:,} kin {kind} are not, on {chosen_on}; "
            "expect more errors on other people."
        )
    print(answer["caution"])


def _split(person: Path) -> Photos:
    """The photos of one person, where several are named with commas between them."""
    if person.exists() or "," not in str(person):
        return person
    return [expand_home(photo.strip()) for photo in str(person).split(",")]
