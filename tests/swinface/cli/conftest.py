"""A small run of the configuration that ships."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.training_runs import CONFIGS, CPU, TINY, fit


@pytest.fixture(scope="module", autouse=True)
def faces_taken_as_aligned() -> Iterator[None]:
    """No run looks for faces in its images first, which takes as long as its training here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swinface.training.data.warn_unaligned", lambda *given: None)
        yield


@pytest.fixture(scope="module")
def config(face_sets, tmp_path_factory) -> Path:
    """The configuration that ships, on small sets, small and short."""
    settings = yaml.safe_load((CONFIGS / "swinface" / "small.yaml").read_text())
    settings["trainer"] |= {**CPU, "max_epochs": 3}
    settings["model"]["swinface"] = {**TINY, "dropout": 0.2}
    settings["data"] |= {"epoch_size": 36, "cache": None}  # 3 steps of 12 faces
    for stream in settings["data"]["streams"].values():
        stream["batch_size"] = 3
        for source in stream["sources"]:
            options = source["init_args"]
            options["root"] = str(face_sets / Path(options["root"]).name)
            options["part"] = "all"
            options.pop("without", None)
            options.pop("labels", None)
            if "teacher" in options:
                options.pop("teacher")
                if "fiw" in options["root"]:
                    options["teacher"] = str(face_sets / "teacher.npz")
    path = tmp_path_factory.mktemp("configs") / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory) -> Path:
    """A run without interruption."""
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    assert fit("--config", config, "--run", run) == 0
    return run
