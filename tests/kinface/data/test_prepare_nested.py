"""Folds of the training families never see the families that are reported."""

from __future__ import annotations

import pandas as pd
import pytest

from kinface.data.families import read_prepared_list
from kinface.data.fiw import read_families
from kinface.data.prepare import nest_families
from kinface.tradeoff.measure import Protocol, draw_lists
from swinface.files import InputError
from tests.commands import run_kinface


def test_each_training_family_is_held_out_once_and_no_other_is_there(synthetic):
    families = read_families(synthetic)
    split = families.faces.drop_duplicates("family").set_index("family")["split"]
    training = {*split.index[split.isin(["train", "tune"])]}
    held = []
    for prepared in nest_families(families, folds=3):
        nested = prepared.families
        of_fold = nested.faces.drop_duplicates("family").set_index("family")["split"]
        assert {*of_fold.index} == training
        assert {*of_fold} == {"train", "tune", "val"}
        for table in (nested.people, nested.relations):
            assert (table["split"] == table["family"].map(of_fold)).all()
        held += [*of_fold.index[of_fold == "val"]]
        lists = {table["list"].iloc[0]: table for table in prepared.pairs}
        assert {"val", "tune"} <= {*lists}
        assert {*lists["val"]["family_a"]} <= {*of_fold.index[of_fold == "val"]}
        draw_lists(lists["val"], nested, Protocol())  # a sweep takes them
    assert sorted(held) == sorted(training), "each once"


def test_each_fold_has_its_share_of_a_rare_race(synthetic):
    families = read_families(synthetic)
    training = families.people[families.people["split"].isin(["train", "tune"])]
    of_family = training.drop_duplicates("family")["race"].value_counts()
    for prepared in nest_families(families, folds=3):
        people = prepared.families.people
        held = people[people["split"] == "val"].drop_duplicates("family")["race"].value_counts()
        for race, count in of_family.items():
            assert abs(held.get(race, 0) - count / 3) < 2, race


def test_the_draw_is_by_the_seed(synthetic):
    families = read_families(synthetic)
    one, same, other = (next(iter(nest_families(families, folds=3, seed=seed))).families.faces for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)


def test_the_command_writes_prepared_folders(synthetic, tmp_path, capsys):
    assert run_kinface("nest", synthetic, "--out", tmp_path / "out", "--folds", "2") == 0
    assert "families: train" in capsys.readouterr().out
    for number in (1, 2):
        root = tmp_path / "out" / str(number)
        assert {*read_families(root).faces["split"]} == {"train", "tune", "val"}
        assert isinstance(read_prepared_list(root, "val"), pd.DataFrame)
    before = (tmp_path / "out" / "1" / "faces.parquet").read_bytes()
    assert run_kinface("nest", tmp_path / "out" / "1", "--out", tmp_path / "out", "--folds", "2") == 2
    assert "1 is the folder that is divided; name another folder" in capsys.readouterr().err
    assert (tmp_path / "out" / "1" / "faces.parquet").read_bytes() == before
    (tmp_path / "out" / "2").rename(tmp_path / "out" / "3")
    assert run_kinface("nest", synthetic, "--out", tmp_path / "out", "--folds", "2") == 2
    assert "3 is a fold of an earlier division" in capsys.readouterr().err


def test_a_fold_keeps_a_family_to_train_on(synthetic):
    nested = next(iter(nest_families(read_families(synthetic), folds=3, tune=0.999))).families
    assert nested.faces.drop_duplicates("family")["split"].value_counts()["train"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"folds": 1}, "in 1 folds"), ({"folds": 1000}, "in 1000 folds"), ({"tune": 1.0}, "tune 1.0: a share")],
)
def test_what_cannot_be_is_refused(synthetic, options, message):
    with pytest.raises(InputError, match=message):
        next(iter(nest_families(read_families(synthetic), **options)))
