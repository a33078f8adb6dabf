from __future__ import annotations

import copy

import pytest
import torch

from swinface.data.faces import scale_pixels
from swinface.model import SwinFace
from swinface.training.start import HalfLinear, keep_half_to_linear

SMALLER = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "width": 32, "embedding_size": 32}


@pytest.fixture(scope="module")
def model() -> SwinFace:
    torch.manual_seed(0)
    return SwinFace(**SMALLER).eval()


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale_pixels(torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8, generator=generator))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_only_linear_layers_of_blocks_are_in_half_precision(model, faces, half):
    paper = copy.deepcopy(model)
    keep_half_to_linear(paper)
    kinds = {name: kind for name, kind in paper.named_modules() if isinstance(kind, HalfLinear)}
    blocks = sum(SMALLER["depths"])
    assert len(kinds) == 4 * blocks
    assert {name.rpartition(".")[2] for name in kinds} == {"qkv", "proj", "fc1", "fc2"}
    assert list(paper.state_dict()) == list(model.state_dict())
    seen = {}
    for name, layer in kinds.items():
        layer.register_forward_hook(lambda _, given, output, name=name: seen.update({name: (given[0], output)}))
    with torch.inference_mode(), torch.autocast("cpu", half), torch.autocast("cpu", enabled=False):
        levels, summary = paper.trunk(faces)
        outputs = paper(faces)
    assert len(seen) == len(kinds)
    assert {tensor.dtype for pair in seen.values() for tensor in pair} == {torch.float32}
    assert levels.dtype == summary.dtype == torch.float32
    with torch.inference_mode():
        exact = model(faces)
        name, (given, output) = next(iter(seen.items()))
        layer = model.get_submodule(name)
        rounded = torch.nn.functional.linear(given.to(half), layer.weight.to(half), layer.bias.to(half)).float()
    assert torch.equal(output, rounded), "the product itself is in half precision"
    assert (outputs["embedding"] - exact["embedding"]).abs().max() > 0


def test_it_is_closer_to_single_precision_than_autocast_everywhere(model, faces):
    paper = copy.deepcopy(model)
    keep_half_to_linear(paper)
    with torch.inference_mode():
        exact = model(faces)["embedding"]
        with torch.autocast("cpu", torch.bfloat16):
            everywhere = model(faces)["embedding"].float()
            with torch.autocast("cpu", enabled=False):
                linear = paper(faces)["embedding"]
    assert (linear - exact).norm() < 0.7 * (everywhere - exact).norm()


def test_heads_are_in_single_precision_under_autocast(model, faces):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = model(faces)
    assert {output.dtype for name, output in outputs.items() if name != "embedding"} == {torch.float32}
