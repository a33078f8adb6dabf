"""``kinface frontier``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from kinface.data.families import find_prepared_list
from kinface.data.fiw import read_families
from kinface.data.tables import write_intervals
from kinface.debias.erasers import erasers
from swinface.data.embeddings import read_arrays
from swinface.files import InputError, naming, printable
from swinface.registry import look_beside
from swinface.settings import read_yaml

if TYPE_CHECKING:
    from kinface.tradeoff.measure import Frontier


def frontier(
    *,
    embeddings: Path,
    people: Path,
    attribute: list[str],
    out: Path,
    eraser: list[str] | None = None,
    config: Path | None = None,
    list: Path | None = None,
    split: str = "val",
    match: list[str] | None = None,
    show: list[str] | None = None,
    kind: list[str] | None = None,
    fit_on: list[str] | None = None,
    seeds: int = 3,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Compare erasers by the kinship they keep and the attributes they remove, without training a network.

    Erasers are fitted on the people of the split train. ``out`` then holds ``frontier.csv``, ``frontier.json``,
    ``frontier.png`` and ``frontier.html``, a page: point at a method to see its row, and choose attribute, attacker and
    list.

    Parameters
    ----------
    embeddings
        Table of embeddings (.npz with face and embedding) of any model.
    people
        Folder of ``kinface prepare``.
    attribute
        What to erase and to measure, such as race, gender or one of your own; repeat the option for several.
    out
        Folder to write to.
    eraser
        leace, splince, inlp, components, transport, leopard, igbp, kram, mute, obliviator, or oracle, which is told the
        true class; or the class path of one of your own, such as mine.Eraser of a file mine.py in the working folder.
        Repeat the option for several; the default is all of these. The unchanged embeddings, none, are always included.
    config
        YAML file of erasers with options: a list of {method, options, name}.
    list
        The pairs to measure on, in any form that ``kinface score`` takes; by default the folder's list of the split,
        or pairs drawn from the split if it has none.
    split
        The split of this list.
    match
        What the non-kin pairs of the matched list have in common with the kin pairs, see ``kinface pairs``; the default
        is the attributes and the type.
    show
        Methods that the figure highlights whatever their rank.
    kind
        Which probes to fit, see ``kinface probe``.
    fit_on
        Split whose faces every probe is fitted on too, such as train, see ``kinface probe``; repeat the option for
        several.
    seeds
        How often the folds of the probes are drawn.
    resamples
        Resamples of families, for the 95% intervals.
    seed
        Seed of all draws.
    """
    from joblib import parallel_config

    from kinface.leakage.probes import PROBES
    from kinface.tradeoff.frontier import frontier as measure_frontier

    wanted = {name: erasers.create(name) for name in eraser or []}
    if config is not None:
        for name, made in read_erasers(config).items():
            if name in wanted:
                raise InputError(f"{config}: two erasers have the name {name!r}; give one a `name` of its own.")
            wanted[name] = made
    families = read_families(people)
    prepared = find_prepared_list(people, split)
    pairs = families.pairs(list or prepared or split, seed=seed)
    faces, arrays = read_arrays(embeddings, ["embedding"])
    with parallel_config(n_jobs=-1):
        found = measure_frontier(
            arrays["embedding"],
            faces,
            families,
            pairs,
            attribute,
            erasers=wanted or None,
            match=match,
            probes=tuple(kind or PROBES),
            fit_on=fit_on or (),
            seeds=seeds,
            resamples=resamples,
            seed=seed,
        )
    inputs = {"kinface": version("kinface"), "embeddings": str(embeddings), "people": str(people)}
    found.write(out, show or (), **inputs)
    print_frontier(found)
    if list is None and prepared is None:
        print(f"{people} has no list of the split {split}: its pairs are drawn and differ from those of a list")
    print(f"erasers are fitted on {found.about['training faces']:,} training faces")
    print(f"wrote {out / 'frontier.html'}, a page, and {out / 'frontier.csv'}")


def read_erasers(path: Path) -> dict[str, object]:
    """The erasers of a YAML file, by their names."""
    look_beside(path)
    entries, made = read_yaml(path), {}
    keys = {"method", "options", "name"}
    for entry in entries if isinstance(entries, Sequence) else [None]:
        if not isinstance(entry, dict) or not {"method"} <= entry.keys() <= keys:
            raise InputError(f"{path}: must be a list of erasers with the keys method, options and name.")
        name, options = str(entry.get("name", entry["method"])), entry.get("options") or {}
        if not isinstance(options, dict):
            raise InputError(f"{path}: options of {name!r} must be a mapping, as {{strength: 0.5}}, not {options!r}.")
        if name in made:
            raise InputError(f"{path}: two erasers have the name {name!r}; give one a `name` of its own.")
        with naming(path):
            made[name] = erasers.create(str(entry["method"]), **options)
    return made


def print_frontier(found: Frontier) -> None:
    """Print what was measured, and the methods by their rank."""
    from kinface.tradeoff.figure import name_rows
    from kinface.tradeoff.measure import RULE

    for listed in ("standard", "matched"):
        print(printable("{list}: {pairs:,} pairs of {families:,} families".format(**found.about[listed])))
    attributes = found.protocol.attributes
    for name in attributes:
        said = "{classes}; {faces:,} faces, {people:,} people, {families:,} families; chance {chance:.3f}"
        said += f"; probes are fitted on {found.about[name]['more']:,} more faces" * bool(found.protocol.fit_on)
        print(printable(f"{name}: {said.format(**found.about[name])}"))
    columns = ["auc_standard", "auc_matched", *(f"{name}_best" for name in attributes)]
    ranked = found.table.assign(method=name_rows(found.table)).sort_values("tradeoff", ascending=False, kind="stable")
    shown = ranked[["method"]].assign(tradeoff=ranked["tradeoff"].map("{:.3f}".format))
    for column in columns:
        shown[column] = write_intervals(ranked, column)
    print(f"{shown.to_string(index=False)}\n{RULE}.")
