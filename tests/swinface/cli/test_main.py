"""Commands are functions: help and refusals come quickly, in one line, with the right exit code."""

from __future__ import annotations

import errno
import inspect
import os
import re
import subprocess
import sys
import types
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from safetensors import SafetensorError

import kinface.cli.main
import swinface.cli.main
from swinface.cli.main import ABOUT, COMMANDS, Command, Options, run
from swinface.files import InputError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def commands(monkeypatch) -> dict[str, Command]:
    """A program whose command greets people, and fails in several ways when asked to."""

    def greet(names: list[str], *, times: int = 1, and_also: list[str] | None = None, loud: bool = False) -> None:
        """Say hello.

        Parameters
        ----------
        names
            People to greet.
        times
            How often.
        and_also
            More people.
        loud
            Shout.
        """
        failures = {"nobody": InputError("names.csv row 3: nobody is there."), "stop": KeyboardInterrupt("try again")}
        failures["full"] = OSError(errno.ENOSPC, "No space left on device")
        failures["full for safetensors"] = SafetensorError("I/O error: No space left on device (os error 28)")
        failures["full for torch"] = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 5")
        failures["full for torch"].__context__ = failures["full"]
        if names[0] in failures:
            raise failures[names[0]]
        said = " ".join([f"hello {' and '.join([*names, *(and_also or [])])}"] * times)
        print(said.upper() if loud else said)

    module = types.ModuleType("greetings")
    module.greet = greet
    module.repeat = lambda arguments: print(arguments)
    monkeypatch.setitem(sys.modules, "greetings", module)
    return {
        "greet": Command("greetings:greet", "say hello", "Speak"),
        "repeat": Command("greetings:repeat", "say it again", "Speak", Options.OWN),
        "listen": Command("a_package_that_is_missing.ears:listen", "hear", "Hear"),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["you", "--times", "2"], "hello you hello you"),
        (["you", "me", "them"], "hello you and me and them"),
        (["you", "--loud", "me"], "HELLO YOU AND ME"),
        (["you", "--no-loud"], "hello you"),
        (["you", "--times", "1", "--times", "2"], "hello you hello you"),
        (["you", "--and-also", "Ann", "--loud", "--and-also=Bob"], "HELLO YOU AND ANN AND BOB"),
        (["you", "--and_also", "Ann"], "hello you and Ann"),
    ],
)
def test_a_signature_is_a_commands_options(commands, capsys, words, said):
    """An option for several values is repeated, a switch stands alone, and the words that are left are one list."""
    assert run("program", "about", commands, ["greet", *words]) == 0
    assert capsys.readouterr().out == f"{said}\n"


def test_the_home_folder_may_be_a_tilde(commands, capsys, monkeypatch):
    """A shell leaves it as it is behind an ``=`` and in quotes."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert run("program", "about", commands, ["greet", "~/you", "--and-also=~/me", "--and-also", "a~/b"]) == 0
    assert capsys.readouterr().out == "hello /home/ann/you and /home/ann/me and a~/b\n"


def test_an_empty_value_is_not_the_working_folder(commands, capsys):
    for words, said in (([""], "argument is empty"), (["--out", ""], "--out is empty"), (["--out="], "--out is empty")):
        assert run("program", "about", commands, ["repeat", "you", *words]) == 2
        assert said in capsys.readouterr().err
    assert run("program", "about", commands, ["repeat", "--times", "1", "a=", "--loud"]) == 0


def test_a_place_that_cannot_be_written_is_refused_before_any_work(commands, capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "a" / "b.csv"):
        assert run("program", "about", commands, ["repeat", "--out", str(out)]) == 2
        assert f"cannot write {out}: {tmp_path / 'file'} is a file." in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert run("program", "about", commands, ["repeat", f"--run={tmp_path / 'a' / 'b'}"]) == 2
    assert f"you may not write in {tmp_path}. Choose another place." in capsys.readouterr().err
    assert run("program", "about", commands, ["repeat", "--out", "out", "--save"]) == 0


def test_a_file_that_is_read_is_not_written_over(commands, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.csv").write_text("face_a")
    for words in (["scores.csv", "--out", str(tmp_path / "scores.csv")], ["--list=./scores.csv", "--out=scores.csv"]):
        assert run("program", "about", commands, ["repeat", *words]) == 2
        assert "the command reads this file; write to another one." in capsys.readouterr().err
    assert run("program", "about", commands, ["repeat", "scores.csv", "--out", "other.csv"]) == 0


def test_a_command_may_read_its_arguments_itself(commands, capsys):
    assert run("program", "about", commands, ["repeat", "--model.heads", "{}", "--help"]) == 0
    assert capsys.readouterr().out == "['--model.heads', '{}', '--help']\n"


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_help_lists_the_commands_by_group(commands, capsys, arguments, code):
    assert run("program", "what it is for", commands, arguments) == code
    text = capsys.readouterr().out
    wanted = ["Usage: program COMMAND", "what it is for", "Speak", "greet", "say hello", "repeat", "Hear", "listen"]
    places = [text.find(word) for word in wanted]
    assert -1 not in places
    assert places == sorted(places)


def test_a_commands_help_is_its_docstring(commands, capsys):
    assert run("program", "about", commands, ["greet", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: program greet" in text
    assert "Say hello." in text
    assert "People to greet." in text
    assert "--and-also" in text
    assert "--empty" not in text


def test_bad_input_is_one_line_and_code_2(commands, capsys):
    assert run("program", "about", commands, ["greet", "nobody"]) == 2
    assert capsys.readouterr().err == "program greet: error: names.csv row 3: nobody is there.\n"


def test_one_process_of_several_says_what_is_wrong(commands, capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run("program", "about", commands, ["greet", "nobody"]) == 2
    assert capsys.readouterr().err == ""


def test_an_unknown_command_is_named(commands, capsys):
    assert run("program", "about", commands, ["great"]) == 2
    assert capsys.readouterr().err == "program: error: no command 'great'; did you mean greet?\n"
    assert run("program", "about", commands, ["other"]) == 2
    assert capsys.readouterr().err == "program: error: no command 'other'; choose from greet, repeat, listen.\n"


@pytest.mark.parametrize("program", ["swinface", "kinface"])
def test_a_program_says_which_version_it_is(program, capsys):
    assert run(program, "", {}, ["--version"]) == 0
    assert capsys.readouterr().out == f"{program} {version('kinface')}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [([], "NAMES is missing (People to greet)"),
     (["you", "--tines", "2"], "--tines"), (["you", "--time", "2"], "--time"), (["you", "-x"], "-x"),
     (["you", "--times", "x"], "--times"), (["you", "--times"], "--times"), (["you", "--and-also"], "--and-also")],
)  # fmt: skip
def test_wrong_options_are_refused_by_name(commands, capsys, arguments, named):
    assert run("program", "about", commands, ["greet", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("program greet: error: ")
    assert named in message
    assert message.count("\n") == 1


def test_a_warning_is_one_line_without_code(tmp_path):
    (tmp_path / "careful.py").write_text(
        "import warnings\n"
        "def warn(arguments):\n"
        "    warnings.warn('a\\x1b[2J.jpg\\nis left out')\n"
        "    warnings.warn('of others', RuntimeWarning)\n"
    )
    call = "run('program', '', {'warn': Command('careful:warn', '', '', Options.OWN)}, ['warn'])"
    code = f"from swinface.cli.main import Command, Options, run; {call}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, second, *_ = done.stderr.splitlines()
    assert first == r"program warn: warning: a\x1b[2J.jpg is left out"
    assert "careful.py:4: RuntimeWarning: of others" in second


def test_a_missing_package_is_named_with_its_extra(commands, capsys):
    assert run("program", "about", commands, ["listen"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("program listen: error: a_package_that_is_missing is not installed;")
    assert "pip install '.[models]'" in message


def test_an_interrupted_command_ends_with_code_130_and_says_what_goes_on(commands, capsys):
    assert run("program", "about", commands, ["greet", "stop"]) == 130
    assert capsys.readouterr().err == "\nprogram: interrupted; try again.\n"


def test_a_closed_pipe_is_no_error():
    writer = [
        sys.executable,
        "-c",
        "from swinface.cli.main import *; sys.exit(run('p', 'x' * 10**6, COMMANDS, ['-h']))",
    ]
    with subprocess.Popen(writer, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("commands", [swinface.cli.main.COMMANDS, kinface.cli.main.COMMANDS])
def test_every_command_can_be_imported_and_explains_its_options(commands):
    for command in commands.values():
        module, name = command.place.split(":")
        function = getattr(import_module(module), name)
        for explained, options in _list_options(function):
            docstring = inspect.getdoc(explained)
            for option in options:
                assert re.search(rf"^{option}\n    \S", docstring, flags=re.MULTILINE), f"{command.place}: {option}"


def _list_options(function) -> list[tuple[object, list[str]]]:
    """What has a docstring, and the options that it must explain: a command, and groups of options that it takes."""
    parameters = inspect.signature(function, eval_str=True).parameters
    kinds = {name: (*get_args(it.annotation), it.annotation)[0] for name, it in parameters.items()}
    groups = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    alone = [name for name in kinds if name not in groups]
    return [(function, alone), *((group, [field.name for field in fields(group)]) for group in groups.values())]


@pytest.mark.parametrize("commands", [swinface.cli.main.COMMANDS, kinface.cli.main.COMMANDS])
def test_the_help_of_fit_has_the_projects_options_before_the_engines(commands, capsys):
    with pytest.raises(SystemExit) as stop:
        run("program", "", commands, ["fit", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    places = [
        text.index(f"\n  --{name} ") for name in ("run", "model", "model.distillation", "data", "data.cache", "trainer")
    ]
    assert places == sorted(places)


def test_import_and_help_load_no_torch():
    program = (
        "import sys, swinface; from swinface.cli.main import COMMANDS, run; run('swinface', '', COMMANDS, ['--help']); "
        "swinface.TASKS, swinface.InputError; sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "convert" in done.stdout


@pytest.mark.parametrize("name", ["full", "full for safetensors", "full for torch"])
def test_a_full_disk_is_one_message(name, commands, capsys):
    """Outputs are moved in place only when they are whole, so nothing is half-written."""
    assert run("program", "", commands, ["greet", name]) == 2
    said = "program greet: error: the disk is full. Free some space and run the same command again.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export"], "--out is missing; `swinface export --help`"),
        (["pack", "model"], "OUT is missing (Folder to write `config.json`"),
        (["pack", "model", "--out", "folder", "more"], "'more' is one value too many; repeat an option"),
        (["fit"], "--run is missing: name the folder to train in."),
        (["fit", "--run", "run", "--trainer.max_epoch", "1"], "max_epoch; did you mean --trainer.max_epochs?"),
        (["fit", "--run", "run", "--unlike", "1"], "unrecognized arguments: --unlike 1."),
    ],
)
def test_what_is_missing_or_too_much_is_named(arguments, message, capsys):
    assert run("swinface", ABOUT, COMMANDS, arguments) == 2
    assert message in capsys.readouterr().err
