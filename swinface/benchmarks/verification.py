"""Face verification: the protocol of LFW, CFP-FP, AgeDB-30, CALFW and CPLFW, and the AUC for any set of faces.

Templates, which are sets of faces, are verified in ``swinface.benchmarks.templates``. A model is given as ``embed``:
a function from faces, (N, 3, 112, 112) uint8, to embeddings, (N, D) float32. Scores are cosines of embeddings, higher
for one person.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize
from torch import Tensor

from swinface.bootstrap import draw_clusters, weigh_pairs
from swinface.data.faces import fit_face, read_face, stack_faces
from swinface.data.pickles import read_pickled_pairs
from swinface.files import InputError, inside, read_lines
from swinface.images import read_image
from swinface.inference import walk_batches
from swinface.metrics import count_right, weighted_aucs
from swinface.photos.alignment import warn_unaligned

Embed = Callable[[Tensor], np.ndarray]

# Thresholds on the negative squared distance of unit embeddings, above which a pair is accepted; the strictest first.
LIMITS = -np.arange(0, 4, 0.01)


def read_bin(path: Path) -> tuple[Tensor, np.ndarray]:
    """Read a verification set in insightface's format, such as ``lfw.bin``.

    Gives faces, (2 N, 3, 112, 112) uint8 RGB, of which 2 i and 2 i + 1 are pair i, and whether each pair shows one
    person, (N,) bool. Raises ``InputError`` if the file is no such set, see ``read_pickled_pairs``, or an image in it
    cannot be read or is not square.
    """
    images, same = read_pickled_pairs(path)

    def read(number: int) -> np.ndarray:
        where = f"{path}: image {number}"
        return fit_face(read_image(images[number], where), where)

    warn_unaligned(read, range(len(images)), path)
    return stack_faces(read, range(len(images))), same


def read_pairs_folder(root: Path, pairs: Path) -> tuple[Tensor, np.ndarray, int]:
    """Read the pairs of a list in the form of LFW's ``pairs.txt`` from a folder of aligned faces.

    Its first row is the number of folds and n; for each fold follow n rows ``name number number`` of pairs that show
    one person, and n rows ``name number name number`` of pairs that do not. The fourth face of a person is
    ``Name/Name_0004.jpg``, or where that is missing ``Name/Name_0004.png``, as others' tools align LFW.

    Gives faces and pairs as ``read_bin`` does, and the number of folds, each of N / folds pairs in a row. Raises
    ``InputError`` if the list is not of that form (its row is named), or a face is missing, unreadable or not square.
    """
    rows = [line.split() for line in read_lines(pairs, "list of pairs")]
    while rows and not rows[-1]:
        rows.pop()
    if not rows or len(rows[0]) != 2 or not all(field.isdecimal() and int(field) > 0 for field in rows[0]):
        raise InputError(f"{pairs}: row 1 must be the number of folds and of pairs of each kind in one, like 10 300.")
    folds, each = map(int, rows.pop(0))
    if len(rows) != 2 * folds * each:
        raise InputError(f"{pairs}: {len(rows)} pairs; row 1 announces {folds} folds of {each} + {each}.")
    same = np.arange(len(rows)) // each % 2 == 0
    paths = []
    for number, (fields, one_person) in enumerate(zip(rows, same, strict=True), start=2):
        where = f"{pairs} row {number}"
        if len(fields) != (3 if one_person else 4):
            expected = "`name number number`, one person" if one_person else "`name number name number`, two people"
            raise InputError(f"{where}: {' '.join(fields)!r}; at this place in its fold, a row must be {expected}.")
        people = [(fields[0], fields[1]), (fields[0] if one_person else fields[2], fields[-1])]
        if people[0] == people[1] or (people[0][0] == people[1][0]) != one_person:
            wrong = "a face paired with itself" if one_person else "one person, but must be two"
            raise InputError(f"{where}: {' '.join(fields)!r} is {wrong}.")
        for name, image in people:
            if not image.isdecimal():
                raise InputError(f"{where}: {image!r} must be the number of an image.")
            path = inside(root, f"{name}/{name}_{int(image):04}.jpg", where)
            png = path.with_suffix(".png")
            paths.append(png if png.exists() and not path.exists() else path)
    if twice := len(rows) - len({frozenset(pair) for pair in zip(paths[::2], paths[1::2], strict=True)}):
        warnings.warn(f"{pairs}: {twice:,} rows repeat an earlier pair, which then counts more.", stacklevel=3)
    warn_unaligned(read_face, paths, root)
    return stack_faces(read_face, paths), same, folds


def embed_with_mirror(embed: Embed, faces: Tensor, batch: int = 256) -> np.ndarray:
    """Embed faces, (N, 3, 112, 112) uint8, and their mirror images in batches, and scale the sum of both to unit
    length: (N, D) float32."""
    rows = walk_batches(range(len(faces)), batch, "embed")
    return normalize(np.concatenate([add_mirror(embed, faces[it.start : it.stop]) for it in rows]))


def add_mirror(embed: Embed, faces: Tensor) -> np.ndarray:
    """The sum of the embeddings of faces and of their mirror images, (N, D)."""
    return embed(faces) + embed(faces.flip(-1))


def score_pairs(embeddings: np.ndarray, first: np.ndarray, second: np.ndarray, rows: int = 16384) -> np.ndarray:
    """Cosines of pairs, computed ``rows`` pairs at a time: (pairs,) float32.

    ``embeddings`` are (N, D) float32 of unit length; ``first`` and ``second``, (pairs,), are the rows that make a pair.
    """
    scores = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), rows):
        chunk = slice(start, start + rows)
        scores[chunk] = np.einsum("pd,pd->p", embeddings[first[chunk]], embeddings[second[chunk]])
    return scores


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy of verification over folds.

    The interval is that of the mean, 95%, from the folds' spread: Student's t with one degree of freedom less than
    folds, the folds' pairs taken as independent (LFW's folds share no person), within 0 to 1.
    """

    mean: float
    low: float
    high: float
    folds: np.ndarray  #: accuracy on each


def ten_fold_accuracy(cosines: np.ndarray, same: np.ndarray, folds: int = 10) -> FoldAccuracy:
    """Accuracy on each fold at the threshold that is best on all others: LFW's protocol, as insightface computes it.

    Huang et al., "Labeled Faces in the Wild", University of Massachusetts 07-49, 2007, view 2. Folds are stretches of
    the (N,) cosines in the order given, as scikit-learn's ``KFold`` makes them. Thresholds are ``LIMITS``, the
    strictest of several that are equally good. The paper's figures were computed in this way; a finer search
    (``choose_accurate``) changes those of hard sets by up to 0.23 points.

    Raises ``InputError`` if there are fewer than two folds, fewer pairs than folds, or pairs of one kind alone.
    """
    if not 2 <= folds <= len(cosines):
        raise InputError(f"{folds} folds of {len(cosines)} pairs: use at least two folds, each with a pair.")
    scores = -np.maximum(0, 2 - 2 * np.asarray(cosines, dtype=np.float64))
    above = np.nextafter(LIMITS, np.inf)  # reached by the scores that are above the limits
    same = np.asarray(same, dtype=bool)
    if same.all() or not same.any():
        raise InputError(f"all pairs show {'one person' if same.all() else 'two people'}; accuracy needs both kinds.")
    parts = np.array_split(np.arange(len(scores)), folds)
    counts = np.array([count_right(scores[part], same[part], above) for part in parts])  # (folds, thresholds)
    best = (counts.sum(axis=0) - counts).argmax(axis=1)
    accuracies = counts[np.arange(folds), best] / [len(part) for part in parts]
    mean = accuracies.mean()
    reach = stats.t.ppf(0.975, folds - 1) * accuracies.std(ddof=1) / math.sqrt(folds)
    low, high = max(0.0, mean - reach), min(1.0, mean + reach)
    return FoldAccuracy(float(mean), float(low), float(high), accuracies)


def verify_pairs(embed: Embed, faces: Tensor, same: np.ndarray, folds: int = 10) -> FoldAccuracy:
    """LFW's protocol for a model, on what ``read_bin`` or ``read_pairs_folder`` gives."""
    embeddings = embed_with_mirror(embed, faces)
    rows = np.arange(len(embeddings))
    return ten_fold_accuracy(score_pairs(embeddings, rows[0::2], rows[1::2]), same, folds)


@dataclass(frozen=True)
class SamePersonAuc:
    """AUC of the pairs of one person against those of two, and the number of pairs of each kind."""

    auc: float
    draws: np.ndarray  #: (resamples,), the AUC of each resample of the groups
    same: int
    different: int


def auc_of_same_person(
    embeddings: np.ndarray,
    identities: Sequence,
    groups: Sequence | None = None,
    pairs: int = 200_000,
    resamples: int = 1000,
    seed: int = 0,
) -> SamePersonAuc:
    """How well cosines separate the pairs of faces that show one person from those that show two.

    Embeddings are (N, D), of any length, and ``identities``, (N,), say who each face shows. Every pair has the same
    weight, so a person with many faces has more weight. At most half of ``pairs`` are used of either kind: if there are
    more, that many are drawn, each with equal probability, none twice. ``groups``, (N,), such as families, are drawn
    again with replacement (``swinface.bootstrap.weigh_pairs``); by default these are the identities.

    Raises ``InputError`` if no person has two faces, or there is only one person.
    """
    rng = np.random.default_rng(seed)
    _, person = np.unique(np.asarray(identities), return_inverse=True)
    _, group = np.unique(np.asarray(identities if groups is None else groups), return_inverse=True)
    order = np.argsort(person, kind="stable")  # each person's faces in a row, from a face on up to its `stops`
    person, group = person[order], group[order]
    stops = np.searchsorted(person, person, side="right")
    one = _draw_pairs(np.arange(len(person)) + 1, stops, pairs // 2, rng)
    two = _draw_pairs(stops, np.full(len(person), len(person)), pairs // 2, rng)
    if not one.size or not two.size:
        raise InputError("the AUC of same-person pairs needs two people, and one with two faces.")
    first, second = np.concatenate([one, two], axis=1)
    same = np.arange(len(first)) < one.shape[1]
    scores = score_pairs(normalize(embeddings[order]), first, second)
    drawn = draw_clusters(int(group[np.concatenate([first, second])].max()) + 1, resamples, rng)
    weights = (weigh_pairs(times.astype(np.float64), group[first], group[second]) for times in drawn)
    draws = weighted_aucs(scores, same, weights)
    return SamePersonAuc(float(roc_auc_score(same, scores)), draws, one.shape[1], two.shape[1])


def _draw_pairs(starts: np.ndarray, stops: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` of the pairs (i, j) with starts[i] <= j < stops[i], or take all: (2, pairs).

    Pairs are numbered in order of i and j, so only the drawn ones are made.
    """
    ends = np.cumsum(stops - starts)
    total = int(ends[-1])
    drawn = np.arange(total) if total <= count else rng.choice(total, count, replace=False, shuffle=False)
    first = np.searchsorted(ends, drawn, side="right")
    return np.stack([first, stops[first] - (ends[first] - drawn)])
