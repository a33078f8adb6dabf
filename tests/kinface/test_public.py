"""The few public names: each has an example, and what they return is what the rooms behind them return."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.data.matching import match_pairs
from kinface.data.pairs import score_pairs
from kinface.data.sampling import sample_pairs
from kinface.debias import erasers
from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits, compare_lists
from kinface.fairness.standards import audit_operating_points, match_across_groups, shift_scores
from kinface.fairness.threshold import choose_threshold
from kinface.leakage.bounds import bound_attackers
from kinface.leakage.leakage import probe_leakage
from swinface.files import InputError

MOST = 12  # names that a person can hold
QUICK = {"kinds": ["linear"], "seeds": 1, "resamples": 100, "permutations": 0, "codelength": False}


@pytest.fixture(scope="module")
def drawn() -> tuple:
    families, images = kinface.make_families(40, photos=1.5)
    return families, images[:, ::16, ::16].reshape(len(images), -1).astype(float), families.faces["face"]


@pytest.fixture(scope="module")
def scored(drawn) -> dict[str, pd.DataFrame]:
    families, embedding, faces = drawn
    lists = {"tune": families.pairs("tune"), "val": families.pairs("val")}
    lists["matched"] = families.pairs("val", match=["gender"])
    return {name: kinface.score(pairs, embedding, faces) for name, pairs in lists.items()}


def test_there_are_few_and_each_has_an_example():
    assert len(kinface.__all__) <= MOST
    for name in kinface.__all__:
        member = getattr(kinface, name)
        parts = [member, *vars(member).values()] if inspect.isclass(member) else [member]
        texts = [erasers.__doc__] if name == "erasers" else [inspect.getdoc(it) or "" for it in parts if callable(it)]
        assert any(doctest.DocTestParser().get_examples(text) for text in texts), name


def test_families_read_and_draw_their_lists(drawn, synthetic, synthetic_families):
    families, _, _ = drawn
    pairs = sample_pairs(families, "val", seed=3)
    pd.testing.assert_frame_equal(families.pairs("val", seed=3), pairs)
    matched, _ = match_pairs(pairs, families, ["race"], seed=3)
    pd.testing.assert_frame_equal(families.pairs("val", match=["race"], seed=3), matched)
    assert families.pairs("val", people=True)[["person_a", "person_b"]].duplicated().sum() == 0
    assert {"face_m", "triplet"} <= {*families.triplets("val")}
    assert len(families.search("val").people) == families.faces.query("split == 'val'")["family"].nunique()
    folder, tables = (kinface.read_families(root) for root in (synthetic_families, synthetic))
    listed = [folder.pairs("val_choose"), folder.pairs(synthetic_families / "lists/val_choose.txt")]
    listed += [tables.pairs("val_choose")]
    for other in listed[1:]:
        assert other[["face_a", "face_b", "kin"]].equals(listed[0][["face_a", "face_b", "kin"]])
    with pytest.raises(InputError, match="nothing: no such file, and no list of"):
        tables.pairs("nothing")


def test_families_say_whose_faces_are_whose(drawn):
    families, _, faces = drawn
    some = [*faces[::-7]]
    described = families.describe(some)
    assert described["face"].tolist() == some
    assert described["person"].tolist() == families.faces.set_index("face").loc[some, "person"].tolist()
    with pytest.raises(InputError, match=r"other\.jpg: no face of these families"):
        families.describe(["other.jpg"])


class Grey:
    """A custom model."""

    def embed(self, faces, *, root):
        return np.array([[len(face), sum(map(ord, face))] for face in faces], float)


def test_scores_come_from_a_model_or_from_embeddings(drawn, scored):
    families, embedding, faces = drawn
    pairs = families.pairs("val")
    pd.testing.assert_frame_equal(scored["val"], score_pairs(pairs, faces, embedding))
    names = sorted({*pairs["face_a"], *pairs["face_b"]})
    by_model = kinface.score(pairs, Grey(), root=Path())
    pd.testing.assert_frame_equal(by_model, score_pairs(pairs, names, Grey().embed(names, root=Path())))
    people = kinface.score(families.pairs("val", people=True), embedding, faces, photos=families.faces)
    assert {"photos_a", "photos_b"} <= {*people}
    search = families.search("val")
    assert kinface.score(search, embedding, faces).shape == (len(search.people), len(search.gallery))


@pytest.mark.filterwarnings("ignore:(The threshold|The AUC)")
def test_an_audit_answers_what_the_rooms_answer(scored):
    val, matched, tune = (scored[name] for name in ("val", "matched", "tune"))
    audit = kinface.audit(val, tune, resamples=100, beside=matched)
    plain = audit_fairness(val, choose_threshold(tune), resamples=100, beside=matched)
    for name in ("groups", "gaps", "contrasts", "disparities"):
        pd.testing.assert_frame_equal(getattr(audit, name), getattr(plain, name))
    pd.testing.assert_frame_equal(audit.shifts(), shift_scores(plain))
    pd.testing.assert_frame_equal(audit.across("gender"), match_across_groups(plain, "gender"))
    for fmr in (0.1, "0.1"):
        pd.testing.assert_frame_equal(audit.at_fmr(fmr), audit_operating_points(plain, tune, fmrs=[0.1]))
    on_matched = kinface.audit(matched, tune, resamples=100, beside=val)
    pd.testing.assert_frame_equal(kinface.compare(on_matched, audit), compare_lists(on_matched, audit))
    other = kinface.audit(val.assign(score=-val["score"]), 0.0, resamples=100, beside=matched)
    pd.testing.assert_frame_equal(kinface.compare(other, audit), compare_audits(other, plain))
    with pytest.raises(InputError, match="an FMR is that of validation pairs"):
        other.at_fmr(0.1)
    for fmr, grouping in ((1e-9, "overall"), (0.1, "nothing")):
        with pytest.raises(InputError, match="there is no such point"):
            audit.at_fmr(fmr, groupings=[grouping])
    with pytest.raises(InputError, match="pairs are also in the audited pairs"):
        kinface.audit(val, val, resamples=100)
    for kin, missing in ((True, "non-kin"), (False, "kin")):
        with pytest.raises(InputError, match=f"pairs: column kin: there are no {missing} pairs"):
            kinface.audit(val[val["kin"] == kin], 0.5, resamples=10)


def test_a_probe_reads_a_table_of_people(drawn):
    families, embedding, faces = drawn
    people = families.describe([*faces])
    found = kinface.probe(embedding, people, "gender", split="val", **QUICK)
    rows = (people["split"] == "val").to_numpy()
    of = people[rows]
    plain = probe_leakage(
        embedding[rows], of["gender"], of["family"], persons=of["person"], attribute="gender", **QUICK
    )
    pd.testing.assert_frame_equal(found.table, plain.table)
    cells = embedding[:, 0] > np.median(embedding[:, 0])
    expected = bound_attackers(cells[rows], of["gender"], of["family"], resamples=100)
    pd.testing.assert_series_equal(found.bound(cells), expected)
    for given, message in (
        ((embedding, people, "shoes"), "people: no column 'shoes'"),
        ((embedding[1:], people, "gender"), "people: .* rows for"),
        ((dict(enumerate(embedding)), people, "gender"), r"people: .* rows for an embedding of \(\); give a row"),
    ):
        with pytest.raises(InputError, match=message):
            kinface.probe(*given, **QUICK)
    with pytest.raises(InputError, match="split 'test': no face"):
        kinface.probe(embedding, people, "gender", split="test", **QUICK)


def test_what_earlier_scripts_took_from_the_package_is_still_found_and_no_more():
    assert kinface.audit_fairness is audit_fairness and "audit_fairness" not in dir(kinface)
    with pytest.raises(AttributeError, match="nothing"):
        _ = kinface.nothing


class Embedder:
    def embed(self, faces, root):
        raise AssertionError("the list is refused before")


def test_audits_without_a_report_are_compared_too(scored):
    middle = scored["val"]["score"].median()
    plain, whole = (audit(scored["val"], middle, resamples=20) for audit in (audit_fairness, kinface.audit))
    assert kinface.compare(plain, plain).equals(kinface.compare(whole, whole))


def test_names_in_place_of_tables_and_models_are_to_be_read_first(drawn, scored):
    families, embedding, faces = drawn
    people = families.describe(faces)
    for call, said in (
        (lambda: kinface.audit("scores.csv", 0.5), "pairs: 'scores.csv' is not a table; read it first"),
        (lambda: kinface.audit(scored["val"], "tune.csv"), "threshold: 'tune.csv' is not a table; read it first"),
        (lambda: kinface.score(scored["val"], "shipped"), "'shipped' embeds no faces; give a model, such as"),
        (lambda: kinface.score(scored["val"], embedding), "a ndarray embeds no faces; .* and the faces"),
        (lambda: kinface.score(pd.DataFrame({"img1": faces}), embedding, faces), "no column 'face_a'; it has img1"),
        (lambda: kinface.score("val", embedding, faces), "'val' is not a table of pairs; read it first"),
        (lambda: kinface.score(scored["val"], Embedder(), faces), "faces: a model embeds the faces of the list itself"),
        (lambda: kinface.probe(embedding, "people.csv", "race"), "people: 'people.csv' is not a table"),
        (lambda: kinface.probe(embedding, people, "race", kind=["linear"]), "no option 'kind'; the options are kinds,"),
        (lambda: kinface.compare("a", "b"), "a str cannot be compared; give two results of audit"),
        (
            lambda: kinface.frontier(embedding, faces, families, scored["val"], ["race"], erasers=[{}]),
            "a dict is no name",
        ),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_people_are_not_counted_where_they_are_unknown(drawn):
    families, embedding, faces = drawn
    people = families.describe(faces)
    known = kinface.probe(embedding, people, "gender", **QUICK).table["people"][0]
    assert known == people.dropna(subset=["gender"])["person"].nunique()
    assert kinface.probe(embedding, people.drop(columns="person"), "gender", **QUICK).table["people"].isna().all()
