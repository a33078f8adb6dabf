from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kinface.data.fiw import read_families, read_known_families
from kinface.data.search import Search, read_search, sample_search, write_search
from swinface.files import InputError


@pytest.fixture
def official(root):
    """Lists and flat folders in the form of RFIW's test set: two queries, of two photos and of one, and three faces."""
    face = (root / "Train/train-faces/F0001/MID1/P00000_face0.jpg").read_bytes()
    folder = root / "track3"
    for path in ("probes/probe_subjects/s0/a.jpg", "probes/probe_subjects/s0/b.JPG", "probes/probe_subjects/s1/a.jpg"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(face)
    (folder / "gallery/gallery_faces").mkdir(parents=True)
    for number in range(3):
        (folder / f"gallery/gallery_faces/face{number}.jpg").write_bytes(face)
    (folder / "probe.txt").write_text("0 ./probes/probe_subjects/s0\n1 ./probes/probe_subjects/s1/\n")
    (folder / "gallery.txt").write_text("".join(f"{n} ./gallery/gallery_faces/face{n}.jpg\n" for n in range(3)))
    (folder / "probe_list.csv").write_text(",ref,fid,feat_path\n0,F0754/MID3,F0754,x.npy\n1,F0753/MID2,F0753,y.npy\n")
    (folder / "gallery_list.csv").write_text(
        ",fid,mid,labels,ref\n0,F0775,F0775/MID3,1,f.jpg\n1,F0753,F0753/MID8,1,g.jpg\n2,F0754,F0754/MID2,1,h.jpg\n"
    )
    return folder


def read(folder) -> Search:
    return read_search(folder / "probe.txt", folder / "gallery.txt", read_known_families(folder))


def test_official_lists_are_read_with_whose_they_are(official):
    search = read(official)
    assert search.queries[["query", "face"]].to_numpy().tolist() == [
        [0, "probes/probe_subjects/s0/a.jpg"],
        [0, "probes/probe_subjects/s0/b.JPG"],
        [1, "probes/probe_subjects/s1/a.jpg"],
    ]
    assert search.people[["person", "family", "photos"]].to_numpy().tolist() == [
        ["F0754/MID3", "F0754", 2],
        ["F0753/MID2", "F0753", 1],
    ]
    assert search.gallery[["person", "family"]].to_numpy().tolist() == [
        ["F0775/MID3", "F0775"],
        ["F0753/MID8", "F0753"],
        ["F0754/MID2", "F0754"],
    ]
    assert search.gallery["race"].isna().all()


def test_without_tables_families_are_unknown(official):
    for path in official.glob("*.csv"):
        path.unlink()
    search = read(official)
    assert search.people[["person", "family", "race", "gender"]].isna().all(axis=None)
    assert search.gallery["family"].isna().all()


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("probe.txt", "0 probes/probe_subjects/s9\n", "s9"),
        ("probe.txt", "0 probes\n", "no photos"),
        ("probe.txt", "probes/probe_subjects/s0\n", "index path"),
        ("probe.txt", "index path\n0 probes/probe_subjects/s0\n", "without header"),
        ("probe.txt", "0 ../track3\n", "leaves the data root"),
        ("gallery.txt", "0 gallery/gallery_faces/face9.jpg\n", "face9"),
        ("gallery.txt", "0 probes/probe_subjects/s0/a.jpg\n", "a photo of a query"),
        ("gallery.txt", "", "empty"),
        ("probe.txt", "1 probes/probe_subjects/s1\n0 probes/probe_subjects/s0\n", "the index 0 comes after 1"),
        ("probe_list.csv", ",ref\n0,F0754/MID3\n1,F0753/MID2\n", "no column 'fid'"),
        ("gallery_list.csv", ",fid,mid\n0,F0775,F0775/MID3\n", "1 rows for a list of 3"),
    ],
)
def test_bad_lists_are_named(name, text, named, official):
    (official / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read(official)
    assert named in str(caught.value)
    assert name in str(caught.value)


def test_lines_that_are_there_twice_are_warned_of(official):
    lines = (official / "gallery.txt").read_text()
    (official / "gallery.txt").write_text(lines + "3 gallery/gallery_faces/face0.jpg\n")
    (official / "gallery_list.csv").unlink()
    with pytest.warns(UserWarning, match=r"gallery\.txt: 1 lines repeat an earlier one"):
        read(official)


def test_a_table_in_another_order_than_its_list_is_refused(official):
    table = pd.read_csv(official / "gallery_list.csv", index_col=0)
    table["ref"] = [f"gallery_faces/face{number}.jpg" for number in range(3)]
    table.to_csv(official / "gallery_list.csv")
    assert read(official).gallery["family"].tolist() == ["F0775", "F0753", "F0754"]
    table.loc[[0, 2, 1]].to_csv(official / "gallery_list.csv")
    with pytest.raises(InputError, match=r"gallery_list\.csv: row 2 is of another line of .*gallery\.txt, by its ref"):
        read(official)


def test_paths_may_be_whole(official):
    asked = read(official)
    for name in ("probe.txt", "gallery.txt"):
        text = (official / name).read_text()
        (official / name).write_text(text.replace("./", f"{official}/"))
    pd.testing.assert_frame_equal(read(official).queries, asked.queries)


def test_an_index_that_does_not_count_from_0_is_warned_of(official):
    (official / "probe.txt").write_text("1 probes/probe_subjects/s0\n2 probes/probe_subjects/s1\n")
    with pytest.warns(UserWarning, match=r"probe\.txt: its index goes to 2; results number its 2 lines from 0"):
        read(official)


def test_drawn_queries_have_relatives_and_the_gallery_has_everyone_else(families):
    search = sample_search(families, "val", seed=2)
    faces = families.faces[families.faces["split"] == "val"]
    assert sorted([*search.queries["face"], *search.gallery["face"]]) == sorted(faces["face"])
    assert not set(search.queries["person"]) & set(search.gallery["person"])
    assert search.people["family"].is_unique
    for query in search.people.itertuples():
        photos = faces.loc[faces["person"] == query.person, "face"]
        assert sorted(search.queries.loc[search.queries["query"] == query.Index, "face"]) == sorted(photos)
        relatives = {other for (person, other) in search.kinds if person == query.person}
        assert relatives & set(search.gallery["person"])


def test_kinds_are_those_of_the_relations_both_ways(families):
    search = sample_search(families, "val")
    relations = families.relations
    for (person, other), kind in search.kinds.items():
        row = relations[
            ((relations["person_a"] == person) & (relations["person_b"] == other))
            | ((relations["person_b"] == person) & (relations["person_a"] == other))
        ].iloc[0]
        assert kind in (row["type"], row["relation"])


def test_the_draw_does_not_depend_on_the_order_of_rows(families, shuffled):
    first, second = sample_search(families, "val"), sample_search(shuffled, "val")
    pd.testing.assert_frame_equal(first.queries, second.queries)
    pd.testing.assert_frame_equal(first.gallery, second.gallery)


def test_lists_are_read_as_they_were_written(families, tmp_path):
    search = sample_search(families, "val")
    write_search(search, tmp_path)
    again = read_search(tmp_path / "probe.txt", tmp_path / "gallery.txt", families)
    pd.testing.assert_frame_equal(again.queries, search.queries)
    pd.testing.assert_frame_equal(again.gallery, search.gallery)
    assert again.kinds == search.kinds


def test_a_split_without_relatives_is_named(families):
    with pytest.raises(InputError, match="'test'"):
        sample_search(families, "test")
    lonely = replace(families, relations=families.relations.iloc[:0])
    with pytest.raises(InputError, match="two relatives"):
        sample_search(lonely, "val")


def test_synthetic_families_come_with_lists_of_all_tracks(synthetic_families):
    families, lists = read_families(synthetic_families), synthetic_families / "lists"
    search = read_search(lists / "track3" / "probe.txt", lists / "track3" / "gallery.txt", families)
    assert len(search.people) == 6
    assert np.isin(search.people["family"], search.gallery["family"]).all()
