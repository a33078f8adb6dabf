"""How pairs are divided into groups: by race, by a custom attribute, by a function, by several at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

import numpy as np
import pandas as pd

from kinface.data.pairs import gender_pair, generation_gap, race_crossing, race_group
from kinface.data.tables import canonical_text, warn_of_look_alikes
from kinface.data.vocabulary import TYPES
from swinface.files import InputError, running

OVERALL = "overall"  # the grouping of all pairs into one group, which every audit has
GENERATIONS = {0: "same generation", 1: "one apart", 2: "two apart"}
GROUP_ORDER = (*TYPES, "mm", "mf", "ff", *GENERATIONS.values(), "same-race")  # other groups are ordered by name
MOST_GROUPS = 100
AND = " x "  # joins the names of groupings, and of groups, in an intersection


@dataclass(frozen=True)
class Grouping:
    """A way to divide pairs into groups.

    A shared value of each of ``attributes`` makes a group. A pair of two values of one of them is counted and measured,
    but its group is not compared with others: cross-race is no race.
    """

    name: str
    label: Callable[[pd.DataFrame], pd.Series]  #: pairs table to the group of each pair, missing where it is unknown
    attributes: tuple[str, ...] = ()
    optional: bool = False  #: it is left out, without an error, if the pairs have no labels for it
    reads: tuple[str, ...] = ()  #: the columns that ``label`` reads, where it is known that it reads no others


OF_RACE, OF_GENDER = ("race_a", "race_b"), ("gender_a", "gender_b")
DEFAULT_GROUPINGS: tuple[Grouping, ...] = (
    Grouping("race", race_group, ("race",), optional=True, reads=OF_RACE),
    Grouping("race crossing", race_crossing, optional=True, reads=OF_RACE),
    Grouping("gender pair", gender_pair, optional=True, reads=OF_GENDER),
    Grouping("type", lambda pairs: pairs["type"], optional=True, reads=("type",)),
    Grouping("generation gap", lambda pairs: generation_gap(pairs).map(GENERATIONS), optional=True, reads=("type",)),
    Grouping(
        "race and gender",
        lambda pairs: race_group(pairs) + " " + gender_pair(pairs),
        ("race",),
        optional=True,
        reads=(*OF_RACE, *OF_GENDER),
    ),
)


def intersects(grouping: str) -> bool:
    """Whether the groups of a grouping are of several things at once, such as race and gender."""
    return grouping == "race and gender" or AND in grouping


Specification = str | Callable[[pd.DataFrame], pd.Series] | Grouping | Iterable


def resolve_groupings(
    pairs: pd.DataFrame, groupings: Iterable[Specification] | Mapping[str, Specification]
) -> list[Grouping]:
    """The default groupings, and what a user wrote as groupings, which replaces a default one of its name.

    See ``audit_fairness`` for what can be written. Raises ``InputError`` if a name is no grouping, column or attribute
    of the pairs, or two functions have one name, as all lambdas have.
    """
    if isinstance(groupings, str | Grouping) or callable(groupings):
        groupings = [groupings]
    if isinstance(groupings, Mapping):
        resolved = [replace(_resolve(spec, pairs), name=name) for name, spec in groupings.items()]
    else:
        resolved = [_resolve(spec, pairs) for spec in _list_parts(groupings, pairs)]
    if any(grouping.name == OVERALL for grouping in resolved):
        raise InputError(f"groupings: {OVERALL!r} is the group of all pairs, which is always there; use another name.")
    for one, other in combinations(resolved, 2):
        if one.name == other.name and one.label is not other.label and not (one.reads and other.reads):
            raise InputError(
                f"groupings: two are called {one.name!r}; give names of your own in a dict, as in {{'old': function}}."
            )
    return list({grouping.name: grouping for grouping in (*DEFAULT_GROUPINGS, *resolved)}.values())


def _resolve(spec: Specification, pairs: pd.DataFrame) -> Grouping:
    if isinstance(spec, Grouping):
        return spec
    if isinstance(spec, str):
        return _find(spec, pairs)
    if callable(spec):
        return Grouping(getattr(spec, "__name__", type(spec).__name__).strip("<>"), spec)
    return _intersect([_resolve(part, pairs) for part in _list_parts(spec, pairs)])


def _list_parts(several: object, pairs: pd.DataFrame) -> list[Specification]:
    if not isinstance(several, Iterable):
        raise InputError(f"groupings: {several!r} is not a name, a function or a list of these.")
    parts = [*several]
    if hasattr(several, "dtype") and len(parts) == len(pairs):
        raise InputError(
            "groupings: these are values of the pairs; make them a column of the pairs, and give its name."
        )
    return parts


def _find(name: str, pairs: pd.DataFrame) -> Grouping:
    """The grouping of a name: a default one, a column, an attribute of both persons, or an intersection."""
    for grouping in DEFAULT_GROUPINGS:
        if grouping.name == name:
            return replace(grouping, optional=False)
    if name in pairs:
        return Grouping(name, lambda pairs: pairs[name], reads=(name,))
    if f"{name}_a" in pairs and f"{name}_b" in pairs:
        return Grouping(name, lambda pairs: _share(pairs, name), (name,), reads=(f"{name}_a", f"{name}_b"))
    if AND in name:
        return _intersect([_find(part.strip(), pairs) for part in name.split(AND)])
    raise InputError(
        f"cannot group by {name!r}: the pairs have neither a column {name} nor the columns {name}_a and {name}_b. "
        f"Their columns are {', '.join(map(str, pairs.columns[pairs.notna().any()]))}."
    )


def _share(pairs: pd.DataFrame, attribute: str) -> pd.Series:
    """The value that both persons share, else ``cross-`` and the attribute; missing where either is unknown."""
    first, second = _values_of(pairs, attribute)
    return first.where(first == second, f"cross-{attribute}").where(first.notna() & second.notna(), None)


def _intersect(parts: list[Grouping]) -> Grouping:
    if not parts:
        raise InputError("groupings: an intersection needs at least one grouping; the list is empty.")

    def label(pairs: pd.DataFrame) -> pd.Series:
        joined, *others = (_label(part, pairs).astype(object) for part in parts)
        for other in others:
            joined = joined + AND + other
        return joined

    attributes = tuple(attribute for part in parts for attribute in part.attributes)
    reads = tuple(chain(*(part.reads for part in parts))) if all(part.reads for part in parts) else ()
    return Grouping(AND.join(part.name for part in parts), label, attributes, reads=reads)


def label_groups(
    pairs: pd.DataFrame, groupings: Iterable[Grouping] = DEFAULT_GROUPINGS
) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """Find the group of every pair in every grouping.

    Gives a table of labels, a column per grouping, the group of all pairs first: ordered categories, missing where the
    group is unknown, without optional groupings that have no group. And for each grouping and group the attribute of
    which its pairs have two values. Warns if groups, or values of two people, differ only in capital letters, blanks,
    hyphens or underscores, or if no two people have one value.

    Raises ``InputError`` if no pair has a group in a grouping that is not optional, a grouping has more than
    ``MOST_GROUPS`` groups, or a function did not return a value for each pair.
    """
    labels, mixed = {OVERALL: pd.Series("all pairs", pairs.index, dtype="category")}, {}
    for grouping in groupings:
        differing, place = _find_differing(pairs, grouping.reads)
        label = _label(grouping, differing)
        if label.notna().any():
            codes = label.cat.codes.to_numpy()[place]
            labels[grouping.name] = pd.Series(pd.Categorical.from_codes(codes, dtype=label.dtype), pairs.index)
            if not intersects(grouping.name):
                values = [side.unique() for name in grouping.attributes for side in _values_of(differing, name)]
                named = {*label.cat.categories, *chain(*values)} - {None}
                warn_of_look_alikes(named, f"grouping {grouping.name!r}: groups", stacklevel=3)
            for attribute in grouping.attributes:
                two = _have_two_values(differing, attribute)
                if two[label.notna()].all():
                    sides = f"{attribute}_a and {attribute}_b"
                    warnings.warn(f"grouping {grouping.name!r}: no pair has one value in {sides}.", stacklevel=3)
                groups = label[two].dropna().unique()
                mixed |= {(grouping.name, group): attribute for group in groups}
        elif not grouping.optional:
            named = [f"{name}_{side}" for name in grouping.attributes for side in "ab"]
            columns = ", ".join(named) or "its column"
            raise InputError(f"cannot group by {grouping.name!r}: no pair has a value; fill in {columns}.")
    return pd.DataFrame(labels), mixed


def _find_differing(pairs: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """The first of all pairs that are alike in some columns, and the place of each pair among these; all pairs without
    columns."""
    place = np.zeros(len(pairs), np.int64)
    try:
        for column in columns:
            codes, found = pd.factorize(pairs[column])
            place = pd.factorize(place * (len(found) + 1) + codes)[0]
    except TypeError:  # a list, which is told of where the values are read
        columns = ()
    if not columns:
        return pairs, np.arange(len(pairs))
    first = np.flatnonzero(np.diff(np.maximum.accumulate(place), prepend=-1))
    return pairs.iloc[first], place


def _label(grouping: Grouping, pairs: pd.DataFrame) -> pd.Series:
    with running(f"grouping {grouping.name!r}"):
        values = grouping.label(pairs)
    if not pd.api.types.is_list_like(values) or len(values) != len(pairs) or getattr(values, "ndim", 1) != 1:
        raise InputError(f"grouping {grouping.name!r}: its function must return a value for each of the pairs.")
    if isinstance(values, pd.Series) and not values.index.equals(pairs.index) and pairs.index.isin(values.index).all():
        raise InputError(
            f"grouping {grouping.name!r}: its function returned the values in another order than the pairs, by their "
            "index; return them in the order of the pairs, without an index if they have it."
        )
    values = pd.Series(values).set_axis(pairs.index)
    where = f"grouping {grouping.name!r}"
    ordered = isinstance(values.dtype, pd.CategoricalDtype) and values.dtype.ordered
    order = canonical_text(values.cat.categories.to_series(), where).tolist() if ordered else GROUP_ORDER
    label = canonical_text(values, where)
    if label.nunique() > MOST_GROUPS:
        raise InputError(
            f"grouping {grouping.name!r} has {label.nunique():,} groups; at most {MOST_GROUPS} can be read in a "
            "report. Sort its values into ranges or classes."
        )
    mixed = set().union(*(label[_have_two_values(pairs, attribute)] for attribute in grouping.attributes))

    def place(group: str) -> tuple:
        return group in mixed, order.index(group) if group in order else len(order), natural_order(group)

    return label.astype(pd.CategoricalDtype(sorted(label.dropna().unique(), key=place), ordered=True))


def natural_order(group: str) -> list[str | int]:
    """What groups are sorted by: 5-9 comes before 10-14."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", group)]


def _have_two_values(pairs: pd.DataFrame, attribute: str) -> pd.Series:
    first, second = _values_of(pairs, attribute)
    return first.notna() & second.notna() & (first != second)


def _values_of(pairs: pd.DataFrame, attribute: str) -> list[pd.Series]:
    """An attribute of the first and of the second person of each pair, as text."""
    return [canonical_text(pairs[column], f"column {column}") for column in (f"{attribute}_a", f"{attribute}_b")]
