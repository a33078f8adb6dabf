"""What trainings in small have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run_kinface

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


def fit(root: Path, run: Path, *options, config="methods/reversal") -> int:
    names = dict.fromkeys(["kinface/base", f"kinface/{config}", "smoke"])
    overlays = [f"--config={CONFIGS / name}.yaml" for name in names]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    quiet += ["--trainer.devices", 1, "--trainer.strategy", "auto"]
    return run_kinface("fit", *overlays, "--data.root", root, "--run", run, *quiet, *options)


@pytest.fixture(scope="module", autouse=True)
def faces_taken_as_aligned() -> Iterator[None]:
    """No run looks for faces in its images first, which takes as long as its training here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kinface.training.data.warn_of_unaligned", lambda *given: None)
        yield
