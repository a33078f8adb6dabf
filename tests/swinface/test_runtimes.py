"""Other runtimes give what torch gives, are converted once, send nothing, and are left where they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from swinface import runtimes
from swinface.files import InputError
from swinface.model import SwinFace
from swinface.runtimes import FEW, RUNTIMES, Runner
from swinface.tasks import PAPER_TASKS
from tests.commands import run_swinface

TINY = {"embed_dim": 8, "depths": [1, 1, 2], "num_heads": [1, 1, 2], "patch_size": 4, "width": 16, "embedding_size": 8}

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra fast is not installed")


@pytest.fixture
def model() -> SwinFace:
    """It has few tasks, as each makes the conversion longer."""
    torch.manual_seed(0)
    return SwinFace(**TINY, untrained=[name for name in PAPER_TASKS if name not in ("age", "gender", "smiling")]).eval()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(runtimes, "cached_assets_path", lambda *name, **within: folder)
    return folder


def faces(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(9)) * 2 - 1


def error(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> float:
    both = zip(found, expected, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in both)


@pytest.mark.parametrize("runtime", [pytest.param("openvino", marks=needs_openvino), "onnxruntime"])
def test_a_runtime_gives_what_torch_gives_for_any_number_of_faces(runtime, model):
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
    opened, expected = (Runner(model, "full", name, "read") for name in (runtime, "torch"))
    assert (opened.about, expected.about) == (f"{runtime} float32", "torch float32")
    for count in (1, 5):
        images = faces(count)
        assert error(opened(images), expected(images)) < 1e-5
        answers = model.answer(opened(images)), model(images)
        assert answers[0].keys() == answers[1].keys()
        torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-4)
    kept = opened(images)
    before = [output.clone() for output in kept]
    opened(faces(5).flip(0))
    assert all(map(torch.equal, kept, before))  # not overwritten by the next batch


@needs_openvino
def test_the_fast_precision_is_bfloat16_where_the_processor_has_it(model, monkeypatch):
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: True)
    opened = Runner(model.trunk, "fast", "openvino")
    assert opened.about == "openvino bfloat16"
    assert error(opened(faces(3)), Runner(model.trunk, "full", "torch")(faces(3))) < 0.05
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: False)
    assert Runner(model.trunk, "fast", "openvino").about == "openvino float32"


@needs_openvino
def test_a_network_is_converted_once_for_its_weights(model, cache, monkeypatch):
    converted = []
    convert, *rest = RUNTIMES["openvino"]
    monkeypatch.setitem(RUNTIMES, "openvino", (lambda *given: converted.append(1) or convert(*given), *rest))

    def count() -> int:
        Runner(model.trunk, "full", "openvino")
        return len(converted)

    assert (count(), count()) == (1, 1)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"damaged")
    assert count() == 2
    torch.nn.init.normal_(model.trunk.swin.norm.weight)
    assert (count(), count()) == (3, 3)
    monkeypatch.setattr(runtimes, "KEPT", 2)
    torch.nn.init.normal_(model.trunk.swin.norm.weight)
    assert count() == 4
    assert len([*cache.iterdir()]) == 2 and kept not in cache.iterdir()  # the oldest goes


@needs_openvino
@pytest.mark.parametrize("place", [None, "/dev/null/file"])
def test_a_cache_that_cannot_be_written_to_is_done_without(place, model, monkeypatch):
    def find(*name: str, **within: str) -> Path:
        if place is None:
            raise PermissionError
        return Path(place)

    monkeypatch.setattr(runtimes, "cached_assets_path", find)
    assert Runner(model.trunk, "full", "openvino").runtime == "openvino"


@needs_openvino
def test_auto_is_openvino_for_many_faces_if_it_gives_what_torch_gives(model, cache, monkeypatch):
    assert Runner(model.trunk, faces=FEW - 1).runtime == "torch"
    assert not [*cache.iterdir()]
    assert Runner(model.trunk, faces=FEW).runtime == "openvino"
    convert, load, *rest = RUNTIMES["openvino"]

    def load_wrongly(*given: object) -> runtimes.Engine:
        engine = load(*given)
        return lambda images: [output + 0.5 for output in engine(images)]

    monkeypatch.setitem(RUNTIMES, "openvino", (convert, load_wrongly, *rest))
    with pytest.warns(UserWarning, match="openvino cannot run this model .output 0 differs.*torch is used") as warned:
        opened = Runner(model.trunk, "full")
    assert len(warned) == 1 and opened.about == "torch float32"
    assert torch.equal(opened(faces(2))[0], Runner(model.trunk, "full", "torch")(faces(2))[0])
    with pytest.raises(InputError, match="differs from torch's"):
        Runner(model.trunk, runtime="openvino")


def test_without_the_extra_auto_is_torch_and_a_named_runtime_says_what_brings_it(model, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert Runner(model.trunk).runtime == "torch"
    with pytest.raises(InputError, match=r"openvino needs openvino: `pip install '\.\[fast\]'`"):
        Runner(model.trunk, runtime="openvino")
    with pytest.raises(InputError, match="onnxruntime needs onnx and onnxruntime and onnxscript"):
        Runner(model.trunk, runtime="onnxruntime")


def test_a_model_on_another_device_is_torchs():
    network = torch.nn.Linear(2, 2, device="meta").eval()
    assert Runner(network).runtime == "torch"
    with pytest.raises(InputError, match="openvino computes on the CPU, and the model is on meta"):
        Runner(network, runtime="openvino")


SIGNALLED = """
import os, signal, sys, torch
from pathlib import Path
from swinface import runtimes
from swinface.runtimes import Runner
runtimes.cached_assets_path = lambda *name, **within: Path(sys.argv[1])
handled = []
signal.signal(signal.SIGINT, lambda *_: handled.append(1))
class Network(torch.nn.Conv2d):
    def forward(self, images):
        return super().forward(images), images.mean(dim=1)
network = Network(3, 2, 112).eval()
first = Runner(network, "full", "openvino")
second = Runner(network, "full", "openvino")
del first, second
os.kill(os.getpid(), signal.SIGINT)
assert handled
"""


@needs_openvino
def test_signals_are_handled_after_openvino_has_run(cache):
    subprocess.run([sys.executable, "-c", SIGNALLED, cache], check=True)


SILENT = """
import socket, sys, threading
socket.socket.connect = socket.getaddrinfo = lambda *where: sys.exit(f"it called {where}")
from swinface import runtimes
openvino = runtimes._import_openvino()
openvino.convert_model, openvino.Core()
assert "openvino_telemetry" not in sys.modules
assert threading.active_count() == 1
"""


@needs_openvino
def test_openvino_reports_nothing_to_its_makers(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    # The other process alone has this home: threads of native libraries may read the environment while it changes.
    subprocess.run([sys.executable, "-c", SILENT], check=True, env={**os.environ, "HOME": str(home)})
    assert not [*home.iterdir()]  # neither consent nor a number of the user


@needs_openvino
def test_predict_runs_on_it(tmp_path, capsys):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(tmp_path / "face.png")
    printed = []
    for runtime in ("torch", "openvino"):
        assert run_swinface("predict", tmp_path, "--aligned", "--runtime", runtime) == 0
        printed.append(capsys.readouterr().out.splitlines()[1])
    assert printed[0].split(",")[0] == printed[1].split(",")[0]
