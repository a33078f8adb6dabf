"""``swinface COMMAND``. A command is a function: its signature is its options, its docstring its help.

The table of commands holds names only; a command's module, and torch with it, is imported when it is called.
"""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentError
from importlib import import_module
from typing import get_args, get_origin

from swinface.files import InputError

COMMANDS = {
    "fit": ("swinface.cli.fit:fit", "train a SwinFace: recognition, or all tasks"),
    "teach": ("swinface.cli.teach:teach", "write a public recogniser's embeddings of a data set, to distil from"),
    "evaluate": (
        "swinface.cli.evaluate:evaluate",
        "run the benchmarks whose data are there, beside the paper's figures",
    ),
    "attention": ("swinface.cli.attention:attention", "which levels and places of a face each task attends to"),
    "predict": ("swinface.cli.predict:predict", "age, gender, expression and attributes of the faces in photos"),
    "export": ("swinface.cli.export:export", "write a model as ONNX"),
    "pack": ("swinface.cli.pack:pack", "halve the size of a trained model"),
    "convert": ("swinface.cli.convert:convert", "turn the published SwinFace checkpoint into safetensors"),
}


ANSWERS = ("true", "false")  # what may follow a switch


def run(program: str, about: str, commands: dict[str, tuple[str, str]], argv: list[str]) -> int:
    """Run one command of a program and return its exit code.

    Parameters
    ----------
    commands
        Command name to (``module:function``, one line of help).
    argv
        The arguments after the program's name.

    Returns
    -------
    int
        0 when it worked, 2 for bad input (one line on stderr says what to do), 130 when interrupted.
    """
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_describe(program, about, commands))
            return 0 if argv else 2
        name, *arguments = argv
        if name not in commands:
            return _fail(program, f"no command {name!r}; choose from {', '.join(commands)}.")
        return _call(f"{program} {name}", commands[name][0], arguments)
    except KeyboardInterrupt as interruption:
        print(f"\n{program}: interrupted{''.join(f'; {note}' for note in interruption.args)}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _describe(program: str, about: str, commands: dict[str, tuple[str, str]]) -> str:
    width = max(map(len, commands))
    listing = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in commands.items())
    more = f"`{program} COMMAND --help` lists a command's options."
    return f"usage: {program} COMMAND [OPTIONS]\n\n{about}\n\ncommands:\n{listing}\n\n{more}"


def _call(program: str, place: str, arguments: list[str]) -> int:
    """Call the function at ``module:function`` with what its signature makes of the arguments.

    ``--two-words`` and ``--two_words`` are the same option.
    """
    module, function = place.split(":")
    arguments = [re.sub(r"^--[^=]+", lambda option: "--" + option[0][2:].replace("-", "_"), it) for it in arguments]
    try:
        command = getattr(import_module(module), function)
        if getattr(command, "parses_arguments", False):  # LightningCLI brings its own parser
            command(arguments)
        else:
            from jsonargparse import ArgumentParser, auto_cli

            class Parser(ArgumentParser):
                """A switch may stand alone: ``--strict`` is ``--strict true``. A list takes all words that follow,
                and its option may be repeated.
                """

                def add_argument(self, *names, **options):
                    if options.get("type") is bool:
                        switches.update(names)
                    hint = getattr(options.get("action"), "_typehint", None)
                    if get_origin(hint) is list and not names[0].startswith("-"):
                        options = {"help": options["help"], "type": get_args(hint)[0], "nargs": "+"}
                    elif any(get_origin(it) is list for it in (hint, *get_args(hint))):
                        lists.update(names)
                    return super().add_argument(*names, **options)

                def parse_args(self, args=None, **options):
                    following = [*args, None][1:]
                    pairs = zip(args, following, strict=True)
                    whole = [f"{it}=true" if it in switches and after not in ANSWERS else it for it, after in pairs]
                    return super().parse_args(_gather(whole, lists), **options)

            switches: set[str] = set()
            lists: set[str] = set()

            auto_cli(
                command, args=arguments, prog=program, parser_class=Parser, exit_on_error=False, allow_abbrev=False
            )
    except (InputError, ArgumentError) as error:
        return _fail(program, str(error))
    except ModuleNotFoundError as error:
        return _fail(program, f"{error.name} is not installed; `pip install 'kinface[models]'` brings it.")
    return 0


def _gather(arguments: list[str], lists: set[str]) -> list[str]:
    """Bring the words of each option in ``lists`` together as one JSON list, unless they are one already."""
    kept, gathered, option = [], {}, None
    for word in arguments:
        name, given, value = word.partition("=")
        if name in lists:
            option = name
            gathered.setdefault(option, []).extend([value] if given else [])
        elif option is None or word.startswith("--"):
            kept, option = [*kept, word], None
        else:
            gathered[option].append(word)
    for name, values in gathered.items():
        whole = len(values) == 1 and values[0].startswith("[")
        kept += [name] if not values else [f"{name}={values[0] if whole else json.dumps(values)}"]
    return kept


def _fail(program: str, message: str) -> int:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the engine starts a run's other processes by the same command
        print(f"{program}: error: {message}", file=sys.stderr)
    return 2


def main() -> None:
    """Entry point of the ``swinface`` command."""
    sys.exit(run("swinface", "One Swin Transformer for face recognition and 42 face tasks.", COMMANDS, sys.argv[1:]))
