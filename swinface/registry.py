"""Classes of one kind, such as erasers or trunks, by name: ours are registered, others have a class path as their name.

Your own file needs no installation: ``mine.Eraser`` is found in the folder of the configuration that names it and in
the working folder.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, get_args, get_type_hints

from swinface.files import InputError, digest_file, one_line, running

_BESIDE: list[str] = []  # folders of configurations, where custom modules are looked for
OURS = ("kinface", "swinface")  # packages that may lie in the working folder and are not custom modules


def check_choice(option: str, value: object, choices: Any) -> None:
    """Refuse what is none of the values of a ``Literal``: it would be taken for one of them, without a word.

    >>> from typing import Literal
    >>> check_choice("fusion", "maks", Literal["mean", "max"])
    Traceback (most recent call last):
    swinface.files.InputError: fusion: 'maks' is no choice; choose from mean, max.
    """
    if value not in get_args(choices):
        raise InputError(f"{option}: {value!r} is no choice; choose from {', '.join(get_args(choices))}.")


class Registry:
    """Classes or functions of one kind by name.

    ``kind`` says what they are, in one word or two, for messages. ``known`` is from name to ``package.module.Class``,
    imported when it is first used, or to the class or function itself. Each must be a subclass of ``base``,
    ``package.module.Class``; any callable when it is left out.

    Examples
    --------
    >>> shapes = Registry("shape", {"path": "pathlib.PurePath"})
    >>> @shapes.register("point")
    ... class Point:
    ...     def __init__(self, x: float = 0.0) -> None:
    ...         self.x = x
    >>> shapes.names()
    ('path', 'point')
    >>> shapes
    Registry('shape': path, point)
    >>> shapes.create("point", x=2.0).x
    2.0
    """

    def __init__(self, kind: str, known: Mapping[str, str | Callable] | None = None, base: str | None = None) -> None:
        self.kind, self.base = kind, base
        self._known: dict[str, str | Callable] = dict(known or {})

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{self!r} is not a function; names() lists the names, and create(name, **options) makes one.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind!r}: {', '.join(self._known)})"

    def names(self) -> tuple[str, ...]:
        """The registered names, in the order in which they were registered."""
        return tuple(self._known)

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Decorator that registers a class or function under a name.

        Raises ``ValueError`` if the name is taken, or has a dot, which marks a class path.
        """
        if name in self._known or "." in name:
            raise ValueError(f"{self.kind} {name!r}: the name is taken or has a dot; choose another.")

        def add(member: Callable) -> Callable:
            self._known[name] = member
            return member

        return add

    def find(self, name: str) -> Callable:
        """The class or function of a registered name or of a path ``package.module.Class``.

        Raises ``InputError`` if there is none, its module cannot be imported, or it is of another kind.
        """
        known = self._known.get(name, name)
        if isinstance(known, str) and "." not in known:
            raise InputError(
                f"no {self.kind} {name!r}; choose from {', '.join(self._known) or 'none'}, or name your own as "
                "package.module.Class."
            )
        found = _import(known, self.kind) if isinstance(known, str) else known
        if self.base is not None:
            base = _import(self.base, self.kind)
            if not (inspect.isclass(found) and issubclass(found, base)):
                raise InputError(f"{self.kind} {name!r}: must be a subclass of {self.base}.")
        elif not callable(found):
            raise InputError(f"{self.kind} {name!r}: must be a class or a function.")
        return found

    def check(self, name: str, /, **options: Any) -> Callable:
        """:meth:`find`, and check options that a configuration gives, some or all.

        Raises ``InputError`` as :meth:`find` does, or if it does not take these options, or not these values.
        """
        member = self.find(name)
        signature = inspect.signature(member)
        try:
            signature.bind_partial(**options)
        except TypeError as error:
            known = ", ".join(signature.parameters) or "none"
            raise InputError(f"{self.kind} {name!r}: {error}; its options are {known}.") from None
        for option, value in options.items():
            if not _is_of_type(member, option, value):
                wanted = signature.parameters[option].annotation
                wanted = wanted if isinstance(wanted, str) else inspect.formatannotation(wanted)
                raise InputError(f"{self.kind} {name!r}: {option} must be of type {wanted}; got {value!r}.")
        return member

    def create(self, name: str, /, **options: Any) -> Any:
        """An object of :meth:`find`'s class, or what its function returns, with these options.

        Raises ``InputError`` as :meth:`check` does, or if an option is missing, or its own code fails.
        """
        member = self.check(name, **options)
        try:
            inspect.signature(member).bind(**options)
        except TypeError as error:
            raise InputError(f"{self.kind} {name!r}: {error}.") from None
        with running(f"{self.kind} {name!r}"):
            return member(**options)


def _is_of_type(member: Callable, option: str, value: Any) -> bool:
    """Whether a value, such as YAML has, is of the type that the signature says; anything is where it says none."""
    if not isinstance(value, (str, bool, int, float, list)):
        return True
    try:
        hint = get_type_hints(member.__init__ if inspect.isclass(member) else member).get(option)
    except Exception:  # the signature is a user's, and may say what cannot be read
        return True
    return hint is None or takes(hint, value)


def takes(hint: Any, value: Any) -> bool:
    """Whether a value, such as YAML has, is of a type; anything is of one that cannot be checked."""
    if value is None:  # which the parser takes for any type
        return hint in (Any, object, None) or any(it in (None, NoneType) for it in (hint, *get_args(hint)))
    from jsonargparse import ArgumentParser  # slow to import

    parser = ArgumentParser(exit_on_error=False)
    try:
        parser.add_argument("--value", type=hint)
    except Exception:
        return True
    try:
        parser.parse_object({"value": deepcopy(value)})  # the parser changes what it reads
    except (ArgumentError, ValueError, TypeError):
        return False
    return True


def _import(path: str, kind: str) -> Callable:
    module, _, attribute = path.rpartition(".")
    try:
        with _own_modules():
            return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # a module that theirs imports
            raise InputError(f"{kind} {path!r}: its module cannot be imported ({error}).") from error
        places = ", ".join(map(str, [*_BESIDE, Path.cwd()]))
        raise InputError(f"{kind} {path!r}: no module {module!r}, neither installed nor in {places}.") from None
    except AttributeError:
        raise InputError(f"{kind} {path!r}: module {module!r} has no {attribute!r}.") from None
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the code is a user's and may fail in any way, or be a script that ends
        raise InputError(f"{kind} {path!r}: its module fails ({type(error).__name__}: {one_line(error)}).") from error


def look_beside(configuration: str | Path) -> None:
    """Look for custom modules in the folder of a configuration too."""
    folder = str(Path(configuration).resolve().parent)
    if folder not in _BESIDE:
        _BESIDE.append(folder)


def digest_own(settings: str) -> dict[str, str]:
    """Custom modules that settings, a text in YAML, name by a path ``module.Class``: name to a digest of the
    file."""
    found = {}
    for name in sorted({*re.findall(r"(?<![\w./-])([A-Za-z_][\w.]*)\.\w+", settings)}):
        parts = name.split(".")
        places = [Path(folder, *parts) for folder in (*_BESIDE, Path.cwd()) if parts[0] not in OURS]
        files = [file for it in places for file in (it.with_suffix(".py"), it / "__init__.py") if file.is_file()]
        if files:
            found[name] = digest_file(files[0])
    return found


@contextmanager
def _own_modules() -> Iterator[None]:
    """Modules are found in the folders of custom modules too, after all that is installed: none of theirs hides one."""
    added = [folder for folder in (*_BESIDE, str(Path.cwd())) if folder not in sys.path]
    sys.path.extend(added)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)
