"""What the runs of a sweep learn from and are measured on, beside their settings: a run that is done is not compared
with others of other people, embeddings or code."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from kinface.data.families import Families
from kinface.tradeoff.measure import Protocol
from kinface.training.data import read_tune_pairs
from swinface.files import InputError, digest_file
from swinface.registry import digest_own
from swinface.settings import dump_yaml, read_settings
from swinface.training.history import MODEL, flatten

INPUTS = "inputs.yaml"  # in the folder of a run


class Inputs:
    """The inputs of runs on some families. Each file is read once."""

    def __init__(self, families: Families) -> None:
        self.families = families
        self._digest_file = cache(digest_file)
        self._digest_people = cache(self._digest_people)

    def digest(self, config: dict[str, Any], protocol: Protocol) -> dict[str, str]:
        """Those of a run: name, such as the key of a setting, to a digest.

        They are people with the attributes that the run is trained or measured on, files that its configuration names,
        such as embeddings, models that it names by their folder, and custom modules. Images are none of them.
        """
        settings = {key: Path(value) for key, value in flatten(config).items() if isinstance(value, str)}
        places = {key: path / MODEL if path.is_dir() else path for key, path in settings.items()}
        files = {key: self._digest_file(path) for key, path in places.items() if path.is_file()}
        attributes = {*protocol.attributes, *(config.get("model", {}).get("attributes") or {})}
        people = {"data.root": self._digest_people(config["data"]["root"], frozenset(attributes))}
        return files | people | digest_own(dump_yaml(config))

    def _digest_people(self, root: str, attributes: frozenset[str]) -> str:
        families = self.families
        known = families.people[[name for name in families.people if name == "person" or name in attributes]]
        tables = [families.faces[["face", "person", "family", "split"]], known, families.relations]
        tables += [pairs[["face_a", "face_b", "kin"]] for pairs in read_tune_pairs(Path(root), families).values()]
        return hashlib.sha256("".join(table.to_csv(index=False) for table in tables).encode()).hexdigest()


def check_inputs(folder: Path, inputs: dict[str, str]) -> None:
    """Raise ``InputError`` if the run of a folder is trained and its inputs were others."""
    if not (folder / MODEL).exists() or not (folder / INPUTS).exists():  # `fit` trained it
        return
    changed = [name for name, digest in read_settings(folder / INPUTS).items() if inputs.get(name) != digest]
    if changed:
        raise InputError(
            f"{folder}: {changed[0]} was changed since this run; restore it, delete the folder to run it again, or "
            "choose another folder for the sweep."
        )
