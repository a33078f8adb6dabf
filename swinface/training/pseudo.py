"""Pseudo-labels: a teacher predicts the labels that a data set does not have. The paper names them as future work.

The teacher is the moving average of the network's weights (Tarvainen & Valpola, "Mean teachers are better role models",
NeurIPS 2017). Its predictions are first adjusted to the class shares among labelled faces (distribution alignment,
Berthelot et al., "ReMixMatch", ICLR 2020, section 3.1): otherwise frequent classes would take over. Only confident
predictions are used (Sohn et al., "FixMatch", NeurIPS 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from swinface.data.streams import Unlabelled
from swinface.files import InputError
from swinface.tasks import TASKS
from swinface.training.losses import task_losses

DECAY = 0.999  # of the teacher's weights, per step; lower at first, or a short run would not get away from its start
MEAN_DECAY = 0.99  # of the mean of its answers, per step


class PseudoLabels(nn.Module):
    """A teacher and its predictions.

    ``network`` is the model in training, ``learned`` the tasks that it is trained on, in the order of the columns of
    labels. ``streams`` has by name the rows of a batch that are the stream's, and what the teacher is asked about them.
    ``count_shares`` says of a task how often each class occurs among labelled faces.

    Raises ``InputError`` if a task is not trained, or has no classes.
    """

    def __init__(
        self,
        network: nn.Module,
        learned: list[str],
        streams: dict[str, tuple[slice, Unlabelled]],
        count_shares: Callable[[str], Sequence[float]],
    ) -> None:
        super().__init__()
        self.learned, self.streams = learned, streams
        self.average = AveragedModel(network, avg_fn=_move).requires_grad_(False)
        for stream, (_, asked) in streams.items():
            for task in asked.tasks:
                where = f"data.streams.{stream}.pseudo_labels.tasks: {task!r}"
                if task not in learned:
                    raise InputError(f"{where} is not trained; choose from {', '.join(learned) or 'none'}.")
                if TASKS[task].loss != "cross_entropy":
                    raise InputError(f"{where} has no classes, so a prediction has no confidence; leave it out.")
        self.tasks = list(dict.fromkeys(task for _, asked in streams.values() for task in asked.tasks))
        for name in self.tasks:
            share = torch.tensor(count_shares(name), dtype=torch.float32)
            self.register_buffer(f"share_{name}", share.clone(), persistent=False)
            self.register_buffer(f"mean_{name}", share.clone())

    def update(self, network: nn.Module) -> None:
        """Move the teacher a little towards the network; the first time it becomes the network."""
        self.average.update_parameters(network)

    def teach(
        self, outputs: Mapping[str, Tensor], images: Tensor, labels: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """The loss (tasks,) of each learned task on the teacher's confident answers, and the share of faces that each
        of the teacher's tasks was answered for.

        A loss is a mean over all faces that the teacher was asked about: the fewer it answers, the less it counts.
        ``outputs`` are the network's for a whole batch, (B, classes) by task, ``images`` (B, 3, 112, 112), as it sees
        them. The teacher answers where ``labels``, (B, tasks), are NaN.
        """
        loss, answered = torch.zeros_like(labels[0]), {name: [] for name in self.tasks}
        for rows, asked in self.streams.values():
            found = self.answer(images[rows])
            answers = torch.full_like(labels[rows], torch.nan)
            for task in asked.tasks:
                column = self.learned.index(task)
                answer = keep_confident(found[task], asked.confidence if progress >= asked.after else torch.inf)
                answers[:, column] = torch.where(labels[rows, column].isnan(), answer, torch.nan)
                answered[task].append((~answers[:, column].isnan()).float().mean())
            here = {task: output[rows] for task, output in outputs.items()}
            share = (~answers.isnan()).float().mean(dim=0)
            loss = loss + asked.weight * share * task_losses(self.learned, here, answers, progress)
        return loss, torch.stack([torch.stack(shares).mean() for shares in answered.values()])

    @torch.no_grad()
    def answer(self, images: Tensor) -> dict[str, Tensor]:
        """The teacher's probabilities for faces, (N, classes) by task, brought to the labelled shares."""
        self.average.eval()
        outputs, answers = self.average(images), {}
        for name in self.tasks:
            probabilities = outputs[name].float().softmax(dim=1)
            mean, share = getattr(self, f"mean_{name}"), getattr(self, f"share_{name}")
            mean.lerp_(probabilities.mean(dim=0), 1 - MEAN_DECAY)
            answers[name] = align_shares(probabilities, mean, share)
        return answers


def _move(average: Tensor, current: Tensor, updates: Tensor) -> Tensor:
    """The moving average after one more update; after n updates it reaches back about n / 10 steps, at most 1000."""
    decay = ((1 + updates) / (10 + updates)).clamp(max=DECAY).to(average.dtype)
    return current + decay * (average - current)


def align_shares(probabilities: Tensor, mean: Tensor, share: Tensor) -> Tensor:
    """Scale probabilities, (N, classes), by wanted share / mean, (classes,) each, and then to sum to 1."""
    scaled = probabilities * share / mean.clamp(min=1e-6)
    return scaled / scaled.sum(dim=1, keepdim=True).clamp(min=1e-12)


def keep_confident(probabilities: Tensor, confidence: float) -> Tensor:
    """The most probable class of each face if its probability is high enough, else NaN: (N,) float.

    >>> keep_confident(torch.tensor([[0.95, 0.05], [0.4, 0.6]]), 0.9)
    tensor([0., nan])
    """
    best, label = probabilities.max(dim=1)
    return torch.where(best >= confidence, label.float(), torch.nan)
