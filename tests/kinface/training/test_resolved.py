"""A base and its overlays give the configurations in ``resolved``, with the defaults of the model and the data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.commands import run_kinface

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "kinface"
RESOLVED = sorted((Path(__file__).parent / "resolved").glob("*.yaml"))
OVERLAYS = {
    "baseline": [],
    "demo": ["methods/ours", "demo"],
    "small_debiased": ["small", "small_debiased"],
    **{name: [f"methods/{name}"] for name in ("reversal", "ours", "fair_contrastive")},
}  # any other has one, of its own name


@pytest.mark.parametrize("file", RESOLVED, ids=lambda file: file.stem)
def test_a_base_and_overlays_are_the_configuration_that_they_were(file, capsys):
    names = ["base", *OVERLAYS.get(file.stem, [file.stem])]
    options = ["--data.root", "FIW", "--run", "RUN", "--print_config"]
    with pytest.raises(SystemExit):
        run_kinface("fit", *(f"--config={CONFIGS / name}.yaml" for name in names), *options)
    found, wanted = yaml.safe_load(capsys.readouterr().out), yaml.safe_load(file.read_text())
    found["trainer"] = {name: found["trainer"][name] for name in wanted["trainer"]}
    assert [found.pop(name) for name in ("run", "checkpoint_steps", "logger")] == ["RUN", None, None]
    assert found["data"].pop("root") == "FIW"
    assert found == wanted


def test_every_overlay_is_tried_here():
    used = {name for file in RESOLVED for name in OVERLAYS.get(file.stem, [file.stem]) if "/" not in name}
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == used | {"base", "ablation"}


def test_what_shipped_configurations_state_is_compared():
    """The engine's own defaults are left out of ``resolved``; no key that a file states is."""
    stated = {key for file in CONFIGS.glob("*.yaml") for key in yaml.safe_load(file.read_text()).get("trainer", {})}
    for file in RESOLVED:
        assert stated <= {*yaml.safe_load(file.read_text())["trainer"]}
