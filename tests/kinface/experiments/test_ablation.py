"""An ablation's file is read as the runs it stands for, or refused by name."""

from __future__ import annotations

import pytest

from kinface.experiments.ablation import merge, read_ablation
from swinface.files import InputError


def test_merging_goes_into_mappings_and_replaces_the_rest():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    changes = {"a": {"b": 2, "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert merge(base, changes) == {"a": {"b": 2, "c": [1, 2], "g": 3}, "d": None, "f": {"h": 1}, "c": [3]}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


def test_lambda_is_that_of_every_adversarial_head(tmp_path):
    heads = "{race: {adversarial: true, strength: 9}, gender: {adversarial: true}, age: {classes: [a, b]}}"
    file = tmp_path / "a.yaml"
    file.write_text(f"seeds: [3]\nbase: {{model: {{heads: {heads}}}}}\nmethods: {{m: {{strengths: [1.0e-5, 10.0]}}}}")
    runs = read_ablation(file, {"data": {"root": "r"}}).expand()
    assert [run.name for run in runs] == ["m-1e-05-3", "m-10-3"]
    for run, strength in zip(runs, (1e-5, 10.0), strict=True):
        heads = run.config["model"]["heads"]
        assert [head.get("strength") for head in heads.values()] == [strength, strength, None]
        assert (run.config["seed_everything"], run.config["data"]) == (3, {"root": "r"})


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
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [1]}}", "model.heads has none"),
        ("seeds: [0]\nbase: {}\nmethods: {a: {strengths: [1e-3]}}", "different numbers"),  # YAML reads text
        ("seeds: [0]\nbase: {}\nmethods: {a: {}}\nreferences: [b]", "'b' is no method"),
    ],
)
def test_a_bad_ablation_is_refused_by_name(text, named, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=named):
        read_ablation(tmp_path / "a.yaml", {})
