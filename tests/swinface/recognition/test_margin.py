"""Run as a script, `python test_margin.py FOLDER`, this is the training of two processes that the tests look at."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss
from torch.nn import functional as F

from swinface.files import InputError
from swinface.recognition.margin import MarginSoftmax, gather_shares, ignored_by_ddp, take_shares
from swinface.recognition.optimiser import SampledAdamW
from swinface.training.runs import leave_processes

SIZE, CLASSES, STEPS, FACES = 6, 1500, 3, 8


class Training(lightning.LightningModule):
    """Wired as a training of many identities is: a trunk under DDP, its centres shared out."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.options = options
        self.network = torch.nn.Linear(5, SIZE)
        with torch.no_grad():
            self.network.weight.copy_(torch.linspace(-1, 1, 5 * SIZE).sin().view(SIZE, 5))
            self.network.bias.zero_()
        self.softmax, self.losses, self.gradients = None, [], []

    def configure_model(self) -> None:
        if self.softmax is None:
            self.softmax = MarginSoftmax(SIZE, CLASSES, **self.options)
            self._ddp_params_and_buffers_to_ignore = ignored_by_ddp(self)

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        step = self.global_step
        generator = torch.Generator().manual_seed(step)
        faces = torch.randn(FACES, 5, generator=generator)
        label = torch.randint(CLASSES, (FACES,), generator=generator)
        label[FACES // 2 + step :] = -1  # the second process has hardly any
        part = slice(self.global_rank * FACES // self.trainer.world_size, None)
        part = slice(part.start, part.start + FACES // self.trainer.world_size)
        loss = self.softmax(self.network(faces[part]), label[part], step)
        self.losses.append(loss.item())
        return loss

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        self.gradients.append(self.network.weight.grad.clone())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = [{"params": self.network.parameters()}, {"params": self.softmax.parameters(), "lr": 0.02}]
        return SampledAdamW(groups, lr=0.01, weight_decay=0.1)

    def on_save_checkpoint(self, checkpoint) -> None:
        gather_shares(self, checkpoint, self.trainer.optimizers)
        checkpoint["seen"] = {"losses": self.losses, "gradients": self.gradients}

    def on_load_checkpoint(self, checkpoint) -> None:
        take_shares(self, checkpoint)


def train(folder: Path, processes: int, resume: Path | None = None, **options) -> None:
    """Two epochs of STEPS steps, leaving epoch=0.ckpt and epoch=1.ckpt in ``folder``."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="auto" if processes == 1 else DDPStrategy(process_group_backend="gloo"),
        max_epochs=2,
        callbacks=[ModelCheckpoint(folder, "{epoch}", save_top_k=-1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    loader = torch.utils.data.DataLoader(range(STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's own, and its advice on loaders and logging
        trainer.fit(Training(**options), loader, ckpt_path=resume, weights_only=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Folders of runs, each in ``<processes>-<options>`` or, resumed after its first epoch, with the other number."""
    root = tmp_path_factory.mktemp("runs")
    for kind in ("cosface", "arcface"):
        train(root / f"1-{kind}", 1, kind=kind)
    done = subprocess.run([sys.executable, __file__, root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    train(root / "2-then-1", 1, root / "2-cosface" / "epoch=0.ckpt", kind="cosface")
    return root


def train_two_processes(root: Path) -> None:
    for kind in ("cosface", "arcface"):
        train(root / f"2-{kind}", 2, kind=kind)
    train(root / "1-then-2", 2, root / "1-cosface" / "epoch=0.ckpt", kind="cosface")
    train(root / "2-sampled", 2, rate=0.3)
    train(root / "2-sampled-resumed", 2, root / "2-sampled" / "epoch=0.ckpt", rate=0.3)


def end(runs: Path, name: str) -> dict:
    return torch.load(runs / name / "epoch=1.ckpt", weights_only=True)


def moments(checkpoint: dict) -> list[torch.Tensor]:
    state = checkpoint["optimizer_states"][0]["state"]
    return [value for place in sorted(state) for value in state[place].values()]


@pytest.mark.parametrize("kind", ["cosface", "arcface"])
def test_two_processes_have_the_losses_and_gradients_of_one(runs, kind):
    one, two = end(runs, f"1-{kind}"), end(runs, f"2-{kind}")
    assert len(one["seen"]["losses"]) == 2 * STEPS
    np.testing.assert_allclose(two["seen"]["losses"], one["seen"]["losses"], rtol=1e-5)
    for mine, theirs in zip(two["seen"]["gradients"], one["seen"]["gradients"], strict=True):
        assert theirs.abs().max() > 0.1
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert two["state_dict"]["softmax.centres"].shape == (CLASSES, SIZE)
    for name, tensor in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["2-then-1", "1-then-2"])
def test_a_run_goes_on_with_another_number_of_processes(runs, name):
    whole, resumed = end(runs, "1-cosface"), end(runs, name)
    np.testing.assert_allclose(resumed["seen"]["losses"], whole["seen"]["losses"][STEPS:], rtol=1e-5)
    for mine, theirs in zip(moments(resumed), moments(whole), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_of_two_processes_draws_and_learns_the_same(runs):
    whole, resumed = end(runs, "2-sampled"), end(runs, "2-sampled-resumed")
    assert resumed["seen"]["losses"] == whole["seen"]["losses"][STEPS:]
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], tensor), name
    for mine, theirs in zip(moments(resumed), moments(whole), strict=True):
        assert torch.equal(mine, theirs)


def test_centres_that_are_not_drawn_do_not_change(runs):
    start = MarginSoftmax(SIZE, CLASSES).centres.detach()
    first = torch.load(runs / "2-sampled" / "epoch=0.ckpt", weights_only=True)["state_dict"]["softmax.centres"]
    for share in (slice(0, 750), slice(750, 1500)):
        moved = (first[share] != start[share]).any(dim=1).float().mean()
        assert moved == pytest.approx(1 - 0.7**STEPS, abs=0.06)


def test_identities_of_another_training_are_refused(runs):
    module = Training()
    module.softmax = MarginSoftmax(SIZE, CLASSES + 1)
    with pytest.raises(InputError, match="1500 identities of 6 numbers, the training data give 1501 of 6"):
        take_shares(module, torch.load(runs / "2-cosface" / "epoch=1.ckpt", weights_only=True))


def batch(faces: int = 12, size: int = 16, classes: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    embedding = torch.randn(faces, size, generator=generator).requires_grad_()
    return embedding, torch.randint(classes, (faces,), generator=generator)


@pytest.mark.parametrize(("kind", "margin"), [("cosface", 0.35), ("arcface", 0.5)])
def test_loss_and_gradients_are_those_of_pytorch_metric_learning(kind, margin):
    ours = MarginSoftmax(16, 40, margin, 30.0, kind)
    reference = {
        "cosface": lambda: CosFaceLoss(40, 16, margin=margin, scale=30.0),
        "arcface": lambda: ArcFaceLoss(40, 16, margin=np.degrees(margin), scale=30.0),
    }[kind]()
    reference.W.data = ours.centres.detach().T.clone()
    mine, label = batch()
    with torch.no_grad():  # one on the far side of its centre, beyond pi - m
        mine[0] = 0.01 * mine[0] - 100 * ours.centres[label[0]]
    theirs = mine.detach().clone().requires_grad_()
    loss, expected = ours(mine, label, 0), reference(theirs, label)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.centres.grad, reference.W.grad.T, rtol=1e-4, atol=1e-4)


def naive(softmax: MarginSoftmax, embedding: np.ndarray, label: np.ndarray, drawn: np.ndarray) -> float:
    centres, losses = softmax.centres.detach().double().numpy(), []
    for face, identity in zip(embedding, label, strict=True):
        if identity < 0:
            continue
        logits = {}
        for c in drawn:
            cosine = face @ centres[c] / np.linalg.norm(face) / np.linalg.norm(centres[c])
            logits[c] = softmax.scale * (cosine - softmax.margin * (c == identity))
        losses.append(np.log(sum(np.exp(z) for z in logits.values())) - logits[identity])
    return float(np.mean(losses))


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_loss_is_that_of_a_loop_over_faces_and_drawn_classes(rate):
    softmax = MarginSoftmax(16, 40, scale=20.0, rate=rate)
    embedding, label = batch()
    label[[2, 5]] = -1
    drawn = softmax.draw(label.clamp(min=0), label >= 0, 7).numpy() if rate < 1 else np.arange(40)
    expected = naive(softmax, embedding.detach().double().numpy(), label.numpy(), drawn)
    loss = softmax(embedding, label, 7)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert (embedding.grad[[2, 5]] == 0).all()
    rows = softmax.centres.grad.to_dense().abs().sum(dim=1) > 0
    assert rows.nonzero().squeeze(1).tolist() == drawn.tolist()


def test_a_batch_without_identities_costs_nothing():
    for rate in (1.0, 0.5):
        softmax, (embedding, label) = MarginSoftmax(16, 40, rate=rate), batch()
        loss = softmax(embedding, torch.full_like(label, -1), 0)
        loss.backward()
        assert loss.item() == 0
        assert (embedding.grad == 0).all()
        assert (softmax.centres.grad.to_dense() == 0).all()


def test_a_draw_holds_every_positive_and_the_stated_number():
    softmax = MarginSoftmax(4, 1000, rate=0.3)
    positive = torch.tensor([999, 5, 5, 400])
    here = torch.ones(4, dtype=torch.bool)
    drawn = softmax.draw(positive, here, 1)
    assert len(drawn) == 300
    assert (drawn.diff() > 0).all()
    assert set(positive.tolist()) <= set(drawn.tolist())
    assert softmax.draw(torch.arange(450), torch.ones(450, dtype=torch.bool), 1).tolist() == list(range(450))
    few = MarginSoftmax(4, 1000, rate=1e-6)
    assert len(few.draw(positive[:1], here[:1], 1)) == 1
    assert set(few.draw(positive, here, 1).tolist()) >= set(positive.tolist())
    elsewhere = torch.tensor([True, False, False, False])  # their column, 0, is not drawn for them
    often = [0 in softmax.draw(torch.tensor([999, 0, 0, 0]), elsewhere, step).tolist() for step in range(200)]
    assert 0.2 < np.mean(often) < 0.4


def test_a_draw_is_decided_by_seed_step_and_rank():
    def draw(seed=0, step=0, rank=0):
        softmax = MarginSoftmax(4, 1000, rate=0.3, seed=seed)
        softmax.rank = rank
        return softmax.draw(torch.tensor([1]), torch.tensor([True]), step).tolist()

    assert draw() == draw()
    assert len({tuple(drawn) for drawn in (draw(), draw(seed=1), draw(step=1), draw(rank=1))}) == 4


def test_every_class_is_drawn_as_often():
    softmax = MarginSoftmax(4, 50, rate=0.2)
    first = torch.tensor([0]), torch.tensor([True])
    counts = sum(torch.bincount(softmax.draw(*first, step), minlength=50) for step in range(2000))
    assert counts[0] == 2000
    assert np.asarray(counts[1:]) == pytest.approx(2000 * 9 / 49, rel=0.25)


def test_half_precision_is_kept_out_of_the_loss():
    softmax, (embedding, label) = MarginSoftmax(16, 40), batch()
    half = embedding.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = softmax(half, label, 0)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, softmax(half.float(), label, 0))


def test_training_tells_the_identities_apart():
    softmax, (embedding, label) = MarginSoftmax(16, 40, rate=0.5), batch()
    optimizer = SampledAdamW([embedding, softmax.centres], lr=0.02)
    for step in range(150):
        optimizer.zero_grad()
        softmax(embedding, label, step).backward()
        optimizer.step()
    cosine = F.normalize(embedding) @ F.normalize(softmax.centres).T
    assert torch.equal(cosine.argmax(dim=1), label)


def test_only_the_rows_of_a_sparse_gradient_move():
    start = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    batches = [[0, 3], [3, 4], [0, 3]]
    sparse = start.clone().requires_grad_()
    optimizer = SampledAdamW([sparse], lr=0.1, weight_decay=0.2)
    row, mean, square = start[3].clone(), torch.zeros(3), torch.zeros(3)  # row 3 is in every batch
    for step, rows in enumerate(batches, start=1):
        optimizer.zero_grad()
        F.embedding(torch.tensor(rows), sparse, sparse=True).pow(2).sum().backward()
        optimizer.step()
        gradient = 2 * row  # AdamW by its definition (Loshchilov & Hutter, algorithm 2)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        step_size = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        row = row - 0.1 * (step_size + 0.2 * row)
    torch.testing.assert_close(sparse[3].detach(), row)
    assert torch.equal(sparse[[1, 2, 5, 6]].detach(), start[[1, 2, 5, 6]])
    assert not optimizer.state[sparse]["exp_avg"][[1, 2, 5, 6]].any()


def test_sampled_adamw_is_torchs_own_where_both_apply():
    start = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    mine, theirs, dense, adamw = (start.clone().requires_grad_() for _ in range(4))
    pairs = [
        (mine, SampledAdamW([mine], lr=0.1, weight_decay=0.0), True),
        (theirs, torch.optim.SparseAdam([theirs], lr=0.1), True),
        (dense, SampledAdamW([dense], lr=0.1), False),
        (adamw, torch.optim.AdamW([adamw], lr=0.1), False),
    ]
    for rows in ([0, 3], [3, 4], [0, 6]):
        for parameter, optimizer, sparse in pairs:
            optimizer.zero_grad()
            F.embedding(torch.tensor(rows), parameter, sparse=sparse).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(mine, theirs)
    assert torch.equal(dense, adamw)
    assert mine.grad.is_sparse  # left for whoever looks at it after the step


def test_the_closures_loss_is_returned():
    softmax, (embedding, label) = MarginSoftmax(16, 40, rate=0.5), batch()
    optimizer = SampledAdamW([embedding, softmax.centres], lr=0.02)

    def closure():
        loss = softmax(embedding, label, 0)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    assert len(optimizer.state) == 2


def test_names_are_those_within_the_wrapped_module():
    softmax = MarginSoftmax(4, 10)
    assert ignored_by_ddp(softmax) == ["centres"]
    wrapped = torch.nn.ModuleDict({"identity": softmax, "other": torch.nn.Linear(2, 2)})
    assert ignored_by_ddp(wrapped) == ["identity.centres"]
    assert set(ignored_by_ddp(wrapped)) < {name for name, _ in wrapped.named_parameters()}


def test_classes_are_shared_out_without_gap_or_overlap():
    softmax = MarginSoftmax(4, 11)
    softmax.processes = 3
    shares = [softmax.share(rank) for rank in range(3)]
    assert [c for start, stop in shares for c in range(start, stop)] == list(range(11))
    assert {stop - start for start, stop in shares} == {3, 4}


@pytest.mark.parametrize(
    ("options", "named"), [({"rate": 0.0}, "rate 0.0"), ({"rate": 1.5}, "rate 1.5"), ({"kind": "sphere"}, "sphere")]
)
def test_bad_options_are_named(options, named):
    with pytest.raises(InputError, match=named):
        MarginSoftmax(4, 10, **options)
    with pytest.raises(InputError, match="0 classes"):
        MarginSoftmax(4, 0)


def test_a_label_beyond_the_classes_is_named():
    embedding, label = batch()
    label[3] = 40
    with pytest.raises(RuntimeError, match="a label is not below the 40 classes"):
        MarginSoftmax(16, 40)(embedding, label, 0)


if __name__ == "__main__":
    train_two_processes(Path(sys.argv[1]))
    leave_processes()
