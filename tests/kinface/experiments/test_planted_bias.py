"""Worlds with a planted bias must be what they say, and the benchmark must find it, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kinface.data.families import read_prepared_list
from kinface.data.fiw import read_families
from kinface.data.vocabulary import RACES
from kinface.synthetic.families import LOOKS, TRAPS
from kinface.synthetic.pedigree import DISADVANTAGED
from kinface.synthetic.planted import EMBEDDINGS, GENES, plant
from swinface.data.embeddings import read_arrays
from swinface.files import InputError
from tests.benchmarks import load_benchmark

FAMILIES, SEED, PHOTOS = 24, 1, 2.0  # of `synthetic_families`
AUDIT = {"folds": 3, "probe_seeds": 1}
KEPT = 0.03  # of AUC on matched pairs that the debiased model may lose


@pytest.fixture(scope="module")
def benchmark():
    return load_benchmark("planted_bias")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "world"
    plant(folder, families=FAMILIES, photos=PHOTOS, seed=SEED)
    return folder


def test_the_people_and_their_genes_are_those_that_synthesize_draws(world, synthetic_families):
    tables, truth = read_families(world), pd.read_parquet(synthetic_families / "truth" / "people.parquet")
    assert tables.people["person"].tolist() == truth["person"].tolist()
    for column in ("race", "gender"):
        assert tables.people[column].tolist() == truth[column].tolist()
    held_out = tables.people["split"] == "val"
    assert held_out.tolist() == (truth["split"] == "val").tolist()
    faces, arrays = read_arrays(world / GENES)
    shown = truth.set_index("person").loc[tables.faces.set_index("face")["person"][faces]]
    as_they_are = (shown["race"] != DISADVANTAGED).to_numpy()  # there it is planted that faces show less of the genes
    visible = shown.filter(like="visible_").to_numpy()
    np.testing.assert_allclose(arrays["embedding"][as_they_are], visible[as_they_are], rtol=1e-5)


def test_relations_are_those_that_the_matrices_say(world, synthetic_families):
    columns = ["person_a", "person_b", "relation", "type", "generation_gap"]
    ours, read = read_families(world).relations, read_families(synthetic_families).relations
    trapped = {f"F{number:04d}" for number in TRAPS}
    ours, read = (
        table[~table["family"].isin(trapped) & (table["relation"] != "spouse")].sort_values(columns[:2])[columns]
        for table in (ours, read)
    )
    assert len(ours) > 100
    pd.testing.assert_frame_equal(ours.reset_index(drop=True), read.reset_index(drop=True))


def test_splits_share_the_races_and_no_family(tmp_path):
    tables = plant(tmp_path / "world", families=160, photos=1.0)
    families = tables.people.groupby("split")["family"].agg(set)
    assert set(families.index) == {"train", "tune", "val"}
    assert sum(map(len, families)) == len(set.union(*families)) == 160
    shares = pd.crosstab(tables.people["split"], tables.people["race"], normalize="index")
    assert (shares.loc["tune"] > 0.02).all() and shares["Caucasian"].between(0.35, 0.65).all()


def test_the_folder_is_one_of_prepare_with_standard_and_matched_lists(world):
    tables = read_families(world)
    assert read_arrays(world / EMBEDDINGS)[0] == tables.faces["face"].tolist()
    for split in ("tune", "val"):
        standard, matched = (read_prepared_list(world, name) for name in (split, f"{split}_matched"))
        for pairs in (standard, matched):
            assert set(pairs["split"]) == {split}
            assert pairs["kin"].mean() == 0.5
        kin, other = (matched[matched["kin"] == kin].reset_index(drop=True) for kin in (True, False))
        for column in ("face_a", "type", "race_a", "race_b", "gender_b"):
            assert kin[column].equals(other[column])
        assert (
            not standard["race_b"][standard["kin"]]
            .reset_index(drop=True)
            .equals(standard["race_b"][~standard["kin"]].reset_index(drop=True))
        )


def read_world(folder):
    tables, arrays = read_families(folder), [read_arrays(folder / name)[1]["embedding"] for name in (EMBEDDINGS, GENES)]
    return tables.faces, pd.read_parquet(folder / "pairs.parquet"), *arrays


def test_the_same_seed_is_the_same_world_and_appearance_changes_nothing_but_features(tmp_path):
    worlds = {"once": {}, "again": {}, "hidden": {"appearance": 0.0}, "other": {"seed": 1}}
    for name, options in worlds.items():
        plant(tmp_path / name, **{"families": 48, "photos": 1.0} | options)
    once, again, hidden, other = (read_world(tmp_path / name) for name in worlds)
    for table, same in zip(once, again, strict=True):
        assert np.array_equal(table, same) if isinstance(table, np.ndarray) else table.equals(same)
    for table, same in zip(once[:2], hidden[:2], strict=True):
        assert table.equals(same)
    assert np.array_equal(once[3], hidden[3]) and not np.array_equal(once[2], hidden[2])
    assert not np.array_equal(once[3], other[3])


@pytest.mark.parametrize(("appearance", "shows"), [(0.0, False), (0.25, True)])
def test_races_and_genders_leave_a_trace_only_where_they_are_to_show(tmp_path, appearance, shows):
    """Exchange all races and genders, with their looks: without appearance the features do not move at all."""
    options = {"families": 48, "photos": 1.0, "appearance": appearance}
    plant(tmp_path / "world", **options)
    races = dict(zip(RACES, [LOOKS[race] for race in reversed(RACES)], strict=True))
    plant(tmp_path / "exchanged", **options, looks={**races, "m": LOOKS["f"], "f": LOOKS["m"]})
    before, after = (read_world(tmp_path / name)[2] for name in ("world", "exchanged"))
    assert (np.abs(before - after).max() > 0.1) == shows
    assert np.array_equal(before, after) != shows


def test_photographs_differ_by_what_is_of_them_alone(world):
    """Two faces of a person are nearer than two of relatives, and these nearer than two of strangers of their race."""
    tables, arrays = read_families(world), read_arrays(world / EMBEDDINGS)[1]
    faces = tables.faces.reset_index(drop=True)
    gap = np.linalg.norm(arrays["embedding"][:, None] - arrays["embedding"][None], axis=2)
    same = {
        name: faces[name].to_numpy()[:, None] == faces[name].to_numpy()[None] for name in ("person", "family", "race")
    }
    distinct = ~np.eye(len(faces), dtype=bool)
    of_person = gap[same["person"] & distinct]
    of_family = gap[same["family"] & same["race"] & ~same["person"]]
    of_race = gap[same["race"] & ~same["family"]]
    assert of_person.min() > 0
    assert of_person.mean() < 0.8 * of_family.mean() < 0.8 * of_race.mean()


@pytest.mark.parametrize("options", [{"families": 11}, {"appearance": 1.5}, {"photos": 0.0}, {"seed": -1}])
def test_bad_options_are_refused(tmp_path, options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is"):
        plant(tmp_path / "world", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_planted_bias_is_found_and_lost_by_the_debiased_model_which_keeps_kinship(benchmark):
    table = benchmark.run_world(1.0, 0, families=200, epochs=3, steps=40, permutations=6, **AUDIT).set_index("model")
    baseline, debiased, genes = (table.loc[name] for name in ("baseline", "debiased", "genes"))
    for probe in ("linear", "mlp"):
        assert baseline[f"{probe}_leaks"]
        assert baseline[probe] > 0.7
        assert debiased[probe] < baseline["chance"] + (baseline[probe] - baseline["chance"]) / 4
    assert baseline["auc_standard"] > baseline["auc_matched"] + 0.1, "random negatives reward knowing race"
    assert debiased["auc_matched"] > baseline["auc_matched"] - KEPT
    assert abs(debiased["auc_standard"] - debiased["auc_matched"]) < KEPT, "it has lost what random negatives reward"
    assert genes["auc_matched"] > debiased["auc_matched"] > 0.6


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_nothing_is_found_where_nothing_is_planted(benchmark, seed):
    baseline = benchmark.run_world(0.0, seed, families=160, epochs=2, steps=30, methods=["baseline"], **AUDIT).iloc[0]
    assert not baseline["linear_leaks"] and not baseline["mlp_leaks"]
    assert baseline["auc_matched"] == pytest.approx(baseline["auc_standard"], abs=0.03), "there is no race to reward"


def draw_table(alarms: int) -> pd.DataFrame:
    """20 worlds without a bias, in ``alarms`` of which the linear probe claims to find one in the baseline."""
    common = {"appearance": 0.0, "chance": 0.25, "mlp": 0.25, "mlp_leaks": False, "auc_standard": 0.8}
    rows = []
    for seed in range(20):
        one = common | {"seed": seed, "linear": 0.3, "auc_matched": 0.7}
        rows.append(one | {"model": "baseline", "linear_leaks": seed < alarms})
        rows.append(
            one | {"model": "debiased", "linear_leaks": False, "linear": 0.25, "auc_matched": 0.68 + 0.04 * (seed % 2)}
        )
        rows.append({"appearance": 0.0, "seed": seed, "model": "genes", "auc_standard": 0.9, "auc_matched": 0.9})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("alarms", "verdict"), [(0, "within"), (3, "within"), (4, "MORE THAN")])
def test_false_alarms_are_judged_by_the_binomial_distribution(benchmark, alarms, verdict):
    """P(X <= 2) = 0.925 and P(X <= 3) = 0.984 for X of 20 at 5%."""
    lines = list(benchmark.judge_false_alarms(draw_table(alarms)))
    assert len(lines) == 4
    assert f"baseline, linear: {alarms} false alarms in 20 worlds, {verdict} the 3 " in lines[0]
    assert all(": 0 false alarms in 20 worlds, within the 3 " in line for line in lines[1:])


def test_the_summary_counts_claims_and_averages_worlds(benchmark):
    summary = benchmark.summarise(draw_table(3)).set_index("model")
    assert summary["linear finds race"].tolist() == ["3 of 20", "0 of 20", ""]
    assert summary["linear"].tolist()[:2] == pytest.approx([0.3, 0.25])
    assert summary["AUC matched"].tolist() == pytest.approx([0.7, 0.7, 0.9])
    difference = benchmark.compare(draw_table(3))
    assert difference["linear"].tolist() == ["-0.050 ± 0.000"]
    # 2.093 (Student's t, 19 degrees of freedom) x 0.02 x sqrt(20 / 19) / sqrt(20)
    assert difference["auc_matched"].tolist() == ["+0.000 ± 0.010"]
