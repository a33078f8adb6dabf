from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from swinface.tasks import TASKS
from swinface.training.losses import age_loss, distillation_loss, task_loss

NAN = float("nan")


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_age_loss_is_the_papers_equation(progress):
    predicted, age = [20.0, 31.0, 50.0], [22.0, 30.0, 80.0]
    expected = np.mean(
        [
            (1 - progress) / 2 * (p - a) ** 2 + progress * (1 - math.exp(-((p - a) ** 2) / (2 * 3**2)))
            for p, a in zip(predicted, age, strict=True)
        ]
    )
    assert age_loss(torch.tensor(predicted), torch.tensor(age), progress).item() == pytest.approx(expected, rel=1e-5)


def test_a_task_learns_from_the_faces_whose_label_is_known():
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = task_loss(TASKS["smiling"], logits, torch.tensor([1.0, NAN, 0.0, NAN]), 0.5)
    probability = logits.detach().softmax(dim=1)
    assert loss.item() == pytest.approx(-(probability[0, 1].log() + probability[2, 0].log()).item() / 2)
    loss.backward()
    assert (logits.grad[[1, 3]] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


def test_age_is_read_in_years():
    loss = task_loss(TASKS["age"], torch.tensor([[30.0], [NAN]]), torch.tensor([34.0, NAN]), 0.0)
    assert loss.item() == pytest.approx(8.0)


def test_without_labels_a_loss_is_zero_and_reaches_every_parameter():
    for loss_of in (
        lambda output: task_loss(TASKS["gender"], output, torch.full((3,), NAN), 0.5),
        lambda output: distillation_loss(output, torch.full((3, 2), NAN)),
    ):
        output = torch.ones(3, 2, requires_grad=True)
        loss = loss_of(output)
        loss.backward()
        assert loss.item() == 0
        assert (output.grad == 0).all()


def test_distillation_is_one_minus_cosine_over_what_the_teacher_has_seen():
    mapped = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 5.0]])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 7.0], [NAN, NAN]])
    assert distillation_loss(mapped, teacher).item() == pytest.approx((0 + 1 - 0.8) / 2)
