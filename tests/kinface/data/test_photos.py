"""Two people by all of their photos."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.data.cosines import mean_cosine
from kinface.data.fiw import read_families
from kinface.data.lists import read_any_list
from kinface.data.pairs import check_pairs, read_pairs
from kinface.data.photos import list_people, list_photos, name_photographs, score_people
from kinface.data.sampling import sample_pairs
from kinface.data.triplets import read_triplets, sample_triplets, score_triplets
from kinface.fairness.audit import audit_fairness
from swinface.data.embeddings import write_embeddings
from swinface.files import InputError
from tests.commands import run_kinface


@pytest.fixture(scope="module")
def embedded(synthetic) -> tuple:
    """Families, their faces, and made-up embeddings."""
    families = read_families(synthetic)
    faces = list(families.faces["face"])
    return families, faces, np.random.default_rng(0).normal(size=(len(faces), 6))


def naive(a: str, b: str, families, faces: list[str], embedding: np.ndarray) -> float:
    """The mean cosine of two people, photo by photo."""
    photos = families.faces.groupby("person")["face"].agg(list)
    found = []
    for one in photos[a]:
        for other in photos[b]:
            if one.split("/")[-1].split("_")[0] != other.split("/")[-1].split("_")[0]:
                x, y = embedding[faces.index(one)], embedding[faces.index(other)]
                found.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    return float(np.mean(found))


def test_a_pair_of_people_is_scored_by_the_mean_of_all_cosines(embedded):
    families, faces, embedding = embedded
    pairs = sample_pairs(families, "val")
    people = list_people(pairs)
    assert len(people) == len({frozenset(row) for row in pairs[["person_a", "person_b"]].to_numpy()}) < len(pairs)
    scored = score_people(people, families.faces, faces, embedding)
    for row in scored.sample(20, random_state=0).itertuples():
        assert row.score == pytest.approx(naive(row.person_a, row.person_b, *embedded), abs=1e-12)
        assert row.photos_a == (families.faces["person"] == row.person_a).sum()
    assert {*list_photos(people, families.faces)} == {
        *families.faces.loc[families.faces["person"].isin([*people["person_a"], *people["person_b"]]), "face"]
    }


def test_a_photo_is_of_one_person_once(embedded):
    families, faces, embedding = embedded
    people = list_people(sample_pairs(families, "val"))
    photos = families.faces[["face", "person"]]
    pd.testing.assert_frame_equal(
        kinface.score(people, embedding, faces, photos=photos.set_index("face")),
        kinface.score(people, embedding, faces, photos=photos),
    )
    face = list_photos(people, photos)[0]
    again = pd.concat([photos, pd.DataFrame({"face": [face], "person": [people["person_a"][0]]})])
    with pytest.raises(InputError, match=f"photos: {face} is listed twice; keep one row of it"):
        score_people(people, again, faces, embedding)


def test_two_faces_of_one_photograph_are_not_compared():
    assert [*name_photographs(["F1/MID1/P00003_face0.jpg", "F1/MID2/P00003_face12.png", "a/P1.jpg"])] == [
        "F1/P00003", "F1/P00003", "a/P1.jpg",
    ]  # fmt: skip
    faces = [f"F1/MID{person}/P{photo}_face{person}.jpg" for person, photo in ((1, 1), (1, 2), (2, 1), (3, 1))]
    photos = pd.DataFrame({"face": faces, "person": [face[:7] for face in faces]})
    embedding = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [1.0, 1.0]])
    people = pd.DataFrame({"person_a": ["F1/MID1", "F1/MID2"], "person_b": ["F1/MID2", "F1/MID3"], "kin": True})
    scored = score_people(people, photos, faces, embedding)
    assert list(scored["score"]) == [pytest.approx(0.8)]  # the other two share the only photograph
    with pytest.raises(InputError, match="no pair is left"):
        score_people(people.iloc[1:], photos, faces, embedding)
    assert np.isnan(mean_cosine(embedding[:1], embedding[:1], np.ones((1, 1), dtype=bool)))


def test_a_triplet_of_people_is_the_mean_of_both_parents(embedded):
    families, faces, embedding = embedded
    people = list_people(sample_triplets(families, "val"))
    row = score_people(people, families.faces, faces, embedding).iloc[0]
    expected = [naive(row[parent], row["person_b"], *embedded) for parent in ("person_a", "person_m")]
    assert row["score"] == pytest.approx(np.mean(expected), abs=1e-12)
    first = families.faces.groupby("person")["face"].transform("first") == families.faces["face"]
    one = score_people(people, families.faces[first], faces, embedding).iloc[0]
    photo = dict(families.faces.loc[first, ["person", "face"]].to_numpy())
    alone = people.iloc[[0]].assign(**{f"face_{side}": photo[one[f"person_{side}"]] for side in "amb"})
    assert one["score"] == pytest.approx(score_triplets(alone, faces, embedding)["score"].iloc[0], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"person_a": None}, "persons of 2 of 2 pairs are unknown"),
        ({"kin": [True, False]}, "kin in one row and not in another"),
    ],
)
def test_lists_that_name_no_people_once_are_refused(change, message):
    rows = {"person_a": ["F1/MID1", "F1/MID2"], "person_b": ["F1/MID2", "F1/MID1"], "kin": True}
    with pytest.raises(InputError, match=message):
        list_people(pd.DataFrame(rows).assign(**change))


def test_people_are_scored_reported_and_compared_with_one_photo_each(synthetic, embedded, tmp_path, capsys):
    families, faces, embedding = embedded
    write_embeddings(tmp_path / "e.npz", faces, embedding)
    people = list_people(sample_pairs(families, "val"))
    people[["person_a", "person_b", "kin"]].to_csv(tmp_path / "people.csv", index=False)

    def score(listed, out, *options) -> int:
        given = ["--root", synthetic, "--embeddings", tmp_path / "e.npz", "--list", listed, "--out", tmp_path / out]
        return run_kinface("score", *given, *options)

    assert score(tmp_path / "people.csv", "refused.parquet") == 2
    assert "names people, not faces" in capsys.readouterr().err
    assert score(tmp_path / "people.csv", "people.parquet", "--people") == 0
    assert score(tmp_path / "people.parquet", "photos.parquet") == 0
    scored, single = (read_pairs(tmp_path / f"{name}.parquet", scored=True) for name in ("people", "photos"))
    expected = score_people(people, families.faces, faces, embedding)
    np.testing.assert_allclose(scored["score"], expected["score"], atol=1e-6)
    assert list(single["person_a"]) == list(scored["person_a"]) and not np.allclose(single["score"], scored["score"])
    assert len(audit_fairness(scored, 0.0, resamples=100).groups) > 1


def test_a_table_of_people_needs_no_faces():
    rows = {"person_a": ["F1/MID1"], "person_b": ["F1/MID2"], "kin": [1], "score": [0.5]}
    assert check_pairs(pd.DataFrame(rows), "people", scored=True)["face_b"].tolist() == ["F1/MID2"]
    with pytest.raises(InputError, match="of the same person"):
        check_pairs(pd.DataFrame({**rows, "person_b": ["F1/MID1"]}), "people")


def test_a_person_without_photos_is_named(synthetic, embedded, tmp_path):
    known = embedded[0].faces["person"].iloc[0]
    (tmp_path / "people.csv").write_text(f"person_a,person_b,kin\n{known},F9999/MID1,0\n")
    with pytest.raises(InputError, match=r"people\.csv: row 1: no photo of a person F9999/MID1"):
        read_any_list(tmp_path / "people.csv", synthetic, embedded[0], people=True)


def test_people_may_be_named_as_on_windows_and_mistakes_name_the_file(synthetic, embedded, tmp_path):
    people = list_people(sample_pairs(embedded[0], "val"))[["person_a", "person_b", "kin"]]
    listed = people.assign(person_a=people["person_a"].str.replace("/", "\\"))
    listed.to_csv(tmp_path / "people.csv", index=False)
    read = read_any_list(tmp_path / "people.csv", synthetic, embedded[0], people=True)
    assert read[["person_a", "person_b", "kin"]].to_numpy().tolist() == people.to_numpy().tolist()
    people.assign(kin=1).to_csv(tmp_path / "people.csv", index=False)
    with pytest.raises(InputError, match=r"people\.csv: .*a kin pair must lie in one family"):
        read_any_list(tmp_path / "people.csv", synthetic, embedded[0], people=True)


def test_triplets_are_read_from_a_csv_without_header(synthetic, embedded, tmp_path):
    families = embedded[0]
    triplets = sample_triplets(families, "val")
    columns = ["face_a", "face_m", "face_b", "triplet", "kin"]
    triplets[columns].astype({"kin": int}).to_csv(tmp_path / "val.csv", index=False, header=False)
    read = read_triplets(tmp_path / "val.csv", families)
    assert read[columns].equals(triplets[columns])


def test_people_are_named_alike_in_the_list_and_among_the_photos():
    photos = pd.DataFrame({"face": ["a.jpg", "b.jpg", "c.jpg"], "person": [1.0, 2.0, np.nan]})
    people, embedding = pd.DataFrame({"person_a": ["1 "], "person_b": [2], "kin": [1]}), np.eye(3) + 1
    scored = kinface.score(people, embedding, photos["face"], photos=photos)
    assert scored["score"].tolist() == pytest.approx([5 / 6])
    with pytest.raises(InputError, match="row 1: a person is missing"):
        kinface.score(people.assign(person_a=None), embedding, photos["face"], photos=photos)
    with pytest.raises(InputError, match="photos: no column 'person'"):
        kinface.score(people, embedding, photos["face"], photos=photos[["face"]])
