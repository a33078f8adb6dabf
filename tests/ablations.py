"""An ablation in one text, written as the files that ``kinface sweep`` reads."""

from __future__ import annotations

from pathlib import Path

import yaml


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
