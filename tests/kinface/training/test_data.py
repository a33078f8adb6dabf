from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kinface.data.vocabulary import TYPES
from kinface.training.data import KinBatches
from swinface.files import InputError
from swinface.training.data import Steps


def batches(families, augment=False, **options) -> KinBatches:
    """Batches over the training faces, whose inputs are their own row numbers (or random pixels)."""
    faces = families.faces[families.faces["split"] == "train"].reset_index(drop=True)
    relations = families.relations[families.relations["split"] == "train"]
    inputs = torch.arange(len(faces))
    if augment:
        inputs = torch.randint(0, 256, (len(faces), 3, 112, 112), dtype=torch.uint8)
    options = {"batch_size": 6, "seed": 3, **options}
    made = KinBatches(inputs, faces, relations, {"row": torch.arange(len(faces))}, augment=augment, **options)
    made.table = faces
    return made


def test_a_batch_is_kin_pairs_of_different_families(families):
    made = batches(families)
    kinds = list(TYPES)
    related = {frozenset((row.person_a, row.person_b)): row.type for row in families.relations.itertuples()}
    for step in range(20):
        batch = made[step]
        faces = made.table.loc[batch["faces"].numpy()]
        a, b = faces[:6], faces[6:]
        assert list(a["family"]) == list(b["family"])
        assert a["family"].nunique() == 6
        for first, second, kind in zip(a["person"], b["person"], batch["type"], strict=True):
            assert related[frozenset((first, second))] == kinds[kind]
        assert torch.equal(batch["row"], batch["faces"])


def test_kin_of_whom_no_more_is_known_are_trained_on(families):
    """As Kaggle's; spouses are no kin, though their relation has no type either."""
    unknown = families.relations.assign(type=None, relation=families.relations["relation"].replace("sibling", "kin"))
    made = batches(replace(families, relations=unknown))
    siblings = families.relations[families.relations["relation"] == "sibling"]
    kin = {frozenset(pair) for pair in zip(siblings["person_a"], siblings["person_b"], strict=True)}
    for step in range(5):
        batch = made[step]
        persons = made.table["person"].to_numpy()[batch["faces"].numpy()]
        half = len(persons) // 2
        assert {frozenset(pair) for pair in zip(persons[:half], persons[half:], strict=True)} <= kin
        assert (batch["type"] == -1).all()


def test_both_roles_come_first(families):
    made = batches(families)
    elder = {(row.person_a, row.person_b) for row in families.relations.itertuples()}
    order = set()
    for step in range(10):
        persons = made.table["person"].to_numpy()[made[step]["faces"].numpy()]
        order |= {(first, second) in elder for first, second in zip(persons[:6], persons[6:], strict=True)}
    assert order == {True, False}


def test_a_batch_is_a_function_of_seed_and_number(families):
    assert torch.equal(batches(families)[7]["faces"], batches(families)[7]["faces"])
    assert not torch.equal(batches(families)[7]["faces"], batches(families)[8]["faces"])
    assert not torch.equal(batches(families)[7]["faces"], batches(families, seed=4)[7]["faces"])


def test_processes_share_out_one_draw_of_families(families):
    whole = batches(families, batch_size=6)
    parts = [batches(families, batch_size=3, rank=rank, processes=2) for rank in range(2)]
    assert len(parts[0]) == len(whole)
    for step in range(5):
        drawn = whole[step]["faces"].reshape(2, 6).T
        shared = [part[step]["faces"].reshape(2, 3).T for part in parts]
        assert torch.equal(drawn[0::2], shared[0])
        assert torch.equal(drawn[1::2], shared[1])


def test_families_are_drawn_alike_however_large(families):
    made = batches(families, batch_size=2)
    drawn = [made.table["family"][int(made[step]["faces"][0])] for step in range(400)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == len(made.families)
    assert counts.max() < 3 * counts.mean()


def test_expected_draws_are_what_is_drawn(families):
    made = batches(families, batch_size=4)
    drawn = torch.cat([made[step]["faces"] for step in range(3000)])
    observed = torch.bincount(drawn, minlength=len(made.table)) / len(drawn)
    expected = made.expect_faces()
    assert expected.sum().item() == pytest.approx(1)
    spread = (expected * (1 - expected) / len(drawn)).sqrt()
    assert ((observed - expected).abs() < 6 * spread + 1e-12).all()


def test_augmentation_changes_images_the_same_way_each_time(families):
    torch.manual_seed(0)
    made = batches(families, augment=True)
    before = torch.get_rng_state()
    first, second = made[2], made[2]
    assert torch.equal(first["faces"], second["faces"])
    assert not torch.equal(first["faces"], made.inputs[first["row"]])
    assert torch.equal(torch.get_rng_state(), before), "the run's own randomness must not depend on augmentation"


def test_too_few_families_are_refused(families):
    faces = families.faces[families.faces["family"] == "F0001"]
    with pytest.raises(InputError, match="too few to train on"):
        KinBatches(torch.arange(len(faces)), faces, families.relations, {}, 4, 0)
    with pytest.raises(InputError, match="batch_size 1: a batch needs 2 families"):
        batches(families, batch_size=1)


def test_steps_go_on_where_the_run_was():
    done = [0]
    steps = Steps(3, lambda: done[0])
    assert list(steps) == [0, 1, 2]
    done[0] = 6
    assert list(steps) == [6, 7, 8]
    assert len(steps) == 3
