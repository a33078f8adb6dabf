"""Speed of a forward pass: ``python benchmarks/forward.py [--batch 1 16] [--device cpu]``.

Compares, side by side in one run, SwinFace at its published size on each runtime with the structure of the authors'
code and with a plain Swin of timm, in single precision and bfloat16. On a CPU, processor time is measured: other work
on the machine changes it less than wall time. The last column is the share of torch's speed of matrix products,
measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
from naive import NaiveSwinFace
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from swinface.inference import choose_dtype, inference
from swinface.model import SwinFace
from swinface.runtimes import RUNTIMES, Runner

MULTIPLY_ADDS = {"authors' structure": 6.09e9, "plain timm Swin": 4.48e9}  # per face; ours as the first
PLAIN = {"patch_size": 2, "num_classes": 512, "embed_dim": 96, "depths": (2, 2, 6, 2), "window_size": 7}


def make_others() -> dict[str, nn.Module]:
    """The models that ours is compared with, by name."""
    return {"authors' structure": NaiveSwinFace(), "plain timm Swin": SwinTransformer(img_size=112, **PLAIN)}


def measure(calls: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Seconds of each call, the least of several rounds in which all take turns, after one round to warm up."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    least = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            begun = clock()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                least[name] = min(least[name], clock() - begun)
    return least


def count_products(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """Multiply-adds per second of large matrix products."""
    a, b = torch.randn(4096, 1024, device=device, dtype=dtype), torch.randn(1024, 1024, device=device, dtype=dtype)
    return a.shape[0] * a.shape[1] * b.shape[1] / measure({"": lambda: a @ b}, device, 5 * rounds)[""]


def open_all(ours: SwinFace, others: dict[str, nn.Module], device: torch.device, precision: str) -> dict[str, Callable]:
    """What is measured in one precision, by name; ONNX Runtime has single precision alone."""

    def call(network: nn.Module, images: Tensor) -> object:
        with inference(device, precision):
            return network(images)

    calls = {name: partial(call, network) for name, network in others.items()}
    there = [name for name, (*_, packages, _) in RUNTIMES.items() if all(map(find_spec, packages))]
    for name in ["torch", *there * (device.type == "cpu")]:
        opened = Runner(ours, precision, name, "read")
        if opened.dtype == choose_dtype(device, precision):
            calls[f"ours, {name}"] = lambda images, opened=opened: ours.answer(opened(images))
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="faces at once")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.manual_seed(0)  # the same weights are converted once
    ours = SwinFace().to(device).eval()
    others = {name: model.to(device).eval() for name, model in make_others().items()}
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for precision in ("full", "fast"):
        calls, dtype = open_all(ours, others, device, precision), choose_dtype(device, precision)
        limit = count_products(device, dtype, options.rounds)
        for batch in options.batch:
            images = torch.rand(batch, 3, 112, 112, device=device) * 2 - 1
            with torch.inference_mode():
                seconds = measure({name: partial(run, images) for name, run in calls.items()}, device, options.rounds)
            for name, taken in seconds.items():
                ratio = seconds["authors' structure"] / taken
                share = MULTIPLY_ADDS.get(name, 6.09e9) * batch / taken / limit
                print(
                    f"{str(dtype)[6:]:9} batch {batch:3} {name:20} {batch / taken:8.1f} faces/s, "
                    f"{ratio:.2f} times the authors' structure, {share:.0%} of the limit",
                    flush=True,
                )


if __name__ == "__main__":
    main()
