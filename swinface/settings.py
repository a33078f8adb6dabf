"""Settings in YAML, for both packages: how files and options are read and laid over each other.

An unquoted word is a number, true, false or null only if it looks like one. What YAML 1.1 would convert stays text:
``no``, ``on``, ``01``, ``10_20``, ``1:30``, ``2020-01-31``. Options of type bool still take ``yes`` and ``no``.
"""

from __future__ import annotations

import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from swinface.files import InputError, expand_home, one_line
from swinface.registry import look_beside

SECTIONS = ("trainer", "model", "data")  # of a configuration of a run
WHOLE = ("trunk", "streams", "validation")  # what an overlay replaces: their keys belong together
OPTIONS_OF = {"options": "method", "init_args": "class_path"}  # which another method or class would not know
MODE = "swinface"  # under which parsers of options know our reader of YAML


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML keeps the last; keys are text."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (that of the base class must not be changed)

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node, lines = super().compose_mapping_node(anchor), {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise InputError(
                    f"{self.name}: line {line}: the key {key.value!r} is here twice, first in line {lines[key.value]}; "
                    "only one of them would count: put both under one key, or remove one."
                )
            lines[key.value] = line
            if key.tag != MERGE:
                key.tag = self.DEFAULT_SCALAR_TAG
        return node


MERGE = "tag:yaml.org,2002:merge"  # of <<, which takes over the keys of another mapping


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?([0-9]+[eE][-+]?[0-9]+|\.(inf|Inf|INF))|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


_Loader.add_constructor("tag:yaml.org,2002:str", lambda loader, node: expand_home(loader.construct_scalar(node)))


class _Dumper(yaml.SafeDumper):
    """Quotes what our loader would take for something else than text."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def parse_yaml(text: str, where: str | Path = "the configuration") -> Any:
    """Parse YAML; ``where`` is the file or option that it is from, for messages.

    Raises ``InputError`` if a mapping has a key twice, and ``yaml.YAMLError`` if it is no YAML.

    >>> parse_yaml("{classes: [no, 01, 10_20], rate: 1e-2, count: 3, augment: true, cache: null}")
    {'classes': ['no', '01', '10_20'], 'rate': 0.01, 'count': 3, 'augment': True, 'cache': None}
    """
    loader = _Loader(text)
    loader.name = str(where)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml(path: Path) -> Any:
    """Read a YAML file; no two places of the result share an object, as aliases do, so that dumps of it have none.

    Raises ``InputError`` if the file is missing or broken, or has a key twice.
    """
    try:
        return _unshare(parse_yaml(path.read_text(encoding="utf-8"), path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); name a YAML file.") from error
    except InputError:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML file ({one_line(error)}).") from error


def _unshare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshare(item) for key, item in value.items()}
    return [_unshare(item) for item in value] if isinstance(value, list) else value


def read_settings(path: Path) -> dict[str, Any]:
    """``read_yaml`` of a configuration. Raises ``InputError`` as that does, or if the file is no mapping."""
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise InputError(f"{path}: not a configuration; it must be a mapping of options to their values.")
    return settings


def read_sections(path: Path) -> dict[str, Any]:
    """``read_settings`` of a run, with ``check_sections``. Raises ``InputError`` as both do."""
    return check_sections(read_settings(path), path)


def check_sections(settings: dict[str, Any], where: Path) -> dict[str, Any]:
    """Settings of a run without sections that are empty. Raises ``InputError`` if a section is no mapping."""
    settings = {key: value for key, value in settings.items() if value is not None or key not in SECTIONS}
    for name in SECTIONS:
        if not isinstance(settings.get(name, {}), dict):
            raise InputError(f"{where}: {name}: must be a mapping of settings; got {settings[name]!r}.")
    return settings


def merge_settings(base: dict[str, Any], changes: dict[str, Any], whole: Sequence[str] = ()) -> dict[str, Any]:
    """A copy of ``base`` with ``changes``: mappings are merged in depth, anything else, and what ``whole`` names, is
    replaced. A list whose key ends with + is added to that of the base. Options of another method are left out.

    >>> merge_settings({"a": {"b": 1, "c": 2}, "d": [1], "e": [1]}, {"a": {"b": 3}, "d": [2], "e+": [2]})
    {'a': {'b': 3, 'c': 2}, 'd': [2], 'e': [1, 2]}
    >>> merge_settings({"method": "mlp", "strength": 2, "options": {"members": 3}}, {"method": "kernel"})
    {'method': 'kernel', 'strength': 2}
    """
    merged = dict(base)
    for key, name in OPTIONS_OF.items():
        if name in base and name in changes and not _may_be_one(base[name], changes[name]):
            merged.pop(key, None)
    for key, value in changes.items():
        name = key.removesuffix("+")
        if name != key:
            key = name if isinstance(merged.get(name), list) else key
            value = [*_listed(merged.get(key, [])), *_listed(value)]
        else:
            merged.pop(f"{key}+", None)
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict) and key not in whole
        merged[key] = merge_settings(merged[key], value, whole) if nested else value
    return merged


def _may_be_one(name: object, other: object) -> bool:
    """Whether two names may be of one class, which has a short name and its path."""
    return str(name).split(".")[-1] == str(other).split(".")[-1]


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def lay_over(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Two configurations of a run, the second laid over the first; as everywhere, but for ``WHOLE``, in depth.

    Keys of sections, and those outside of sections, may have dots. They reach into what is replaced as a whole, as
    options on a command line do.

    >>> trunk = {"model": {"network": {"trunk": {"kind": "swin", "embed_dim": 8}}}}
    >>> lay_over(trunk, {"model": {"network": {"trunk": {"embed_dim": 4}}}})
    {'model': {'network': {'trunk': {'embed_dim': 4}}}}
    >>> lay_over(trunk, {"model": {"network.trunk.embed_dim": 4}})
    {'model': {'network': {'trunk': {'kind': 'swin', 'embed_dim': 4}}}}
    """
    for section, given in overlay.items():
        inside = {f"{section}.{key}": value for key, value in given.items()} if isinstance(given, dict) else {}
        for path, value in (inside or {section: given}).items():
            *above, last = path.split(".")
            nested = {last: value}
            for name in reversed(above):
                nested = {name: nested}
            base = merge_settings(base, nested, [name for name in WHOLE if name not in above])
    return base


def dump_yaml(settings: Any) -> str:
    """Settings as YAML, from which ``parse_yaml`` reads the same."""
    return yaml.dump(settings, Dumper=_Dumper, sort_keys=False)


def join_configurations(arguments: Sequence[str], changes: dict[str, Any]) -> list[str]:
    """The options with one configuration in place of their files and ``changes``, each laid over those before it.

    It comes first: parsers let the last one win, and what stands on a command line wins wherever it stands.
    """
    files = list_configurations(arguments)
    if not files and not changes:
        return [*arguments]
    merged, others, skipped = reduce(lay_over, [*map(read_sections, files), changes], {}), [], False
    for argument in arguments:
        if not skipped and argument.partition("=")[0] != "--config":
            others.append(argument)
        skipped = argument == "--config"
    return [f"--config={dump_yaml(merged)}", *others]


def accept_dashes(arguments: Sequence[str]) -> list[str]:
    """Options as the parsers of configurations spell them: ``--num-nodes 2`` becomes ``--num_nodes 2``.

    Paths of keys, such as ``--data.epoch_size``, stay as they are in YAML.

    >>> accept_dashes(["--num-nodes=2", "--data.root", "a-b"])
    ['--num_nodes=2', '--data.root', 'a-b']
    """
    named = r"--[\w-]+(?==|$)"
    return [re.sub(rf"^{named}", lambda match: f"--{match[0][2:].replace('-', '_')}", it) for it in arguments]


def show_dashes(parser: ArgumentParser) -> ArgumentParser:
    """The parser, whose help then has dashes in the names of options, as those of all commands do."""
    describe = parser.format_help
    parser.format_help = lambda: re.sub(r"--\w+(?![\w.])", lambda match: match[0].replace("_", "-"), describe())
    return parser


def parser_options() -> dict[str, Any]:
    """Arguments of a ``jsonargparse.ArgumentParser`` that reads YAML as ``read_yaml`` does and leaves errors to us."""
    from jsonargparse import set_loader  # slow to import, and only few commands need it

    set_loader(MODE, parse_yaml, (yaml.YAMLError,))
    return {"parser_mode": MODE, "exit_on_error": False, "allow_abbrev": False}


def list_configurations(arguments: Sequence[str]) -> list[Path]:
    """The files that ``--config`` names."""
    return [Path(value) for name, value in _pair(arguments) if name == "--config"]


def read_options(arguments: Sequence[str]) -> dict[str, Any]:
    """The settings that stand on a command line, such as ``--data.root FOLDER``, beside configurations.

    >>> read_options(["--config", "a.yaml", "--data.batch_size=8"])
    {'data': {'batch_size': 8}}
    """
    settings: dict[str, Any] = {}
    for name, value in _pair(arguments):
        if name.startswith("--") and name != "--config":
            with suppress(yaml.YAMLError):  # many values are plain text
                settings = lay_over(settings, {name[2:]: parse_yaml(value, name)})
    return settings


def _pair(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option with its value, which stands behind = or is the next argument."""
    for argument, following in pairwise([*arguments, ""]):
        name, given, value = argument.partition("=")
        yield name, value if given else following


@contextmanager
def reading_configurations(arguments: Sequence[str]) -> Iterator[None]:
    """Turn all that can be wrong with options, and with the files that ``--config`` names, into ``InputError``.

    The block reads them and makes the objects they describe. Parsers of configurations do not always say which file
    is wrong, and a class may fail in any way on a value that it does not expect.
    """
    for name, value in _pair(arguments):
        if name == "--config":
            read_settings(Path(value))
            look_beside(value)  # custom modules that it names
        elif name.startswith("--") and value.endswith((".yaml", ".yml")) and Path(value).is_file():
            read_yaml(Path(value))
    read_options(arguments)
    try:
        yield
    except ArgumentError as error:
        reason = one_line(error).rstrip(".")  # may break lines
        if "Expected a <class 'str'>" in reason or "expected str" in reason:  # and got a number, true, false or null
            reason += "; put text into quotes, such as 'null'"
        raise InputError(f"{reason}.") from error
    except (InputError, ImportError):
        raise
    except Exception as error:
        raise InputError(f"the configuration has a value that cannot be used ({one_line(error)}).") from error
