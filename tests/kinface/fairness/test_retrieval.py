from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import beta
from scipy.stats import t as student
from sklearn.metrics import average_precision_score

from kinface.data.search import Search
from kinface.fairness.retrieval import audit_search, average_precision, expect_by_chance, rank_relevant
from swinface.files import InputError


def make_search(families: int, per_family: int, race=None, kind: str = "bb") -> Search:
    """One query per family, and ``per_family`` faces of one brother of each in the gallery."""
    names = [f"F{number:04d}" for number in range(families)]
    race = race or ["Asian"] * families
    queries = pd.DataFrame(
        {
            "query": range(families),
            "face": [f"{name}/p.jpg" for name in names],
            "person": [f"{name}/MID1" for name in names],
            "family": names,
            "race": race,
            "gender": "m",
        }
    )
    rows = [
        (f"{name}/{n}.jpg", f"{name}/MID2", name, of)
        for name, of in zip(names, race, strict=True)
        for n in range(per_family)
    ]
    gallery = pd.DataFrame(rows, columns=["face", "person", "family", "race"]).assign(gender="m")
    return Search(queries, gallery, {(f"{name}/MID1", f"{name}/MID2"): kind for name in names})


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    scores, relevant = rng.normal(size=200), rng.random(200) < 0.1
    ranks = rank_relevant(scores, relevant)
    assert average_precision(ranks) == pytest.approx(average_precision_score(relevant, scores))
    assert ranks[0] == np.argmax(relevant[np.argsort(-scores)]) + 1


def test_of_equal_scores_the_first_in_the_gallery_comes_first():
    assert rank_relevant(np.array([1.0, 2.0, 1.0]), np.array([False, False, True])).tolist() == [3]
    rng = np.random.default_rng(0)
    for values in (3, 40, 10_000):
        scores, relevant = rng.integers(values, size=200).astype(np.float32), rng.random(200) < 0.1
        order = sorted(range(200), key=lambda face, scores=scores: -scores[face])
        expected = [rank for rank, face in enumerate(order, start=1) if relevant[face]]
        assert rank_relevant(scores, relevant).tolist() == expected


@pytest.mark.parametrize(("relevant", "faces"), [(1, 7), (3, 12), (8, 9), (4, 4)])
def test_chance_is_the_mean_of_random_orders(relevant, faces):
    rng = np.random.default_rng(0)
    ranks = [np.sort(rng.permutation(faces)[:relevant]) + 1 for _ in range(20_000)]
    expected = expect_by_chance(relevant, faces)
    assert expected["map"] == pytest.approx(np.mean([average_precision(each) for each in ranks]), abs=0.006)
    assert expected["rank_1"] == pytest.approx(np.mean([each[0] <= 1 for each in ranks]), abs=0.012)
    assert expected["rank_5"] == pytest.approx(np.mean([each[0] <= 5 for each in ranks]), abs=0.012)


def test_figures_by_hand():
    search = make_search(3, 2)
    # Ranks of the relatives: 1 and 2; 1 and 4; 5 and 6. Gallery: F0000 twice, F0001 twice, F0002 twice.
    scores = np.array([[9, 8, 1, 2, 3, 4], [8, 7, 9, 1, 0, 6.5], [9, 8, 7, 6, 5, 4]], dtype=float)
    audit = audit_search(search, scores)
    assert audit.queries["map"].tolist() == pytest.approx([1, (1 + 2 / 5) / 2, (1 / 5 + 2 / 6) / 2])
    assert audit.queries["rank_1"].tolist() == [1, 1, 0]
    assert audit.queries["rank_5"].tolist() == [1, 1, 1]
    overall = audit.groups.iloc[0]
    assert overall[["grouping", "group", "queries", "families"]].tolist() == ["overall", "all queries", 3, 3]
    assert overall["rank_1"] == pytest.approx(2 / 3)
    assert overall[["rank_1_low", "rank_1_high"]].isna().all()  # of three families, as of one, nothing can be said
    assert overall["chance_map"] == pytest.approx(expect_by_chance(2, 6)["map"])
    assert audit.unknown == 0


def test_a_query_without_a_known_relative_is_counted_and_left_out():
    search = make_search(3, 1)
    search.queries.loc[0, "family"] = None
    search.gallery.loc[1, ["family", "person"]] = None
    audit = audit_search(search, np.eye(3))
    assert (audit.unknown, audit.queries["query"].tolist()) == (2, [2])
    search.queries["family"] = None
    with pytest.raises(InputError, match=r"probe_list\.csv"):
        audit_search(search, np.eye(3))


def test_a_kind_of_kinship_is_measured_without_other_relatives():
    search = make_search(2, 1)
    rows = [("F0000/x.jpg", "F0000/MID9", "F0000", "Asian", "f"), ("F0001/x.jpg", "F0001/MID9", "F0001", "Asian", "f")]
    gallery = pd.concat([search.gallery, pd.DataFrame(rows, columns=[*search.gallery])], ignore_index=True)
    search = Search(search.queries, gallery, search.kinds | {("F0000/MID1", "F0000/MID9"): "spouse"})
    scores = np.array([[2, 1, 9, 0], [3, 1, 2, 0]], dtype=float)  # the first query's wife is the nearest
    audit = audit_search(search, scores)
    brothers = audit.groups[audit.groups["grouping"] == "kinship"]
    assert brothers["group"].tolist() == ["bb"]
    assert brothers["queries"].tolist() == [2]
    assert brothers["map"].iloc[0] == pytest.approx((1 + 1 / 3) / 2)  # first without his wife; third of three


def test_matched_galleries_show_what_race_alone_had_found():
    """A score that knows race and nothing else is no better than chance once all faces are of the query's race."""
    races = ["African"] * 10 + ["Caucasian"] * 40
    search = make_search(50, 6, races)
    same = search.people["race"].to_numpy()[:, None] == search.gallery["race"].to_numpy()
    scores = same + np.random.default_rng(0).normal(0, 0.01, same.shape)
    audit = audit_search(search, scores)
    matched = audit.matched.set_index("race")
    assert matched["distractors"].tolist() == [54, 54]
    chance = expect_by_chance(6, 60)["map"]
    assert matched["map_matched"]["African"] == pytest.approx(chance, abs=0.03)
    assert matched["map_random"]["African"] > 2 * chance
    assert matched["difference_high"]["African"] < 0
    row = matched.loc["African"]
    assert row["difference"] == pytest.approx(row["map_matched"] - row["map_random"])
    assert abs(matched["difference"]["Caucasian"]) < abs(matched["difference"]["African"]) / 2


def test_a_race_with_few_faces_is_not_matched():
    search = make_search(4, 20, ["African", "Caucasian", "Caucasian", "Caucasian"])
    audit = audit_search(search, np.random.default_rng(0).random((4, 80)))
    assert audit.matched.empty
    assert next(iter(audit.matched)) == "race"


@pytest.mark.parametrize("found", [3, 0])
def test_thirty_queries_of_six_families_are_six_observations(found):
    search = make_search(6, 1)
    queries = pd.concat(
        [search.queries.iloc[[n % 6]].assign(query=n, face=f"{n}.jpg") for n in range(30)], ignore_index=True
    )
    scores = np.tile(np.eye(6), (5, 1))
    scores[np.arange(30) % 6 >= found] *= -1  # the others' relatives come last
    overall = audit_search(Search(queries, search.gallery, {}), scores).groups.iloc[0]
    assert overall["families"] == 6
    low, high = 0.0, beta.ppf(0.975, 0.5, 6.5)  # Jeffreys' interval of none among six
    if found:  # the standard error of a mean of six, and Student's quantile with five degrees of freedom
        half = student.ppf(0.975, 5) * np.std([1, 1, 1, 0, 0, 0], ddof=1) / np.sqrt(6) / (0.5 * 0.5)
        low, high = expit([-half, half])
    assert overall[["rank_1", "rank_1_low", "rank_1_high"]].tolist() == pytest.approx([found / 6, low, high])


def test_other_photos_of_who_is_sought_are_no_relatives():
    search, rng = make_search(12, 5), np.random.default_rng(0)
    scores = rng.normal(size=(12, 60))
    own = search.queries[["person", "family", "race", "gender"]].assign(face=[f"own{n}.jpg" for n in range(12)])
    more = Search(search.queries, pd.concat([search.gallery, own], ignore_index=True), search.kinds)
    with pytest.warns(UserWarning, match="12 faces of the people who are sought"):
        found = audit_search(more, np.hstack([scores, np.where(np.eye(12), 9.0, -9.0)]))
    expected = audit_search(search, scores)
    metrics = ["map", "rank_1", "rank_5", "relevant"]
    pd.testing.assert_frame_equal(found.queries[metrics], expected.queries[metrics])
