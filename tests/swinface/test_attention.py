"""What the model attends to, against the model's own gates and a naive walk through its gradients; the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional

from swinface.attention import attend, weigh_levels
from swinface.cli.attention import attention
from swinface.data.faces import scale_pixels
from swinface.files import InputError
from swinface.images import find_images
from swinface.model import SMALL, SwinFace
from swinface.tasks import PAPER_TASKS, SUBNETS
from tests.commands import run_swinface

PLACES = [f"row {row} column {column}" for row in range(1, 8) for column in range(1, 8)]


def make(seed: int = 0, **changes) -> SwinFace:
    """A small model with random weights whose batch norms are not the identity."""
    torch.manual_seed(seed)
    model = SwinFace(**SMALL | changes).eval()
    for subnet in model.subnets.values():
        subnet.attention.norm.running_mean.uniform_(-0.5, 0.5)
        subnet.attention.norm.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> list[Path]:
    """Five faces of noise, of two sizes, in a folder with a folder."""
    root, rng = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    (root / "more").mkdir()
    paths = [root / "0.png", root / "1.png", root / "2.png", root / "more" / "3.png", root / "more" / "4.png"]
    for number, path in enumerate(paths):
        noise = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        noise.resize((150, 150) if number == 3 else (112, 112), Image.Resampling.BILINEAR).save(path)
    return paths


def read(paths: list[Path]) -> torch.Tensor:
    images = [np.asarray(Image.open(path).resize((112, 112), Image.Resampling.BILINEAR)) for path in paths]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


# The mathematics


def test_levels_are_weighed_by_the_models_own_gate(faces):
    model = make()
    subnet = model.subnets["eyes"].attention
    with torch.no_grad():
        levels, _ = model.trunk(scale_pixels(read(faces)))
        weights, maps = weigh_levels(subnet, levels)
        parts = levels.split(subnet.in_channels, dim=1)
        fused = torch.cat([convolve(part) for convolve, part in zip(subnet.convolutions, parts, strict=True)], dim=1)
        gated = subnet.gate(fused)
    gate = (gated.abs().sum(dim=(2, 3)) / fused.abs().sum(dim=(2, 3))).numpy()
    starts = np.cumsum([0, *subnet.shares])
    for level in range(4):
        expected = gate[:, starts[level] : starts[level + 1]].mean(axis=1)
        np.testing.assert_allclose(weights[:, level], expected, atol=1e-5)
    torch.testing.assert_close(maps, functional.relu(gated))
    assert not subnet.gate._forward_hooks


@pytest.mark.parametrize("task", ["age", "expression", "smiling", "wearing_hat"])
def test_places_are_gradient_times_feature_where_the_maximum_is(task, faces):
    model = make()
    _, places, _ = attend(model, faces, batch=2)
    subnet = model.subnets[PAPER_TASKS[task].subnet]
    expected = np.zeros(49)
    for path in faces:
        seen = {}
        keep = seen.__setitem__
        hooks = [
            subnet.attention.gate.register_forward_hook(lambda _m, _i, out, keep=keep: keep("gated", out)),
            subnet.attention.norm.register_forward_hook(lambda _m, given, _o, keep=keep: keep("pooled", given[0])),
        ]
        logits = model(scale_pixels(read([path])))[task][0]
        (gradient,) = torch.autograd.grad(logits[logits.argmax()], seen["pooled"])
        for channel in range(SMALL["width"]):
            channel_map = seen["gated"][0, channel].detach().numpy().ravel()
            if channel_map.max() > 0:
                expected[channel_map.argmax()] += gradient[0, channel].item() * channel_map.max() / len(faces)
        for hook in hooks:
            hook.remove()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(places.loc[task], expected, rtol=1e-3, atol=1e-6)


def test_averages_over_faces_and_the_mean_face(faces):
    model = make()
    levels, places, face = attend(model, faces, batch=2)
    each = [attend(model, [path]) for path in faces]
    np.testing.assert_allclose(levels[["FM1", "FM4"]], sum(it[0][["FM1", "FM4"]] for it in each) / 5, atol=1e-6)
    np.testing.assert_allclose(places, sum(it[1] for it in each) / 5, atol=1e-6)
    np.testing.assert_allclose(face, read(faces).double().mean(dim=0).permute(1, 2, 0))
    assert list(levels.index) == list(places.index) == list(PAPER_TASKS)
    assert list(levels.columns) == ["subnet", "FM1", "FM2", "FM3", "FM4"]
    assert list(places.columns) == PLACES
    for _, rows in levels.groupby("subnet"):
        assert (rows == rows.iloc[0]).all(axis=None)  # a subnet's tasks share its attention
    assert levels.drop_duplicates("subnet")["subnet"].tolist() == list(SUBNETS)


def test_only_levels_that_are_read_and_tasks_that_are_trained(faces):
    untrained = [name for name, task in PAPER_TASKS.items() if task.subnet == "neck"]
    levels, places, _ = attend(make(levels=[2, 4], untrained=[*untrained, "smiling"]), faces)
    assert list(levels.columns) == ["subnet", "FM2", "FM4"]
    assert (
        list(levels.index)
        == list(places.index)
        == [name for name in PAPER_TASKS if name not in (*untrained, "smiling")]
    )


def test_models_without_attention_are_refused(faces):
    with pytest.raises(InputError, match="this model has no channel attention; name one trained with"):
        attend(make(channel_attention=False), faces)
    with pytest.raises(InputError, match="no task of this model is trained"):
        attend(make(untrained=list(PAPER_TASKS)), faces)


# Images


def test_a_folder_stands_for_its_images(faces):
    root = faces[0].parent
    assert find_images([faces[4], root]) == [faces[4], *faces]
    (root / "none").mkdir()
    with pytest.raises(InputError, match="none: no images; name images, or a folder of them"):
        find_images([root / "none"])


@pytest.mark.parametrize(
    ("size", "message"), [((112, 100), "112x100 pixels; faces must be aligned and square"), (None, "no such image")]
)
def test_images_that_cannot_be_used_are_named(size, message, tmp_path):
    if size:
        Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png: {message}"):
        attend(make(), [tmp_path / "a.png"])


# The command


def test_attention_writes_tables_and_figures(faces, tmp_path, capsys):
    make(untrained=["bald"]).save_pretrained(tmp_path / "model")
    arguments = [
        faces[4],
        faces[0].parent / "more",
        *faces[:3],
        "--model",
        tmp_path / "model",
        "--out",
        tmp_path / "out",
    ]
    assert run_swinface("attention", *arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Mean channel gate of each level, over 6 faces; tasks of one subnet share it."
    assert printed[2].split() == ["subnet", "FM1", "FM2", "FM3", "FM4", "tasks"]
    assert [line.split()[0] for line in printed[3:]] == list(SUBNETS)
    levels = pd.read_csv(tmp_path / "out" / "levels.csv", index_col="task")
    assert printed[4].split()[:6] == ["age", *(f"{levels.loc['age', f'FM{n}']:.3f}" for n in (1, 2, 3, 4)), "Age,"]
    places = pd.read_csv(tmp_path / "out" / "places.csv", index_col="task")
    assert list(levels.index) == list(places.index) == [name for name in PAPER_TASKS if name != "bald"]
    assert list(places.columns) == PLACES
    for name in ("levels.png", "places.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) > 500


def test_nothing_is_written_when_a_face_is_missing(faces, tmp_path):
    make().save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="no such image"):
        attention([*faces, tmp_path / "gone.png"], model=tmp_path / "model", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_attention_on_real_faces(shared_data, tmp_path):
    make().save_pretrained(tmp_path / "model")
    person = sorted((shared_data / "fiw" / "Validation" / "val-faces").glob("F*/MID*"))[0]
    attention([person], model=tmp_path / "model", out=tmp_path / "out")
    levels = pd.read_csv(tmp_path / "out" / "levels.csv", index_col="task").drop(columns="subnet")
    assert levels.shape == (42, 4)
    assert ((levels > 0) & (levels < 1)).all(axis=None)
