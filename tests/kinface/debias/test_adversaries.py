from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kinface.debias.adversaries import Adversary, KernelAdversary, MeanDiscrepancy, Reading
from kinface.debias.heads import attribute_loss, class_weights
from kinface.models.kinface import KinFace

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4, "drop_path": 0.0}


def adversary(size=6, channels=None, place="features", **options) -> Adversary:
    torch.manual_seed(0)
    return Adversary(Reading(place, size, 3, channels, learning_rate=0.01), **options)


def clone(module):
    return {name: parameter.clone() for name, parameter in module.named_parameters()}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 6, generator=generator), torch.randint(-1, 3, (40,), generator=generator)


def test_it_learns_by_an_optimiser_of_its_own_and_passes_nothing_on(batch):
    inputs, labels = batch
    ours, twin = adversary(updates=3), adversary()
    reference = torch.optim.AdamW(twin.members.requires_grad_(True).parameters(), 0.01)
    known = labels >= 0
    for _ in range(3):
        reference.zero_grad()
        loss = F.cross_entropy(twin.members[0](inputs[known]), labels[known], torch.tensor([1.0, 2.0, 3.0]))
        loss.backward()
        reference.step()
    inputs.requires_grad_(True)
    last = ours.learn(inputs, labels, torch.tensor([1.0, 2.0, 3.0]), step=0)
    torch.testing.assert_close(last, loss.detach())
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name), parameter.detach())
    assert inputs.grad is None and not any(parameter.requires_grad for parameter in ours.parameters())


def test_reversal_turns_the_gradient_of_its_loss_round(batch):
    inputs, labels = batch
    ours = adversary()
    inputs.requires_grad_(True)
    known = labels >= 0
    (plain,) = torch.autograd.grad(F.cross_entropy(ours.members[0](inputs[known]), labels[known]), inputs)
    before = clone(ours)
    loss = ours.hide(inputs, labels, None, strength=0.7)
    loss.backward()
    torch.testing.assert_close(inputs.grad, -0.7 * plain)
    torch.testing.assert_close(loss, F.cross_entropy(ours.members[0](inputs[known]), labels[known]))
    for name, parameter in ours.named_parameters():
        assert parameter.grad is None and torch.equal(parameter, before[name])


def test_confusion_is_the_divergence_from_the_uniform_distribution(batch):
    inputs, labels = batch
    ours, weights = adversary(objective="confusion"), torch.tensor([1.0, 2.0, 4.0])
    expected, total = 0.0, 0.0
    for face, label in zip(inputs, labels, strict=True):
        if label >= 0:
            answer = ours.members[0](face[None])[0].softmax(dim=0)
            expected += float(weights[label] * sum(math.log((1 / 3) / p) / 3 for p in answer.tolist()))
            total += float(weights[label])
    assert float(ours.hide(inputs, labels, weights, strength=2.0)) == pytest.approx(2 * expected / total, rel=1e-4)
    for layer in ours.members[0][1]:
        if hasattr(layer, "weight"):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    assert float(ours.hide(inputs, labels, weights, strength=2.0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("objective", ["reversal", "confusion"])
def test_a_batch_of_unknown_people_says_nothing(batch, objective):
    inputs, labels = batch
    ours = adversary(objective=objective)
    inputs.requires_grad_(True)
    ours.hide(inputs, torch.full_like(labels, -1), None, 1.0).backward()
    assert (inputs.grad == 0).all()


def test_the_reversed_gradient_passes_through_mlca_into_the_trunk():
    torch.manual_seed(0)
    model = KinFace(TINY, width=32, size=16).eval()
    images = torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 0])
    ours = adversary(size=32)

    def gradients(loss):
        model.zero_grad()
        loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients(F.cross_entropy(ours.members[0](model(images)["features"]), labels))
    turned = gradients(ours.hide(model(images)["features"], labels, None, 0.7))
    reached = {"neck": False, "trunk": False}
    for name, gradient in plain.items():
        torch.testing.assert_close(turned[name], -0.7 * gradient, atol=1e-7, rtol=1e-4, msg=name)
        reached[name.split(".")[0]] |= bool(gradient.abs().sum() > 0)
    assert all(reached.values()), reached


def test_one_on_the_levels_reads_them_through_an_mlca_of_its_own():
    torch.manual_seed(0)
    model = KinFace(TINY, width=32, size=16).eval()
    ours = adversary(size=32, channels=model.trunk.channels, place="levels").eval()
    levels = model(torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8))["inputs"]
    ours.hide(levels, torch.tensor([0, 1, 2, 0]), None, 1.0).backward()
    assert ours(levels).shape == (4, 3)
    assert model.neck.convolutions[0].weight.grad is None  # not through the model's MLCA
    assert model.trunk.swin.layers[0].blocks[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_what_reads_unit_vectors_sees_them_at_the_scale_of_features():
    ours = adversary(place="embedding")
    inputs = F.normalize(torch.randn(5, 6), dim=1)
    torch.testing.assert_close(ours(inputs), ours.members[0](inputs * math.sqrt(6)).log_softmax(dim=1))


def test_members_start_again_one_after_the_other(batch):
    ours, twin = adversary(members=2, restart=10, learning_rate=1e-9), adversary(members=2)
    fresh = clone(twin)
    for step in range(9):
        ours.learn(*batch, None, step)
    kept = clone(ours)
    for step, expected in ((11, []), (20, ["1"]), (30, ["0", "1"]), (31, ["0", "1"])):
        ours.learn(*batch, None, step)
        moved = {name.split(".")[1] for name, p in ours.named_parameters() if not torch.allclose(p, kept[name])}
        assert sorted(moved) == expected, step
    assert not any(torch.allclose(p, fresh[name]) for name, p in ours.named_parameters() if name.endswith("weight"))
    steps = [ours.optimiser.state[member[1][0].weight]["step"] for member in ours.members]
    assert steps == [2, 3]  # the optimiser too starts again


def test_its_state_holds_that_of_its_optimiser(batch):
    ours, resumed = adversary(updates=2), adversary()
    ours.learn(*batch, None, step=0)
    resumed.load_state_dict(copy.deepcopy(ours.state_dict()))
    resumed.updates = ours.updates
    for one in (ours, resumed):
        one.learn(*batch, None, step=0)
    for name, parameter in ours.named_parameters():
        assert torch.equal(resumed.get_parameter(name), parameter), name


def kernel() -> KernelAdversary:
    return KernelAdversary(Reading("embedding", 6, 3))


def test_the_kernels_answer_is_that_of_ridge_regression_on_what_it_remembers(monkeypatch):
    from sklearn.linear_model import Ridge

    generator = torch.Generator().manual_seed(0)
    faces = F.normalize(torch.randn(300, 6, generator=generator), dim=1)
    labels = torch.cat([torch.randint(0, 3, (260,), generator=generator), torch.full((40,), -1)])
    ours = kernel()
    monkeypatch.setattr(KernelAdversary, "RIDGE", 1e-2)
    ours.learn(faces[:100], labels[:100], None, 0)
    ours.learn(faces[100:], labels[100:], None, 1)
    torch.manual_seed(5)
    answers = ours(faces[:7])
    torch.manual_seed(5)
    bandwidth = 0.5 * torch.pdist(faces[:260][torch.linspace(0, 259, 256).long()]).median()
    directions, phases = torch.randn(6, 512) / bandwidth, 2 * math.pi * torch.rand(512)
    basis = (math.sqrt(2 / 512) * torch.cos(faces @ directions + phases)).double().numpy()
    known, classes = labels[:260].numpy(), F.one_hot(labels[:260], 3).double().numpy()
    weight = 1 / np.bincount(known)[known] / 3
    reference = Ridge(alpha=1e-2).fit(basis[:260], classes, sample_weight=weight)  # its mean answer is 1/3
    np.testing.assert_allclose(answers.numpy(), reference.predict(basis[:7]) - 1 / 3, atol=2e-4)


def discrepancy() -> MeanDiscrepancy:
    return MeanDiscrepancy(Reading("embedding", 6, 3))


def test_the_penalty_is_the_mean_discrepancy_of_the_classes_by_loops():
    generator = torch.Generator().manual_seed(0)
    faces = torch.randn(270, 6, generator=generator, dtype=torch.float64).float()
    labels = torch.cat([torch.randint(0, 3, (260,), generator=generator), torch.full((10,), -1)])
    ours = discrepancy()
    ours.learn(faces, labels, None, 0)
    weights = class_weights(labels, torch.ones(270), 3)
    found = ours.hide(faces, labels, weights, 0.7)
    known, classes = faces[:260].double().numpy(), labels[:260].numpy()
    distance = torch.pdist(faces[:260][torch.linspace(0, 259, 256).long()]).median().item()

    def alike(one: int, other: int) -> float:
        pairs = [np.sum((a - b) ** 2) for a in known[classes == one] for b in known[classes == other]]
        return float(np.mean([np.exp(-d / (2 * (w * distance) ** 2)) for d in pairs for w in (0.1, 0.3, 1)]) * 3)

    products = np.array([[alike(one, other) for other in range(3)] for one in range(3)])
    expected = np.mean([products[k, k] - 2 * products[k].mean() + products.mean() for k in range(3)])
    assert found.item() == pytest.approx(10 * 0.7 * expected, rel=1e-4)


def test_levels_are_read_as_their_mean_over_places():
    levels, labels = torch.randn(60, 6, 7, 7, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    for make in (kernel, discrepancy):
        ours, pooled = make(), make()
        ours.learn(levels, labels, None, 0)
        pooled.learn(levels.mean(dim=(2, 3)), labels, None, 0)
        torch.testing.assert_close(ours.faces, pooled.faces)
        losses = []
        for one, inputs in ((ours, levels), (pooled, levels.mean(dim=(2, 3)))):
            torch.manual_seed(0)
            losses.append(one.hide(inputs, labels, None, 1.0))
        torch.testing.assert_close(*losses)


@pytest.mark.parametrize("make", [kernel, discrepancy])
def test_what_is_read_can_be_hidden_by_following_the_gradient(make):
    torch.manual_seed(0)
    labels = torch.arange(240) % 3
    faces = torch.randn(240, 6)
    faces[:, :2] += 2.5 * torch.tensor([[0.0, 1.0], [-0.9, -0.5], [0.9, -0.5]])[labels]
    faces.requires_grad_(True)
    optimiser, ours, read = torch.optim.Adam([faces], 0.03), make(), []
    for step in range(60):
        unit = F.normalize(faces, dim=1)
        ours.learn(unit, labels, None, step)
        read.append(float((ours(unit).argmax(dim=1) == labels).float().mean()))
        optimiser.zero_grad()
        ours.hide(unit, labels, None, 1.0).backward()
        optimiser.step()
    assert read[0] > 0.75
    assert read[-1] < read[0] - 0.2


def test_the_kernel_forgets_the_oldest_and_has_nothing_to_say_of_unknown_people():
    ours, faces = kernel(), F.normalize(torch.randn(1500, 6), dim=1)
    inputs = faces[:4].clone().requires_grad_(True)
    ours.learn(faces, torch.full((1500,), -1), None, 0)
    ours.hide(inputs, torch.zeros(4, dtype=torch.long), None, 1.0).backward()
    assert (inputs.grad == 0).all()
    ours.learn(faces, torch.ones(1500, dtype=torch.long), None, 1)
    assert len(ours.faces) == 2048 and int((ours.labels < 0).sum()) == 548
    torch.testing.assert_close(ours.faces[-1500:], faces)


def test_unknown_labels_do_not_count():
    logits = torch.randn(4, 3)
    labels = torch.tensor([2, -1, 0, -1])
    expected = F.cross_entropy(logits[[0, 2]], torch.tensor([2, 0]))
    torch.testing.assert_close(attribute_loss(logits, labels, None), expected)


def test_a_batch_without_labels_has_a_loss_of_zero_that_can_be_differentiated():
    logits = torch.randn(4, 3, requires_grad=True)
    attribute_loss(logits, torch.full((4,), -1), None).backward()
    assert (logits.grad == 0).all()


def test_class_weights_balance_what_is_drawn_and_leave_out_absent_classes():
    labels = torch.tensor([0] * 6 + [1] * 2 + [-1] * 5)
    even = class_weights(labels, torch.full((13,), 1 / 13), 3)
    torch.testing.assert_close(even, torch.tensor([8 / 12, 2.0, 0.0]))
    shares = torch.tensor([0.05] * 6 + [0.3] * 2 + [0.02] * 5)
    torch.testing.assert_close(class_weights(labels, shares, 3), torch.tensor([0.9 / 0.6, 0.9 / 1.2, 0.0]))


def test_the_optimisers_state_follows_the_weights_to_where_the_engine_moves_them(batch):
    ours = adversary()
    ours.learn(*batch, None, step=0)
    state = ours.optimiser.state[ours.members[0][1][0].weight]
    weight = ours.to("meta").members[0][1][0].weight  # stands for a GPU
    ours.optimiser.state = {weight: state}
    ours._follow_device()
    assert {name: value.device.type for name, value in state.items()} == {
        "step": "cpu",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }
