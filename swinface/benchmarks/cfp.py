"""Celebrities in Frontal-Profile, as its authors publish it (Sengupta et al., WACV 2016).

500 people have ten frontal and four profile images each. ``Protocol/Pair_list_F.txt`` and ``Pair_list_P.txt`` number
the images; ``Protocol/Split/FP/01/same.txt`` holds the pairs of the first fold that show one person, a line
``frontal,profile`` each, and ``diff.txt`` those that do not. In ``FF`` both numbers are of frontal images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.metrics import roc_auc_score

from swinface.benchmarks.benchmark import Benchmark, Predictor, Result
from swinface.benchmarks.verification import embed_with_mirror, score_pairs, ten_fold_accuracy
from swinface.bootstrap import draw_clusters
from swinface.data.faces import read_face, stack_faces
from swinface.files import InputError, inside, read_lines
from swinface.metrics import weighted_aucs
from swinface.photos.alignment import warn_unaligned

FOLDS = 10
LIST = "list of CFP's protocol"


class FrontalProfile(Benchmark):
    """LFW's protocol on CFP's own files: ten folds, the threshold of each chosen on the other nine.

    The images must be aligned and square, see ``swinface align``. Insightface's ``cfp_fp.bin`` has the same pairs; its
    faces are aligned differently. The interval is that of the mean over folds.

    Parameters
    ----------
    root
        The folder with ``Data`` and ``Protocol``.
    protocol
        ``FP``, frontal against profile, or ``FF``, frontal against frontal.
    """

    metrics = ("accuracy %",)

    def __init__(self, root: Path, protocol: Literal["FP", "FF"] = "FP", **options) -> None:
        super().__init__(**options)
        self.root, self.protocol = Path(root), protocol
        self.location = self.root / "Protocol"

    def run(self, model: Predictor) -> list[Result]:
        paths, first, second, same = read_protocol(self.root, self.protocol)
        used, place = np.unique([first, second], return_inverse=True)  # each face goes through the model once
        warn_unaligned(read_face, paths, self.root)
        faces = stack_faces(read_face, [paths[number] for number in used])
        scores = score_pairs(embed_with_mirror(model.embed, faces), *place.reshape(2, -1))
        found = ten_fold_accuracy(scores, same, FOLDS)
        return [Result("accuracy %", 100 * found.mean, len(same), 100 * found.low, 100 * found.high)]


class Profile(Benchmark):
    """AUC of a model's absolute yaw at telling the profile images of the protocol from the frontal ones.

    The interval resamples people.

    Parameters
    ----------
    root
        The folder with ``Data`` and ``Protocol``.
    """

    metrics = ("AUC",)
    tasks = ("yaw",)

    def __init__(self, root: Path, **options) -> None:
        super().__init__(**options)
        self.root = Path(root)
        self.location = self.root / "Protocol"

    def run(self, model: Predictor) -> list[Result]:
        frontal, profile = (_read_images(self.root, f"Pair_list_{kind}.txt") for kind in "FP")
        warn_unaligned(read_face, [*frontal, *profile], self.root)
        faces = stack_faces(read_face, [*frontal, *profile])
        yaw = np.abs(model.answer_faces(faces)["yaw"][:, 0])
        turned = np.arange(len(yaw)) >= len(frontal)
        people = np.unique([path.parent.parent.name for path in (*frontal, *profile)], return_inverse=True)[1]
        weights = (drawn[people] for drawn in draw_clusters(people.max() + 1, 1000, seed=0))
        draws = weighted_aucs(yaw, turned, weights)
        return [Result.drawn("AUC", roc_auc_score(turned, yaw), draws, len(yaw))]


def read_protocol(root: Path, protocol: str) -> tuple[list[Path], np.ndarray, np.ndarray, np.ndarray]:
    """Read the pairs of a protocol: images, frontal ones first; the places (N,) of the first and second image of each
    pair; and whether it shows one person, (N,) bool.

    Folds of N / 10 pairs follow one another. Raises ``InputError``, which names file and line, if a file is missing or
    not of the official form.
    """
    frontal, profile = (_read_images(root, f"Pair_list_{kind}.txt") for kind in "FP")
    paths = [*frontal, *profile]
    starts = (0, 0 if protocol == "FF" else len(frontal))  # where the images of each side begin
    sizes = (len(frontal), len(frontal) if protocol == "FF" else len(profile))
    pairs, same, ends = [], [], [0]
    for fold in range(1, FOLDS + 1):
        for name, one_person in (("same.txt", True), ("diff.txt", False)):
            path = root / "Protocol" / "Split" / protocol / f"{fold:02}" / name
            for line, text in enumerate(filter(str.strip, read_lines(path, LIST)), start=1):
                numbers = text.split(",")
                if len(numbers) != 2 or not all(number.strip().isdecimal() for number in numbers):
                    raise InputError(f"{path} line {line}: {text!r} must be two numbers of images, such as 5,97.")
                places = [int(number) - 1 for number in numbers]
                if not all(0 <= place < size for place, size in zip(places, sizes, strict=True)):
                    raise InputError(f"{path} line {line}: {text!r} names an image that is in no list of images.")
                pair = [start + place for start, place in zip(starts, places, strict=True)]
                people = {paths[place].parents[1] for place in pair}
                if pair[0] == pair[1] or (len(people) == 1) != one_person:
                    wanted = f"two images of {'one person' if one_person else 'two people'}"
                    raise InputError(f"{path} line {line}: {text!r} must be {wanted}; copy the protocol again.")
                pairs.append(pair)
                same.append(one_person)
        ends.append(len(pairs))
    if len(set(np.diff(ends))) > 1:
        raise InputError(
            f"{root / 'Protocol' / 'Split' / protocol}: all folds must have the same number of pairs; copy it again."
        )
    first, second = np.array(pairs, dtype=np.int64).T
    return paths, first, second, np.array(same)


def _read_images(root: Path, name: str) -> list[Path]:
    """The images of a list, whose lines are ``number ../Data/Images/001/frontal/01.jpg``, numbered from 1."""
    path = root / "Protocol" / name
    images = []
    for line, text in enumerate(filter(str.strip, read_lines(path, LIST)), start=1):
        number, _, image = text.partition(" ")
        if number != str(line) or not image.startswith("../"):
            raise InputError(f"{path} line {line}: {text!r} must be `{line} ../Data/Images/...`.")
        images.append(inside(root, image.removeprefix("../").strip(), f"{path} line {line}"))
    return images
