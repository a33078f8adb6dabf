"""Precision, and computations in parts that survive an interruption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from torch.nn.functional import normalize

from swinface.attention import attend
from swinface.data.augment import make_input
from swinface.export import export
from swinface.files import InputError
from swinface.images import read_image
from swinface.inference import Shards, digest_weights, inference, multiplies_bfloat16
from swinface.model import SwinFace
from swinface.photos.predict import cut_faces, predict
from tests.commands import run_kinface
from tests.swinface.tiny import tiny

REGRESSIONS = ("age",)


def faces(count: int) -> torch.Tensor:
    """A face that is shown in many ways, (N, 3, 112, 112), scaled."""
    torch.manual_seed(0)
    (face, *_), _ = cut_faces(read_image(get_sample_data("grace_hopper.jpg", asfileobj=False)), False, "photo")
    return make_input(torch.tensor(face).permute(2, 0, 1).expand(count, 3, 112, 112).contiguous(), "light")


def test_fast_outputs_are_within_the_stated_tolerance(monkeypatch):
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: True)  # slower elsewhere, but the same
    model, images, outputs = SwinFace.from_pretrained("shipped"), faces(48), {}
    for precision in ("fast", "full"):
        with inference(torch.device("cpu"), precision):
            outputs[precision] = {name: output.float() for name, output in model(images).items()}
    fast, full = outputs["fast"], outputs["full"]
    assert not torch.equal(fast["embedding"], full["embedding"])
    cosines = [normalize(found["embedding"]) @ normalize(found["embedding"]).T for found in (fast, full)]
    assert (cosines[0] - cosines[1]).abs().max() < 0.01
    assert (fast["age"] - full["age"]).abs().max() < 0.5
    for name in full:
        if name not in ("embedding", *REGRESSIONS):
            assert (fast[name].softmax(1) - full[name].softmax(1)).abs().max() < 0.03, name


def test_without_native_bfloat16_a_device_computes_in_float32(monkeypatch):
    monkeypatch.setattr("swinface.inference.multiplies_bfloat16", lambda device: False)
    matrix = torch.randn(4, 4)
    with inference(torch.device("cpu")):
        assert (matrix @ matrix).dtype == torch.float32
    monkeypatch.undo()
    assert isinstance(multiplies_bfloat16(torch.device("cpu")), bool)
    assert not multiplies_bfloat16(torch.device("meta"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda model: model.train(), r"in training mode, where predictions depend on .*; call model.eval\(\)"),
        (lambda model: model.half(), r"the model's weights are torch.float16; call model.float\(\)"),
    ],
)
def test_a_model_in_training_mode_or_half_precision_is_refused(change, named, tmp_path):
    model, grey = change(tiny().eval()), np.full((112, 112, 3), 128, dtype=np.uint8)
    for use in (
        lambda: predict(model, grey, aligned=True),
        lambda: export(model, tmp_path / "model.onnx"),
        lambda: attend(model, []),
    ):
        with pytest.raises(InputError, match=named):
            use()
    for other in ("shipped", model.trunk):
        with pytest.raises(InputError, match=f"model: a {type(other).__name__}; give the SwinFace itself"):
            predict(other, grey, aligned=True)


def test_weights_that_differ_have_another_digest():
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert digest_weights(first) != digest_weights(second)
    second.load_state_dict(first.state_dict())
    assert digest_weights(first) == digest_weights(second)


def square(rows: range) -> dict[str, np.ndarray]:
    return {"square": np.arange(rows.start, rows.stop) ** 2}


def test_an_interrupted_computation_goes_on_with_the_missing_parts(tmp_path):
    done = []

    def compute(rows: range) -> dict[str, np.ndarray]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(rows.start)
        return square(rows)

    shards = Shards(tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        shards.compute("square", ["model"], 10, compute, size=3)
    assert sorted(file.name for file in (tmp_path / "parts" / "square").glob("*.npz")) == ["00000.npz", "00001.npz"]
    rest = []
    found = shards.compute("square", ["model"], 10, lambda rows: rest.append(rows.start) or square(rows), size=3)
    assert rest == [6, 9]
    assert found["square"].tolist() == [number**2 for number in range(10)]
    assert Shards().compute("square", None, 10, square, size=3)["square"].tolist() == found["square"].tolist()
    with pytest.raises(InputError, match="of another model; delete it"):
        shards.compute("square", ["other model"], 10, square, size=3)
    (tmp_path / "parts" / "square" / "00001.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"00001\.npz: a damaged part"):
        shards.compute("square", ["model"], 10, square, size=3)
    (tmp_path / "parts" / "mine").mkdir()
    (tmp_path / "parts" / "mine" / "notes.txt").write_text("not a part")
    shards.finish()
    assert [path.name for path in (tmp_path / "parts").rglob("*")] == ["mine", "notes.txt"]


def test_parts_are_divided_among_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("swinface.inference.distributed.all_gather_object", lambda problems, problem: None)
    seen: dict[int, list[int]] = {}
    for rank in (1, 0):
        shards = Shards(tmp_path, rank=rank, processes=2)

        def compute(rows: range, rank: int = rank) -> dict[str, np.ndarray]:
            seen.setdefault(rank, []).append(rows.start)
            return square(rows)

        if rank == 1:  # the other one has not come yet
            with pytest.raises(InputError, match="damaged part"):
                shards.compute("square", None, 10, compute, size=2)
        else:
            assert len(shards.compute("square", None, 10, compute, size=2)["square"]) == 10
    assert seen == {1: [2, 6], 0: [0, 4, 8]}
    assert shards.first


TOGETHER = """
import sys
from torch import distributed
from swinface.files import InputError
from swinface.inference import work_together
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
def fail(error):
    if rank == 1:
        raise error
    return rank
print(work_together(lambda: rank, 2))
for error in (OSError(28, "No space left on device"), InputError("a.jpg: no such image.")):
    try:
        work_together(lambda: fail(error), 2)
    except Exception as raised:
        print(f"{type(raised).__name__}: {raised}")
"""


def test_if_one_process_fails_all_raise_and_none_waits(tmp_path):
    command = [sys.executable, "-c", TOGETHER]
    started = [
        subprocess.Popen([*command, str(rank), tmp_path / "meeting"], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        first, second = (process.communicate(timeout=60)[0].splitlines() for process in started)
    finally:
        for process in started:
            process.kill()
    assert first[0] == second[0] == "[0, 1]"
    full, missing = "OSError: [Errno 28] No space left on device", "a.jpg: no such image."
    assert second[1:] == [full, f"InputError: {missing}"]
    assert first[1:] == [f"InputError: process 1 failed: {full}", f"InputError: process 1 failed: {missing}"]


def test_several_devices_need_a_folder():
    with pytest.raises(InputError, match="several devices need a folder"):
        Shards.start(None, devices=2)


KILLED = """
import os, signal, sys
import numpy as np
from kinface.cli.main import main
save = np.savez
def save_and_die(file, **arrays):
    save(file, **arrays)
    if "00001" in str(file):
        os.kill(os.getpid(), signal.SIGKILL)
np.savez = save_and_die
import swinface.inference
swinface.inference.Shards.compute.__defaults__ = (2,)
main()
"""


def test_a_killed_command_goes_on_to_the_same_table(face_sets, tmp_path, monkeypatch):
    people = tmp_path / "fiw"
    people.mkdir()
    (people / "list.txt").write_text("")
    table = tmp_path / "pairs.csv"
    names = sorted(path.relative_to(face_sets / "fiw").as_posix() for path in (face_sets / "fiw").rglob("*.jpg"))
    apart = zip(names, names[3:], strict=False)  # nobody has more than three, so a pair shows two people
    table.write_text("face_a,face_b,kin\n" + "".join(f"{a},{b},1\n" for a, b in apart))
    command = ["score", "--root", str(face_sets / "fiw"), "--list", str(table), "--out"]
    monkeypatch.setattr(Shards.compute, "__defaults__", (2,))

    def score(out: Path) -> int:
        return run_kinface(*command, out)

    assert score(tmp_path / "a.csv") == 0
    killed = [sys.executable, "-c", KILLED, *command, tmp_path / "b.csv"]
    assert subprocess.run(killed, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / "b.csv.parts" / "embed" / "00000.npz").exists()
    assert json.loads((tmp_path / "b.csv.parts" / "embed" / "about.json").read_text())
    assert score(tmp_path / "b.csv") == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"fiw", "pairs.csv", "a.csv", "b.csv"}


def test_a_second_command_is_kept_out_until_the_first_is_done(tmp_path):
    folder = tmp_path / "out.npz.parts"
    first = Shards.start(folder)
    with pytest.raises(InputError, match=r"out\.npz\.parts: another process is at work here"):
        Shards.start(folder)
    first.compute("square", None, 10, square, size=3)
    first.finish()
    second = Shards.start(folder)
    with pytest.raises(KeyboardInterrupt):
        second.compute("square", None, 10, interrupt)
    third = Shards.start(folder)
    third.compute("square", None, 10, square)
    third.finish()
    assert [*tmp_path.iterdir()] == []


def interrupt(rows: range) -> dict[str, np.ndarray]:
    raise KeyboardInterrupt
