"""Speed and memory of a training step: ``python benchmarks/step.py [--batch 32] [--device cpu]``.

Compares, side by side in one run, SwinFace at its published size with the structure of the authors' code: forward,
the losses of all 42 tasks, backward and AdamW. Ours computes the losses of all tasks at once; theirs picks each task's
faces by their labels, one task after the other. Recognition is left out of both.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from forward import measure
from naive import NaiveSwinFace
from torch import Tensor, nn
from torch.nn import functional

from swinface.model import SwinFace
from swinface.tasks import PAPER_TASKS
from swinface.training.losses import task_losses
from swinface.training.start import keep_half_to_linear


def draw_labels(batch: int, device: torch.device) -> Tensor:
    """(batch, 42) labels; as in multi-task training each face has those of one stream."""
    generator = torch.Generator().manual_seed(0)
    columns = [
        torch.randint(0, max(2, task.classes), (batch,), generator=generator).float() for task in PAPER_TASKS.values()
    ]
    labels = torch.stack(columns, dim=1)
    stream = torch.arange(batch) * 4 // batch
    names = ["recognition", "age_gender", "celeba", "expression"]
    for column, task in enumerate(PAPER_TASKS.values()):
        taught = torch.tensor([names[number] in task.streams for number in stream.tolist()])
        labels[~taught, column] = float("nan")
    return labels.to(device)


def naive_losses(outputs: list[Tensor], labels: Tensor) -> Tensor:
    """The sum over tasks of the mean loss over the faces with a label."""
    total = outputs[0].sum() * 0.0
    for column, (task, output) in enumerate(zip(PAPER_TASKS.values(), outputs, strict=False)):
        known = ~labels[:, column].isnan()
        if known.any():
            picked, target = output.float()[known], labels[known, column]
            loss = (picked[:, 0] - target).square().mean() / 2 if task.loss == "age" else None
            total = total + (functional.cross_entropy(picked, target.long()) if loss is None else loss)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="also ours, compiled")
    options = parser.parse_args()
    device = torch.device(options.device)
    images, labels = torch.randn(options.batch, 3, 112, 112, device=device), draw_labels(options.batch, device)
    models: dict[str, nn.Module] = {"authors' structure": NaiveSwinFace(), "ours": SwinFace()}
    models["ours, half in linear layers"] = SwinFace()
    keep_half_to_linear(models["ours, half in linear layers"])
    if options.compile:
        models["ours, compiled"] = SwinFace()
        models["ours, compiled"].compile()
    optimizers = {}
    for name, model in models.items():
        model.to(device).train()
        optimizers[name] = torch.optim.AdamW(model.parameters(), 1e-4)

    def step(name: str, half: bool) -> None:
        with (
            torch.autocast(device.type, torch.bfloat16, enabled=half),
            torch.autocast(device.type, enabled=half and "linear" not in name),
        ):
            outputs = models[name](images)
        if isinstance(outputs, list):
            loss = naive_losses(outputs, labels) + outputs[-1].float().square().mean()
        else:
            outputs = {key: value.float() for key, value in outputs.items()}
            loss = task_losses(list(PAPER_TASKS), outputs, labels, 0.0).sum() + outputs["embedding"].square().mean()
        loss.backward()
        optimizers[name].step()
        optimizers[name].zero_grad()

    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.batch} faces a step")
    for half in (False, True):
        names = [name for name in models if half or "half" not in name]
        seconds = measure({name: partial(step, name, half) for name in names}, device, options.rounds)
        for name, taken in seconds.items():
            memory = ""
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                step(name, half)
                memory = f", {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB"
            ratio = seconds["authors' structure"] / taken
            kind = "bfloat16" if half else "float32"
            print(f"{kind:9} {name:28} {options.batch / taken:7.1f} faces/s, {ratio:.2f} times the authors'{memory}")


if __name__ == "__main__":
    main()
