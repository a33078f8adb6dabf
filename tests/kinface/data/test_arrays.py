"""Functions take embeddings, labels and names as notebooks have them: tensors of any kind, and names in any order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import kinface
from kinface.data.pairs import check_pairs
from kinface.leakage.leakage import average_people
from swinface.files import InputError

FAMILIES, IMAGES = kinface.make_families(24, photos=1)
EMBEDDING = (IMAGES[:, ::16, ::16].reshape(len(IMAGES), -1) / 256).astype(np.float32)  # exact in bfloat16 too
FACES = [*FAMILIES.faces["face"]]
PEOPLE = FAMILIES.describe(FACES)
PAIRS = FAMILIES.pairs("val")
QUICK = {"kinds": ["linear"], "seeds": 1, "folds": 3, "resamples": 20, "permutations": 0, "codelength": False}


class OnAnotherDevice:
    """What numpy refuses to read, as it refuses a tensor on a GPU, until it is on the CPU."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.shape = tensor, tensor.shape

    def __len__(self) -> int:
        return len(self.tensor)

    def __array__(self, *_: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self) -> OnAnotherDevice:
        return self

    def cpu(self) -> torch.Tensor:
        return self.tensor


FORMS = {
    "with a gradient": lambda values: torch.tensor(values, requires_grad=True),
    "in bfloat16": lambda values: torch.tensor(values).bfloat16(),
    "elsewhere": lambda values: OnAnotherDevice(torch.tensor(values)),
    "a list of tensors": lambda values: [*torch.tensor(values, requires_grad=True)],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_tensors_say_what_arrays_say(form):
    given = form(EMBEDDING)
    np.testing.assert_array_equal(
        kinface.score(PAIRS, given, FACES)["score"], kinface.score(PAIRS, EMBEDDING, FACES)["score"]
    )
    found, expected = (kinface.probe(it, PEOPLE, "gender", **QUICK).table for it in (given, EMBEDDING))
    pd.testing.assert_frame_equal(found, expected)
    np.testing.assert_array_equal(
        average_people(given, PEOPLE["person"])[0], average_people(EMBEDDING, PEOPLE["person"])[0]
    )
    labels = PEOPLE["gender"].map({"m": 1.0, "f": 0.0}).to_numpy(np.float32)  # unknown are NaN
    for name in ("leace", "transport"):
        eraser, plain = kinface.erasers.create(name), kinface.erasers.create(name)
        weight = np.ones(len(labels), np.float32)
        moved = eraser.fit(given, form(labels), sample_weight=form(weight)).transform(given)
        np.testing.assert_array_equal(moved, plain.fit(EMBEDDING, labels).transform(EMBEDDING))


def test_masked_numbers_do_not_count():
    masked = np.ma.masked_array(EMBEDDING, mask=EMBEDDING.max() / 2 < EMBEDDING)
    with pytest.raises(InputError, match="an array has masked values"):
        kinface.score(PAIRS, masked, FACES)


def test_options_of_a_probe_are_whole_numbers():
    with pytest.raises(InputError, match=r"folds 3.0, seeds 1: .* in whole numbers"):
        kinface.probe(EMBEDDING, PEOPLE, "gender", **QUICK | {"folds": 3.0})


def test_photos_are_a_table():
    with pytest.raises(InputError, match="photos: a list is not a table of the face and person"):
        kinface.score(PAIRS, EMBEDDING, FACES, photos=FACES)


def test_scores_may_be_arrays_of_one_number():
    scored = kinface.score(PAIRS, EMBEDDING, FACES)
    wrapped = scored.assign(score=[torch.tensor([value], dtype=torch.float64) for value in scored["score"]])
    assert check_pairs(wrapped, "pairs", scored=True)["score"].tolist() == scored["score"].tolist()


def test_names_in_no_order_are_refused():
    for names in ({*FACES}, FAMILIES.faces, FAMILIES, "a.jpg"):
        with pytest.raises(InputError, match=r"faces: a .* is not a list of names in their order"):
            kinface.score(PAIRS, EMBEDDING, names)
    with pytest.raises(InputError, match="faces: a set is not a list"):
        FAMILIES.describe({*FACES})
    one_by_one = kinface.score(PAIRS, EMBEDDING, (face for face in FACES))
    pd.testing.assert_frame_equal(one_by_one, kinface.score(PAIRS, EMBEDDING, FACES))


@pytest.mark.filterwarnings("ignore:The threshold 0.5000 accepts 100.0%")
def test_values_of_a_grouping_are_in_the_order_of_the_pairs():
    scored = kinface.score(PAIRS, EMBEDDING, FACES).assign(half=np.arange(len(PAIRS)) % 2)
    with pytest.raises(InputError, match=r"grouping 'sorted': .* in another order than the pairs"):
        kinface.audit(scored, 0.5, groupings={"sorted": lambda pairs: pairs.sort_values("score")["half"]})
    named = kinface.audit(scored, 0.5, groupings=["half"]).groups
    shuffled = scored.sample(frac=1, random_state=0)
    of_values = kinface.audit(shuffled, 0.5, groupings={"half": lambda _: [*shuffled["half"]]}).groups
    columns = ["group", "pairs", "tpr", "fmr", "auc"]
    pd.testing.assert_frame_equal(
        of_values.query("grouping == 'half'")[columns], named.query("grouping == 'half'")[columns]
    )


def test_complex_numbers_and_rows_of_several_lengths_are_refused():
    with pytest.raises(InputError, match=r"embedding is .* complex128; it must be finite real numbers"):
        kinface.frontier(EMBEDDING.astype(complex), FACES, FAMILIES, PAIRS, ["gender"], erasers=["leace"])
    uneven = [*EMBEDDING.tolist()[1:], [1.0]]
    for use in (lambda: kinface.score(PAIRS, uneven, FACES), lambda: kinface.probe(uneven, PEOPLE, "gender", **QUICK)):
        with pytest.raises(InputError, match="all rows must have the same length"):
            use()


@pytest.mark.parametrize("read", [FAMILIES.pairs, FAMILIES.triplets, FAMILIES.search])
@pytest.mark.parametrize("given", [None, FAMILIES.people])
def test_a_list_is_named_by_a_text_or_a_path(read, given):
    with pytest.raises(InputError, match=f"{type(given).__name__} given; give the name of a list"):
        read(given)
