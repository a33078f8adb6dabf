"""Photos of two people, or of father, mother and child: the answers of models, the reasons, and the error rates.

``Examiner`` reads models once. What it returns has figures and plain values; it writes and prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from kinface.models.kinface import KinFace, load_model
from kinface.models.verify import SCORES, TRIPLETS, check_verifier, choose_compared, compare, read_record
from kinface.report.plots import COLOURS, plot_placed_scores
from swinface.attention import draw_face, weigh_levels
from swinface.choices import SHIPPED
from swinface.data.faces import scale_pixels
from swinface.files import InputError, naming, printable
from swinface.images import check_pixels, read_image
from swinface.model import SwinFace
from swinface.photos.alignment import warn_unaligned
from swinface.photos.predict import cut_faces, describe
from swinface.pretrained import best_device
from swinface.trunk import GRID

BOTH = (SHIPPED, Path(f"{SHIPPED}-debiased"))  # the kinship models that come with the package
SIDE = 480  # pixels; of a photo no more is kept than can be looked at
ACROSS = 6  # photos beside each other in a figure
PEOPLE = {2: ("first person", "second person"), 3: ("father", "mother", "child")}


@dataclass(frozen=True)
class Photo:
    """A photo and the faces in it, the largest first. ``dataclasses.replace(photo, chosen=1)`` takes another face."""

    name: str  #: of the file
    image: np.ndarray  #: (H, W, 3) uint8, RGB: the photo, made small
    boxes: np.ndarray  #: (F, 4) left, top, right and bottom of each face in ``image``
    crops: np.ndarray  #: (F, 112, 112, 3) uint8, the faces, aligned
    chosen: int = 0  #: which face is the person's, counted from 0; ``InputError`` if there is no such face

    def __post_init__(self) -> None:
        if not 0 <= self.chosen < len(self.crops):
            raise InputError(f"{self.name}: no face {self.chosen}; its faces are 0 to {len(self.crops) - 1}.")

    @property
    def crop(self) -> np.ndarray:
        """The chosen face, (112, 112, 3) uint8."""
        return self.crops[self.chosen]


def read_photo(
    photo: str | os.PathLike | bytes | np.ndarray, name: str = "the photo", aligned: bool = False, face: int = 0
) -> Photo:
    """Find and align the faces of a photo.

    Parameters
    ----------
    photo
        A file, its content, or pixels (H, W, 3) uint8, RGB, upright.
    name
        Name of a photo that is not a file, for messages.
    aligned
        The photo is one face, square and aligned to ArcFace's five points.
    face
        Which face is the person's; 0 is the largest.

    Raises
    ------
    InputError
        The photo cannot be read or has no such face, or no detector is installed.
    """
    if not isinstance(photo, np.ndarray):
        name = name if isinstance(photo, bytes) else os.fspath(photo)
        photo = read_image(photo, name)
    check_pixels(photo, name)
    crops, places = cut_faces(photo, aligned, name)
    if not crops:
        raise InputError(f"{name}: no face found.")
    if aligned:
        warn_unaligned(lambda crop: crop, crops, name)
    small = Image.fromarray(photo)
    small.thumbnail((SIDE, SIDE), reducing_gap=2)
    whole = [0, 0, *photo.shape[1::-1]]
    boxes = np.array([it.get("box", whole) for it in places]) * (small.width / photo.shape[1])
    return Photo(name, np.asarray(small), boxes, np.stack(crops), face)


@dataclass(frozen=True)
class Examination:
    """The answers of models about the chosen faces in photos of two people, or of father, mother and child."""

    people: list[list[Photo]]  #: of each its photos; the faces below are the chosen one of each, in this order
    answers: dict[str, dict[str, Any]]  #: for each model what ``kinface.models.verify.compare`` returns of it
    #: For each model the distributions of scores that the answer belongs in, rows of
    #: ``kinface.fairness.distributions.describe_scores``: of all pairs and of the chosen group. Empty if the model
    #: keeps no record of them, and without the group if too few of its pairs were scored.
    scores: dict[str, list[dict[str, Any]]]
    triplets: dict[str, list[dict[str, Any]]]  #: the same of triplets; no model if two people are compared
    levels: dict[str, np.ndarray]  #: for each model (faces, levels), the mean channel gate of each level of the trunk
    places: dict[str, np.ndarray]  #: for each model (faces, 49), what its score owes to a region, see ``explain``
    described: list[dict[str, Any]]  #: for each face what ``swinface.predict`` gives for it

    @property
    def names(self) -> list[str]:
        """Of each face: whose it is, and the number of the photo if the person has several."""
        return [
            f"{name} {number}" if len(photos) > 1 else name
            for name, photos in zip(PEOPLE[len(self.people)], self.people, strict=True)
            for number in range(1, len(photos) + 1)
        ]

    def plot_scores(self, model: str, *, column: bool = False) -> Figure:
        """Where the score of a model lies among those of relatives and of strangers; of a child, that with each parent.

        ``column`` draws for a narrow column. Raises ``InputError`` if the model keeps no record of such scores.
        """
        answer = self.answers[model]
        marks = dict(zip(("father", "mother"), answer.get("scores", []), strict=False)) or {"score": answer["score"]}
        return self._place(self.scores, model, marks, "pairs", column)

    def plot_triplets(self, model: str, *, column: bool = False) -> Figure:
        """Where the score of father, mother and child lies among those of families and of strangers.

        Parameters and errors are those of ``plot_scores``.
        """
        return self._place(self.triplets, model, {"score": self.answers[model]["score"]}, "triplets", column)

    def _place(self, scores: dict, model: str, marks: dict[str, float], kind: str, column: bool) -> Figure:
        if not scores.get(model):
            raise InputError(f"{model}: has no stored scores of relatives and strangers; `kinface fit` writes them.")
        return plot_placed_scores(scores[model], self.answers[model]["threshold"], marks, kind, column=column)

    def plot_faces(self) -> Figure:
        """A column for each photo: the faces in it, the chosen one aligned, and the regions of it that
        the score of each model depends on: orange ones raise it, purple ones lower it, each face on its own scale."""
        photos = [photo for person in self.people for photo in person]
        rows, columns = 2 + len(self.places), min(ACROSS, len(photos))
        blocks = -(-len(photos) // ACROSS)
        figure = Figure(figsize=(1.5 + 1.5 * columns, 0.4 + 1.6 * rows * blocks), layout="constrained")
        panels = figure.subplots(blocks * rows, columns, squeeze=False)
        for axes in panels.ravel():
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        titles = [
            "faces found",
            "aligned",
            *(f"regions that matter\nfor {printable(Path(model).name)}" for model in self.places),
        ]
        for number, (photo, name) in enumerate(zip(photos, self.names, strict=True)):
            top, column = rows * (number // ACROSS), number % ACROSS
            of_photo = panels[top : top + rows, column]
            of_photo[0].imshow(photo.image)
            chosen = np.arange(len(photo.boxes)) == photo.chosen
            for place in np.argsort(chosen, kind="stable"):  # the chosen face last, over the others
                frame = {"fill": False, "linewidth": 1.5, "edgecolor": COLOURS[5] if chosen[place] else "white"}
                left, upper, right, lower = photo.boxes[place]
                of_photo[0].add_patch(Rectangle((left, upper), right - left, lower - upper, **frame))
            of_photo[0].set_title(name, fontsize=9)
            of_photo[1].imshow(photo.crop)
            for axes, places in zip(of_photo[2:], self.places.values(), strict=True):
                draw_face(axes, photo.crop, places[number])
            if column == 0:
                for axes, title in zip(of_photo, titles, strict=True):
                    axes.set_ylabel(title, fontsize=9, rotation="horizontal", ha="right", va="center", parse_math=False)
        return figure


class Examiner:
    """Models that are read once and asked about photos.

    Parameters
    ----------
    models
        Folders of trained kinship models with a trunk and a threshold; by default both that come with the package.
    swinface
        Folder of the SwinFace that tells age, expression and attributes; by default the one that comes with the
        package.

    Raises
    ------
    InputError
        There is no such model, or it cannot verify photos.

    Examples
    --------
    >>> import kinface
    >>> _, images = kinface.make_families(12, photos=1)
    >>> mother, daughter = (read_photo(image, aligned=True) for image in images[:2])
    >>> examination = Examiner()([mother], [daughter], group=("type", "md"))
    >>> [(model, len(rows)) for model, rows in examination.scores.items()]
    [('shipped', 2), ('shipped-debiased', 2)]
    """

    def __init__(self, models: Sequence[str | os.PathLike] = BOTH, swinface: str | os.PathLike = SHIPPED) -> None:
        self.networks: dict[str, KinFace] = {}
        self.scores: dict[str, list[dict[str, Any]]] = {}
        self.triplets: dict[str, list[dict[str, Any]]] = {}
        for model in map(Path, models):
            network = load_model(model)
            with naming(model):
                check_verifier(network)
            self.networks[str(model)], self.scores[str(model)] = network, read_record(model, SCORES) or []
            self.triplets[str(model)] = read_record(model, TRIPLETS) or []
        self.swinface = SwinFace.from_pretrained(swinface).to(best_device())

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Grouping and group of people whose scores are known, for any model; all pairs come first."""
        return list(dict.fromkeys((row["grouping"], row["group"]) for rows in self.scores.values() for row in rows))

    def __call__(
        self,
        a: Sequence[Photo],
        b: Sequence[Photo],
        child: Sequence[Photo] = (),
        *,
        group: tuple[str, str] | None = None,
    ) -> Examination:
        """Ask all models about the photos of two people, or of father, mother and child.

        Parameters
        ----------
        a, b, child
            Of each person one photo or several (``read_photo``); of the child none if two people are compared.
        group
            Grouping and group of ``groups`` whose distributions of scores are shown beside those of all pairs.

        Raises
        ------
        InputError
            A person has no photo, or no model knows the group.
        """
        people = [list(person) for person in (a, b, child)[: 2 + bool(child)]]
        if not all(people):
            raise InputError("a person has no photo; give one photo or several of each.")
        wanted = [] if group is None else [tuple(group)]
        if not set(wanted) <= set(self.groups):
            raise InputError(f"no scores of the group {' '.join(group)!r}; choose one of `groups`.")
        wanted += self.groups[:1]

        def choose(scores: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
            return {
                model: [row for row in rows if (row["grouping"], row["group"]) in wanted]
                for model, rows in scores.items()
            }

        crops = [np.stack([photo.crop for photo in person]) for person in people]
        levels, places = {}, {}
        for model, network in self.networks.items():
            levels[model], places[model] = explain(network, crops)
        return Examination(
            people,
            {model: compare(network, crops) for model, network in self.networks.items()},
            choose(self.scores),
            choose(self.triplets) if child else {},
            levels,
            places,
            describe(self.swinface, np.concatenate(crops)),
        )


@torch.inference_mode()
def explain(network: KinFace, people: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which levels of the trunk a model uses, and which regions of each face its score depends on.

    A place is hidden by giving each channel the largest value of the other 48. (Gradient times features, as for the
    tasks of SwinFace, would say nothing here: a cosine does not change with the length of what it compares.)

    ``people`` are the faces of each person, as for ``kinface.models.verify.compare``. Gives for all N faces (N,
    levels), the gate averaged over the channels of each level, 0 to 1, and (N, 49), how much lower the score is if a
    place of one face is hidden, 7x7 row by row.
    """
    faces = torch.from_numpy(np.concatenate(people)).permute(0, 3, 1, 2).to(network.threshold.device)
    inputs, _ = network.trunk(scale_pixels(faces))
    levels, maps = weigh_levels(network.neck, inputs)

    def embed(channels: Tensor) -> Tensor:
        return network.embed_features(network.neck.norm(channels))[1]

    (largest, second), (at, _) = (it.unbind(dim=2) for it in maps.flatten(2).topk(2, dim=2))
    hidden = torch.arange(GRID * GRID, device=maps.device)[:, None] == at[:, None]
    without = torch.where(hidden, second[:, None], largest[:, None])  # (N, 49, width)
    whole, counted = embed(largest), torch.from_numpy(weigh_pairs(people)).to(maps)
    others = (counted + counted.T) @ whole  # the part of a face in the score is its product with these
    lost = whole[:, None] - embed(without.flatten(0, 1)).unflatten(0, without.shape[:2])
    return levels.cpu().numpy(), (lost @ others[:, :, None])[:, :, 0].cpu().numpy()


def weigh_pairs(people: Sequence[np.ndarray]) -> np.ndarray:
    """(N, N), how much the cosine of each two of all N faces of ``people`` counts in the score of ``compare``."""
    compared, _ = choose_compared(people)
    starts = np.cumsum([0, *map(len, people)])
    counted = np.zeros((starts[-1], starts[-1]))
    for number, pairs in enumerate(compared):
        counted[starts[number] : starts[number + 1], starts[-2] :] = pairs / pairs.sum() / len(compared)
    return counted
