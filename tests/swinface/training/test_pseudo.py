"""Pseudo-labels: which answers count, and how the teacher follows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swinface.training.pseudo import DECAY, MEAN_DECAY, PseudoLabels, align_shares, keep_confident


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
    teacher = PseudoLabels(network, {"expression": share})
    teacher.update(network)
    first = network.head.weight.detach().clone()
    with torch.no_grad():
        network.head.weight += 1
    teacher.update(network)
    expected = DECAY * first + (1 - DECAY) * (first + 1)
    assert torch.allclose(teacher.average.module.head.weight, expected, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    faces = torch.randn(5, 2)
    plain = teacher.average(faces)["expression"].softmax(dim=1)
    mean = MEAN_DECAY * share + (1 - MEAN_DECAY) * plain.mean(dim=0)
    assert torch.allclose(teacher.answer(faces)["expression"], align_shares(plain, mean, share), atol=1e-6)
    assert set(teacher.state_dict()) >= {"mean_expression", "average.module.head.weight"}, "a resumed run has them"


@pytest.mark.parametrize("confidence", [0.0, 1.1])
def test_every_answer_or_none(confidence):
    answers = torch.full((4, 2), 0.5)
    assert keep_confident(answers, confidence).isnan().all() == (confidence > 1)
