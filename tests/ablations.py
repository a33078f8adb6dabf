"""An ablation in one text, written as the files that ``kinface sweep`` reads, and the command on it."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.commands import run_kinface

QUICK = ["--resamples", "100", "--probe-seeds", "1"]
ABLATION = """
seeds: [0, 1]
base:
  trainer: {max_epochs: 2, accelerator: cpu, devices: 1}
  model:
    attributes: {race: [African, Asian, Caucasian]}
    verification: {method: supervised_contrastive, options: {temperature: 0.1}}
    network: {width: 16, size: 8}
    optimizer: {learning_rate: 1.0e-2}
  data: {batch_size: 8, steps: 2}
methods:
  none: {}
  reversal:
    strengths: [0.5, 2]
    model: {hide: {race: {method: mlp}}}
"""


def write_ablation(path: Path, text: str) -> Path:
    """``base`` is the content of a base, a method that of its file, and ``strengths`` its lambdas."""
    content = yaml.safe_load(text)
    base, folder = path.with_name(f"{path.stem}_base.yaml"), path.parent / "methods"
    folder.mkdir(exist_ok=True, parents=True)
    base.write_text(yaml.safe_dump(content["base"]))
    strengths = {name: method.pop("strengths", None) for name, method in content["methods"].items()}
    for name, method in content["methods"].items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(method))
    path.write_text(yaml.safe_dump(content | {"base": [base.name], "methods": strengths}, sort_keys=False))
    return path


def sweep(root: Path, out: Path, *options, ablation: str = ABLATION) -> int:
    out.parent.mkdir(exist_ok=True, parents=True)
    file = write_ablation(out.parent / f"{out.name}.yaml", ablation)
    inputs = ["--root", root, "--list", root / "list.parquet", "--embeddings", root / "embeddings.npz"]
    return run_kinface("sweep", file, *inputs, "--out", out, "--workers", 1, *QUICK, *options)
