"""Mistakes in settings: what the types of a class's options do not take of a value that YAML has, in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from inspect import formatannotation, isabstract, signature
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from swinface.files import InputError
from swinface.registry import Registry, takes


def find_mistake(hint: Any, value: Any, where: str, only: str = "") -> str | None:
    """What a type does not take of a value that YAML has, and where; None if it takes all.

    Mappings and lists are looked into: a key that a dataclass does not have is told with the keys that it has. Parsers
    of configurations let some mistakes pass, and these alone are looked for where ``only`` names them: ``nulls``,
    values that are null, or ``keys``, which a parser passes over where they have nothing below them.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Step:
    ...     method: str
    ...     inside: bool = False
    >>> find_mistake(list[Step] | None, [{"methd": "leace"}], "model.erase")
    "model.erase[0]: no key 'methd'; the keys are method, inside"
    >>> find_mistake(list[Step] | None, [{"method": "leace", "inside": 3}], "model.erase")
    'model.erase[0].inside: needs true or false, not 3'
    """
    if get_origin(hint) in (Union, UnionType):
        shaped = [it for it in get_args(hint) if isinstance(value, _shape(it))]
        hint = shaped[0] if len(shaped) == 1 else hint
    kind = get_origin(hint)
    if not isinstance(value, _shape(hint)):
        inner = []
    elif kind is list:
        inner = [(get_args(hint)[0], item, f"{where}[{place}]") for place, item in enumerate(value)]
    elif kind is dict:
        inner = [(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()]
    else:
        if "class_path" in value:
            if only == "nulls":
                return None
            try:
                hint = _find_class(hint, str(value["class_path"]))
            except InputError as error:
                return None if only else f"{where}: {error}".rstrip(".")
            value, where = value.get("init_args") or {}, f"{where}.init_args"
        hints = _list_options(hint)
        unknown = [key for key in value if hints and str(key).removesuffix("+") not in hints]
        if only:
            unknown = [key for key in unknown if only == "keys" and _is_empty(value[key])]
        if unknown:
            return f"{where}: no key {unknown[0]!r}; the keys are {', '.join(hints)}"
        inner = [(hints.get(str(key).removesuffix("+"), Any), item, f"{where}.{key}") for key, item in value.items()]
    found = next(filter(None, (find_mistake(*it, only) for it in inner)), None)
    if found or (isinstance(value, dict) and _shape(hint) is dict):  # of a mapping another file may have the rest
        return found
    if only == "keys" or (only == "nulls" and value is not None):
        return None
    given = "null" if value is None else repr(value)
    return None if takes(hint, value) else f"{where}: needs {_describe(hint)}, not {given}"


def _is_empty(value: Any) -> bool:
    """Whether it is a mapping with nothing but such mappings below it."""
    return isinstance(value, dict) and all(map(_is_empty, value.values()))


def _find_class(base: type, name: str) -> Callable:
    """The class of a path, or of the name alone where it is derived from ``base``. Raises ``InputError`` if none is."""
    known, derived = Registry(base.__name__), [base]
    for each in derived:  # grows by those that are derived from them
        derived += each.__subclasses__()
    for each in derived:
        if not isabstract(each) and each.__name__ not in known.names():
            known.register(each.__name__)(each)
    return known.find(name)


def _shape(hint: Any) -> type | tuple[()]:
    """The class of values in YAML, if it is one that has values inside."""
    own = isinstance(hint, type) and hint.__module__ != "builtins"  # a dataclass, or a class that is made of options
    return dict if own else {dict: dict, list: list}.get(get_origin(hint), ())


def _list_options(cls: Any) -> dict[str, Any]:
    """Options of a class and their types, also those that it hands on to its base; none where any may be one."""
    options: dict[str, Any] = {}
    for each in getattr(cls, "__mro__", ()):
        if "__init__" in vars(each):
            parameters = [*signature(each.__init__).parameters.values()][1:]
            try:
                hints = get_type_hints(each.__init__)
            except Exception:  # the class is a user's, and may say what cannot be read
                hints = {}
            options = {it.name: hints.get(it.name, Any) for it in parameters if it.kind is not it.VAR_KEYWORD} | options
            if not any(it.kind is it.VAR_KEYWORD for it in parameters):
                return options
    return {}


def _describe(hint: Any) -> str:
    """A type in words."""
    known = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "Path": "a path"}
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_describe(it) for it in get_args(hint) if it is not NoneType)
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if is_dataclass(hint):
        return f"a mapping with {', '.join(_list_options(hint))}"
    if get_origin(hint) is list:
        return f"a list, each {_describe(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "a mapping"
    # So jsonargparse describes its types.
    number, limited, limits = (hint.__doc__ or "").partition(" restricted to be ")
    if limited:
        return f"{known.get(number, number)} {limits}"
    return known.get(getattr(hint, "__name__", ""), formatannotation(hint))
