"""The protocols of ``swinface evaluate``, one class each. Figures are in per cent if the paper's are.

Intervals resample people if a set names them, otherwise faces; see ``swinface.benchmarks.benchmark.estimate``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from swinface.benchmarks.benchmark import Benchmark, Predictor, Result, by_group, divide, estimate, ratio
from swinface.benchmarks.templates import FARS, read_ijb, verify_templates
from swinface.benchmarks.verification import (
    auc_of_same_person,
    embed_with_mirror,
    read_bin,
    read_pairs_folder,
    verify_pairs,
)
from swinface.data.labels import ATTRIBUTES
from swinface.data.pose import ANGLES
from swinface.data.source import Source
from swinface.files import InputError, naming
from swinface.tasks import EXPRESSIONS

CHILDHOOD = 12  # years up to which faces hardly show gender


class Verification(Benchmark):
    """LFW's protocol, also that of CFP-FP, AgeDB-30, CALFW and CPLFW; see ``swinface.benchmarks.verification``.

    The interval is that of the mean over folds.

    Parameters
    ----------
    path
        A ``.bin`` of insightface, of ten folds; or a folder of aligned faces, ``Name/Name_0001.jpg``.
    pairs
        The list of pairs of a folder; ``pairs.txt`` in it, when left out.
    """

    metrics = ("accuracy %",)

    def __init__(self, path: Path, pairs: Path | None = None, **options) -> None:
        super().__init__(**options)
        self.location, self.pairs = Path(path), pairs

    def run(self, model: Predictor) -> list[Result]:
        if self.location.is_dir():
            faces, same, folds = read_pairs_folder(self.location, self.pairs or self.location / "pairs.txt")
        else:
            (faces, same), folds = read_bin(self.location), 10
        with naming(self.location):
            found = verify_pairs(model.embed, faces, same, folds)
        return [Result("accuracy %", 100 * found.mean, len(same), 100 * found.low, 100 * found.high)]


class TemplateVerification(Benchmark):
    """True accept rate at false accept rates on IJB-B or IJB-C, 1:1; see ``swinface.benchmarks.templates``.

    There are no intervals: the files do not tell which templates show the same person.

    Parameters
    ----------
    root
        Insightface's folder.
    name
        The set that it holds.
    """

    metrics = tuple(f"TAR % at FAR {far:.0e}".replace("e-0", "e-") for far in FARS)

    def __init__(self, root: Path, name: Literal["ijbb", "ijbc"], **options) -> None:
        super().__init__(**options)
        self.location, self.name = Path(root), name

    def run(self, model: Predictor) -> list[Result]:
        templates = read_ijb(self.location, self.name)
        tars = verify_templates(model.embed, templates, compute=model.compute)
        return [
            Result(metric, 100 * tars[far], len(templates.same)) for metric, far in zip(self.metrics, FARS, strict=True)
        ]


class LabelledFaces(Benchmark):
    """A protocol on a source.

    Parameters
    ----------
    source
        The faces.
    """

    def __init__(self, source: Source, **options) -> None:
        super().__init__(**options)
        self.source, self.location = source, source.root

    def answer_labelled(self, model: Predictor, *tasks: str) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows of the source's table whose labels are all known, numbered anew, and the model's logits for them."""
        table = self.source.table
        for task in tasks:
            if task not in table or table[task].isna().all():
                raise InputError(f"{self.source.root}: no labels of {task} in {type(self.source).__name__}.")
        known = table[list(tasks)].notna().all(axis=1)
        if not known.any():
            raise InputError(f"{self.source.root}: no face has labels of {', '.join(tasks)} at once.")
        answers = model.answer(self.source)
        if lacking := [task for task in tasks if task not in answers]:
            raise InputError(f"the model is not trained on {lacking[0]}, which this benchmark needs too.")
        logits = np.concatenate([answers[task][known] for task in tasks], axis=1)
        return table[known].reset_index(drop=True), logits


class SamePerson(LabelledFaces):
    """AUC of the pairs of faces that show one person against those that show two.

    Embeddings are those of LFW's protocol. The interval resamples the first folders of identities: families, if the
    folders of people lie in folders of families.
    """

    metrics = ("AUC",)

    def run(self, model: Predictor) -> list[Result]:
        if "identity" not in self.source.table:
            raise InputError(f"{self.source.root}: {type(self.source).__name__} does not name the people on its faces.")
        people = self.source.table["identity"]
        embeddings = embed_with_mirror(model.embed, self.source.read_all())
        found = auc_of_same_person(embeddings, people, people.str.partition("/")[0])
        return [Result.drawn("AUC", found.auc, found.draws, found.same + found.different)]


class Expression(LabelledFaces):
    """Accuracy, the mean of the expressions' accuracies, and the confusion matrix.

    Parameters
    ----------
    labels
        The expressions to choose from, if a set lacks some.
    """

    metrics = ("accuracy %", "balanced accuracy %")
    tasks = ("expression",)

    def __init__(self, source: Source, labels: tuple[str, ...] = EXPRESSIONS, **options) -> None:
        super().__init__(source, **options)
        for label in labels:
            if label not in EXPRESSIONS:
                raise InputError(f"labels: no expression {label!r}; choose from {', '.join(EXPRESSIONS)}.")
            if labels.count(label) > 1:
                raise InputError(f"labels: {label} is there twice, and its faces would count twice; name it once.")
        self.labels = labels

    def run(self, model: Predictor) -> list[Result]:
        table, logits = self.answer_labelled(model, "expression")
        among = np.array([EXPRESSIONS.index(label) for label in self.labels])
        truth = table["expression"].to_numpy().astype(int)
        if not np.isin(truth, among).all():
            other = EXPRESSIONS[truth[~np.isin(truth, among)][0]]
            raise InputError(f"{self.source.root}: has faces of {other}; add it to labels.")
        predicted = among[logits[:, among].argmax(axis=1)]
        each = truth[:, None] == among
        values = np.concatenate([each & (predicted == truth)[:, None], each], axis=1).astype(float)

        def accuracies(totals: np.ndarray) -> np.ndarray:
            right, all_faces = np.split(totals, 2, axis=-1)
            balanced = np.nanmean(right / all_faces, axis=-1)
            return 100 * np.stack([right.sum(axis=-1) / all_faces.sum(axis=-1), balanced], axis=-1)

        ours, draws = estimate(values, table, accuracies)
        confusion = pd.DataFrame(
            confusion_matrix(truth, predicted, labels=among),
            index=pd.Index(self.labels, name="true expression"),
            columns=self.labels,
        )
        return [
            Result.drawn("accuracy %", ours[0], draws[:, 0], len(truth), {"confusion": confusion}),
            Result.drawn("balanced accuracy %", ours[1], draws[:, 1], len(truth)),
        ]


class Age(LabelledFaces):
    """Mean absolute error, also by group, and mean error; and the epsilon error, if a set has the spread of guesses.

    The mean error, the model's years minus the set's, shows a bias in one direction.

    Epsilon is 1 - mean(exp(-(y - mean)^2 / (2 std^2))), y the model's years, mean and std the guesses'
    (Escalera et al., "ChaLearn Looking at People 2015", ICCVW 2015).
    """

    metrics = ("MAE years", "mean error years", "epsilon error")
    tasks = ("age",)

    def run(self, model: Predictor) -> list[Result]:
        table, years = self.answer_labelled(model, "age")
        signed = years[:, 0].astype(float) - table["age"].to_numpy()
        error = np.abs(signed)
        values, faces = {"MAE years": error, "mean error years": signed}, np.ones(len(error))
        if "age_deviation" in table:
            # Where all guess the same, only that age is right.
            deviation = np.maximum(table["age_deviation"].to_numpy(), 1e-6)
            values["epsilon error"] = 1 - np.exp(-(error**2) / (2 * deviation**2))
        results = []
        for metric, value in values.items():
            summed = np.stack([value, faces], axis=1)
            groups = by_group(table, metric, summed) if metric == "MAE years" else {}
            results.append(divide(metric, summed, table, groups))
        return results


class Pose(LabelledFaces):
    """Mean absolute error of yaw, pitch and roll in degrees: the mean of the three, and each."""

    metrics = ("MAE degrees", *(f"MAE {angle} degrees" for angle in ANGLES))
    tasks = ANGLES

    def run(self, model: Predictor) -> list[Result]:
        table, degrees = self.answer_labelled(model, *ANGLES)
        errors = np.abs(degrees.astype(float) - table[list(ANGLES)].to_numpy())
        each = np.column_stack([errors, np.ones(len(table))])

        def means(totals: np.ndarray) -> np.ndarray:
            of_angles = totals[..., :3] / totals[..., 3:]
            return np.concatenate([of_angles.mean(axis=-1, keepdims=True), of_angles], axis=-1)

        ours, draws = estimate(each, table, means)
        return [Result.drawn(*row, len(table)) for row in zip(self.metrics, ours, draws.T, strict=True)]


class Gender(LabelledFaces):
    """Accuracy on all faces, also by group, and on faces above twelve years if ages are known."""

    metrics = ("accuracy %", f"accuracy % above {CHILDHOOD} years")
    tasks = ("gender",)

    def run(self, model: Predictor) -> list[Result]:
        table, logits = self.answer_labelled(model, "gender")
        right = logits.argmax(axis=1) == table["gender"].to_numpy()
        values = np.stack([100 * right, np.ones(len(table))], axis=1)
        results = [divide(self.metrics[0], values, table, by_group(table, self.metrics[0], values))]
        if "age" in table and (grown := (table["age"] > CHILDHOOD).to_numpy()).any():
            results.append(divide(self.metrics[1], values[grown], table[grown]))
        return results


class Attributes(LabelledFaces):
    """Accuracy on each of CelebA's attributes and its mean, compared with always predicting the more frequent class.

    There is a figure for the mean, and for each attribute with a figure in the paper; the table has all. If the model
    is not trained on all attributes, the mean is over fewer, and its name says so. By group, the figure is over all
    predictions with a known label.

    Parameters
    ----------
    train
        The faces on which the more frequent class is determined.
    """

    metrics = ("mean accuracy %", *(f"accuracy %, {name}" for name in ATTRIBUTES))
    tasks = ATTRIBUTES

    def __init__(self, source: Source, train: Source, **options) -> None:
        super().__init__(source, **options)
        self.train = train

    def run(self, model: Predictor) -> list[Result]:
        table, train, outputs = self.source.table, self.train.table, model.answer(self.source)
        names = [
            name
            for name in ATTRIBUTES
            if name in outputs and all(name in labels and labels[name].notna().any() for labels in (table, train))
        ]
        if not names:
            raise InputError(f"{self.source.root}: no labels of attributes that the model is trained on.")
        truth = table[names].to_numpy()
        known = ~np.isnan(truth)
        right = truth == np.stack([outputs[name].argmax(axis=1) for name in names], axis=1)
        commoner = 100 * (truth == (train[names].mean() > 0.5).to_numpy()).sum(axis=0) / known.sum(axis=0)

        def accuracies(totals: np.ndarray) -> np.ndarray:
            each = 100 * ratio(totals)
            return np.concatenate([each, each.mean(axis=-1, keepdims=True)], axis=-1)

        ours, draws = estimate(np.concatenate([right, known], axis=1), table, accuracies)
        each = [
            Result.drawn(f"accuracy %, {name}", *of_one, int(faces))
            for name, *of_one, faces in zip(names, ours[:-1], draws.T[:-1], known.sum(axis=0), strict=True)
        ]
        attributes = pd.DataFrame(
            [(result.ours, result.low, result.high) for result in each],
            columns=["accuracy %", "low", "high"],
            index=pd.Index(names, name="attribute"),
        ).assign(**{"commoner answer %": commoner, "n": known.sum(axis=0)})
        label = "mean accuracy %" if len(names) == len(ATTRIBUTES) else f"mean accuracy % of {len(names)} attributes"
        groups = by_group(table, label, np.stack([100 * right.sum(axis=1), known.sum(axis=1)], axis=1))
        return [
            Result.drawn(label, ours[-1], draws[:, -1], len(table), {"attributes": attributes}, groups),
            Result(f"{label}, commoner answer", commoner.mean(), len(table)),
            *(result for result in each if result.metric in self.paper),
        ]
