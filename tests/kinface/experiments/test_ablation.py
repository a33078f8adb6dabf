"""The files of an ablation are read as the runs they describe, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kinface.experiments.ablation import SHIPPED, read_ablation
from kinface.training.fit import check_config
from swinface.files import InputError
from swinface.settings import merge_settings

GOOD = {
    "a.yaml": "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null}",
    "b.yaml": "model: {attributes: {race: [a, b]}}",
    "methods/m.yaml": "model: {}",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)
    return folder / "a.yaml"


def test_merging_goes_into_mappings_and_replaces_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    changes = {"a": {"b": 2, "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert merge_settings(base, changes) == {"a": {"b": 2, "c": [1, 2], "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


def test_lambda_is_that_of_every_attribute_that_is_hidden(tmp_path):
    file = write(
        tmp_path,
        {
            "a.yaml": "seeds: [3]\nbase: [b.yaml]\nmethods: {m: [1e-5, 10.0]}",
            "b.yaml": "model: {hide: {race: {method: kernel, strength: 9}}, heads: {age: {}}}",
            "methods/m.yaml": "model: {hide: {gender: {}}}",
        },
    )
    runs = read_ablation(file, {"data": {"root": "r"}}).runs
    assert [run.name for run in runs] == ["m-1e-05-3", "m-10-3"]
    for run, strength in zip(runs, (1e-5, 10.0), strict=True):
        hide = {"race": {"method": "kernel", "strength": strength}, "gender": {"strength": strength}}
        assert run.config["model"] == {"hide": hide, "heads": {"age": {}}}
        assert (run.config["seed_everything"], run.config["data"]) == (3, {"root": "r"})


def test_bases_are_merged_in_their_order_and_a_method_has_the_last_word(tmp_path):
    file = write(
        tmp_path,
        {
            "a.yaml": "seeds: [0]\nbase: [b, sub/c.yaml]\nmethods: {sub/mine.yaml: null}",
            "b.yaml": "seed_everything: 7\nmodel: {size: 2, width: 1, heads: {x: &c [a], y: *c}}\ndata: {steps: 1}",
            "sub/c.yaml": "model: {size: 3}",
            "sub/mine.yaml": "data: {steps: 5}",
        },
    )
    (run,) = read_ablation(file, {}).runs
    model = {"size": 3, "width": 1, "heads": {"x": ["a"], "y": ["a"]}}
    assert run.config == {"model": model, "data": {"steps": 5}, "seed_everything": 0}
    assert run.name == "mine-0"
    assert run.files == tuple(tmp_path / name for name in ("b.yaml", "sub/c.yaml", "sub/mine.yaml"))
    assert "&" not in yaml.safe_dump(run.config), "an alias is written out"


def test_what_comes_with_the_package_is_known_by_name_but_a_file_beside_the_ablation_comes_first(tmp_path):
    files = {"a.yaml": "seeds: [0]\nbase: [base, embeddings]\nmethods: {leace: null, ours: [0.5]}"}
    own = "model: {erase: [{attributes: [race], method: leace}]}"
    leace, ours = read_ablation(write(tmp_path, files | {"methods/leace.yaml": own}), {}).runs
    assert leace.config["model"]["erase"] == [{"attributes": ["race"], "method": "leace"}]
    assert ours.config["model"]["hide"]["race"] == {"method": "kernel", "reads": "embedding", "strength": 0.5}
    assert ours.files == tuple(SHIPPED / name for name in ("base.yaml", "embeddings.yaml", "methods/ours.yaml"))


def test_the_ablation_that_ships_has_every_method_and_fit_takes_them():
    ablation = read_ablation(SHIPPED / "ablation.yaml", {"data": {"root": "r", "embeddings": "e.npz"}})
    assert {*ablation.methods} == {file.stem for file in (SHIPPED / "methods").glob("*.yaml")}
    runs = {run.method: run for run in ablation.runs}
    assert len(ablation.runs) == 150
    for run in runs.values():
        check_config(run.config)
    assert runs["quadratic_leace"].oracle == {"gender": ["f", "m"], "race": ["African", "Asian", "Caucasian"]}
    assert runs["faircal"].calibration == {"method": "faircal", "options": {"clusters": 10}}
    long, plain = runs["ours_long"].config, runs["ours"].config
    assert long["model"]["erase"] == plain["model"]["erase"] and long["data"]["batch_size"] == 128


def test_references_are_none_and_leace_where_these_are_methods(tmp_path):
    file = write(tmp_path, GOOD | {"a.yaml": "seeds: [0]\nbase: [b.yaml]\nmethods: {leace: null, m: null}"})
    assert read_ablation(file, {}).references == ["leace"]


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("a.yaml", "seeds: [0", "not a readable YAML file"),
        ("a.yaml", "[1, 2]", "a mapping with"),
        ("a.yaml", "sedes: [0]", "unknown key 'sedes'"),
        ("a.yaml", "seeds: [0]\nmethods: {m: null}", "'base' is missing"),
        ("a.yaml", "seeds: [0, 0]\nbase: [b.yaml]\nmethods: {m: null}", "seeds"),
        ("a.yaml", "seeds: [-1]\nbase: [b.yaml]\nmethods: {m: null}", "whole numbers from 0 up"),
        ("a.yaml", "seeds: [true]\nbase: [b.yaml]\nmethods: {m: null}", "seeds"),
        ("a.yaml", "seeds: [2026-13-41]\nbase: [b.yaml]\nmethods: {m: null}", "different whole numbers"),
        ("a.yaml", "seeds: [0]\nbase: b.yaml\nmethods: {m: null}", "base: a list of configurations"),
        ("a.yaml", "seeds: [0]\nbase: [c.yaml]\nmethods: {m: null}", "c.yaml: cannot be read"),
        ("a.yaml", "seeds: [0]\nbase: [c]\nmethods: {m: null}", "no configuration 'c'; choose from .*base, .* such as"),
        ("a.yaml", "seeds: [0]\nbase: [a]\nmethods: {m: null}", "a.yaml: unknown key 'seeds'"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {}", "name one or more"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: [m]", "name one or more"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {leec: null}", "no method 'leec'.*leace, .*, m, "),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {mine.yaml: null}", "mine.yaml: cannot be read"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {a-b.yaml: null}", "'a-b.yaml'.*small letters"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null, methods/m.yaml: null}", "that of no other"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: [1]}", "methods.m: .*model.hide has none"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: [weak]}", "methods.m: .*different numbers"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: {data: 1}}", "methods.m: .*different numbers"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null}\nreferences: [b]", "'b' is not a method"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null}\nreferences: [[m]]", "'m'. is not a method"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null}\nreferences: 3", "references: a list"),
        ("a.yaml", "seeds: [0]\nbase: [b.yaml]\nmethods: {m: null}\nmethods: {n: null}", "'methods' is here twice"),
        ("b.yaml", "run: here", "b.yaml: unknown key 'run'"),
        ("b.yaml", "model: 1", "b.yaml: model: must be a mapping"),
        ("methods/m.yaml", "modle: {}", "m.yaml: unknown key 'modle'"),
        ("methods/m.yaml", "data: [1]", "m.yaml: data: must be a mapping"),
        ("methods/m.yaml", "model: &a {model: *a}", "not a readable YAML file"),
        ("methods/m.yaml", "calibrate: {method: other}", "m.yaml: calibrate: .*faircal, normalize"),
        ("methods/m.yaml", "calibrate: {method: faircal, options: {clusters: 1.5}}", "of type int; got 1.5"),
        ("methods/m.yaml", "calibrate: {k: 3}", "calibrate: unknown key 'k'"),
        ("methods/m.yaml", "oracle: [age]", "m.yaml: oracle: .*which has race; got"),
        ("methods/m.yaml", "oracle: race", "m.yaml: oracle: a list"),
    ],
)
def test_a_bad_ablation_is_refused_by_name(file, text, named, tmp_path):
    path = write(tmp_path, GOOD | {file: text})
    with pytest.raises(InputError, match=named):
        read_ablation(path, {})
