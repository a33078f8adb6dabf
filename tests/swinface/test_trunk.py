"""Trunks by name: of timm, and custom ones; what they promise, how they freeze, and that models of them go out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from swinface import export
from swinface.attention import attend
from swinface.files import InputError
from swinface.model import SwinFace
from swinface.registry import look_beside
from swinface.training.start import keep_half_to_linear
from swinface.trunk import OwnTrunk, Trunk, create_trunk
from tests.swinface.tiny import TINY_TRUNK, faces

CONVNEXT = {"kind": "timm/convnext_tiny.in12k", "dims": [4, 8, 16, 32], "depths": [1, 1, 1, 1]}
IR = {"kind": "ir50.IR50", "units": [1, 1, 1, 1], "channels": [4, 8, 12, 16], "size": 24}
OWN = Path(__file__).parents[1] / "own" / "ir50.py"


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    """A custom file in the working folder."""
    shutil.copy(OWN, tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("ir50", None)


def naive_pool(level: torch.Tensor) -> torch.Tensor:
    """Average of the places under each of 7x7, which overlap where the side is no multiple of 7."""
    side = level.shape[-1]
    edges = [(place * side // 7, -(-(place + 1) * side // 7)) for place in range(7)]
    rows = [[level[..., a:b, c:d].mean(dim=(2, 3)) for c, d in edges] for a, b in edges]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


@pytest.mark.parametrize(
    ("options", "channels", "size"),
    [
        ({"kind": "swin", **TINY_TRUNK}, [16, 32, 32], 32),
        (CONVNEXT, [4, 8, 16, 32], 32),
        ({**CONVNEXT, "out_indices": [1, 3], "output_stride": 16}, [8, 32], 32),
        ({"kind": "timm/vit_tiny_patch16_224", "img_size": 112, "embed_dim": 12, "depth": 3}, [12, 12, 12], 12),
        ({"kind": "timm/resnet18", "channels": [4, 4, 8, 8]}, [4, 4, 8, 8], 8),
        (IR, [4, 8, 12, 16], 24),
    ],
)
def test_every_trunk_gives_levels_and_a_summary(options, channels, size):
    torch.manual_seed(0)
    trunk = create_trunk(**options).eval()
    maps, _ = trunk.read(faces(2))
    levels, summary = trunk(faces(2))
    assert trunk.channels == channels
    assert (levels.shape, summary.shape) == ((2, sum(channels), 7, 7), (2, size))
    assert trunk.summary_size == size
    for level, ours in zip(maps, levels.split(channels, dim=1), strict=True):
        assert torch.allclose(ours, naive_pool(level), atol=1e-5)
    again = create_trunk(**json.loads(json.dumps(trunk.arguments)))
    again.load_state_dict(trunk.state_dict())
    assert torch.equal(again.eval()(faces(2))[1], summary)


def test_a_model_of_timm_is_given_pixels_as_it_expects_them():
    trunk = create_trunk(**CONVNEXT).eval()
    seen = []
    trunk.network.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = faces(2)
    trunk(images)
    cfg = trunk.network.pretrained_cfg
    expected = np.stack(
        [((images[:, k].numpy() + 1) / 2 - cfg["mean"][k]) / cfg["std"][k] for k in range(3)], axis=1
    )  # not (x - .5) / .5
    assert np.allclose(seen[0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("options", [CONVNEXT, IR])
def test_weights_come_from_a_file_and_a_classifier_in_it_is_named(options, tmp_path):
    torch.manual_seed(0)
    trunk, other = create_trunk(**options), create_trunk(**options)
    state = trunk.network.state_dict()
    save_file(state, tmp_path / "bare.safetensors")
    torch.save({**state, "head.fc.weight": torch.zeros(2)}, tmp_path / "whole.pth")
    other.take_weights(tmp_path / "bare.safetensors")
    assert all(torch.equal(tensor, state[name]) for name, tensor in other.network.state_dict().items())
    with pytest.warns(UserWarning, match=r"1 weights are not the trunk's \(head.fc.weight"):
        create_trunk(**options).take_weights(tmp_path / "whole.pth")
    state.popitem()
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match="1 missing"):
        other.take_weights(tmp_path / "cut.safetensors")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(InputError, match="not a state_dict"):
        other.take_weights(tmp_path / "list.pt")


# Freezing


def learning(trunk: Trunk) -> set[str]:
    return {name for name, parameter in trunk.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        (CONVNEXT, [("stem", "stages.0"), ("stages.1",), ("stages.2",), ("stages.3", "head")]),
        (IR, [("stem", "body.0"), ("body.1",), ("body.2",), ("body.3", "embed")]),
    ],
)
def test_a_stage_is_what_makes_a_level_out_of_the_one_before(options, starts):
    for trained in range(5):
        trunk = create_trunk(**options)
        trunk.freeze(trained)
        parts = tuple(f"network.{part}." for stage in starts[4 - trained :] for part in stage)
        assert learning(trunk) == {name for name, _ in trunk.named_parameters() if name.startswith(parts)}
        for name, module in trunk.named_modules():
            if any(True for _ in module.parameters(recurse=False)):
                assert module.training == f"{name}.".startswith(parts), name
    with pytest.raises(InputError, match="the trunk has 4 stages"):
        create_trunk(**options).freeze(5)


@pytest.mark.parametrize("options", [{"kind": "swin", **TINY_TRUNK}, CONVNEXT, IR])
def test_only_parameters_that_nothing_reads_are_frozen(options):
    torch.manual_seed(0)
    for read in ([1], [1, 2], None):
        trunk = create_trunk(**options)
        before = {name: (module.training) for name, module in trunk.named_modules()}
        trunk.freeze_unread(read)
        assert before == {name: module.training for name, module in trunk.named_modules()}
        maps, _ = trunk.eval().read(faces(2))
        sum(level.square().sum() for level in maps[: len(read or maps)]).backward()
        assert {name for name, it in trunk.named_parameters() if it.grad is not None} == learning(trunk)
        assert len(learning(trunk)) < len(list(trunk.parameters()))


# Models


@pytest.mark.parametrize("options", [CONVNEXT, IR])
def test_a_swinface_on_any_trunk_learns_is_saved_and_exported(options, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = SwinFace(trunk=options, width=16, embedding_size=8, dropout=0.0)
    images, target = faces(8), torch.arange(8) % 2
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(images)["smiling"], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    model.eval().save_pretrained(tmp_path / "model")
    again = SwinFace.from_pretrained(tmp_path / "model")
    outputs = again(images)
    assert torch.equal(outputs["embedding"], model(images)["embedding"])
    names = export.export(again, tmp_path / "model.onnx", "normalised")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for count in (1, 3):
        given = session.run(names, {"images": images[:count].numpy()})
        for name, values in zip(names, given, strict=True):
            assert np.allclose(values, outputs[name][:count].detach().numpy(), atol=1e-3), name


def test_attention_is_described_on_any_trunk(tmp_path):
    from PIL import Image

    Image.new("RGB", (112, 112), (90, 120, 60)).save(tmp_path / "face.png")
    levels, places, _ = attend(SwinFace(trunk=CONVNEXT, width=16, embedding_size=8).eval(), [tmp_path / "face.png"])
    assert [*levels.columns] == ["subnet", "FM1", "FM2", "FM3", "FM4"]
    assert places.shape[1] == 49


def test_half_precision_of_linear_layers_needs_some():
    keep_half_to_linear(SwinFace(trunk=CONVNEXT, width=16, embedding_size=8))
    with pytest.raises(InputError, match="half: linear"):
        keep_half_to_linear(SwinFace(trunk=IR, width=16, embedding_size=8))


# Refusals


SOURCE = """
from torch import nn, zeros

class Odd(nn.Module):
    def __init__(self, gives="nothing"):
        super().__init__()
        self.gives = gives

    def forward(self, images):
        count = len(images)
        return {
            "nothing": None,
            "one": zeros(count, 3),
            "joined": (zeros(count, 8, 7, 7), zeros(count, 4)),
            "flat": ([zeros(count, 8)], zeros(count, 4)),
            "none": ([], zeros(count, 4)),
            "fewer": ([zeros(1, 8, 7, 7)], zeros(count, 4)),
        }[self.gives]

def function(images):
    return images
"""


@pytest.mark.parametrize("gives", ["nothing", "one", "joined", "flat", "none", "fewer"])
def test_what_is_no_trunk_is_refused_by_what_it_returns(gives, tmp_path):
    (tmp_path / "odd_trunk.py").write_text(SOURCE)
    with pytest.raises(InputError, match=r"'odd_trunk\.Odd': must return a list of levels") as refusal:
        create_trunk("odd_trunk.Odd", gives=gives)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "convnext"}, r"no trunk 'convnext'; choose from swin, timm"),
        ({"kind": "timm/convnext_tinyy"}, r"Unknown model .*timm has .*convnext_tiny"),
        ({"kind": "timm/convnext_tiny", "dimms": [1]}, "dimms"),
        ({"kind": "timm/vit_tiny_patch16_224"}, "on faces of 112x112: it fails"),
        ({"kind": "swin", "depth": 3}, "its options are embed_dim"),
        ({"kind": "ir50.IR51"}, "no 'IR51'"),
        ({"kind": "ir50.IR50", "unit": 3}, "its options are units"),
        ({"kind": "ir50.IR50", "units": [1], "channels": [4]}, "on faces of 112x112: it fails"),
        ({"kind": "odd_trunk.function"}, "must be a subclass of torch.nn.Module"),
        ({"kind": "odd_trunk.Odd", "gives": "everything"}, "KeyError"),
    ],
)
def test_invalid_trunks_are_refused(options, message, tmp_path):
    (tmp_path / "odd_trunk.py").write_text(SOURCE)
    with pytest.raises(InputError, match=message) as refusal:
        create_trunk(**options)
    assert "\n" not in str(refusal.value)


def test_a_trunk_and_arguments_of_swin_are_not_given_together():
    with pytest.raises(InputError, match="embed_dim, depths: options of a Swin Transformer"):
        SwinFace(trunk=CONVNEXT, embed_dim=8, depths=[1, 1, 1])


def test_a_trunk_is_found_beside_the_configuration(tmp_path, monkeypatch):
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    shutil.move(tmp_path / "ir50.py", beside / "ir50_beside.py")
    with pytest.raises(InputError, match="no module 'ir50_beside'"):
        create_trunk(**{**IR, "kind": "ir50_beside.IR50"})
    monkeypatch.setattr("swinface.registry._BESIDE", [])
    look_beside(beside / "experiment.yaml")
    assert isinstance(create_trunk(**{**IR, "kind": "ir50_beside.IR50"}), OwnTrunk)
