from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from kinface.losses import SupervisedContrastive
from kinface.train import Head, KinshipTraining, attribute_loss, class_weights
from swinface.files import InputError
from swinface.model import SwinFace

TINY = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 1, 1], "patch_size": 4}


def training(**options) -> KinshipTraining:
    return KinshipTraining(SupervisedContrastive(), **{"trunk": TINY, "width": 16, "size": 8, **options})


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


def trained_parts(module: KinshipTraining) -> set[str]:
    names = [name for name, parameter in module.network.named_parameters() if parameter.requires_grad]
    return {
        ".".join(name.split(".")[:4]) if name.startswith("trunk.swin.layers") else name.split(".")[0] for name in names
    }


def test_a_trunk_is_frozen_partly_or_not_at_all():
    assert trained_parts(training(trained_stages=0)) == {"neck", "projection"}
    last = trained_parts(training(trained_stages=1))
    assert last == {"neck", "projection", "trunk.swin.layers.2"}
    every = trained_parts(training(trained_stages=None))
    assert every == {"neck", "projection", "trunk"} | {f"trunk.swin.layers.{stage}" for stage in range(3)}


def test_frozen_stages_drop_nothing_at_random():
    trunk = training(trained_stages=1).network.trunk
    assert [stage.training for stage in trunk.swin.layers] == [False, False, True]
    assert not trunk.swin.patch_embed.training


def test_the_trunk_has_as_many_stages_as_it_has():
    for stages in (-1, 4):
        with pytest.raises(InputError, match="has 3 stages"):
            training(trained_stages=stages)


def test_types_have_a_head_where_they_are_trained():
    assert training().network.types is None
    assert training(type_weight=1.0).network.types is not None


@pytest.mark.parametrize("classes", [["a"], ["a", "b", "a"]])
def test_a_head_needs_two_different_classes(classes):
    with pytest.raises(InputError, match=r"heads.race: two classes or more"):
        training(heads={"race": Head(classes)})


def test_a_swinface_gives_its_trunk(tmp_path):
    start = SwinFace(**{**TINY, "width": 12})
    start.save_pretrained(tmp_path)
    trunk = training(swinface=tmp_path, trunk=None).network.trunk
    for name, tensor in start.trunk.state_dict().items():
        assert torch.equal(trunk.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trunk": None}, "needs an input"),
        ({"embedding_size": 4, "swinface": "x"}, "not both"),
    ],
)
def test_inputs_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        training(**options)


def test_nothing_to_train_is_refused():
    with pytest.raises(InputError, match="nothing to train"):
        KinshipTraining(None, trunk=TINY)


def test_the_strength_of_each_head_follows_its_schedule(monkeypatch):
    heads = {
        "race": Head(["African", "Asian"], adversarial=True, strength=2.0),
        "gender": Head(["f", "m"], adversarial=True, strength=0.5, schedule="constant"),
        "age": Head(["young", "old"]),
    }
    module = training(heads=heads)
    monkeypatch.setattr(KinshipTraining, "trainer", SimpleNamespace(estimated_stepping_batches=100))
    monkeypatch.setattr(KinshipTraining, "global_step", 30)
    assert module.reversal() == pytest.approx({"race": 2 * (2 / (1 + math.exp(-3)) - 1), "gender": 0.5})


def test_each_part_has_its_rate_and_all_follow_one_schedule(monkeypatch):
    heads = {"race": Head(["African", "Asian"], learning_rate=0.3), "gender": Head(["f", "m"])}
    module = training(heads=heads, trained_stages=None, learning_rate=0.2, trunk_learning_rate=0.1, warmup=0.1)
    monkeypatch.setattr(KinshipTraining, "trainer", SimpleNamespace(estimated_stepping_batches=100))
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rate_of = {p: group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in module.network.named_parameters():
        if parameter.requires_grad:
            expected = 0.1 if name.startswith("trunk") else 0.3 if name.startswith("heads.race") else 0.2
            assert rate_of[parameter] == expected, name
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"] / optimizer.param_groups[0]["initial_lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
