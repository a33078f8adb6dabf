"""An ablation as a file: methods, each what it changes in one base configuration of ``kinface fit``, and its runs.

seeds: [0, 1, 2]
references: [none, leace]        # whom the table compares all methods with
base: {trainer: ..., model: ..., data: ...}
methods:
  none: {}
  reversal_race:
    strengths: [0.1, 1.0, 10.0]  # lambda of every adversarial head; a run for each
    model: {heads: {race: {classes: [African, Asian, Caucasian], adversarial: true}}}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from swinface.files import InputError

SECTIONS = ("trainer", "model", "data")  # of a configuration of `kinface fit`


REFERENCES = ("none", "leace")


@dataclass(frozen=True)
class Run:
    """One training of an ablation.

    Attributes
    ----------
    strength
        Lambda, or None where the method has none.
    config
        Of ``kinface fit``, but for where the run goes.
    """

    method: str
    strength: float | None
    seed: int
    config: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """METHOD-LAMBDA-SEED, without lambda where there is none."""
        return "-".join([self.method, *([] if self.strength is None else [f"{self.strength:g}"]), str(self.seed)])


@dataclass(frozen=True)
class Ablation:
    """What a file says.

    Attributes
    ----------
    methods
        Name to what it changes: ``SECTIONS``, merged into those of ``base``, and ``strengths``.
    inputs
        What every run has, whatever its method says.
    references
        Methods that all others are compared with.
    """

    seeds: list[int]
    base: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    references: list[str]
    inputs: dict[str, Any]

    def expand(self) -> list[Run]:
        """The matrix method x lambda x seed, all of the first seed first."""
        return [
            Run(name, strength, seed, self._configure(method, strength, seed))
            for seed in self.seeds
            for name, method in self.methods.items()
            for strength in method.get("strengths", [None])
        ]

    def _configure(self, method: dict[str, Any], strength: float | None, seed: int) -> dict[str, Any]:
        config = merge(self.base, {section: method[section] for section in SECTIONS if section in method})
        if strength is not None:
            adversaries = {name: {"strength": strength} for name in _find_adversaries(config)}
            config = merge(config, {"model": {"heads": adversaries}})
        return merge(config, self.inputs | {"seed_everything": seed})


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What ``base`` says where ``changes`` says nothing; mappings are merged in depth, anything else replaced."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if nested else value
    return merged


def read_ablation(path: Path, inputs: dict[str, Any]) -> Ablation:
    """Read an ablation from a YAML file; ``inputs`` is merged into the configuration of every run.

    Raises
    ------
    InputError
        The file is missing or no such description; names the key. What is within the sections of ``kinface fit`` is
        not looked at.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{path}: not a readable YAML file ({reason}).") from error
    content = _check_keys(content, f"{path}", ("seeds", "references", "base", "methods"), ("seeds", "base", "methods"))
    base = _check_keys(content["base"], f"{path}: base", (*SECTIONS, "seed_everything"))
    methods = content["methods"]
    if not isinstance(methods, dict) or not methods:
        raise InputError(f"{path}: methods: name one or more, each with what it changes in base, such as `none: {{}}`.")
    for name, method in methods.items():
        if not re.fullmatch(r"[a-z0-9_]+", str(name)):
            raise InputError(f"{path}: methods: {name!r} names folders too; use small letters, digits and _ only.")
        methods[name] = _check_keys(method, f"{path}: methods.{name}", (*SECTIONS, "strengths"))
        _check_strengths(methods[name], merge(base, methods[name]), f"{path}: methods.{name}.strengths")
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not seeds or {*map(type, seeds)} != {int} or len({*seeds}) < len(seeds):
        raise InputError(f"{path}: seeds: a list of different whole numbers, such as [0, 1, 2]; got {seeds}.")
    references = content.get("references", [name for name in REFERENCES if name in methods])
    for name in references:
        if name not in methods or "strengths" in methods[name]:
            raise InputError(f"{path}: references: {name!r} is no method without strengths among {', '.join(methods)}.")
    return Ablation(seeds, base, methods, references, inputs)


def _check_keys(content: object, where: str, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> dict[str, Any]:
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"{where}: a mapping with {', '.join(known)}; got {content!r}.")
    for key in content:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; the keys are {', '.join(known)}.")
    for key in needed:
        if key not in content:
            raise InputError(f"{where}: the key {key!r} is missing.")
    return content


def _check_strengths(method: dict[str, Any], config: dict[str, Any], where: str) -> None:
    if "strengths" not in method:
        return
    strengths = method["strengths"]
    numbers = isinstance(strengths, list) and all(type(number) in (int, float) for number in strengths)
    if not numbers or not strengths or min(strengths) < 0 or len({*strengths}) < len(strengths):
        raise InputError(f"{where}: a list of different numbers from 0 up, such as [0.1, 1.0]; got {strengths}.")
    if not _find_adversaries(config):
        raise InputError(f"{where}: lambda is that of adversarial heads, and model.heads has none.")


def _find_adversaries(config: dict[str, Any]) -> list[str]:
    """Names of the adversarial heads of a configuration."""
    heads = (config.get("model") or {}).get("heads") or {}
    return [name for name, head in heads.items() if isinstance(head, dict) and head.get("adversarial")]
