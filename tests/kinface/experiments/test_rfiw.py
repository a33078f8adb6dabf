"""The tracks of RFIW from Python: the scores are those of ``score``, the threshold comes from other families."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.experiments.rfiw import search_list, verify_list
from kinface.fairness.threshold import choose_threshold
from swinface.files import InputError


@pytest.fixture(scope="module")
def embedded():
    """Synthetic families, the names of their faces, and embeddings that tell families apart, a little."""
    families, _ = kinface.make_families(48, seed=0)
    rng, codes = np.random.default_rng(0), pd.factorize(families.faces["family"])[0]
    embedding = rng.normal(size=(codes.max() + 1, 8))[codes] + rng.normal(size=(len(codes), 8))
    return families, families.faces["face"], embedding


@pytest.mark.parametrize("listed", ["pairs", "triplets"])
def test_a_list_is_audited_at_the_threshold_of_another(listed, embedded):
    families, faces, embedding = embedded
    rows, other = (getattr(families, listed)(split) for split in ("val", "train"))
    found = verify_list(rows, other, faces, embedding)
    assert found.threshold == choose_threshold(kinface.score(other, embedding, faces))
    expected = kinface.audit(kinface.score(rows, embedding, faces), found.threshold)
    assert found.groups.iloc[0].equals(expected.groups.iloc[0])
    assert ("triplet" in found.labels) == (listed == "triplets")
    with pytest.warns(UserWarning, match="audited families were also used to choose the threshold"):
        verify_list(rows[1:], pd.concat([other, rows[:1]]), faces, embedding)
    with pytest.raises(InputError, match="are also in the audited pairs"):
        verify_list(rows, rows, faces, embedding)


def test_a_head_takes_the_place_of_the_cosines(embedded):
    families, faces, embedding = embedded

    class Knowing:
        def score(self, triplets, faces, embedding):
            return triplets.assign(score=triplets["kin"] + np.linspace(0, 0.1, len(triplets)))

    found = verify_list(families.triplets("val"), 0.5, faces, embedding, head=Knowing())
    assert (found.groups.loc[0, ["accuracy", "auc"]] == 1).all()


def test_a_search_without_families_is_scored_and_not_measured(embedded):
    families, faces, embedding = embedded
    search = families.search("val")
    scores, audit = search_list(search, faces, embedding)
    assert np.array_equal(scores, kinface.score(search, embedding, faces))
    assert audit.groups.loc[0, "map"] > audit.groups.loc[0, "chance_map"]
    search.gallery["family"] = None
    again, nothing = search_list(search, faces, embedding)
    assert nothing is None and np.array_equal(again, scores)
