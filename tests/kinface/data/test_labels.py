"""Labels give the same codes in any container, and what is unknown is no class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinface.data.labels import encode_labels, name_labels
from kinface.debias.inlp import Inlp
from kinface.debias.leace import Leace
from kinface.debias.leopard import Leopard
from kinface.debias.splince import Splince
from kinface.debias.transport import Oracle, Transport
from kinface.debias.whitening import Whitened
from kinface.leakage.bounds import bound_attackers
from kinface.leakage.leakage import average_people, probe, probe_leakage
from swinface.files import InputError

NAN = float("nan")
QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def mask(values: list, filler: object) -> np.ma.MaskedArray:
    plain = np.array([filler if value is None else value for value in values])
    return np.ma.MaskedArray(plain, [value is None for value in values])


ANY: dict[str, Callable[[list], object]] = {
    "list": list,
    "tuple": tuple,
    "list with NaN": lambda values: [NAN if value is None else value for value in values],
    "list with NA": lambda values: [pd.NA if value is None else value for value in values],
    "list with -1": lambda values: [-1 if value is None else value for value in values],
    "list with -1.0": lambda values: [-1.0 if value is None else value for value in values],
    "objects": lambda values: np.array([*values, None], dtype=object)[:-1],
    "series": lambda values: pd.Series(values, dtype=object),
    "categories": lambda values: pd.Series(values, dtype="category"),
    "table": lambda values: pd.Series(values, range(5, 5 + len(values)), dtype=object).to_frame(),
}
OF_TEXTS = {
    "array with NaN": lambda values: np.array([NAN if value is None else value for value in [*values, "a"]])[:-1],
    "array with empty ones": lambda values: np.array(["" if value is None else value for value in values], dtype=str),
    "masked": lambda values: mask(values, "a"),
    "strings": lambda values: pd.array(values, dtype="string"),
    "bytes": lambda values: np.array([b"" if value is None else value.encode() for value in values], dtype=bytes),
}
OF_NUMBERS = {
    "integers": lambda values: np.array([-1 if value is None else value for value in values], dtype=np.int16),
    "floats": lambda values: np.array([np.nan if value is None else value for value in values], dtype=np.float32),
    "negative floats": lambda values: np.array([-1.0 if value is None else value for value in values]),
    "masked": lambda values: mask(values, 1),
    "nullable": lambda values: pd.array(values, dtype="Int64"),
    "tensor": lambda values: torch.tensor([-1 if value is None else value for value in values]),
    "texts": lambda values: [None if value is None else f"{value}.0" for value in values],
}


@QUICK
@given(st.lists(st.none() | st.sampled_from(["f", "m", "x y", "é"]), min_size=1), st.sampled_from([*ANY, *OF_TEXTS]))
def test_texts_have_the_same_codes_in_any_container(values, container):
    classes = sorted({value for value in values if value is not None})
    codes, found = encode_labels((ANY | OF_TEXTS)[container](values))
    assert (codes.tolist(), found) == ([-1 if value is None else classes.index(value) for value in values], classes)


@QUICK
@given(st.lists(st.none() | st.integers(0, 30), min_size=1), st.sampled_from([*ANY, *OF_NUMBERS]))
def test_numbers_have_the_same_codes_in_any_container(values, container):
    classes = sorted({value for value in values if value is not None})
    codes, found = encode_labels((ANY | OF_NUMBERS)[container](values))
    assert codes.tolist() == [-1 if value is None else classes.index(value) for value in values]
    assert found == [str(value) for value in classes], "by value, not 10 before 2"


@pytest.mark.parametrize(
    "mark", [None, NAN, pd.NA, pd.NaT, "", " ", "nan", "unknown", "unk", -1, -1.0, -0.5, "-1", np.int8(-3)]
)
def test_every_mark_of_no_value_is_unknown(mark):
    assert encode_labels([mark, "f", mark, "m"])[0].tolist() == [-1, 0, -1, 1]


@pytest.mark.parametrize("name", ["None", "NA", "null", "no", "0", 0, False, "-", "-x"])
def test_what_only_looks_like_it_is_a_class(name):
    codes, classes = encode_labels([name, "f", name])
    assert codes.tolist() == [classes.index(str(name)), classes.index("f"), classes.index(str(name))]


def test_classes_may_be_named_in_an_order_and_others_are_then_unknown():
    codes, classes = encode_labels([1, 0.0, "2", None, 1], [1.0, "0"])
    assert (codes.tolist(), classes) == ([0, 1, -1, -1, 0], ["1", "0"])
    for wrong in (["f", "f"], ["f", None], ["f", -1], [1, "1"]):
        with pytest.raises(InputError, match="z: each class is named once"):
            encode_labels(["f"], wrong, "z")


def test_classes_that_look_alike_are_said():
    Whitened().fit(np.eye(4), persons=["aB", "aB", "Ab", "Ab"])  # names of people may look alike
    with pytest.warns(UserWarning, match="z: classes that look alike, yet differ: 'Asian' and 'asian'"):
        assert encode_labels(["Asian", "asian", "Indian"], what="z")[1] == ["Asian", "Indian", "asian"]
    with pytest.warns(UserWarning, match="z: classes that look alike, yet differ: 'East_Asian' and 'east asian'"):
        assert encode_labels(["east asian"], ["East_Asian"], "z")[0].tolist() == [-1]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros((2, 2)), "z: one value for each is needed, not 2"),
        (np.array(3), r"z: their shape is \(\)"),
        (np.zeros((2, 0)), r"z: their shape is \(2, 0\)"),
        ([["a"], ["b", "c"]], "z: each row must hold one value"),
        ({"a.jpg": "f", "b.jpg": "m"}, "z: a dict has no order of samples; give a list or an array"),
        ({"f", "m"}, "z: a set has no order"),
        ("fm", "z: a str has no order"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, said):
    with pytest.raises(InputError, match=said):
        name_labels(labels, "z")


def draw() -> tuple[np.ndarray, np.ndarray, list]:
    """Embeddings of 300 faces of two classes, their families, and labels; a third is unknown, and shows it."""
    rng, of_family = np.random.default_rng(0), np.arange(300) // 5
    labels = [None if family % 3 == 2 else "fm"[family % 3] for family in of_family]
    X = rng.normal(size=(300, 6))
    X[:, 0] += 2 * (of_family % 3 == 1)
    X[:, 3] += 5 * (of_family % 3 == 2)
    return X, of_family, labels


USES = {
    "leace": lambda X, of_family, z: Leace().fit(X, z).transform(X),
    "splince": lambda X, of_family, z: Splince().fit(X, z, target=of_family).transform(X),
    "splince's target": lambda X, of_family, z: Splince().fit(X, X[:, 1] > 0, target=z).transform(X),
    "inlp": lambda X, of_family, z: Inlp().fit(X, z).transform(X),
    "transport": lambda X, of_family, z: Transport().fit(X, z).transform(X),
    "oracle": lambda X, of_family, z: Oracle().fit(X, z).transform(X, z),
    "bound": lambda X, of_family, z: bound_attackers(X[:, 0] > 1, z, of_family, resamples=50),
    "probe": lambda X, of_family, z: probe_leakage(
        X, z, of_family, kinds=["linear"], seeds=1, resamples=50, permutations=0, codelength=False
    ).table[["classes", "faces", "unknown", "balanced_accuracy", "auc_low"]],
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("container", [*ANY, *OF_TEXTS])
def test_everything_that_takes_labels_takes_them_in_any_container(use, container):
    X, of_family, labels = draw()
    reference = USES[use](X, of_family, np.array(labels, dtype=object))
    found = USES[use](X, of_family, (ANY | OF_TEXTS)[container](labels))
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(reference))


def test_several_attributes_come_in_any_container():
    X, _, first = draw()
    second = (X[:, 1] > 0).tolist()
    pairs = [*zip(first, second, strict=True)]
    table = pd.DataFrame({"a": pd.Series(first, dtype=object), "b": second})
    codes = np.column_stack([encode_labels(first)[0], second])
    found = [
        Leace().fit(X, z).projection_ for z in (pairs, table, table.to_numpy(), codes, np.ma.masked_less(codes, 0))
    ]
    assert np.linalg.matrix_rank(found[0], tol=1e-6) == 2
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other)


def test_what_tells_the_unknown_is_not_erased():
    X, _, labels = draw()
    for eraser in (Leace(), Inlp(C=1 / 200), Transport()):  # a weak penalty fits noise of so few
        erased = eraser.fit(X, [NAN if label is None else label for label in labels]).transform(X)
        assert erased[:, 3].std() > 0.9 * X[:, 3].std()
    assert Leace().fit(X, ["n" if label is None else label for label in labels]).transform(X)[:, 3].std() < 1.1


def test_a_learned_eraser_takes_codes_of_any_type():
    X, _, labels = draw()
    codes = encode_labels(labels)[0]
    whole, floats = (
        Leopard(steps=3).fit(X, given).transform(X) for given in (codes, np.where(codes < 0, NAN, codes.astype(float)))
    )
    assert np.array_equal(whole, floats)


def test_families_and_persons_are_the_same_whatever_their_type():
    X, of_family, labels = draw()
    reference, other = (
        probe_leakage(X, labels, families, persons=persons, kinds=["linear"], seeds=1, resamples=50, permutations=1)
        for families, persons in ((of_family, of_family), (of_family.astype(float), of_family.astype(str)))
    )
    pd.testing.assert_frame_equal(reference.table, other.table)
    assert reference.tested.equals(other.tested)
    unknown = np.where(of_family == 0, -1, of_family)
    assert probe_leakage(X, labels, unknown, kinds=["linear"], seeds=1, permutations=0).table["unknown"].tolist() == [
        105
    ]
    with pytest.raises(InputError, match="clusters: row 0 has none"):
        bound_attackers(of_family, labels, unknown)
    with pytest.raises(InputError, match="persons: row 0 is unknown"):
        average_people(X, unknown)


def test_ages_are_no_classes():
    rows = np.arange(480)
    people, embedding = pd.DataFrame({"family": rows // 4, "age": rows // 4 % 40}), np.eye(480)[:, :8]
    with pytest.raises(InputError, match="age: its 40 numbers are not classes; sort them into ranges first"):
        probe(embedding, people, "age")
    with pytest.raises(InputError, match="labels y: its 40 numbers are not classes"):
        Leace().fit(embedding, people["age"])
    assert len(encode_labels(people["age"] // 2)[1]) == 20
    assert len(encode_labels("country " + people["age"].astype(str))[1]) == 40
