"""Speed of a forward pass: ``python benchmarks/forward.py [--batch 16] [--device cpu]``.

Compares, side by side in one run, SwinFace at its published size with the structure of the authors' code and with a
plain Swin of timm, in single precision and bfloat16. The last column is the share of the device's matrix products per
second that is reached, measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from naive import NaiveSwinFace
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from swinface.model import SwinFace

MULTIPLY_ADDS = {"ours": 6.09e9, "authors' structure": 6.09e9, "plain timm Swin": 4.48e9}  # per face


def make_models() -> dict[str, nn.Module]:
    """The models that are compared, by name."""
    plain = SwinTransformer(
        img_size=112, patch_size=2, num_classes=512, embed_dim=96, depths=(2, 2, 6, 2), window_size=7
    )
    return {"ours": SwinFace(), "authors' structure": NaiveSwinFace(), "plain timm Swin": plain}


def measure(calls: dict[str, Callable[[], object]], device: torch.device, rounds: int) -> dict[str, float]:
    """Seconds of each call, the least of several rounds in which all take turns, after one round to warm up."""
    least = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                least[name] = min(least[name], time.perf_counter() - begun)
    return least


def count_products(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """Multiply-adds per second of large matrix products."""
    a, b = torch.randn(4096, 1024, device=device, dtype=dtype), torch.randn(1024, 1024, device=device, dtype=dtype)
    return a.shape[0] * a.shape[1] * b.shape[1] / measure({"": lambda: a @ b}, device, 5 * rounds)[""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    models = {name: model.to(device).eval() for name, model in make_models().items()}
    images = torch.randn(options.batch, 3, 112, 112, device=device)
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {options.batch} faces at once")
    for dtype in (torch.float32, torch.bfloat16):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=dtype != torch.float32):
            calls = {name: partial(model, images) for name, model in models.items()}
            seconds = measure(calls, device, options.rounds)
            limit = count_products(device, dtype, options.rounds)
        for name, taken in seconds.items():
            ratio = seconds["authors' structure"] / taken
            share = MULTIPLY_ADDS[name] * options.batch / taken / limit
            print(
                f"{str(dtype)[6:]:9} {name:20} {options.batch / taken:8.1f} faces/s, "
                f"{ratio:.2f} times the authors' structure, {share:.0%} of the limit"
            )


if __name__ == "__main__":
    main()
