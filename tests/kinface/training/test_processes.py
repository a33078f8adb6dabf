"""Two processes train as one does. Run as a script, `python test_processes.py FOLDER`, this is their training."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning
import pandas as pd
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from kinface.debias.heads import Head, Hide
from kinface.training.data import KinBatches
from kinface.training.losses import Verification
from kinface.training.module import KinshipTraining
from kinface.training.network import Network
from swinface.training.runs import leave_processes

FAMILIES, PAIRS, STEPS, SIZE = 24, 8, 4, 12
CLASSES = ["f", "m"]
VARIANTS = {
    "contrastive": {},
    "matched": {"matched": ["gender"]},
    "mlp": {"heads": {"age": Head()}, "hide": {"gender": Hide("mlp", {"updates": 2})}, "type_weight": 1.0},
    "discrepancy": {"hide": {"gender": Hide("mmd", reads="embedding")}},
}


class Data(lightning.LightningDataModule):
    """Kin pairs of made-up embeddings, with labels of which some are unknown."""

    seed, cache, tune_pairs = 3, None, {"standard": None}

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.train_faces = pd.DataFrame({"person": [f"F{i // 2}/MID{i % 2}" for i in range(2 * FAMILIES)]})
        pairs = {f"person_{side}": [f"F{i}/MID{place}" for i in range(FAMILIES)] for place, side in enumerate("ab")}
        relations = pd.DataFrame({**pairs, "family": pairs["person_a"], "type": "fs", "relation": "parent"})
        self.known = {name: torch.randint(-1, 2, (2 * FAMILIES,), generator=generator) for name in ("age", "gender")}
        inputs = torch.randn(2 * FAMILIES, SIZE, generator=generator)
        of_processes = self.trainer.global_rank, self.trainer.world_size
        each = PAIRS // self.trainer.world_size
        labels = self.labels(self.train_faces)
        self.batches = KinBatches(inputs, self.train_faces, relations, labels, each, self.seed, *of_processes)
        self.families = SimpleNamespace(people=None)

    def labels(self, faces: pd.DataFrame) -> dict[str, torch.Tensor]:
        return {name: self.known[name] for name in self.trainer.lightning_module.attributes}

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(self.batches, batch_size=None, sampler=range(STEPS))


class Training(KinshipTraining):
    """Without what the network knows of the faces of its process alone: a batch norm."""

    def __init__(self, **options) -> None:
        torch.manual_seed(0)
        options |= {"attributes": {"age": CLASSES, "gender": CLASSES}, "embedding_size": SIZE}
        super().__init__(Verification("fair_contrastive"), network=Network(width=16, size=8), **options)
        self.network.neck = torch.nn.Linear(SIZE, 16)
        self.seen = []

    def training_step(self, batch: dict[str, torch.Tensor], number: int) -> torch.Tensor:
        loss = super().training_step(batch, number)
        self.seen.append({"loss": loss.detach()})
        return loss

    def on_before_optimizer_step(self, optimizer) -> None:
        self.seen[-1] |= {name: it.grad.clone() for name, it in self.named_parameters() if it.grad is not None}


def train(processes: int, variant: str) -> list[dict[str, torch.Tensor]]:
    """The loss and the gradients of each step, and last the weights."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="auto" if processes == 1 else DDPStrategy(process_group_backend="gloo"),
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    module = Training(**VARIANTS[variant])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's own, and its advice on loaders and logging
        trainer.fit(module, datamodule=Data())
    weights = {name: it for name, it in module.state_dict().items() if isinstance(it, torch.Tensor)}
    return [*module.seen, weights]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """What two processes see of each variant, in a file of its name."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run([sys.executable, __file__, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_have_the_losses_and_gradients_of_one(variant, two):
    mine, theirs = torch.load(two / variant), train(1, variant)
    assert len(mine) == len(theirs) == STEPS + 1
    for ours, other in zip(mine, theirs, strict=True):
        assert ours.keys() == other.keys()
        for name, tensor in other.items():
            torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-5, equal_nan=True, msg=name)
    assert all(it.abs().max() > 1e-4 for name, it in theirs[1].items() if name.endswith("projection.weight"))


if __name__ == "__main__":
    for variant in VARIANTS:
        torch.save(train(2, variant), Path(sys.argv[1]) / variant)
    leave_processes()
