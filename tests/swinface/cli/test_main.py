"""Commands are functions: help and refusals come quickly, in one line, with the right exit code."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from swinface.cli.main import COMMANDS, run
from swinface.files import InputError


@pytest.fixture
def commands(monkeypatch) -> dict[str, tuple[str, str]]:
    """A program with one command, ``greet NAME [--times N]``, that fails in several ways when asked to."""

    def greet(name: str, *, times: int = 1) -> None:
        """Say hello.

        Parameters
        ----------
        name
            Whom to greet.
        times
            How often.
        """
        failures = {"nobody": InputError("names.csv row 3: nobody is there."), "stop": KeyboardInterrupt()}
        if name in failures:
            raise failures[name]
        print(" ".join([f"hello {name}"] * times))

    module = types.ModuleType("greetings")
    module.greet = greet
    monkeypatch.setitem(sys.modules, "greetings", module)
    return {"greet": ("greetings:greet", "say hello")}


def test_a_command_gets_its_arguments(commands, capsys):
    assert run("program", "about", commands, ["greet", "you", "--times", "2"]) == 0
    assert capsys.readouterr().out == "hello you hello you\n"


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_help_lists_the_commands(commands, capsys, arguments, code):
    assert run("program", "about", commands, arguments) == code
    assert "greet  say hello" in capsys.readouterr().out


def test_a_commands_help_is_its_docstring(commands, capsys):
    with pytest.raises(SystemExit) as stop:
        run("program", "about", commands, ["greet", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "usage: program greet" in text
    assert "Whom to greet." in text


def test_bad_input_is_one_line_and_code_2(commands, capsys):
    assert run("program", "about", commands, ["greet", "nobody"]) == 2
    assert capsys.readouterr().err == "program greet: error: names.csv row 3: nobody is there.\n"


def test_an_unknown_command_is_named(commands, capsys):
    assert run("program", "about", commands, ["great"]) == 2
    assert capsys.readouterr().err == "program: error: no command 'great'; choose from greet.\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["greet"], "name"), (["greet", "you", "--tines", "2"], "--tines"), (["greet", "you", "--time", "2"], "--time"),
     (["greet", "you", "--times", "x"], "times")],
)  # fmt: skip
def test_wrong_options_are_refused_by_name(commands, capsys, arguments, named):
    assert run("program", "about", commands, arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("program greet: error: ")
    assert named in message


def test_an_interrupted_command_ends_with_code_130(commands):
    assert run("program", "about", commands, ["greet", "stop"]) == 130


def test_every_command_can_be_imported():
    for place, _ in COMMANDS.values():
        module, function = place.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_import_and_help_load_no_torch():
    program = (
        "import sys, swinface; from swinface.cli.main import COMMANDS, run; run('swinface', '', COMMANDS, ['--help']); "
        "swinface.TASKS, swinface.InputError; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "convert" in done.stdout


def test_public_names():
    import swinface
    from swinface.model import SwinFace

    assert swinface.SwinFace is SwinFace
    with pytest.raises(AttributeError, match="no attribute 'Swinface'"):
        swinface.Swinface  # noqa: B018


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to", "Ann", "--to", "Bob"], ["Ann", "Bob"]),
        (["--to", "Ann", "Bob", "--loud"], ["Ann", "Bob"]),
        (["--to=Ann", "--loud", "--to=Bob"], ["Ann", "Bob"]),
        (["--to", '["Ann", "Bob"]'], ["Ann", "Bob"]),
        (["--loud"], None),
    ],
)
def test_an_option_for_several_takes_words_or_is_repeated(monkeypatch, words, expected):
    heard = []

    def greet(*, to: list[str] | None = None, loud: bool = False) -> None:
        heard.append(to)

    module = types.ModuleType("greetings")
    module.greet = greet
    monkeypatch.setitem(sys.modules, "greetings", module)
    assert run("say", "", {"greet": ("greetings:greet", "")}, ["greet", *words]) == 0
    assert heard == [expected]


def test_an_option_for_several_wants_at_least_one(monkeypatch, capsys):
    module = types.ModuleType("greetings")

    def greet(*, to: list[str] | None = None) -> None: ...

    module.greet = greet
    monkeypatch.setitem(sys.modules, "greetings", module)
    assert run("say", "", {"greet": ("greetings:greet", "")}, ["greet", "--to"]) == 2
    assert "to" in capsys.readouterr().err
