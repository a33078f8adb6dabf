"""The task table: one row per output of SwinFace; those of the paper come first, in the order of the published model.

All code that depends on a task (heads, losses, the data with its labels, the meaning of its logits) reads this table.
Reference: Qin et al., "SwinFace: A Multi-Task Transformer for Face Recognition, Expression Recognition, Age
Estimation and Attribute Estimation", IEEE TCSVT 2023, arXiv 2308.11509.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from swinface.files import InputError


@dataclass(frozen=True)
class Task:
    """One output of SwinFace.

    Examples
    --------
    >>> TASKS["gender"].labels, TASKS["smiling"].title, TASKS["age"].classes
    (('female', 'male'), 'Smiling', 1)
    """

    title: str  #: the name in the paper, such as ``"Five O'Clock Shadow"``
    subnet: str  #: the one whose features its head reads; tasks of one subnet share a multi-level channel attention
    labels: tuple[str, ...] = ("no", "yes")  #: the meaning of each logit, in order; empty for a regression
    streams: tuple[str, ...] = ("celeba",)  #: the training data streams with its labels
    #: ``"cross_entropy"`` over the logits; ``"age"``, the paper's age loss on one number, in years; or ``"absolute"``,
    #: the absolute error of one number
    loss: Literal["cross_entropy", "age", "absolute"] = "cross_entropy"
    paper: bool = True  #: whether the published model has it; a model has another only if it was trained on it
    geometric: bool = False  #: whether the label changes if the face is mirrored, turned or moved
    #: The value that an output of 1 of a regression head stands for, in the unit of the labels. If it is near their
    #: spread, a new head learns fast: it starts near 0, and the optimiser changes weights by small steps.
    unit: float = 1.0

    @property
    def name(self) -> str:
        """The key of this output in the model's dict, such as ``"five_oclock_shadow"``."""
        return task_name(self.title)

    @property
    def classes(self) -> int:
        """Number of logits; 1 for a regression."""
        return len(self.labels) or 1


def task_name(title: str) -> str:
    """The key of the output that the paper, the published model or a CelebA header calls ``title``.

    >>> task_name("Five O'Clock Shadow"), task_name("5_o_Clock_Shadow"), task_name("Male")
    ('five_oclock_shadow', 'five_oclock_shadow', 'gender')
    """
    name = title.lower().replace(" ", "_").replace("'", "")
    return {"5_o_clock_shadow": "five_oclock_shadow", "male": "gender", "recognition": "embedding"}.get(name, name)


# RAF-DB's order of expressions.
EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("Gender", "gender", labels=("female", "male"), streams=("age_gender", "celeba")),
        Task("Age", "age", labels=(), streams=("age_gender",), loss="age"),
        Task("Young", "age"),
        Task("Expression", "expression", labels=EXPRESSIONS, streams=("expression",)),
        Task("Smiling", "expression"),
        Task("Attractive", "face"),
        Task("Blurry", "face"),
        Task("Chubby", "face"),
        Task("Heavy Makeup", "face"),
        Task("Oval Face", "face"),
        Task("Pale Skin", "face"),
        Task("Bald", "hair"),
        Task("Bangs", "hair"),
        Task("Black Hair", "hair"),
        Task("Blond Hair", "hair"),
        Task("Brown Hair", "hair"),
        Task("Gray Hair", "hair"),
        Task("Receding Hairline", "hair"),
        Task("Straight Hair", "hair"),
        Task("Wavy Hair", "hair"),
        Task("Wearing Hat", "hair"),
        Task("Arched Eyebrows", "eyes"),
        Task("Bags Under Eyes", "eyes"),
        Task("Bushy Eyebrows", "eyes"),
        Task("Eyeglasses", "eyes"),
        Task("Narrow Eyes", "eyes"),
        Task("Big Nose", "nose"),
        Task("Pointy Nose", "nose"),
        Task("High Cheekbones", "cheeks"),
        Task("Rosy Cheeks", "cheeks"),
        Task("Wearing Earrings", "cheeks"),
        Task("Sideburns", "cheeks"),
        Task("Five O'Clock Shadow", "mouth"),
        Task("Big Lips", "mouth"),
        Task("Mouth Slightly Open", "mouth"),
        Task("Mustache", "mouth"),
        Task("Wearing Lipstick", "mouth"),
        Task("No Beard", "mouth"),
        Task("Double Chin", "chin"),
        Task("Goatee", "chin"),
        Task("Wearing Necklace", "neck"),
        Task("Wearing Necktie", "neck"),
        # Head pose in degrees, see ``swinface.data.pose``; the paper names it as future work.
        *(
            Task(title, "pose", (), ("pose",), "absolute", paper=False, geometric=True, unit=20.0)
            for title in ("Yaw", "Pitch", "Roll")
        ),
    )
}

PAPER_TASKS = {name: task for name, task in TASKS.items() if task.paper}
SUBNETS: tuple[str, ...] = tuple(dict.fromkeys(task.subnet for task in PAPER_TASKS.values()))


def check_tasks(names: Iterable[str], option: str, tasks: Collection[str] = TASKS) -> None:
    """Raise ``InputError``, which names the option, if one of the names is not among the tasks."""
    for name in names:
        if name not in tasks:
            raise InputError(f"{option}: no task {name!r}; choose from {', '.join(tasks)}.")
