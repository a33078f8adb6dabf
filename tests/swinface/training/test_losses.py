from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from swinface.tasks import PAPER_TASKS
from swinface.training.losses import age_loss, distillation_loss, log_prior, relation_loss, task_losses

NAN = float("nan")


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_age_loss_is_the_papers_equation(progress):
    predicted, age = [20.0, 31.0, 50.0], [22.0, 30.0, 80.0]
    expected = [
        (1 - progress) / 2 * (p - a) ** 2 + progress * (1 - math.exp(-((p - a) ** 2) / (2 * 3**2)))
        for p, a in zip(predicted, age, strict=True)
    ]
    assert age_loss(torch.tensor(predicted), torch.tensor(age), progress).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Outputs of all tasks for 8 faces, and labels of which about half are known."""
    random = np.random.default_rng(0)
    outputs = {name: torch.randn(8, task.classes, dtype=torch.float64) for name, task in PAPER_TASKS.items()}
    outputs["age"] = 30 + 5 * outputs["age"]
    labels = np.stack([random.integers(0, max(2, task.classes), 8) for task in PAPER_TASKS.values()], axis=1).astype(
        float
    )
    labels[random.random(labels.shape) < 0.5] = NAN
    labels[:, 7] = NAN  # a task of which no label is in the batch
    return outputs, torch.from_numpy(labels)


def test_every_task_has_the_mean_loss_of_the_faces_whose_label_is_known(batch):
    outputs, labels = batch
    shift = {"expression": log_prior([0.3, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1], 0.5)}
    losses = task_losses(list(PAPER_TASKS), outputs, labels, 0.25, shift)
    for column, (name, task) in enumerate(PAPER_TASKS.items()):
        known = ~labels[:, column].isnan()
        output, label = outputs[name][known] + shift.get(name, 0), labels[known, column]
        if not known.any():
            expected = torch.tensor(0.0)
        elif task.loss == "age":
            expected = age_loss(output[:, 0], label, 0.25).mean()
        else:
            expected = functional.cross_entropy(output, label.long())
        assert losses[column].item() == pytest.approx(expected.item()), name


def test_faces_without_a_label_have_no_gradient_and_every_output_is_reached(batch):
    outputs, labels = batch
    outputs = {name: output.requires_grad_() for name, output in outputs.items()}
    task_losses(list(PAPER_TASKS), outputs, labels, 0.5).sum().backward()
    for column, name in enumerate(PAPER_TASKS):
        known = ~labels[:, column].isnan()
        assert (outputs[name].grad[~known] == 0).all(), name
        assert (outputs[name].grad[known] != 0).any(dim=1).all(), name


def test_with_logit_adjustment_rare_classes_count_as_much_as_frequent_ones():
    """Without an input a head learns the prior; adjusted at strength 1, it finds all classes equally likely."""
    labels = torch.tensor([0.0] * 12 + [1.0] * 3 + [3.0] * 1)[:, None]
    shares = torch.bincount(labels[:, 0].long(), minlength=7) / len(labels)
    for strength, expected in ((0.0, shares[:4]), (1.0, torch.tensor([1 / 3, 1 / 3, 0, 1 / 3]))):
        logits = torch.zeros(7, requires_grad=True)
        optimizer = torch.optim.Adam([logits], 0.1)
        for _ in range(400):
            optimizer.zero_grad()
            adjusted = {"expression": log_prior(shares.tolist(), strength)}
            task_losses(["expression"], {"expression": logits.expand(16, 7)}, labels, 0.0, adjusted).sum().backward()
            optimizer.step()
        found = logits.detach()[[0, 1, 3]].softmax(dim=0)
        assert found.numpy() == pytest.approx(expected[[0, 1, 3]].numpy(), abs=0.02)


def test_no_shape_in_the_losses_depends_on_the_labels(batch):
    """Operations whose shapes depend on data make a GPU wait; ``meta`` tensors have no data, so these would fail."""
    outputs, labels = batch
    outputs = {name: output.to("meta") for name, output in outputs.items()}
    assert task_losses(list(PAPER_TASKS), outputs, labels.to("meta"), 0.5).shape == (len(PAPER_TASKS),)
    assert distillation_loss(torch.ones(3, 2, device="meta"), torch.ones(3, 2, device="meta")).shape == ()


def test_without_a_teachers_embedding_the_loss_is_zero_and_reaches_every_parameter():
    output = torch.ones(3, 2, requires_grad=True)
    loss = distillation_loss(output, torch.full((3, 2), NAN))
    loss.backward()
    assert loss.item() == 0
    assert (output.grad == 0).all()


def test_distillation_is_one_minus_cosine_over_what_the_teacher_has_seen():
    mapped = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 5.0]])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 7.0], [NAN, NAN]])
    assert distillation_loss(mapped, teacher).item() == pytest.approx((0 + 1 - 0.8) / 2)


def test_the_relation_loss_compares_cosines_of_every_known_pair():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = torch.randn(6, 4, generator=generator), torch.randn(6, 3, generator=generator)
    theirs[2] = torch.nan
    total, count = 0.0, 0
    for a in range(6):
        for b in range(6):
            if a != b and 2 not in (a, b):
                cosine = torch.nn.functional.cosine_similarity(ours[a], ours[b], dim=0)
                total += (cosine - torch.nn.functional.cosine_similarity(theirs[a], theirs[b], dim=0)) ** 2
                count += 1
    torch.testing.assert_close(relation_loss(ours, theirs), total / count)
    assert relation_loss(ours, torch.full((6, 3), torch.nan)) == 0
    turned = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    assert relation_loss(3 * ours @ turned, ours) < 1e-10  # neither length nor orientation counts
