"""An ablation as a file: methods, each with what it changes in one base configuration of ``kinface fit``, and its runs.

Such a file reads::

    seeds: [0, 1, 2]
    references: [none, leace]        # the methods that the table compares all others with
    base: {trainer: ..., model: ..., data: ...}
    methods:
      none: {}
      reversal_race:
        strengths: [0.1, 1.0, 10.0]  # lambda of every attribute that is hidden, with a run for each
        model: {hide: {race: {method: mlp}}}
      ours:
        overlays: [debiased.yaml]    # configurations of `kinface fit`, beside this file, merged in this order
        data: {batch_size: 128}
      faircal:
        calibrate: {method: faircal, options: {clusters: 10}}  # the scores, by the tune pairs'; kinface.calibrate
      quadratic_leace:
        oracle: {gender: [f, m]}     # erased after training, by the true class of each face; Oracle
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinface.fairness.calibration import CALIBRATIONS
from swinface.files import InputError
from swinface.settings import merge_settings, read_yaml

SECTIONS = ("trainer", "model", "data")  # of a configuration of `kinface fit`


AFTERWARDS = ("calibrate", "oracle")  # what is done to a trained model's scores and embeddings


NEEDED = ("seeds", "base", "methods")


REFERENCES = ("none", "leace")


@dataclass(frozen=True)
class Run:
    """One training of an ablation.

    Attributes
    ----------
    strength
        Lambda, or None where the method has none.
    config
        A configuration of ``kinface fit``, without the folder of the run.
    calibration
        ``method`` and ``options`` of ``kinface.calibrate``; None if scores stay as they are.
    oracle
        Attributes, and their classes, that are erased from embeddings by the true class of each face; None if there
        are none.
    """

    method: str
    strength: float | None
    seed: int
    config: dict[str, Any] = field(repr=False)
    calibration: dict[str, Any] | None = None
    oracle: dict[str, list[str]] | None = None

    @property
    def name(self) -> str:
        """METHOD-LAMBDA-SEED, without lambda where there is none."""
        return "-".join([self.method, *([] if self.strength is None else [f"{self.strength:g}"]), str(self.seed)])


@dataclass(frozen=True)
class Ablation:
    """The content of a file.

    Attributes
    ----------
    methods
        Name to what it changes: ``SECTIONS``, merged into those of ``base``, ``strengths``, ``calibrate`` and
        ``oracle``. Its overlays are merged into its sections.
    inputs
        Settings of every run, whatever its method says.
    references
        Methods that all others are compared with.
    """

    seeds: list[int]
    base: dict[str, Any]
    methods: dict[str, dict[str, Any]]
    references: list[str]
    inputs: dict[str, Any]

    def expand(self) -> list[Run]:
        """The matrix of method x lambda x seed, in the order of the seeds, then of the methods."""
        return [
            Run(name, strength, seed, self._configure(method, strength, seed), *map(method.get, AFTERWARDS))
            for seed in self.seeds
            for name, method in self.methods.items()
            for strength in method.get("strengths", [None])
        ]

    def _configure(self, method: dict[str, Any], strength: float | None, seed: int) -> dict[str, Any]:
        config = merge_settings(self.base, {section: method[section] for section in SECTIONS if section in method})
        if strength is not None:
            hide = {name: {"strength": strength} for name in _find_hidden(config)}
            config = merge_settings(config, {"model": {"hide": hide}})
        return merge_settings(config, self.inputs | {"seed_everything": seed})


def read_ablation(path: Path, inputs: dict[str, Any]) -> Ablation:
    """Read an ablation from a YAML file; ``inputs`` is merged into the configuration of every run.

    Raises
    ------
    InputError
        A file is missing or not of this form; names the key. The sections of ``kinface fit`` are not checked within.
    """
    content = _check_keys(read_yaml(path), f"{path}", (*NEEDED, "references"), NEEDED)
    base = _check_sections(content["base"], f"{path}: base", ("seed_everything",))
    methods = content["methods"]
    if not isinstance(methods, dict) or not methods:
        raise InputError(f"{path}: methods: name one or more, each with what it changes in base, such as `none: {{}}`.")
    methods = {name: _read_method(name, method, base, path) for name, method in methods.items()}
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not seeds or {*map(type, seeds)} != {int} or len({*seeds}) < len(seeds):
        raise InputError(f"{path}: seeds: a list of different whole numbers, such as [0, 1, 2]; got {seeds}.")
    references = content.get("references", [name for name in REFERENCES if name in methods])
    if not isinstance(references, list):
        raise InputError(f"{path}: references: a list of methods, such as [none]; got {references!r}.")
    for name in references:
        if not isinstance(name, str) or name not in methods or "strengths" in methods[name]:
            there = ", ".join(name for name, method in methods.items() if "strengths" not in method)
            raise InputError(f"{path}: references: {name!r} is not a method without strengths; these are {there}.")
    return Ablation(seeds, base, methods, references, inputs)


def _read_method(name: object, method: object, base: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a method of the file changes, its overlays included."""
    if not re.fullmatch(r"[a-z0-9_]+", str(name)):
        raise InputError(f"{path}: methods: {name!r} names folders too; use small letters, digits and _ only.")
    where = f"{path}: methods.{name}"
    own = _check_sections(method, where, ("strengths", "overlays", *AFTERWARDS))
    method = _apply_overlays(own, path.parent, where)
    _check_strengths(method, merge_settings(base, method), f"{where}.strengths")
    _check_calibration(method, f"{where}.calibrate")
    oracle = method.get("oracle", {})
    if not isinstance(oracle, dict):
        raise InputError(f"{where}.oracle: a mapping of attributes to their classes; got {oracle!r}.")
    for name, classes in oracle.items():
        if not isinstance(classes, list) or len(classes) < 2:
            raise InputError(f"{where}.oracle.{name}: a list of two classes or more; got {classes!r}.")
    return method


def _apply_overlays(method: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """A method whose overlays, files in ``folder``, are merged into its sections, which have the last word."""
    overlays = method.pop("overlays", [])
    if not isinstance(overlays, list) or not all(isinstance(name, str) for name in overlays):
        raise InputError(f"{where}.overlays: a list of files, such as [debiased.yaml]; got {overlays!r}.")
    merged: dict[str, Any] = {}
    for name in overlays:
        merged = merge_settings(merged, _check_sections(read_yaml(folder / name), f"{folder / name} (of {where})"))
    return merge_settings(merged, method)


def _check_sections(content: object, where: str, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """A part of a configuration of ``kinface fit``, in which every section is a mapping; ``others`` may be anything."""
    content = _check_keys(content, where, (*SECTIONS, *others))
    for name in SECTIONS:
        if not isinstance(content.get(name, {}), dict):
            raise InputError(f"{where}.{name}: a mapping of settings; got {content[name]!r}.")
    return content


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
    if not _find_hidden(config):
        raise InputError(f"{where}: lambda is that of attributes that are hidden, and model.hide has none.")


def _check_calibration(method: dict[str, Any], where: str) -> None:
    if "calibrate" not in method:
        return
    given = _check_keys(method["calibrate"], where, ("method", "options"), ("method",))
    try:
        CALIBRATIONS.check(str(given["method"]), **(given.get("options") or {}))
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error


def _find_hidden(config: dict[str, Any]) -> list[str]:
    """The attributes that a configuration hides."""
    hide = config.get("model", {}).get("hide")
    return [name for name, options in hide.items() if isinstance(options, dict)] if isinstance(hide, dict) else []
