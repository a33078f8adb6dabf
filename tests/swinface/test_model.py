"""Shapes, sizes and mathematics of the model; weights go out and come back, and others' are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.swin_transformer import WindowAttention
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.mlca import MultiLevelChannelAttention
from swinface.model import SMALL, SwinFace
from swinface.swin import ConvolutionalMerging, SwinTrunk
from swinface.tasks import PAPER_TASKS
from tests.swinface.tiny import TINY, TINY_TRUNK, faces, tiny

CONVOLVED = {"embed_dim": 4, "depths": (0, 0, 1, 1), "num_heads": (1, 1, 1, 2), "convolutions": (1, 0, 2, 0)}


def parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def multiply_adds(module: nn.Module) -> float:
    for child in module.modules():
        if hasattr(child, "fused_attn"):
            child.fused_attn = False  # the counter sees only plain matrix products
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(faces(1))
    return counter.get_total_flops() / 2


# Sizes


def test_published_size_is_the_papers():
    with torch.device("meta"):
        model = SwinFace()
    unused_classifier = 768 * 512 + 512  # the paper counts it, in the trunk and in the whole
    attention = parameters(*(subnet.attention for subnet in model.subnets.values()))
    rest = parameters(*(subnet.features for subnet in model.subnets.values()), model.heads)
    assert round((parameters(model.trunk, model.embedding) + unused_classifier) / 1e6, 1) == 28.9
    assert round(attention / 1e6, 1) == 33.1
    assert round(rest / 1e6, 1) == 5.8
    assert round((parameters(model) + unused_classifier) / 1e6, 1) == 67.8
    assert round(parameters(model) / 1e6, 1) == 67.4
    convolutions = model.subnets["age"].attention.convolutions
    assert [convolution.out_channels for convolution in convolutions] == [47, 93, 186, 186]


def test_small_size_costs_what_is_stated():
    model = SwinFace(**SMALL)
    assert round(parameters(model) / 1e6, 1) == 3.0
    assert round(parameters(model.trunk, model.embedding) / 1e6, 1) == 1.9
    assert round(multiply_adds(model) / 1e9, 2) == 0.35
    assert round(multiply_adds(model.trunk) / 1e9, 2) == 0.30


@pytest.mark.parametrize(
    ("size", "channels"),
    [
        ({**TINY, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8), "patch_size": 2}, [16, 32, 64, 64]),
        (TINY, [16, 32, 32]),
        ({**TINY, **CONVOLVED, "patch_size": 2}, [8, 16, 32, 32]),
    ],
)
def test_outputs_have_the_stated_shapes(size, channels):
    model = SwinFace(**size).eval()
    levels, summary = model.trunk(faces(2))
    assert model.trunk.channels == channels
    assert levels.shape == (2, sum(channels), 7, 7)
    assert summary.shape == (2, channels[-1])
    outputs = model(faces(2))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "embedding": (2, 24),
        **{name: (2, task.classes) for name, task in PAPER_TASKS.items()},
    }


@pytest.mark.parametrize("change", [{"patch_size": 2}, {"depths": (2, 2)}, {"num_heads": (1, 2)}])
def test_a_size_that_does_not_end_at_7x7_is_refused(change):
    with pytest.raises(InputError, match="does not end at 7x7"):
        SwinTrunk(**{**TINY_TRUNK, **change})


@pytest.mark.parametrize(
    "change", [{"convolutions": (1, 1)}, {"depths": (1, 1, 1), "num_heads": (1, 1, 1), "patch_size": 4}]
)
def test_convolutions_need_one_number_per_stage_and_small_patches(change):
    with pytest.raises(InputError, match="one number per stage"):
        SwinTrunk(**{**CONVOLVED, **change})


# Mathematics


def test_convolutional_merging_equals_its_layers_one_by_one():
    torch.manual_seed(0)
    merging = ConvolutionalMerging(6, 8, blocks=1).eval()
    tokens = torch.randn(2, 14, 14, 6)
    first, block = merging[0].weight, merging[3].convolutions
    x = nn.functional.conv2d(tokens.permute(0, 3, 1, 2), first, stride=2, padding=1).div((1 + 1e-5) ** 0.5).relu()
    inner = nn.functional.conv2d(x, block[0].weight, padding=1).div((1 + 1e-5) ** 0.5).relu()
    x = (x + nn.functional.conv2d(inner, block[3].weight, padding=1).div((1 + 1e-5) ** 0.5)).relu()
    assert torch.allclose(merging(tokens), x.permute(0, 2, 3, 1), atol=1e-5)


def test_normalise_maps_pixels_to_minus_one_and_one():
    pixels = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    assert torch.allclose(scale_pixels(pixels), torch.tensor([-1.0, 1.0, (0.2 - 0.5) / 0.5]).view(1, 3, 1, 1))
    with pytest.raises(TypeError, match="uint8"):
        scale_pixels(torch.zeros(1, 3, 112, 112))


def test_levels_are_the_pooled_mergings_and_the_last_stage():
    trunk = SwinTrunk(**TINY_TRUNK).eval()
    seen = []
    stages = trunk.swin.layers
    for module in (stages[1].downsample, stages[2].downsample, stages[2].blocks):
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    levels, _ = trunk(faces(2))
    assert [tuple(tap.shape[1:]) for tap in seen] == [(14, 14, 16), (7, 7, 32), (7, 7, 32)]
    first = seen[0][1, 4:6, 8:10, 3].mean()  # what lies under position (2, 4) of a 7x7 grid
    assert torch.allclose(levels[1, 3, 2, 4], first)
    assert torch.equal(levels[1, 16:, 2, 4], torch.cat([seen[1][1, 2, 4], seen[2][1, 2, 4]]))


def naive_attention(module: MultiLevelChannelAttention, levels: np.ndarray) -> np.ndarray:
    """MLCA of one face, (channels, 7, 7), position by position."""
    fused, start = [], 0
    for convolution in module.convolutions:
        kernel = convolution.weight.detach().double().numpy()
        level = np.pad(levels[start : start + kernel.shape[1]], ((0, 0), (1, 1), (1, 1)))
        start += kernel.shape[1]
        result = np.zeros((len(kernel), 7, 7))
        for row in range(7):
            for column in range(7):
                result[:, row, column] = (kernel * level[:, row : row + 3, column : column + 3]).sum(axis=(1, 2, 3))
        fused.append(result)
    fused = np.concatenate(fused)
    reduce, expand = module.gate.mlp[0], module.gate.mlp[2]

    def mlp(pooled: np.ndarray) -> np.ndarray:
        hidden = np.maximum(reduce.weight.detach().double().numpy() @ pooled + reduce.bias.detach().numpy(), 0)
        return expand.weight.detach().double().numpy() @ hidden + expand.bias.detach().numpy()

    gate = 1 / (1 + np.exp(-(mlp(fused.mean(axis=(1, 2))) + mlp(fused.max(axis=(1, 2))))))
    best = np.array([max(0.0, (gate[i] * fused[i]).max()) for i in range(len(fused))])
    mean, variance = module.norm.running_mean.numpy(), module.norm.running_var.numpy()
    scale, shift = module.norm.weight.detach().numpy(), module.norm.bias.detach().numpy()
    return (best - mean) / np.sqrt(variance + 2e-5) * scale + shift


def test_attention_equals_a_naive_loop():
    torch.manual_seed(1)
    module = MultiLevelChannelAttention([5, 9, 10], width=32)
    for tensor in (module.norm.running_mean, module.norm.weight.data, module.norm.bias.data):
        tensor.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    for parameter in module.gate.parameters():
        parameter.data.normal_(std=0.3)  # a new one weighs all channels by a half
    levels = torch.randn(2, 24, 7, 7)
    assert [convolution.out_channels for convolution in module.convolutions] == [7, 12, 13]
    expected = np.stack([naive_attention(module, face) for face in levels.numpy()])
    assert np.allclose(module.eval()(levels).detach().numpy(), expected, atol=1e-5)


def test_attention_may_read_some_levels_and_do_without_the_gate():
    torch.manual_seed(1)
    module = MultiLevelChannelAttention([5, 9, 10], width=32, levels=[1, 3], channel_attention=False).eval()
    levels = torch.randn(2, 24, 7, 7)
    assert [convolution.out_channels for convolution in module.convolutions] == [11, 21]
    first, last = (convolution.weight for convolution in module.convolutions)
    parts = nn.functional.conv2d(levels[:, :5], first, padding=1), nn.functional.conv2d(levels[:, 14:], last, padding=1)
    expected = torch.cat(parts, dim=1).relu().amax(dim=(2, 3)) / (1 + 2e-5) ** 0.5
    assert torch.allclose(module(levels), expected, atol=1e-5)


@pytest.mark.parametrize("levels", [[], [0, 1], [4], [2, 1], [1, 1]])
def test_levels_that_are_not_there_are_refused(levels):
    with pytest.raises(InputError, match="name some of 1 to 3"):
        MultiLevelChannelAttention([5, 9, 10], width=32, levels=levels)


def test_first_weights_are_the_authors():
    """Linear layers beside the trunk, and in it: deviation 0.02 and no bias. Convolutions: torch's uniform ones."""
    torch.manual_seed(0)
    model = SwinFace()
    linear = [each for each in model.modules() if isinstance(each, nn.Linear)]
    assert len(linear) == 51 + 2 + 11 * 4 + 42  # trunk; embedding; gates and features of 11 subnets; heads
    for layer in linear:
        weight = layer.weight.detach()
        spread = 0.02 / (2 * weight.numel()) ** 0.5  # of a deviation's estimate
        assert abs(weight.std() - 0.02) < 5 * spread + 1e-4  # in the trunk, timm draws a rare outlier
        assert abs(weight.mean()) < 5 * 0.02 / weight.numel() ** 0.5
        assert layer.bias is None or not layer.bias.any()
    for subnet in model.subnets.values():
        for convolution in subnet.attention.convolutions:
            reach = 1 / (9 * convolution.in_channels) ** 0.5
            weight = convolution.weight.detach()
            assert weight.abs().max() == pytest.approx(reach, rel=1e-3)
            assert weight.std() == pytest.approx(reach / 3**0.5, rel=0.02)


def test_a_new_gate_weighs_all_channels_by_a_half():
    torch.manual_seed(0)
    module = MultiLevelChannelAttention([192, 384, 768, 768], width=512)
    levels = torch.randn(4, 2112, 7, 7)
    parts = zip(module.convolutions, levels.split(module.in_channels, dim=1), strict=True)
    weights = module.gate.weigh(torch.cat([convolve(part) for convolve, part in parts], dim=1))
    assert abs(weights.mean() - 0.5) < 0.01
    assert (weights - 0.5).abs().max() < 0.1


def test_untrained_tasks_are_left_out_and_frozen(tmp_path):
    untrained = [name for name in PAPER_TASKS if PAPER_TASKS[name].subnet != "age"] + ["young"]
    model = tiny(untrained=untrained).eval()
    assert set(model(faces(1))) == {"embedding", "age"}
    learning = {
        name.split(".")[1]
        for name, it in model.named_parameters()
        if it.requires_grad and name.startswith(("subnets", "heads"))
    }
    assert learning == {"age"}
    model.save_pretrained(tmp_path)
    assert SwinFace.from_pretrained(tmp_path).untrained == untrained


def test_evaluation_is_repeatable_and_faces_do_not_mix():
    model = tiny().eval()
    images = faces(3)
    with torch.no_grad():
        together, again, alone = model(images), model(images), model(images[1:2])
    for name, output in together.items():
        assert torch.equal(output, again[name])
        assert torch.allclose(output[1:2], alone[name], atol=1e-5), name


def test_every_parameter_of_the_small_size_learns():
    torch.manual_seed(0)
    model = SwinFace(**SMALL).eval()  # in training mode batch norm takes away what a bias before it would learn
    sum(output.square().sum() for output in model(faces(4)).values()).backward()
    idle = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert idle == []


def test_training_lowers_a_loss():
    model = tiny(drop_path=0.0, dropout=0.0).train()
    images, target = faces(8), torch.arange(8) % 2
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(24):
        loss = nn.functional.cross_entropy(model(images)["smiling"], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"untrained": ["agee"]}, "^untrained: no task 'agee'; choose from gender, age, .*, wearing_necktie"),
        ({"untrained": ["yaw"]}, "^untrained: no task 'yaw'"),  # of this model
        ({"extra": ["yaww"]}, "^extra: no task 'yaww'; choose from .*, yaw, pitch, roll"),
    ],
)
def test_a_misspelt_task_is_named(options, named):
    with pytest.raises(InputError, match=named):
        SwinFace(**SMALL, **options)


def test_pixels_may_be_scaled_before_or_by_the_model():
    model, pixels = tiny().eval(), torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    scaled = model(scale_pixels(pixels))
    assert all(torch.equal(output, scaled[name]) for name, output in model(pixels).items())
    with pytest.raises(InputError, match="images: their pixels reach 255; give uint8 from 0 to 255, or float from -1"):
        model(torch.full((2, 3, 112, 112), 255.0))
    for shape in ((2, 112, 112, 3), (3, 112, 112), (2, 3, 224, 224)):
        with pytest.raises(InputError, match=r"images: they are .*; give aligned faces, \(B, 3, 112, 112\)"):
            model(torch.zeros(shape, dtype=torch.uint8))
    with pytest.warns(UserWarning, match="images: pixels lie between 0 and 1; models take them from -1 to 1"):
        model(pixels / 255)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]  # ImageNet's
    with pytest.warns(UserWarning, match=r"images: pixels lie between -2.12 and 2.64; models take them from -1 to 1"):
        model((pixels / 255 - mean) / deviation)
    with pytest.raises(InputError, match="images: their pixels reach nan"):
        model(scale_pixels(pixels) * float("nan"))
    with pytest.raises(InputError, match=r"images: a ndarray; give a tensor, \(B, 3, 112, 112\)"):
        model(pixels.numpy())


def test_angles_are_the_heads_numbers_in_their_unit():
    model = SwinFace(**SMALL, extra=("yaw", "pitch", "roll")).eval()
    images = torch.zeros(2, 3, 112, 112)
    levels, _ = model.trunk(images)
    expected = 20 * model.heads["yaw"](model.subnets["pose"](levels))
    assert torch.allclose(model(images)["yaw"], expected)
    expected = model.heads["age"](model.subnets["age"](levels))
    assert torch.equal(model(images)["age"], expected)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 3e-6), (True, 0.02)])
def test_the_attention_of_gpus_is_that_of_cpus(half, tolerance):
    """Also in half precision, to which autocast brings the additive mask."""
    trunk = SwinTrunk(embed_dim=8, depths=(1, 2, 2, 1), num_heads=(1, 2, 2, 4)).eval()
    parts = [part for part in trunk.modules() if isinstance(part, WindowAttention)]
    found = {}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        for part in parts:
            part.relative_position_bias_table.normal_()
        images = faces(2)
        for fused in (False, True):
            tokens = trunk.swin.patch_embed(images)
            for part in parts:
                part.fused_attn = fused
            for stage in trunk.swin.layers:
                tokens = stage(tokens)
            found[fused] = tokens.float()
        trunk(images)
        assert not any(part.fused_attn for part in parts)
    assert torch.allclose(found[True], found[False], atol=tolerance * found[False].abs().max())
