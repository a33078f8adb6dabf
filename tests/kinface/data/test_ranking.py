from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinface.data.cosines import mean_cosine
from kinface.data.ranking import SHARPNESS, compare_blocks, find_nearest, fuse, score_search
from kinface.data.search import Search
from swinface.files import InputError


def draw(count: int, seed: int = 0, size: int = 8) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_a_fusion_of_another_name_is_refused():
    with pytest.raises(InputError, match="fusion: 'maks' is no choice; choose from mean, max, agreement"):
        fuse(np.eye(2), "maks")


@pytest.mark.parametrize("fusion", ["mean", "max", "agreement"])
def test_blocks_give_what_one_comparison_gives(fusion):
    queries, gallery = [draw(3, 1), draw(1, 2), draw(5, 3)], draw(101)
    whole = np.stack([(fuse(photos, fusion) @ gallery.T).max(axis=0) for photos in queries])
    blocks = np.concatenate([scores for _, scores in compare_blocks(queries, gallery, fusion=fusion, block=17)], axis=1)
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
    places, scores = find_nearest(queries, gallery, 10, fusion=fusion, block=17)
    np.testing.assert_array_equal(places, np.argsort(-blocks, axis=1, kind="stable")[:, :10])
    np.testing.assert_array_equal(scores, np.take_along_axis(blocks, places, axis=1))


def test_of_equal_scores_the_first_is_nearest():
    faces = np.eye(2, 8, dtype=np.float32)  # whose products are exact, in whatever order a processor sums
    gallery = np.repeat(faces, 5, axis=0)[[0, 5, 1, 6, 2, 7, 3, 8, 4, 9]]
    places, _ = find_nearest([gallery[:1]], gallery, 5, block=3)
    assert places.tolist() == [[0, 2, 4, 6, 8]]


def test_a_gallery_may_lie_in_a_file_and_be_smaller_than_what_is_asked(tmp_path):
    gallery = draw(20)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    places, scores = find_nearest([gallery[3:4]], mapped, 100, block=7)
    assert places.shape == scores.shape == (1, 20)
    assert places[0, 0] == 3
    with pytest.raises(InputError, match="top"):
        find_nearest([gallery[:1]], mapped, 0)


def test_agreement_counts_a_photo_by_its_cosine_with_the_others():
    angles = np.radians([0, 10, 90])
    photos = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cosines = [np.cos(np.radians(degrees)) for degrees in (10, 90, 80)]  # 0 and 10, 0 and 90, 10 and 90 degrees
    means = [(cosines[0] + cosines[1]) / 2, (cosines[0] + cosines[2]) / 2, (cosines[1] + cosines[2]) / 2]
    weights = np.exp(SHARPNESS * np.array(means))
    weighted = (weights[:, None] * photos).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(fuse(photos, "agreement")[0], weighted, atol=1e-6)
    np.testing.assert_allclose(fuse(photos[:1], "agreement"), photos[:1])
    face = np.array([[0.6, 0.8]])
    np.testing.assert_allclose(fuse(photos, "mean") @ face.T, [[mean_cosine(photos, face)]])


def test_photos_that_cancel_have_no_direction_and_score_nothing():
    photos = np.array([[1.0, 0.0], [-1.0, 0.0]])
    (_, scores), *_ = compare_blocks([photos], draw(4, size=2))
    assert scores.tolist() == [[0, 0, 0, 0]]


def test_a_search_is_scored_by_the_lengths_of_no_embedding():
    queries = pd.DataFrame({"query": [0, 0, 1], "face": ["a", "b", "c"]})
    search = Search(queries, pd.DataFrame({"face": ["d", "e"]}), {})
    faces, embedding = list("abcde"), draw(5)
    stretched = embedding * np.array([1, 2, 3, 4, 5])[:, None]
    mean = embedding[0] + embedding[1]
    expected = np.stack([mean / 2, embedding[2]]) @ embedding[3:].T
    np.testing.assert_allclose(score_search(search, faces, stretched), expected, atol=1e-6)
    with pytest.raises(InputError, match="e: not embedded"):
        score_search(search, faces[:4], embedding[:4])
