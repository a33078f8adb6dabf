"""A training step, without the engine's command line."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from swinface.files import InputError
from swinface.tasks import PAPER_TASKS
from swinface.training.module import FaceTraining, Recognition

TINY = {
    "embed_dim": 8,
    "depths": [0, 0, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "convolutions": [0, 0, 0, 0],
    "width": 16,
    "embedding_size": 12,
}
WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "unique",
    "masked_select",
    "is_nonzero",
    "equal",
    "_unique2",
    "repeat_interleave",
)


class Waits(TorchDispatchMode):
    """Counts operations for which a CPU waits for its GPU: a number or a shape that depends on data is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        masks = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITING or masks:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def training(monkeypatch) -> FaceTraining:
    return make_training(monkeypatch)


def make_training(monkeypatch, precision: str = "32-true", **options) -> FaceTraining:
    """A module with 12 faces in its batches: 6 of recognition, then 6 with labels."""
    torch.manual_seed(0)
    options = {"recognition": Recognition(rate=0.5), "distillation": 1.0, "balance": {"expression": 0.5}} | options
    module = FaceTraining(TINY, **options)
    batches = SimpleNamespace(
        tasks=list(PAPER_TASKS),
        identities=40,
        teacher_size=5,
        class_shares=lambda task: [1 / 7] * PAPER_TASKS[task].classes,
    )
    data = SimpleNamespace(
        batches=batches, streams={}, seed=0, batch_size=12, rows=lambda stream: slice(0, 6), validation={}
    )
    trainer = SimpleNamespace(
        datamodule=data,
        world_size=1,
        accumulate_grad_batches=1,
        estimated_stepping_batches=100,
        global_step=0,
        precision=precision,
    )
    monkeypatch.setattr(FaceTraining, "trainer", trainer)
    monkeypatch.setattr(FaceTraining, "global_step", 0)
    module.setup("fit")
    module.on_fit_start()
    return module


@pytest.fixture
def batch() -> dict:
    labels = torch.full((12, len(PAPER_TASKS)), float("nan"))
    labels[6:] = torch.tensor([[30.0 if name == "age" else 1.0 for name in PAPER_TASKS]])
    return {
        "images": torch.randn(12, 3, 112, 112),
        "identity": torch.tensor([0, 1, 2, 39, 4, 4, *[-1] * 6]),
        "teacher": torch.randn(12, 5),
        "labels": labels,
        "step": 3,
    }


def test_no_part_of_a_step_waits_for_the_device_but_the_check_of_its_gradient(training, batch):
    optimizer = training.configure_optimizers()["optimizer"]
    with Waits() as waits:
        training.on_train_batch_start(batch, 0)
        loss = training.training_step(batch, 0)
        loss.backward()
    assert waits.found == []
    with Waits() as waits:
        training.configure_gradient_clipping(optimizer)
    assert waits.found == ["_local_scalar_dense"]


def test_the_counter_sees_what_makes_a_gpu_wait():
    with Waits() as waits:
        numbers = torch.arange(4)
        numbers[numbers > 1].sum().item()
        numbers.nonzero()
        torch.unique(numbers)
    assert waits.found == ["index", "_local_scalar_dense", "nonzero", "_unique2"]


def take_step(training: FaceTraining, optimizer: torch.optim.Optimizer, batches: list[dict]) -> float:
    """What the engine calls in a step of some batches; their losses."""
    losses = []
    for number, batch in enumerate(batches):
        training.on_train_batch_start(batch, number)
        loss = training.training_step(batch, number)
        loss.backward()
        losses.append(loss.item())
    training.configure_gradient_clipping(optimizer)
    return sum(losses)


def test_mean_losses_of_an_epoch_are_those_of_its_steps(training, batch):
    training.trainer.strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    training.trainer.optimizers = [training.configure_optimizers()["optimizer"]]
    optimizer = training.trainer.optimizers[0]
    totals = [take_step(training, optimizer, [batch | {"step": step}]) for step in range(3)]
    described = training.describe_epoch()
    losses = [value for name, value in described.items() if name.startswith("train_")]
    assert len(losses) == 2 + len(PAPER_TASKS)
    assert sum(losses) == pytest.approx(sum(totals) / 3, rel=1e-5)
    assert training.loss_sums.sum() == 0


def test_a_step_that_is_skipped_leaves_no_losses_and_no_statistics(training, batch):
    training.trainer.strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    training.trainer.optimizers = [training.configure_optimizers()["optimizer"]]
    optimizer, broken = training.trainer.optimizers[0], batch | {"images": batch["images"] * float("nan")}
    before = {name: it.clone() for name, it in training.network.named_buffers() if it.is_floating_point()}
    take_step(training, optimizer, [broken, batch])  # of two batches, whose gradients are added up
    take_step(training, optimizer, [batch, broken])
    assert all(torch.equal(training.network.get_buffer(name), it) for name, it in before.items())
    total = take_step(training, optimizer, [batch])
    described = training.describe_epoch()
    assert described["skipped_steps"] == 2
    assert sum(value for name, value in described.items() if name.startswith("train_")) == pytest.approx(total)
    assert math.isnan(training.describe_epoch()["train_recognition"]), "no step, no loss"


@pytest.mark.parametrize(
    ("options", "named"), [({"balance": {"age": 0.5}}, "age has no classes"), ({"balance": {"beauty": 0.5}}, "beauty")]
)
def test_only_tasks_with_classes_are_balanced(options, named):
    with pytest.raises(InputError, match=named):
        FaceTraining(TINY, **options)


def test_linear_layers_are_in_half_precision_only_if_that_of_the_training_is(monkeypatch, batch):
    def losses(half: str, precision: str) -> torch.Tensor:
        training = make_training(monkeypatch, precision, half=half)
        training.on_train_batch_start(batch, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
            return training.training_step(batch, 0)

    full = losses("all", "32-true")
    assert torch.equal(losses("linear", "32-true"), full)
    assert 0 < (losses("linear", "bf16-mixed") - full).abs() < 0.1 * full.abs()


def test_a_compiled_network_gives_the_same_step(training, batch):
    expected = training.training_step(batch, 0)
    training.network.compile(backend="aot_eager")  # traces as any backend does, without a compiler
    assert training.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-4)
