from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kinface.debias.adversaries import reverse_gradient
from kinface.debias.heads import reversal_warmup
from kinface.training.losses import FairContrastive, SupervisedContrastive, run_loss
from swinface.files import InputError


@pytest.fixture
def sides():
    generator = torch.Generator().manual_seed(0)

    def draw():
        features = torch.randn(5, 8, generator=generator)
        return {"features": features, "embedding": F.normalize(features[:, :6], dim=1)}

    return draw(), draw()


def naive_contrastive(a, b, temperature, margins):
    """The loss of every face by the formula, one exponential after the other."""
    faces, count = torch.cat([a, b]), len(a)
    losses = []
    for i in range(2 * count):
        positive = (i + count) % (2 * count)
        kin = math.exp((float(faces[i] @ faces[positive]) - margins[i]) / temperature)
        others = sum(
            math.exp(float(faces[i] @ faces[j]) / temperature) for j in range(2 * count) if j not in (i, positive)
        )
        losses.append(-math.log(kin / (kin + others)))
    return sum(losses) / len(losses)


def test_reversal_is_the_identity_forwards_and_the_negative_gradient_backwards():
    x = torch.randn(3, 4, requires_grad=True)
    weight = torch.randn(4)
    (plain,) = torch.autograd.grad((x @ weight).sum(), x)
    reversed_x = reverse_gradient(x, 0.3)
    assert torch.equal(reversed_x, x)
    (turned,) = torch.autograd.grad((reversed_x @ weight).sum(), x)
    torch.testing.assert_close(turned, -0.3 * plain)


def test_reversing_twice_reverses_nothing():
    x = torch.randn(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(reverse_gradient(reverse_gradient(x, 1.0), 1.0).sum(), x)
    torch.testing.assert_close(gradient, torch.ones(3))


def test_reversal_warms_up_from_nothing_to_full_strength():
    assert reversal_warmup(0.0) == 0.0
    assert reversal_warmup(0.1) == pytest.approx(2 / (1 + math.exp(-1)) - 1)
    assert reversal_warmup(1.0) == pytest.approx(1.0, abs=1e-4)


def test_supervised_contrastive_is_the_formula(sides):
    a, b = sides
    expected = naive_contrastive(a["embedding"], b["embedding"], 0.2, [0.0] * 10)
    assert SupervisedContrastive(0.2)(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_fair_contrastive_is_the_formula(sides):
    a, b = sides
    torch.manual_seed(1)
    loss = FairContrastive(0.2)
    loss.fit_to(8)
    features = torch.cat([a["features"], b["features"]])
    margins = []
    for i in range(10):
        differences = []
        for j in range(10):
            middle = loss.debias((features[i] + features[j]) / 2)
            ours, theirs = (F.cosine_similarity(loss.debias(features[k]), middle, dim=0) ** 2 for k in (i, j))
            differences.append((ours - theirs).item())
        margins.append(sum(differences) / 10)
    torch.testing.assert_close(loss.margins(features), torch.tensor(margins), atol=1e-6, rtol=1e-4)
    assert max(map(abs, margins)) > 1e-3
    expected = naive_contrastive(a["embedding"], b["embedding"], 0.2, margins)
    assert loss(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_margins_of_a_batch_sum_to_zero(sides):
    features = torch.cat([side["features"] for side in sides])
    loss = FairContrastive()
    loss.fit_to(8)
    assert loss.margins(features).sum().item() == pytest.approx(0.0, abs=1e-6)


def test_the_debias_layer_learns_from_the_loss(sides):
    loss = FairContrastive()
    loss.fit_to(8)
    loss(*sides).backward()
    assert loss.debias.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x: x, r"its loss is \(3,\); it must be one number"),
        (lambda x: None, "its loss is a NoneType; it must be one number"),
        (lambda x: 1.0, "its loss is a float; it must be one number"),
        (lambda x: x.detach().sum(), "its loss has no gradient: nothing is learned"),
        (lambda x: {}["embedding"], "it fails \\(KeyError: 'embedding'\\)"),
    ],
)
def test_a_loss_of_ones_own_that_teaches_nothing_is_refused(loss, message):
    with pytest.raises(InputError, match=f"model.hide.gender: {message}"):
        run_loss("model.hide.gender", loss, torch.ones(3, requires_grad=True))
    assert run_loss("model.hide.gender", lambda x: x.new_zeros(()), torch.ones(3)) == 0  # a batch without labels
    assert run_loss("model.hide.gender", lambda x: x.sum(), torch.ones(3)) == 3  # of a frozen trunk
