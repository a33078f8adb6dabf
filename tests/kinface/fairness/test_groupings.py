"""Pairs are grouped by columns, attributes of both persons, functions and intersections of them."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinface.fairness.audit import audit_fairness
from kinface.fairness.comparison import compare_audits
from kinface.fairness.groupings import DEFAULT_GROUPINGS, label_groups, resolve_groupings
from swinface.files import InputError


@pytest.fixture
def pairs(draw_scored) -> pd.DataFrame:
    """With a custom column, an attribute of both persons, and families whose age bands matter."""
    table = draw_scored(1500)
    rng = np.random.default_rng(0)
    table["age_band"] = rng.choice(["5-9", "10-14"], len(table))
    for side in "ab":
        table[f"lighting_{side}"] = rng.choice(["indoors", "outdoors"], len(table))
    return table


def groups_of(audit, grouping: str) -> list[str]:
    return audit.groups.loc[audit.groups["grouping"] == grouping, "group"].tolist()


VALUES = st.sampled_from([None, "x", "y", 1, 1.0, True])


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(*[st.sampled_from([None, "x", "X", "5-9"])] * 2, *[VALUES] * 2), min_size=1, max_size=12))
def test_pairs_alike_in_what_a_grouping_reads_are_labelled_as_each_alone(rows):
    columns = ["race_a", "race_b", "own_a", "own_b"]
    pairs = pd.DataFrame(rows, columns=columns, dtype=object).assign(gender_a="m", gender_b="f", type=None)
    named = resolve_groupings(pairs, ["own", "own_a", "race x own"])
    groupings = [replace(grouping, optional=True) for grouping in named]
    assert all(grouping.reads for grouping in groupings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, mixed = label_groups(pairs, groupings)
        one_by_one, same = label_groups(pairs, [replace(grouping, reads=()) for grouping in groupings])
    pd.testing.assert_frame_equal(found, one_by_one)
    assert mixed == same


def test_a_column_of_ones_own_is_a_grouping_with_naive_counts_and_natural_order(pairs):
    pairs.loc[:9, "age_band"] = None
    audit = audit_fairness(pairs, 0.5, groupings=["age_band"], resamples=50)
    assert list(audit.labels) == ["overall", *(grouping.name for grouping in DEFAULT_GROUPINGS), "age_band"]
    assert audit.without_group[["overall", "race", "age_band"]].tolist() == [0, 0, 10]
    assert groups_of(audit, "age_band") == ["5-9", "10-14"]
    young = audit.groups.set_index("group").loc["5-9"]
    own = pairs[pairs["age_band"] == "5-9"]
    assert (young["pairs"], young["kin"]) == (len(own), own["kin"].sum())
    assert young["tpr"] == (own.loc[own["kin"], "score"] >= 0.5).mean()
    assert {"race", "age_band"} <= set(audit.gaps["grouping"]) & set(audit.contrasts["grouping"])


def test_an_attribute_of_both_persons_is_grouped_by_its_shared_value(pairs):
    audit = audit_fairness(pairs, 0.5, groupings=["lighting"], resamples=50)
    assert groups_of(audit, "lighting") == ["indoors", "outdoors", "cross-lighting"]
    cross = audit.groups.set_index("group").loc["cross-lighting"]
    assert cross["pairs"] == (pairs["lighting_a"] != pairs["lighting_b"]).sum()
    assert cross["not_compared"] == "two values of lighting"
    assert set(audit.disparities["compared"][audit.disparities["grouping"] == "lighting"]) == {"indoors, outdoors"}


def test_two_sides_that_share_no_value_are_told(pairs):
    written = pairs.assign(lighting_b="b: " + pairs["lighting_b"])
    said = "grouping 'lighting': no pair has one value in lighting_a and lighting_b"
    with pytest.warns(UserWarning, match=said):
        assert groups_of(audit_fairness(written, 0.5, groupings=["lighting"], resamples=10), "lighting") == [
            "cross-lighting"
        ]


def test_functions_names_and_lists_of_them_can_be_combined(pairs):
    def first_image(pairs):
        return np.where(pairs["face_a"].str.endswith("1.jpg"), "ends in 1", None)

    given = {"ours": first_image, "both": ["gender pair", "age_band"], "race": "race x age_band"}
    audit = audit_fairness(pairs, 0.5, groupings=given, resamples=20)
    assert groups_of(audit, "ours") == ["ends in 1"]
    assert groups_of(audit, "both")[:2] == ["ff x 5-9", "ff x 10-14"]
    assert audit.groups["not_compared"][audit.groups["group"] == "cross-race x 5-9"].tolist() == ["two values of race"]
    assert groups_of(audit, "race")[-2:] == ["cross-race x 5-9", "cross-race x 10-14"]
    names = [grouping.name for grouping in resolve_groupings(pairs, [first_image, ("race", "age_band"), "race"])]
    assert names == [*(grouping.name for grouping in DEFAULT_GROUPINGS), "first_image", "race x age_band"]
    assert [grouping.name for grouping in resolve_groupings(pairs, "age_band")][-1] == "age_band"


def test_numbers_truth_values_and_ordered_categories_are_groups(pairs):
    sizes = pd.Categorical(np.resize(["small", "large", "middle"], len(pairs)), ["small", "middle", "large"], True)
    pairs = pairs.assign(size=sizes, photos=np.resize([10.0, 9.0, np.nan], len(pairs)), smile=pairs["kin"])
    labels, _ = label_groups(pairs, resolve_groupings(pairs, ["size", "photos", "smile"]))
    assert labels["size"].cat.categories.tolist() == ["small", "middle", "large"]
    assert labels["photos"].cat.categories.tolist() == ["9", "10"]
    assert labels["photos"].isna().sum() == len(pairs) // 3
    assert labels["smile"].cat.categories.tolist() == ["False", "True"]


def test_default_groupings_are_left_out_where_the_pairs_have_no_labels(pairs):
    bare = pairs[["face_a", "face_b", "kin", "score", "age_band"]]
    audit = audit_fairness(bare, 0.5, resamples=20)
    assert audit.groups["grouping"].tolist() == ["overall"]
    assert len(audit.gaps) == len(audit.contrasts) == 0
    audit = audit_fairness(bare, 0.5, groupings=["age_band"], resamples=20)
    assert audit.groups["grouping"].unique().tolist() == ["overall", "age_band"]
    assert len(audit.dyads.keys) == len(pairs), "without families each pair is independent"
    with pytest.raises(InputError, match="cannot group by 'race': no pair has a value; fill in race_a, race_b"):
        audit_fairness(bare, 0.5, groupings=["race"], resamples=20)


@pytest.mark.parametrize(
    ("groupings", "said"),
    [
        (["shoe_size"], r"cannot group by 'shoe_size': .*columns shoe_size_a and shoe_size_b.*age_band"),
        (["race x shoe_size"], "cannot group by 'shoe_size'"),
        (["empty"], "cannot group by 'empty': no pair has a value"),
        ([lambda pairs: pairs["kin"][:3]], "grouping 'lambda'.* a value for each of the pairs"),
        ([lambda pairs: "one"], "a value for each of the pairs"),
        ([lambda pairs: pairs[["kin"]]], "a value for each of the pairs"),
        ([lambda pairs: pairs["age"]], "grouping 'lambda': it fails .*KeyError: 'age'"),
        ([lambda pairs: pairs["kin"], lambda pairs: pairs["race_a"]], "two are called 'lambda'; give names"),
        (["face_a"], r"grouping 'face_a' has 1,500 groups; at most 100"),
        ({"overall": "race"}, "'overall' is the group of all pairs"),
        ([3], "3 is not a name, a function or a list"),
        (None, "None is not a name, a function or a list"),
        ([pd.Series(["young"] * 1500)], "make them a column of the pairs"),
        ([[]], "at least one grouping"),
    ],
)
def test_what_is_no_grouping_is_refused_by_name(pairs, groupings, said):
    with pytest.raises(InputError, match=said):
        audit_fairness(pairs.assign(empty=None), 0.5, groupings=groupings, resamples=20)


def test_clusters_say_which_pairs_depend_on_each_other(pairs):
    pairs["photographer"] = np.arange(len(pairs)) % 40
    one = audit_fairness(pairs, 0.5, groupings=["age_band"], clusters="photographer", resamples=50)
    assert len(one.dyads.keys) == 40
    assert one.groups["units"][0] == 40
    two = audit_fairness(pairs, 0.5, groupings=["age_band"], clusters=["photographer", "photographer"], resamples=50)
    pd.testing.assert_frame_equal(one.groups, two.groups)
    alone = audit_fairness(pairs, 0.5, groupings=["age_band"], clusters=None, resamples=50)
    assert len(alone.dyads.keys) == len(pairs)
    families = audit_fairness(pairs, 0.5, groupings=["age_band"], resamples=50)
    assert families.clusters == ("family_a", "family_b")
    assert len(families.dyads.keys) == len(set(pairs["family_a"]) | set(pairs["family_b"]))
    for clusters in (["studio"], ["family_a", "family_b", "photographer"], []):
        with pytest.raises(InputError, match=r"clusters: .* name one or two of the columns"):
            audit_fairness(pairs, 0.5, clusters=clusters, resamples=50)
    with pytest.raises(InputError, match=f"clusters: {len(pairs)} values given; name"):
        audit_fairness(pairs, 0.5, clusters=pairs["photographer"], resamples=50)


def test_audits_by_other_groupings_are_not_compared(pairs):
    ours, other = (audit_fairness(pairs, 0.5, groupings=[name], resamples=20) for name in ("age_band", "lighting"))
    with pytest.raises(InputError, match="group pairs differently"):
        compare_audits(ours, other)


@pytest.mark.parametrize(("options", "said"), [({"threshold": np.nan}, "threshold"), ({"resamples": 0}, "resamples")])
def test_options_that_cannot_be_are_refused(pairs, options, said):
    with pytest.raises(InputError, match=said):
        audit_fairness(**{"pairs": pairs, "threshold": 0.5} | options)
