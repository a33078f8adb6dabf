"""An ablation as a file: methods by name, and what all of them change. Such a file reads::

    seeds: [0, 1, 2]
    references: [none, leace]    # the methods that the table compares all others with
    base: [base, embeddings]     # configurations of `kinface fit`, merged in this order
    methods:
      none:
      reversal: [0.1, 1.0, 10.0] # lambda of every attribute that is hidden, with a run for each
      mine.yaml: [0.1]           # a custom file, named by its path; the method is called mine

A name is that of a file ``NAME.yaml`` beside this one, of a method in ``methods/``, or else of one that comes with the
package (``configs/kinface``). The file of a method is an overlay of ``kinface fit``, merged into ``base``. Two more
keys of it say what is done after training::

    calibrate: {method: faircal, options: {clusters: 10}}  # scores, by the tune pairs'; kinface.fairness.calibration
    oracle: [gender]             # erased from embeddings by the true class of each face; kinface.debias.transport
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import kinface.configs
from kinface.fairness.calibration import CALIBRATIONS
from swinface.files import InputError
from swinface.registry import look_beside
from swinface.settings import SECTIONS, check_sections, lay_over, merge_settings, read_yaml

AFTERWARDS = ("calibrate", "oracle")  # what is done to a trained model's scores and embeddings
NEEDED = ("seeds", "base", "methods")
REFERENCES = ("none", "leace")
SHIPPED = Path(kinface.configs.__file__).parent / "kinface"


@dataclass(frozen=True)
class Run:
    """One training of an ablation.

    ``calibration`` has the ``method`` and ``options`` of ``kinface.fairness.calibration``, and is None if scores stay
    as they are; ``oracle`` has the attributes, and their classes, that are erased from embeddings by the true class of
    each face, if there are any.
    """

    method: str
    strength: float | None  #: lambda, or None where the method has none
    seed: int
    files: tuple[Path, ...] = field(repr=False)  #: what ``config`` was merged from
    config: dict[str, Any] = field(repr=False)  #: of ``kinface fit``, without the folder of the run
    calibration: dict[str, Any] | None = None
    oracle: dict[str, list[str]] | None = None

    @property
    def name(self) -> str:
        """METHOD-LAMBDA-SEED, without lambda where there is none."""
        return "-".join([self.method, *([] if self.strength is None else [f"{self.strength:g}"]), str(self.seed)])


@dataclass(frozen=True)
class Ablation:
    """The content of a file, and of those that it names."""

    runs: list[Run]  #: the matrix of method x lambda x seed, in the order of the seeds, then of the methods
    references: list[str]  #: methods that all others are compared with

    @property
    def methods(self) -> list[str]:
        """Their names, in the order of the file."""
        return [*dict.fromkeys(run.method for run in self.runs)]


def read_ablation(path: Path, inputs: dict[str, Any]) -> Ablation:
    """Read an ablation from a YAML file; ``inputs`` is merged into the configuration of every run.

    Raises ``InputError`` if a file is missing or not of this form; names the key. The sections of ``kinface fit`` are
    not checked within.
    """
    content = _check_keys(read_yaml(path), f"{path}", (*NEEDED, "references"), NEEDED)
    seeds, base, named = content["seeds"], content["base"], content["methods"]
    whole = isinstance(seeds, list) and {*map(type, seeds)} == {int} and min(seeds) >= 0
    if not whole or len({*seeds}) < len(seeds):
        raise InputError(f"{path}: seeds: a list of different whole numbers from 0 up, such as [0, 1, 2]; got {seeds}.")
    if not isinstance(base, list) or not base or not all(isinstance(name, str) for name in base):
        raise InputError(f"{path}: base: a list of configurations, such as [base, embeddings]; got {base!r}.")
    if not isinstance(named, dict) or not named:
        raise InputError(f"{path}: methods: name one or more, each with its lambdas or nothing, such as `none:`.")
    files = tuple(_find_file(path, "base", name) for name in base)
    below = reduce(lay_over, (_read_sections(file, ("seed_everything",)) for file in files), {})
    methods: dict[str, list[Run]] = {}
    for name, strengths in named.items():
        file = _find_file(path, "methods", name)
        if not re.fullmatch(r"[a-z0-9_]+", file.stem) or file.stem in methods:
            raise InputError(
                f"{path}: methods: {name!r}: folders get the name of its file, which needs small letters, digits and _ "
                "only, and to be that of no other method."
            )
        methods[file.stem] = _read_method(file, files, below, strengths, f"{path}: methods.{name}")
    references = content.get("references", [name for name in REFERENCES if name in methods])
    if not isinstance(references, list):
        raise InputError(f"{path}: references: a list of methods, such as [none]; got {references!r}.")
    without = [name for name, runs in methods.items() if runs[0].strength is None]
    for name in references:
        if name not in without:
            known = ", ".join(without)
            raise InputError(f"{path}: references: {name!r} is not a method without lambdas; these are {known}.")
    runs = [
        replace(run, seed=seed, config=merge_settings(run.config, inputs | {"seed_everything": seed}))
        for seed in seeds
        for of_method in methods.values()
        for run in of_method
    ]
    return Ablation(runs, references)


def _find_file(path: Path, key: str, name: str) -> Path:
    """The file of a name that the ablation at ``path`` has below ``key``; a path is not looked up."""
    if name.endswith((".yaml", ".yml")):
        return path.parent / name
    folders = [folder / "methods" if key == "methods" else folder for folder in (path.parent, SHIPPED)]
    there = {file.stem: file for folder in reversed(folders) for file in sorted(folder.glob("*.yaml"))}
    if name not in there:
        kind = "method" if key == "methods" else "configuration"
        raise InputError(
            f"{path}: {key}: no {kind} {name!r}; choose from {', '.join(there)}, or give the path of a file, such as "
            "mine.yaml."
        )
    return there[name]


def _read_method(file: Path, files: tuple[Path, ...], base: dict[str, Any], strengths: object, where: str) -> list[Run]:
    """A run for each lambda of a method, with any seed and without the inputs."""
    own = _read_sections(file, AFTERWARDS)
    config = lay_over(base, {name: own[name] for name in own if name in SECTIONS})
    if strengths is not None:
        _check_strengths(strengths, config, where)
    calibration, oracle = map(own.get, AFTERWARDS)
    if "calibrate" in own:
        _check_calibration(calibration, f"{file}: calibrate")
    if "oracle" in own:
        stated = config.get("model", {}).get("attributes")
        stated = stated if isinstance(stated, dict) else {}
        classes = {name: values for name, values in stated.items() if isinstance(values, list)}
        if not isinstance(oracle, list) or not all(isinstance(name, str) and name in classes for name in oracle):
            known = ", ".join(classes) or "none"
            raise InputError(f"{file}: oracle: a list of names of model.attributes, which has {known}; got {oracle!r}.")
        oracle = {name: classes[name] for name in oracle}
    runs = []
    for strength in strengths or [None]:
        hide = {name: {"strength": strength} for name in _find_hidden(config)}
        hiding = config if strength is None else merge_settings(config, {"model": {"hide": hide}})
        runs.append(Run(file.stem, strength, 0, (*files, file), hiding, calibration, oracle))
    return runs


def _read_sections(path: Path, others: tuple[str, ...]) -> dict[str, Any]:
    """A part of a configuration of ``kinface fit``, in which every section is a mapping; ``others`` may be anything."""
    content = _check_keys(read_yaml(path), f"{path}", (*SECTIONS, *others))
    look_beside(path)
    return check_sections(content, path)


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


def _check_strengths(strengths: object, config: dict[str, Any], where: str) -> None:
    numbers = isinstance(strengths, list) and all(type(number) in (int, float) for number in strengths)
    if not numbers or not strengths or min(strengths) < 0 or len({*strengths}) < len(strengths):
        raise InputError(f"{where}: a list of different numbers from 0 up, such as [0.1, 1.0]; got {strengths}.")
    if not _find_hidden(config):
        raise InputError(f"{where}: lambda is that of attributes that are hidden, and model.hide has none.")


def _check_calibration(given: object, where: str) -> None:
    given = _check_keys(given, where, ("method", "options"), ("method",))
    try:
        CALIBRATIONS.check(str(given["method"]), **(given.get("options") or {}))
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error


def _find_hidden(config: dict[str, Any]) -> list[str]:
    """The attributes that a configuration hides."""
    hide = config.get("model", {}).get("hide")
    return [name for name, options in hide.items() if isinstance(options, dict)] if isinstance(hide, dict) else []
