"""``swinface COMMAND``. A command is a function: its signature is its options, its docstring is its help.

The table of commands holds names only. The module of a command is imported when it is called, and what is slow to
import, such as torch, in the functions that use it: help needs none of it.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum, auto
from functools import partial
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from itertools import pairwise
from typing import NamedTuple

from cyclopts import App, Argument, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError

from swinface.cores import share_cores
from swinface.files import InputError, check_place, describe_install, drop_output, expand_home, one_line, printable
from swinface.settings import accept_dashes, parser_options, reading_configurations, show_dashes

FORMAT_WARNING = warnings.formatwarning
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Options(Enum):
    """Who reads the options of a command."""

    SIGNATURE = auto()  # cyclopts reads them by the function's signature
    CLASSES = auto()  # jsonargparse reads them: some values are classes with options of their own, given in YAML
    OWN = auto()  # the function itself takes the list of arguments


class Command(NamedTuple):
    """A row in a program's table of commands."""

    place: str  #: ``module:function``
    about: str  #: one line for the program's help
    group: str  #: heading of that line
    options: Options = Options.SIGNATURE


def tabulate(package: str, groups: dict[str, dict[str, str]], **options: Options) -> dict[str, Command]:
    """The commands of a program by name, in groups; each is the function of that name in a module of that name."""
    return {
        name: Command(f"{package}.{name}:{name}", about, group, options.get(name, Options.SIGNATURE))
        for group, commands in groups.items()
        for name, about in commands.items()
    }


ABOUT = "One Swin Transformer for face recognition and 42 face tasks."
COMMANDS = tabulate(
    "swinface.cli",
    {
        "Use": {
            "predict": "predict age, gender, expression and attributes of faces in photos",
            "align": "detect, align and crop faces in a folder of photos",
            "attention": "show which levels of the trunk and regions of a face each task uses",
            "export": "export a model to ONNX",
        },
        "Train": {
            "fit": "train on face recognition, or on all tasks",
            "runs": "list runs of fit: how they differ, and their figures",
            "teach": "embed a data set with a public recogniser, for distillation",
            "labels": "make the label list of a data set from its published files",
            "pack": "halve the size of a trained model",
        },
        "Reproduce the paper": {
            "evaluate": "run the benchmarks whose data are present, and compare with the paper",
            "compare": "train models that differ in a few settings, and compare them",
            "convert": "convert the published checkpoint to safetensors",
        },
    },
    fit=Options.OWN,
    teach=Options.CLASSES,
    evaluate=Options.CLASSES,
    compare=Options.CLASSES,
)


def run(program: str, about: str, commands: dict[str, Command], argv: list[str]) -> int:
    """Run the command that ``argv`` names, and return its exit code.

    It is 0 on success, 2 for bad input (one line on stderr says what to do) and 130 when interrupted.
    """
    try:
        if argv[:1] == ["--version"]:
            print(f"{program} {version('kinface')}")
            return 0
        if not argv or argv[0] in ("-h", "--help"):
            _print_help(program, about, commands)
            return 0 if argv else 2
        name, *arguments = map(expand_home, argv)
        if name not in commands:
            meant = get_close_matches(name, commands, 1)
            choice = f"did you mean {meant[0]}?" if meant else f"choose from {', '.join(commands)}."
            return _fail(program, f"no command {name!r}; {choice}")
        return _call(f"{program} {name}", commands[name], arguments)
    except KeyboardInterrupt as interruption:
        print(f"\n{program}: interrupted{''.join(f'; {note}' for note in interruption.args)}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        drop_output()
        return 1


def _print_help(program: str, about: str, commands: dict[str, Command]) -> None:
    """List the commands by group, in the order of the table, without importing them."""
    names = list(dict.fromkeys(command.group for command in commands.values()))
    groups = {name: Group(name, sort_key=number) for number, name in enumerate(names)}
    app = _make_app(
        program,
        help=about,
        help_epilogue=f"`{program} COMMAND --help` lists a command's options, `{program} --version` its version.",
    )
    for number, (name, command) in enumerate(commands.items()):
        app.command(command.place, name=name, help=command.about, group=groups[command.group], sort_key=number)
    app.help_print([])


def _call(program: str, command: Command, arguments: list[str]) -> int:
    """Call the command's function with its arguments."""
    share_cores()
    module, name = command.place.split(":")
    warnings.formatwarning = partial(_format_warning, program)
    try:
        _check_empty(arguments)
        _check_out(arguments)
        function = getattr(import_module(module), name)
        if command.options is Options.OWN:
            function(arguments)
        elif command.options is Options.CLASSES:
            _call_with_classes(program, function, arguments)
        else:
            app = _make_app(program)
            app.default(function)
            app(arguments)
    except InputError as error:
        return _fail(program, str(error))
    except MissingArgumentError as error:
        return _fail(program, f"{_describe_missing(app, error.argument)}; `{program} --help` lists what is needed.")
    except UnusedCliTokensError as error:
        unused = " ".join(map(str, error.unused_tokens))
        return _fail(program, f"{unused!r} is one value too many; repeat an option to give it several values.")
    except CycloptsError as error:
        return _fail(program, one_line(error))  # these may break lines
    except ModuleNotFoundError as error:
        return _fail(program, f"{error.name} is not installed; {describe_install('models')} installs it.")
    except Exception as error:
        if not _is_full(error):
            raise
        return _fail(program, "the disk is full. Free some space and run the same command again.")
    return 0


def _check_empty(arguments: list[str]) -> None:
    """Refuse an empty value, as of a shell variable that is not set: as a path it is the working folder."""
    for before, word in pairwise(["", *arguments]):
        name, joined, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if not value.strip() and (joined or not word.startswith("--")):
            where = f"the value of {name}" if name.startswith("--") else "an argument"
            raise InputError(f"{where} is empty; give one, or set the shell variable that it comes from.")


def _check_out(arguments: list[str]) -> None:
    """Refuse to write where nothing can be written, or over a file that the command reads: its scores would be lost."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for out in (word for option, word in pairwise(words) if option in ("--out", "--run", "--save")):
        check_place(out)
    place = words.index("--out") + 1 if "--out" in words else len(words)
    others = filter(os.path.isfile, [*words[:place], *words[place + 1 :]])
    for out in filter(os.path.isfile, words[place : place + 1]):
        if any(os.path.samefile(other, out) for other in others):
            raise InputError(f"--out {out}: the command reads this file; write to another one.")


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error; safetensors tells it in words, torch raises another error after it."""
    return error is not None and (
        getattr(error, "errno", None) in NO_SPACE
        or any(f"(os error {number})" in str(error) for number in NO_SPACE)
        or _is_full(error.__cause__ or error.__context__)
    )


def _describe_missing(app: App, missing: Argument) -> str:
    """That an option is missing; of a value that needs no name, what it is."""
    if missing.field_info.kind is missing.field_info.KEYWORD_ONLY:
        return f"{missing.name} is missing"
    known = app.assemble_argument_collection(parse_docstring=True)
    about = next(one_line(it.parameter.help or "").replace("``", "`") for it in known if it.name == missing.name)
    return f"{missing.name.removeprefix('--').upper()} is missing ({about.rstrip('.')})"


def _format_warning(program: str, message: Warning, category: type[Warning], *where: object) -> str:
    """What our code warns of in one line, without its place in the code; that of others as Python does."""
    if category is UserWarning:
        return f"{program}: warning: {printable(one_line(message))}\n"
    return FORMAT_WARNING(message, category, *where)


def _make_app(name: str, **options: str) -> App:
    """A cyclopts application that leaves errors, interrupts and exit codes to us."""
    app = App(
        name=name,
        version_flags=[],
        help_format="restructuredtext",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_none",
        # The last value of a repeated option counts, and a list has no second option that empties it.
        default_parameter=Parameter(allow_repeating=True, negative_iterable=()),
        **options,
    )
    app["--help"].show = False
    return app


def _call_with_classes(program: str, function: Callable[..., None], arguments: list[str]) -> None:
    """Call a function some of whose options are classes, which a YAML file names."""
    from jsonargparse import auto_parser  # slow to import, and only few commands need it

    arguments = accept_dashes(arguments)
    with reading_configurations(arguments):
        parser = show_dashes(auto_parser(function, prog=program, **parser_options()))
        values = parser.instantiate_classes(parser.parse_args(arguments))
    function(**{name: values[name] for name in signature(function).parameters})


def _fail(program: str, message: str) -> int:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # a run on several devices starts the same command once for each
        print(f"{program}: error: {printable(message)}", file=sys.stderr)
    return 2


def main() -> None:
    """Entry point of the ``swinface`` command."""
    sys.exit(run("swinface", ABOUT, COMMANDS, sys.argv[1:]))
