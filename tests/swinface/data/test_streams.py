"""Batches: who is in them, in what order, with what labels, for whichever process and after whatever interruption."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import normalize
from torch.utils.data import DataLoader

import swinface.data.streams as streams_module
from swinface.data.datasets import CelebA, ImageFolder, RafDb, UTKFace
from swinface.data.streams import Batches, Stream, count_faces, keep_decoded
from swinface.files import InputError

TASKS_HERE = ["gender", "age", "expression", "smiling"]


def streams(root: Path, augment: str = "none") -> dict[str, Stream]:
    fiw = ImageFolder(root / "fiw", below="Train/train-faces", teacher=root / "teacher.npz", share=0.75)
    return {
        "recognition": Stream(4, [fiw, CelebA(root / "CelebA", share=0.25)], augment),
        "age_gender": Stream(2, [UTKFace(root / "UTKFace")], augment),
        "celeba": Stream(3, [CelebA(root / "CelebA")], augment),
        "expression": Stream(2, [RafDb(root / "RAF-DB")], augment),
    }


def batches(root: Path, seed: int = 0, augment: str = "none", **options) -> Batches:
    return Batches(streams(root, augment), TASKS_HERE, seed, **options)


def equal(a: dict, b: dict) -> bool:
    same = torch.equal(a["labels"].nan_to_num(-9), b["labels"].nan_to_num(-9))
    return same and torch.equal(a["images"], b["images"]) and torch.equal(a["identity"], b["identity"])


@pytest.mark.parametrize("augment", ["light", "randaugment"])
def test_a_batch_depends_on_seed_and_number_alone(face_sets, augment):
    first, again = batches(face_sets, augment=augment), batches(face_sets, augment=augment)
    for earlier in range(5):
        first[earlier]
    assert equal(first[5], again[5])
    assert not equal(first[5], first[6])
    assert not equal(first[5], batches(face_sets, seed=1, augment=augment)[5])


def test_streams_follow_one_another_and_cycle_by_themselves(face_sets):
    items = [batches(face_sets)[step] for step in range(20)]
    ages = np.concatenate([item["labels"][4:6, TASKS_HERE.index("age")] for item in items])
    for cycle in ages.reshape(4, 10):  # 2 of 10 faces per batch: a cycle is 5 batches
        assert sorted(cycle) == [5.0 + 7 * i for i in range(10)]
    assert not np.array_equal(ages[:10], ages[10:20])


def test_sources_give_their_share_and_cycle_by_themselves(face_sets):
    data = batches(face_sets)
    drawn = [data._draw("recognition", step) for step in range(28)]
    assert all(Counter(number for (_, number), _ in batch) == {0: 3, 1: 1} for batch in drawn)
    faces = [row for batch in drawn for (_, number), row in batch if number == 0]
    assert Counter(faces) == {row: 12 for row in range(7)}  # 84 faces, 12 cycles of 7


def test_shares_that_do_not_divide_a_batch_are_met_over_time(face_sets):
    parts = streams(face_sets)
    fiw, celeba = parts["recognition"].sources
    fiw.share, celeba.share = 2, 1
    data = Batches(parts, TASKS_HERE, 0)
    counts = [Counter(number for (_, number), _ in data._draw("recognition", step)) for step in range(30)]
    assert all(sum(count.values()) == 4 for count in counts)
    assert sum(counts, Counter()) == {0: 80, 1: 40}


def test_a_small_share_never_makes_a_batch_larger():
    random = np.random.default_rng(0)
    for _ in range(200):
        shares = random.uniform(0.01, 1, size=int(random.integers(1, 6))) ** 3
        size = int(random.integers(1, 40))
        counts = np.array([count_faces(step * size, list(shares)) for step in range(60)])
        assert (np.diff(counts, axis=0) >= 0).all()
        assert (counts.sum(axis=1) == size * np.arange(60)).all()
        assert np.abs(counts[-1] - 59 * size * shares / shares.sum()).max() < len(shares)


def test_sources_of_a_group_divide_their_shares_by_size(face_sets):
    def utkface(share, group=None, held_out=0.0, part="all"):
        return UTKFace(face_sets / "UTKFace", part=part, held_out=held_out, share=share, group=group)

    few = utkface(0.25, "joined", 0.5, "held_out")
    made = Batches({"age_gender": Stream(8, [utkface(0.5), utkface(0.25, "joined"), few])}, ["age"], 0)
    assert 0 < len(few) < 10
    whole = 10 + len(few)
    assert made.shares["age_gender"] == pytest.approx([0.5, 0.5 * 10 / whole, 0.5 * len(few) / whole])
    counts = np.zeros(3)
    for step in range(100):
        for (_, number), _ in made._draw("age_gender", step):
            counts[number] += 1
    assert counts == pytest.approx(800 * np.array(made.shares["age_gender"]), abs=1)


def test_processes_share_out_one_draw(face_sets):
    halves = [batches(face_sets, rank=rank, processes=2) for rank in range(2)]
    drawn = [half._draw("age_gender", 3) for half in halves]
    assert [len(part) for part in drawn] == [2, 2]
    double = batches(face_sets)
    double.streams["age_gender"].batch_size = 4
    assert sorted(drawn[0] + drawn[1]) == sorted(double._draw("age_gender", 3))


def test_only_the_streams_that_a_task_names_teach_it(face_sets):
    made = batches(face_sets)
    labels = made[0]["labels"].T
    known = {
        task: (~label.isnan()).nonzero().flatten().tolist() for task, label in zip(made.tasks, labels, strict=True)
    }
    assert known == {"gender": [4, 5, 6, 7, 8], "age": [4, 5], "expression": [9, 10], "smiling": [6, 7, 8]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("expresion", "streams are named recognition, age_gender, celeba, expression, pose"),
        ("celeba", "its sources have no labels of its tasks"),
    ],
)
def test_a_stream_that_would_teach_nothing_is_refused(name, message, face_sets):
    sources = [RafDb(face_sets / "RAF-DB")]
    with pytest.raises(InputError, match=rf"^data\.streams\.{name}: nothing would be learned from it; {message}\.$"):
        Batches({**streams(face_sets), name: Stream(2, sources)}, TASKS_HERE, 0)


def test_identities_are_told_apart_across_sources_and_only_in_recognition(face_sets):
    data = batches(face_sets)
    assert data.identities == 3 + 5
    fiw, celeba = (set(data.identity["recognition", number]) for number in range(2))
    assert fiw == {0, 1, 2}
    assert celeba == {3, 4, 5, 6, 7}
    batch = data[0]
    assert (batch["identity"][:4] >= 0).all()
    assert (batch["identity"][4:] == -1).all()


def test_people_of_one_name_in_two_parts_of_a_folder_are_two(face_sets, tmp_path):
    for part in ("a", "b"):
        copytree(face_sets / "fiw/Train/train-faces", tmp_path / part)
    whole, parts = [ImageFolder(tmp_path)], [ImageFolder(tmp_path, below=below) for below in ("a", "b")]
    assert Batches({"recognition": Stream(2, parts)}, [], 0).identities == 6
    assert Batches({"recognition": Stream(2, parts + whole)}, [], 0).identities == 6


def test_teachers_are_centred_and_faces_without_one_are_marked(face_sets):
    data = batches(face_sets)
    column, images = data.teacher["recognition", 0], data.tables["recognition", 0]["image"]
    table = np.load(face_sets / "teacher.npz")
    embedding = normalize(table["embedding"].astype(np.float32))
    known = dict(zip(table["face"], embedding - embedding.mean(axis=0), strict=True))
    for image, row in zip(images, column, strict=True):
        np.testing.assert_allclose(row, known.get(image, np.full(6, np.nan, np.float32)), atol=1e-6)
    assert np.isnan(column).all(axis=1).sum() == 2
    assert data[0]["teacher"][4:].isnan().all()


def test_whitened_teachers_differ_alike_in_all_directions_between_faces_of_one_person(face_sets, tmp_path, monkeypatch):
    rng, place = np.random.default_rng(0), ("recognition", 0)
    images = batches(face_sets).tables[place]["image"]
    people = images.map(lambda image: image.rpartition("/")[0])
    of_person = dict(zip(people.unique(), rng.normal(size=(people.nunique(), 3)), strict=True))
    moved = np.stack([of_person[person] for person in people]) + rng.normal(0, [0.3, 0.03, 0.01], (len(people), 3))
    np.savez(tmp_path / "teacher.npz", face=images.to_numpy(str), embedding=moved)
    monkeypatch.setattr(streams_module, "SHRINKAGE", 0)
    named = streams(face_sets)
    named["recognition"].sources[0].teacher = tmp_path / "teacher.npz"
    found = Batches(named, TASKS_HERE, 0, whiten=True).teacher[place]
    within = found - pd.DataFrame(found).groupby(people.to_numpy()).transform("mean").to_numpy()
    np.testing.assert_allclose(within.T @ within / (len(people) - people.nunique()), np.eye(3), atol=1e-3)


def test_whitening_needs_people_with_two_faces(face_sets):
    faces = ImageFolder(face_sets / "fiw", below="Train/train-faces", teacher=face_sets / "teacher.npz")
    with pytest.raises(InputError, match=r"^data\.whiten: .*no person has two photos"):
        Batches({"age_gender": Stream(2, [faces])}, ["age"], 0, whiten=True)


def test_cached_faces_equal_decoded_faces(face_sets, tmp_path):
    plain, kept = batches(face_sets), batches(face_sets, cache=tmp_path)
    assert equal(plain[3], kept[3])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4  # CelebA is in two streams
    assert equal(plain[4], batches(face_sets, cache=tmp_path)[4])
    assert sorted(tmp_path.iterdir()) == files


class Mirrored(UTKFace):
    def _decode(self, image: str) -> np.ndarray:
        return super()._decode(image)[:, ::-1]


def test_cached_faces_depend_on_class_and_files(face_sets, tmp_path):
    copytree(face_sets / "UTKFace", tmp_path / "faces")
    for source in (UTKFace(tmp_path / "faces"), Mirrored(tmp_path / "faces")):
        assert np.array_equal(keep_decoded(source, tmp_path), source.read_all())
    first, last = (tmp_path / "faces" / source.table["image"].iloc[row] for row in (0, -1))
    first.write_bytes(last.read_bytes())
    assert np.array_equal(keep_decoded(source, tmp_path), source.read_all())
    first.unlink()
    with pytest.raises(InputError, match=f"{first.name}: no such image"):
        keep_decoded(source, tmp_path)


def test_a_teacher_of_other_faces_is_named(face_sets, tmp_path):
    np.savez(tmp_path / "other.npz", face=["a.jpg"], embedding=np.ones((1, 6)))
    stream = Stream(2, [ImageFolder(face_sets / "fiw", teacher=tmp_path / "other.npz")])
    with pytest.raises(InputError, match=r"other\.npz: has none of the faces"):
        Batches({"recognition": stream}, [], 0)


def test_teachers_of_two_sizes_are_refused(face_sets, tmp_path):
    np.savez(tmp_path / "wide.npz", face=["5_0_0_20170109170000.jpg"], embedding=np.ones((1, 9)))
    named = streams(face_sets)
    named["age_gender"].sources[0].teacher = tmp_path / "wide.npz"
    with pytest.raises(InputError, match=r"\[6, 9\] numbers per face"):
        Batches(named, [], 0)


def test_a_forked_worker_leaves_the_gpu_alone(face_sets, monkeypatch):
    """As it is where the parent uses CUDA: there is one, and a forked process that touches it fails."""

    def refuse(*_, **__):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")

    data = batches(face_sets, augment="randaugment")
    expected = data[3]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    for name in ("_lazy_init", "_lazy_call", "get_rng_state", "get_rng_state_all", "set_rng_state", "device_count"):
        monkeypatch.setattr(torch.cuda, name, refuse)
    loader = DataLoader(data, batch_size=None, sampler=[3], num_workers=1, multiprocessing_context="fork")
    (batch,) = loader
    assert equal(batch, expected)
