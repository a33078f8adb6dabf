"""How YAML is read: plain words as they look, no key twice, faults named by file and line."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from functools import reduce
from itertools import permutations

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kinface.cli.main
import swinface.cli.main
from swinface.data import datasets
from swinface.files import InputError
from swinface.mistakes import find_mistake
from swinface.settings import (
    accept_dashes,
    dump_yaml,
    join_configurations,
    lay_over,
    parse_yaml,
    read_yaml,
    reading_configurations,
    show_dashes,
)
from tests.commands import run_kinface

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_sound_configuration_is_left_to_its_reader(tmp_path):
    (tmp_path / "a.yaml").write_text("model: {width: 3}")
    for arguments in (["--config", str(tmp_path / "a.yaml")], [f"--config={tmp_path / 'a.yaml'}", "--x", "1"], []):
        with reading_configurations(arguments):
            read = True
        assert read


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "not a readable YAML file"),
        (b"a: [", "not a readable YAML file"),
        (b"? [a]\n: b", "not a readable YAML file"),
        (b"!!python/object/apply:os.getcwd []", "not a readable YAML file"),
        (b"[1, 2]", "must be a mapping"),
        (b"", "must be a mapping"),
        (b"a: 1\nb: {c: 1}\na: 2", r"line 3: the key 'a' is here twice, first in line 1"),
    ],
)
def test_a_configuration_is_refused_by_name(content, fault, tmp_path):
    if content is not None:
        (tmp_path / "a.yaml").write_bytes(content)
    with (
        pytest.raises(InputError, match=rf"a\.yaml: .*{fault}"),
        reading_configurations([f"--config={tmp_path}/a.yaml"]),
    ):
        raise AssertionError("it must not be read")


def test_what_a_class_makes_of_a_wrong_value_is_an_input_error():
    with pytest.raises(InputError, match="value that cannot be used \\('<' not supported"), reading_configurations([]):
        0 < None  # noqa: B015
    with pytest.raises(InputError, match=r"^as it is$"), reading_configurations([]):
        raise InputError("as it is")
    with pytest.raises(ModuleNotFoundError), reading_configurations([]):
        import nowhere  # noqa: F401


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "N",
        "y",
        "01",
        "007",
        "10_20",
        "0x1F",
        "0o7",
        "1:30",
        "2020-01-31",
        "+5",
        "1_000.5",
        "=",
    ],
)
def test_a_word_that_looks_like_text_is_text(text):
    assert parse_yaml(text) == parse_yaml(f"[{text}]")[0] == text


def test_a_path_may_begin_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert parse_yaml("{root: ~/faces, run: 'a~/b', cache: ~}") == {
        "root": "/home/ann/faces",
        "run": "a~/b",
        "cache": None,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-12", -12), ("1e-2", 0.01), ("2.0E+3", 2000.0), (".5", 0.5), ("1.", 1.0), ("-.inf", -np.inf)),
        *(("True", True), ("~", None), ("null", None), ("", None)),
        *(('"1e-2"', "1e-2"), ("'no'", "no"), ('"null"', "null")),
    ],
)
def test_numbers_booleans_and_null_are_recognised_by_their_form(text, value):
    assert parse_yaml(f"a: {text}") == {"a": value}
    assert type(parse_yaml(f"a: {text}")["a"]) is type(value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@QUICK
@given(values, st.booleans())
def test_what_was_written_is_read_as_it_was(value, flow):
    assert parse_yaml(yaml.safe_dump(value, default_flow_style=flow)) == value


@QUICK
@given(st.data())
def test_a_key_twice_is_refused_wherever_it_is(data):
    words = st.text("abcdefgh", min_size=1, max_size=3)
    path = data.draw(st.lists(words, min_size=1, max_size=5))
    inside = data.draw(st.dictionaries(words, st.integers(), max_size=3))
    twice, other = data.draw(words), data.draw(st.sampled_from(["{t}", "'{t}'", '"{t}"']))
    entries = [f"{key}: {value}" for key, value in inside.items() if key != twice]
    place = data.draw(st.integers(0, len(entries)))
    entries = [f"{twice}: 1", *entries[:place], f"{other.format(t=twice)}: {{x: 2}}", *entries[place:]]
    flow = "{" + ", ".join(entries) + "}"
    block = "\n".join(f"{'  ' * len(path)}{entry}" for entry in entries)
    for key in reversed(path):
        flow = data.draw(st.sampled_from(["{{{key}: {inner}}}", "{{{key}: [1, {inner}]}}"])).format(key=key, inner=flow)
    above = "\n".join(f"{'  ' * depth}{key}:" for depth, key in enumerate(path))
    second = len(path) + 2 + place
    for text, line in ((flow, 1), (f"{above}\n{block}", second)):
        with pytest.raises(InputError, match=rf"^a\.yaml: line {line}: the key '{twice}' is here twice"):
            parse_yaml(text, "a.yaml")


def test_merged_keys_may_be_overridden():
    text = "a: &a {<<: &b {x: 1, y: 1}, y: 2}\nc: {<<: *a, y: 3}\nd: *a\ne: {x: {x: 1}}"
    assert parse_yaml(text) == {
        "a": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 3},
        "d": {"x": 1, "y": 2},
        "e": {"x": {"x": 1}},
    }


def test_keys_are_text_and_no_two_places_share_an_object(tmp_path):
    (tmp_path / "a.yaml").write_text("{1: &a [1], no: *a, 'x': 2}")
    found = read_yaml(tmp_path / "a.yaml")
    assert found == {"1": [1], "no": [1], "x": 2}
    assert found["1"] is not found["no"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (kinface.cli.main, ["fit", "--run", "run", "--config", "a.yaml"]),
        (kinface.cli.main, ["sweep", "a.yaml", "--root", ".", "--list", "val", "--out", "out"]),
        (swinface.cli.main, ["fit", "--run", "run", "--config=a.yaml"]),
        (swinface.cli.main, ["evaluate", "--config", "a.yaml"]),
        (swinface.cli.main, ["compare", "--config", "a.yaml", "--out", "out"]),
        (swinface.cli.main, ["teach", "--config", "a.yaml", "--out", "out.npz"]),
    ],
)
def test_every_command_that_reads_yaml_refuses_a_key_twice(program, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("model:\n  heads: {race: {strength: 5}}\n  # and gender\n  heads: {gender: {}}\n")
    assert swinface.cli.main.run("program", "", program.COMMANDS, arguments) == 2
    assert "a.yaml: line 4: the key 'heads' is here twice, first in line 2" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_options_on_the_command_line_are_read_in_the_same_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["fit", "--run", "run", "--data.root", ".", "--model.heads", "{no: {strength: 1}, no: {strength: 2}}"]
    assert run_kinface(*options) == 2
    assert "line 1: the key 'no' is here twice" in capsys.readouterr().err


def test_a_key_twice_is_named_with_its_option_or_file(tmp_path):
    (tmp_path / "model.yaml").write_text("width: 1\nlevels: 2\nwidth: 3\n")
    for arguments, where in (
        (
            [f"--model.swinface={tmp_path / 'model.yaml'}"],
            rf"^{tmp_path}/model\.yaml: line 3: the key 'width' is here twice",
        ),
        (["--model.swinface", "{width: 1, width: 2}"], r"^--model\.swinface: line 1: the key 'width' is here twice"),
    ):
        with pytest.raises(InputError, match=where), reading_configurations(arguments):
            raise AssertionError("the block is not reached")


def test_help_and_options_have_dashes():
    parser = show_dashes(ArgumentParser())
    parser.add_argument("--num_nodes", type=int)
    parser.add_argument("--data.epoch_size", type=int)
    assert "--num-nodes" in parser.format_help()
    assert "--data.epoch_size" in parser.format_help()
    found = parser.parse_args(accept_dashes(["--num-nodes=2", "--data.epoch_size", "-3"]))
    assert (found.num_nodes, vars(found)["data.epoch_size"]) == (2, -3)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.from_regex(r"[-\d.e_:noy]+"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(VALUES)
def test_what_is_written_is_read_as_the_same(value):
    assert parse_yaml(dump_yaml(value)) == value


def test_each_configuration_is_laid_over_those_before_it_and_options_have_the_last_word(tmp_path):
    files = {
        "base": "model: {hide: {race: {method: mlp, strength: 1.0}, gender: {method: mlp}}, trunk: {embed_dim: 8}}",
        "overlay": "model: {hide: {race: {method: kernel}}, trunk: {kind: mine.Trunk}, erase+: [b]}\ndata:\n",
        "other": "model: {erase: [a]}",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    words = ["--x", "1", "--config", f"{tmp_path / 'base'}", f"--config={tmp_path / 'other'}", "--y=2"]
    words += ["--config", f"{tmp_path / 'overlay'}"]
    joined, *others = join_configurations(words, {"model": {"hide": {"race": {"strength": 0.3}}}})
    assert others == ["--x", "1", "--y=2"]
    assert parse_yaml(joined.removeprefix("--config=")) == {
        "model": {
            "hide": {"race": {"method": "kernel", "strength": 0.3}, "gender": {"method": "mlp"}},
            "trunk": {"kind": "mine.Trunk"},  # as a whole
            "erase": ["a", "b"],
        }
    }
    assert join_configurations(["--x", "1"], {}) == ["--x", "1"]
    (tmp_path / "list").write_text("model: [a]")
    with pytest.raises(InputError, match=r"list: model: must be a mapping of settings; got \['a'\]"):
        join_configurations(["--config", f"{tmp_path / 'list'}"], {})


def test_lists_are_added_to_also_where_no_configuration_before_has_one():
    overlays = [{"model": {"erase+": ["a"]}}, {"model": {"erase+": "b"}}, {"model": {"erase": ["c"]}}]
    assert reduce(lay_over, overlays[:2], {}) == {"model": {"erase+": ["a", "b"]}}  # the parser adds to its default
    assert reduce(lay_over, overlays, {}) == {"model": {"erase": ["c"]}}
    assert reduce(lay_over, [*overlays, *overlays], overlays[2]) == {"model": {"erase": ["c"]}}
    assert reduce(lay_over, reversed(overlays), {}) == {"model": {"erase": ["c", "b", "a"]}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_path": "UTKface"},
            r"sources\[0\]: no Source 'UTKface'; choose from .*UTKFace, .*package\.module\.Class$",
        ),
        ({"class_path": "UTKFace", "init_args": {"path": "a"}}, r"init_args: no key 'path'; the keys are root, part"),
        ({"class_path": "RafDb", "init_args": {"root": "a", "subset": "Test"}}, "subset: needs train or test, not"),
    ],
)
def test_a_mistake_in_a_class_that_is_named_without_its_module_is_told(options, message):
    assert re.search(message, find_mistake(list[datasets.Source], [options], "sources"))


@pytest.mark.parametrize(("name", "options"), [("class_path", "init_args"), ("method", "options")])
def test_options_are_dropped_with_their_method_or_class(name, options):
    base = {"trainer": {"logger": {name: "loggers.Csv", "kept": 1, options: {"every": 3}}}}
    for new, expected in [("Tensorboard", {}), ("Csv", {options: {"every": 3, "folder": "a"}})]:
        overlay = {"trainer": {"logger": {name: new} | ({options: {"folder": "a"}} if expected else {})}}
        assert lay_over(base, overlay) == {"trainer": {"logger": {name: new, "kept": 1, **expected}}}


def test_the_last_configuration_wins_also_over_keys_with_dots():
    overlays = [{"model.network.width": 3}, {"model": {"network.width": 4}}, {"model": {"network": {"width": 5}}}]
    for some in permutations(overlays):
        width = lay_over({}, some[-1])["model"]["network"]["width"]
        assert reduce(lay_over, some, {"model": {"network": {"width": 2}}}) == {"model": {"network": {"width": width}}}
    inside = {"model": {"hide": {"my.race": {"strength": 1}}}}  # a custom name
    assert lay_over({}, inside) == inside
