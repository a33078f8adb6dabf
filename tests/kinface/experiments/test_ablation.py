"""The file of an ablation is read as the runs it describes, or refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from kinface.experiments.ablation import read_ablation
from swinface.files import InputError
from swinface.settings import merge_settings


def test_merging_goes_into_mappings_and_replaces_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    changes = {"a": {"b": 2, "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert merge_settings(base, changes) == {"a": {"b": 2, "c": [1, 2], "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


def test_lambda_is_that_of_every_attribute_that_is_hidden(tmp_path):
    model = "{hide: {race: {method: kernel, strength: 9}, gender: {}}, heads: {age: {}}}"
    file = tmp_path / "a.yaml"
    file.write_text(f"seeds: [3]\nbase: {{model: {model}}}\nmethods: {{m: {{strengths: [1e-5, 10.0]}}}}")
    runs = read_ablation(file, {"data": {"root": "r"}}).expand()
    assert [run.name for run in runs] == ["m-1e-05-3", "m-10-3"]
    for run, strength in zip(runs, (1e-5, 10.0), strict=True):
        model = run.config["model"]
        assert {name: options["strength"] for name, options in model["hide"].items()} == dict.fromkeys(
            model["hide"], strength
        )
        assert model["heads"] == {"age": {}}
        assert (run.config["seed_everything"], run.config["data"]) == (3, {"root": "r"})


def test_overlays_are_files_beside_the_ablation_and_a_method_has_the_last_word(tmp_path):
    (tmp_path / "b.yaml").write_text("model: {size: 2, heads: {race: {classes: &c [a, b], x: *c}}}\ndata: {steps: 1}")
    (tmp_path / "c.yaml").write_text("model: {size: 3}")
    (tmp_path / "a.yaml").write_text(
        "seeds: [0]\nbase: {model: {width: 1, heads: {}}}\nmethods: {m: {overlays: [b.yaml, c.yaml], data: {steps: 5}}}"
    )
    (run,) = read_ablation(tmp_path / "a.yaml", {}).expand()
    heads = {"race": {"classes": ["a", "b"], "x": ["a", "b"]}}
    wanted = {"model": {"width": 1, "size": 3, "heads": heads}, "data": {"steps": 5}, "seed_everything": 0}
    assert run.config == wanted
    assert "&" not in yaml.safe_dump(run.config), "an alias is written out"


def test_the_runs_of_the_ablation_that_ships():
    """``resolved.json`` holds each method's configuration of the first seed, without lambda, overlays and aliases."""
    shipped = Path(__file__).resolve().parents[3] / "configs" / "kinface" / "ablation.yaml"
    wanted = {}
    methods = json.loads((Path(__file__).parent / "resolved.json").read_text())
    for seed in (1, 2, 3):
        for method, (strengths, config) in methods.items():
            for strength in strengths or [None]:
                name = f"{method}-{seed}" if strength is None else f"{method}-{strength:g}-{seed}"
                wanted[name] = copy.deepcopy(config) | {"seed_everything": seed}
                for options in wanted[name]["model"]["hide"].values() if strength is not None else []:
                    options["strength"] = strength
    runs = {run.name: run.config for run in read_ablation(shipped, {}).expand()}
    assert len(runs) == 141
    assert [*runs] == [*wanted]
    for name, config in runs.items():
        assert config == wanted[name], name


def test_references_are_none_and_leace_where_these_are_methods(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("seeds: [0]\nbase: {}\nmethods: {leace: {}, other: {}}")
    assert read_ablation(file, {}).references == ["leace"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seeds: [0", "not a readable YAML file"),
        ("[1, 2]", "a mapping with"),
        ("sedes: [0]", "unknown key 'sedes'"),
        ("seeds: [0]\nmethods: {a: {}}", "'base' is missing"),
        ("seeds: [0, 0]\nbase: {}\nmethods: {a: {}}", "seeds"),
        ("seeds: [true]\nbase: {}\nmethods: {a: {}}", "seeds"),
        ("seeds: [0]\nbase: {run: here}\nmethods: {a: {}}", "base: unknown key 'run'"),
        ("seeds: [0]\nbase: {}\nmethods: {}", "name one or more"),
        ("seeds: [0]\nbase: {}\nmethods: {a-b: {}}", "'a-b'"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {modle: {}}}", r"methods.a: unknown key 'modle'"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [1]}}", "model.hide has none"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [weak]}}", "different numbers"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {calibrate: {method: other}}}", "there are faircal, normalize"),
        (
            "seeds: [0]\nbase: {}\nmethods: {a: {calibrate: {method: faircal, options: {clusters: 1.5}}}}",
            "of type int; got 1.5",
        ),
        ("seeds: [0]\nbase: {}\nmethods: {a: {calibrate: {k: 3}}}", r"a.calibrate: unknown key 'k'"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {oracle: {race: [Asian]}}}", r"a.oracle.race: a list of two classes"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nreferences: [b]", "'b' is not a method"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nreferences: [[a]]", "'a'. is not a method"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nreferences: 3", "references: a list"),
        ("seeds: [0]\nbase: {model: 1}\nmethods: {a: {}}", "base.model: a mapping"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {data: [1]}}", r"methods.a.data: a mapping"),
        ("seeds: [0]\nbase: {model: {hide: [a]}}\nmethods: {a: {strengths: [1]}}", "model.hide has none"),
        ("seeds: [0]\nbase: {}\nmethods: {a: &a {model: *a}}", "not a readable YAML file"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nmethods: {b: {}}", "line 4: the key 'methods' is here twice"),
        ("seeds: [2026-13-41]\nbase: {}\nmethods: {a: {}}", "different whole numbers"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {overlays: b.yaml}}", r"methods.a.overlays: a list of files"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {overlays: [b.yaml]}}", r"b.yaml: cannot be read"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {overlays: [a.yaml]}}", r"a.yaml \(of .*methods.a\): unknown key 'seeds'"),
    ],
)
def test_a_bad_ablation_is_refused_by_name(text, named, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=named):
        read_ablation(tmp_path / "a.yaml", {})
