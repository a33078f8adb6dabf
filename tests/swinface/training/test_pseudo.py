"""Pseudo-labels: which answers count, and how the teacher follows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swinface.data.streams import Unlabelled
from swinface.files import InputError
from swinface.training.pseudo import MEAN_DECAY, PseudoLabels, align_shares, keep_confident


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, faces):
        return {"expression": self.head(faces)}


def test_aligned_answers_have_the_labelled_shares():
    torch.manual_seed(0)
    answers = torch.softmax(3 * torch.randn(4000, 3) + torch.tensor([3.0, 0.0, -2.0]), dim=1)
    share = torch.tensor([0.5, 0.3, 0.2])
    before, after = answers.mean(dim=0), align_shares(answers, answers.mean(dim=0), share)
    assert after.sum(dim=1).allclose(torch.ones(4000))
    assert (after.mean(dim=0) - share).abs().max() < 0.7 * (before - share).abs().max()
    assert torch.equal(align_shares(answers, share, share).argmax(dim=1), answers.argmax(dim=1))


def test_only_confident_answers_count():
    answers = torch.tensor([[0.9, 0.1], [0.89, 0.11], [0.05, 0.95]])
    assert keep_confident(answers, 0.9).nan_to_num(-1).tolist() == [0.0, -1.0, 1.0]
    assert keep_confident(answers, torch.inf).isnan().all()


def test_the_teacher_is_the_moving_average_and_has_no_gradient():
    torch.manual_seed(0)
    network, share = Network(), torch.tensor([0.6, 0.3, 0.1])
    asked = {"celeba": (slice(0, 4), Unlabelled(["expression"]))}
    teacher = PseudoLabels(network, ["expression"], asked, lambda task: share.tolist())
    teacher.update(network)
    first = network.head.weight.detach().clone()
    with torch.no_grad():
        network.head.weight += 1
    teacher.update(network)
    decay = 2 / 11  # after one update
    expected = decay * first + (1 - decay) * (first + 1)
    assert torch.allclose(teacher.average.module.head.weight, expected, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    faces = torch.randn(5, 2)
    plain = teacher.average(faces)["expression"].softmax(dim=1)
    mean = MEAN_DECAY * share + (1 - MEAN_DECAY) * plain.mean(dim=0)
    assert torch.allclose(teacher.answer(faces)["expression"], align_shares(plain, mean, share), atol=1e-6)
    assert set(teacher.state_dict()) >= {"mean_expression", "average.module.head.weight"}, "a resumed run has them"


def test_only_unlabelled_faces_are_taught_and_each_counts_as_one_of_all_asked():
    torch.manual_seed(0)
    network, faces = Network(), torch.randn(6, 2)
    asked = {"celeba": (slice(0, 4), Unlabelled(["expression"], confidence=0.4, weight=0.5, after=0.3))}
    teacher = PseudoLabels(network, ["expression"], asked, lambda task: [0.4, 0.3, 0.3])
    teacher.update(network)
    labels = torch.full((6, 1), torch.nan)
    labels[1] = 2.0
    outputs = network(faces)
    loss, answered = teacher.teach(outputs, faces, labels, progress=0.2)
    assert loss.tolist() == [0.0] and answered.tolist() == [0.0], "too early"
    mean = teacher.mean_expression.clone()
    loss, answered = teacher.teach(outputs, faces, labels, progress=0.5)
    answers = network(faces[:4])["expression"].softmax(dim=1).detach()
    mean.lerp_(answers.mean(dim=0), 1 - MEAN_DECAY)
    best, label = align_shares(answers, mean, torch.tensor([0.4, 0.3, 0.3])).max(dim=1)
    taught = [row for row in (0, 2, 3) if best[row] >= 0.4]
    assert taught and answered.item() == len(taught) / 4
    each = [nn.functional.cross_entropy(outputs["expression"][row], label[row]) for row in taught]
    assert loss.item() == pytest.approx(0.5 * sum(each).item() / 4, rel=1e-5)


@pytest.mark.parametrize(("tasks", "named"), [(["smiling"], "is not trained; choose"), (["age"], "has no classes")])
def test_tasks_without_an_answer_are_named(tasks, named):
    with pytest.raises(InputError, match=f"celeba.pseudo_labels.tasks: .*{named}"):
        PseudoLabels(Network(), ["age", "gender"], {"celeba": (slice(0, 4), Unlabelled(tasks))}, lambda task: [0.5])


@pytest.mark.parametrize("confidence", [0.0, 1.1])
def test_a_confidence_of_0_keeps_all_and_above_1_keeps_none(confidence):
    answers = torch.full((4, 2), 0.5)
    assert keep_confident(answers, confidence).isnan().all() == (confidence > 1)
