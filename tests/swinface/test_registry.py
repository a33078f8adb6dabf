"""Others' classes are found by name: registered, installed, beside a configuration, or in the working folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from swinface.data.datasets import ImageFolder
from swinface.files import InputError
from swinface.inference import choose_dtype
from swinface.photos.folder import align_folder
from swinface.registry import _BESIDE, Registry, digest_own, look_beside
from swinface.runtimes import Runner


@pytest.fixture
def paths() -> Registry:
    return Registry("kind of path", {"pure": "pathlib.PurePath"}, base="pathlib.PurePath")


@pytest.fixture(autouse=True)
def forgotten():
    modules, beside = set(sys.modules), list(_BESIDE)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    _BESIDE[:] = beside


def test_a_registered_name_and_a_class_path_give_the_class(paths):
    assert paths.find("pure").__name__ == "PurePath"
    assert paths.find("pathlib.PurePosixPath").__name__ == "PurePosixPath"
    assert paths.names() == ("pure",)


def test_own_modules_are_found_beside_the_configuration_and_in_the_working_folder(paths, tmp_path, monkeypatch):
    for folder, name in (("config", "beside"), ("work", "here")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"own_{name}.py").write_text("from pathlib import PurePath\nclass Own(PurePath): pass\n")
    monkeypatch.chdir(tmp_path / "work")
    before = list(sys.path)
    assert paths.find("own_here.Own").__name__ == "Own"
    with pytest.raises(InputError, match=r"kind of path 'own_beside.Own': no module 'own_beside', neither installed"):
        paths.find("own_beside.Own")
    look_beside(tmp_path / "config" / "mine.yaml")
    assert paths.find("own_beside.Own").__name__ == "Own"
    assert sys.path == before


def test_own_modules_are_digested_but_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("own_loss.py", "own_parts/erasers.py", "own_parts/__init__.py", "swinface/model.py", "table.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("a = 1")
    settings = (
        "a: own_loss.Loss\nb: [{method: own_parts.erasers.Half}, own_parts.Whole, 0.5]\nc: swinface.model.SwinFace"
    )
    before = digest_own(f"{settings}\nd: ../table.npz\ne: none.Loss")
    assert [*before] == ["own_loss", "own_parts", "own_parts.erasers"]
    (tmp_path / "own_loss.py").write_text("a = 2")
    after = digest_own(settings)
    assert [name for name in before if before[name] != after[name]] == ["own_loss"]


def test_own_modules_hide_nothing_that_is_installed(paths, tmp_path, monkeypatch):
    (tmp_path / "wave.py").write_text("raise SystemExit('hidden')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"must be a subclass of pathlib.PurePath\.$"):
        paths.find("wave.Wave_read")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pur", r"^no kind of path 'pur'; choose from pure, or name your own as package\.module\.Class\.$"),
        ("pathlib.Nothing", r"^kind of path 'pathlib\.Nothing': module 'pathlib' has no 'Nothing'\.$"),
        ("fractions.re", r"must be a subclass of pathlib\.PurePath\.$"),
        ("broken.Own", r"^kind of path 'broken\.Own': its module fails \(ZeroDivisionError: division by zero\)\.$"),
        ("script.Own", r"^kind of path 'script\.Own': its module fails \(SystemExit: 2\)\.$"),
        ("needs.Own", r"^kind of path 'needs\.Own': its module cannot be imported \(No module named 'absent'\)\.$"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(paths, tmp_path, monkeypatch, name, message):
    Path(tmp_path / "broken.py").write_text("1 / 0")
    Path(tmp_path / "script.py").write_text("import sys; sys.exit(2)")
    Path(tmp_path / "needs.py").write_text("import absent")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        paths.find(name)


def test_options_that_it_does_not_take_are_named():
    registry = Registry("shape")

    @registry.register("circle")
    def make(radius: float) -> float:
        return 1 / radius

    assert registry.create("circle", radius=2.0) == 0.5
    with pytest.raises(InputError, match=r"^shape 'circle': got an unexpected keyword argument 'side'; its options"):
        registry.create("circle", radius=1.0, side=3)
    with pytest.raises(InputError, match=r"^shape 'circle': it fails \(ZeroDivisionError: "):
        registry.create("circle", radius=0.0)
    with pytest.raises(ValueError, match="the name is taken"):
        registry.register("circle")
    with pytest.raises(ValueError, match="or has a dot"):
        registry.register("a.b")


@pytest.mark.parametrize(
    ("option", "choose"),
    [
        ("part", lambda folder: ImageFolder(folder, part="heldout")),  # was the faces to train on
        ("precision", lambda folder: choose_dtype(torch.device("cpu"), "Fast")),
        ("runtime", lambda folder: Runner(nn.Linear(1, 1).eval(), runtime="onnx")),
        ("choose", lambda folder: align_folder(folder, folder / "out", choose="Largest")),
    ],
)
def test_a_choice_of_another_name_is_refused_also_in_python(option, choose, tmp_path):
    with pytest.raises(InputError, match=f"^{option}: .* is no choice; choose from "):
        choose(tmp_path)
