"""The frontier's figures are those of existing functions; custom erasers; what is refused and drawn."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import kinface
from kinface.cli.frontier import frontier as command
from kinface.cli.frontier import read_erasers
from kinface.data.families import PAIRS
from kinface.debias.erasers import erasers
from kinface.debias.leace import Leace
from kinface.debias.transport import Transport
from kinface.fairness.audit import audit_fairness
from kinface.tradeoff.figure import MOST, choose_rows, name_rows, plot_methods
from swinface.data.embeddings import write_embeddings
from swinface.files import InputError

QUICK = {"probes": ["linear"], "seeds": 1, "resamples": 100}
OWN = '''
class Mine:
    """Removes the direction between two class means."""

    def __init__(self, share=1.0):
        self.share = share

    def fit(self, X, y):
        first, second = sorted({*y} - {None})
        self.axis = X[y == first].mean(axis=0) - X[y == second].mean(axis=0)
        return self

    def transform(self, X):
        return X - self.share * (X @ self.axis)[:, None] * self.axis / (self.axis @ self.axis)
'''


@pytest.fixture(scope="module")
def drawn() -> tuple:
    """Embeddings, their faces, families with an attribute of their own, and pairs."""
    families, images = kinface.make_families(40, seed=1, photos=1.5)
    worn = np.random.default_rng(0).choice(["no", "yes"], len(families.people))
    families = replace(families, people=families.people.assign(glasses=worn, glasses_source="made up"))
    embedding = images[:, ::28, ::28].reshape(len(images), -1) / 255
    return embedding, [*families.faces["face"]], families, families.pairs("val")


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_its_figures_are_those_of_existing_functions(drawn):
    embedding, faces, families, pairs = drawn
    found = kinface.frontier(
        *drawn, ["gender", "glasses"], erasers=["leace", "transport"], match=["gender"], **QUICK
    ).table
    known = families.faces[["face", "person", "family", "split"]].merge(
        families.people[["person", "gender", "glasses"]], on="person"
    )
    known = known.set_index("face").loc[faces].reset_index()
    train = known["split"].eq("train").to_numpy()
    weight = 1 / known["person"][train].map(known["person"][train].value_counts()).to_numpy()
    x = unit(embedding.astype(float))
    labels = known[["gender", "glasses"]].to_numpy(object)
    leace = Leace().fit(x[train], labels[train], sample_weight=weight)
    moved = x
    for name in ("gender", "glasses"):
        fitted = Transport().fit(moved[train], known[name][train], sample_weight=weight)
        moved = unit(fitted.transform(moved))
    matched = families.pairs("val", match=["gender"])
    for place, erased in enumerate((x, unit(leace.transform(x)), moved)):
        row = found.iloc[place]
        for name, table in (("standard", pairs), ("matched", matched)):
            audit = audit_fairness(kinface.score(table, erased, faces), 0.5, resamples=100)
            expected = audit.groups.iloc[0][["auc", "auc_low", "auc_high"]]
            assert row[f"auc_{name}"] == pytest.approx(expected["auc"], abs=1e-12)
            for end in ("_low", "_high"):  # of other draws, those of the probes
                assert row[f"auc_{name}{end}"] == pytest.approx(expected[f"auc{end}"], abs=0.05)
        for name in ("gender", "glasses"):
            how = {"seeds": 1, "resamples": 100, "permutations": 0, "codelength": False}
            leakage = kinface.probe(erased, known, name, split="val", kinds=["linear"], **how)
            expected = leakage.table.iloc[0]
            for end in ("", "_low", "_high"):
                assert row[f"{name}_linear{end}"] == pytest.approx(expected[f"balanced_accuracy{end}"], abs=1e-12)
            assert row[f"{name}_best"] == row[f"{name}_linear"]
        lefts = [max(2 * row[f"{name}_best"] - 1, 0) for name in ("gender", "glasses")]
        assert row["tradeoff"] == pytest.approx(2 * row["auc_matched"] - 1 - np.mean(lefts))
    difference = found["auc_matched"] - found["auc_matched"][0]
    np.testing.assert_allclose(found["auc_matched_minus_none"], difference)


def test_probes_are_fitted_on_further_splits(drawn):
    families, embedding, faces = drawn[2], *drawn[:2]
    found = kinface.frontier(*drawn, ["gender"], erasers=["none"], match=["type"], fit_on="train", **QUICK)
    known = families.describe(faces)
    how = {"kinds": ["linear"], "seeds": 1, "resamples": 100, "permutations": 0, "codelength": False}
    leakage = kinface.probe(unit(embedding.astype(float)), known, "gender", split="val", fit_on="train", **how)
    assert found.table["gender_linear"][0] == pytest.approx(leakage.table["balanced_accuracy"][0], abs=1e-12)
    assert found.about["gender"]["more"] == (known["split"] == "train").sum() > 0
    with pytest.raises(InputError, match="fit_on 'val': must be a split that has faces, and no pairs of the list"):
        kinface.frontier(*drawn, ["gender"], erasers=["none"], fit_on=["val"], **QUICK)


def test_an_eraser_of_ones_own_is_used_by_command_yaml_and_python(drawn, synthetic, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frontier_own.py").write_text(OWN)
    (tmp_path / "erasers.yaml").write_text(
        "- {method: frontier_own.Mine, name: mine too}\n"
        "- {method: frontier_own.Mine, options: {share: 0}, name: idle}\n"
    )
    families = kinface.read_families(synthetic)
    faces = [*families.faces["face"]]
    embedding = np.random.default_rng(0).normal(size=(len(faces), 6)).astype(np.float32)
    write_embeddings(tmp_path / "e.npz", faces, embedding)
    options = {"match": ["type"], "seeds": 1, "resamples": 100}
    command(embeddings=tmp_path / "e.npz", people=synthetic, attribute=["gender"], out=tmp_path / "out",
            eraser=["frontier_own.Mine"], config=tmp_path / "erasers.yaml", kind=["linear"], **options)  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "frontier.csv")
    assert [*table["method"]] == ["none", "frontier_own.Mine", "mine too", "idle"]
    rows = table.drop(columns=["method", "strength"]).to_numpy()
    np.testing.assert_array_equal(rows[1], rows[2])
    np.testing.assert_allclose(rows[0], rows[3])
    pairs, mine = families.pairs("val_choose"), erasers.create("frontier_own.Mine")
    ours = kinface.frontier(
        embedding, faces, families, pairs, ["gender"], erasers={"m": mine}, probes=["linear"], **options
    )
    np.testing.assert_allclose(ours.table.drop(columns=["method", "strength"]).to_numpy()[1], rows[1], rtol=1e-12)
    assert json.loads((tmp_path / "out" / "frontier.json").read_text())["about"]["gender"]["classes"] == "f, m"
    assert "mine too" in capsys.readouterr().out


def test_it_measures_on_the_list_that_is_scored_and_reported(synthetic, tmp_path, capsys):
    families = kinface.read_families(synthetic)
    listed, faces = families.pairs("val_choose"), [*families.faces["face"]]
    bare = shutil.copytree(synthetic, tmp_path / "bare", ignore=shutil.ignore_patterns(PAIRS))
    write_embeddings(tmp_path / "e.npz", faces, np.random.default_rng(0).normal(size=(len(faces), 6)))
    options = {"embeddings": tmp_path / "e.npz", "attribute": ["gender"], "eraser": ["leace"], "kind": ["linear"]}
    options |= {"match": ["type"], "seeds": 1, "resamples": 100}
    for people, name in ((synthetic, "val_choose"), (bare, "val")):
        capsys.readouterr()
        command(people=people, out=tmp_path / name, **options)
        about = json.loads((tmp_path / name / "frontier.json").read_text())["about"]["standard"]
        assert about["list"] == name and (about["pairs"] == len(listed) or name == "val")
        assert ("pairs are drawn and differ" in capsys.readouterr().out) == (name == "val")


@pytest.mark.parametrize("options", ["[0.5]", "0.5", "strength"])
def test_options_of_an_eraser_that_are_no_mapping_are_refused_by_name(options, tmp_path):
    path = tmp_path / "erasers.yaml"
    path.write_text(f"- {{method: leace, options: {options}, name: half}}\n")
    with pytest.raises(InputError, match="options of 'half' must be a mapping"):
        read_erasers(path)


@pytest.mark.parametrize(
    ("attributes", "options", "said"),
    [
        (["hair"], {}, "no attribute 'hair' with classes; there are .*gender"),
        (["age"], {}, "attribute 'age'"),
        (["gender", "gender"], {}, "name each attribute once"),
        (["gender"], {"erasers": ["leece"]}, "no eraser 'leece'; choose from none, .*leace"),
        (["gender"], {"erasers": {"bad": object()}}, "eraser 'bad': it fails"),
        (["gender"], {"erasers": {"none": kinface.erasers.create("leace")}}, "'none' is what the unchanged"),
        (["gender"], {"match": ["hair"]}, "matched by some of"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(drawn, attributes, options, said):
    with pytest.raises(InputError, match=said):
        kinface.frontier(*drawn, attributes, **QUICK | options)


def test_one_name_and_paths_of_any_form_are_enough(drawn):
    embedding, faces, families, pairs = drawn
    options = {**QUICK, "match": ["type"]}
    expected = kinface.frontier(embedding, faces, families, pairs, ["gender"], erasers=["leace"], **options).table
    written = np.array([face.replace("/", "\\") for face in faces], dtype="S")
    options |= {"match": "type", "probes": "linear"}
    found = kinface.frontier(embedding, written, families, pairs, "gender", erasers="leace", **options).table
    pd.testing.assert_frame_equal(found, expected)


def test_embeddings_whose_index_has_another_order_are_refused(drawn):
    embedding, faces, families, pairs = drawn
    for give in (
        lambda table: kinface.frontier(table, faces, families, pairs, ["gender"], **QUICK),
        lambda table: kinface.score(pairs, table, faces),
    ):
        with pytest.raises(InputError, match="faces: the embedding has its rows in another order"):
            give(pd.DataFrame(embedding, index=[*faces]).iloc[::-1])


def test_a_face_that_would_count_twice_is_refused(drawn):
    embedding, faces, families, pairs = drawn
    with pytest.raises(InputError, match="is listed twice"):
        kinface.frontier(np.r_[embedding, embedding[:1]], [*faces, faces[0]], families, pairs, "gender", **QUICK)


def test_names_in_place_of_families_and_pairs_are_to_be_read_first(drawn):
    embedding, faces, families, pairs = drawn
    with pytest.raises(InputError, match="families: a str has no people; read them"):
        kinface.frontier(embedding, faces, "tables", pairs, ["gender"], **QUICK)
    with pytest.raises(InputError, match="pairs: 'val' is not a table; read it first"):
        kinface.frontier(embedding, faces, families, "val", ["gender"], **QUICK)


def test_training_families_are_not_measured(drawn):
    embedding, faces, families, _ = drawn
    pairs = families.pairs("train")
    with pytest.raises(InputError, match="give a list of families of val or test"):
        kinface.frontier(embedding, faces, families, pairs, ["gender"], erasers=[], **QUICK)


@pytest.mark.parametrize(
    ("moved", "said"),
    [(lambda X: X[1:], "a row of finite numbers per face"), (np.zeros_like, r"only zeros for [\d,]+ faces")],
)
def test_a_result_of_another_shape_or_without_any_number_is_refused(moved, said, drawn):
    class Mine:
        def fit(self, X, y):
            return self

        def transform(self, X):
            return moved(X)

    with pytest.raises(InputError, match=f"eraser 'mine': .* {said}"):
        kinface.frontier(*drawn, ["gender"], erasers={"mine": Mine()}, match=["type"], **QUICK)


def test_the_figure_tells_twelve_apart():
    rows = [
        {
            "method": f"m{n}",
            "strength": n % 2 or None,
            "tradeoff": n,
            "auc_matched": 0.7,
            "auc_standard": 0.7,
            "a_best": 0.5,
        }
        for n in range(20)
    ]
    table = pd.DataFrame([rows[0] | {"method": "none"}, *rows]).astype({"strength": float})
    table = table.assign(**{f"{it}{end}": table[it] for it in [*table][3:] for end in ("_low", "_high")})
    chosen = [name_rows(table)[row] for row in choose_rows(table, ["m3"])]
    assert chosen == ["none", "m3, λ 1", *(f"m{n}, λ 1" if n % 2 else f"m{n}" for n in range(19, 9, -1))]
    about = {"a": {"chance": 0.5, "faces": 10, "families": 5}} | {
        name: {"pairs": 10, "families": 5} for name in ("matched", "standard")
    }
    figure = plot_methods(table, about, ["m3"])
    handles, names = figure.axes[0].get_legend_handles_labels()
    assert [*names] == chosen
    looks = {(it.lines[0].get_color(), it.lines[0].get_marker()) for it in handles}
    assert len(looks) == MOST
    assert len(figure.axes[0].lines[0].get_xdata()) == 21 - MOST  # grey
    with pytest.raises(InputError, match="show: other"):
        choose_rows(table, ["other"])


def test_classes_that_no_training_people_have_are_named(drawn):
    embedding, faces, families, pairs = drawn
    held = families.people["glasses"].where(families.people["split"] == "train", "sunglasses")
    held = held.where(np.arange(len(held)) % 2 == 0, families.people["glasses"])
    changed = replace(families, people=families.people.assign(glasses=held))
    with pytest.warns(UserWarning, match="glasses: no training people are sunglasses, so erasers cannot remove"):
        kinface.frontier(embedding, faces, changed, pairs, ["glasses"], erasers=["leace"], match=["gender"], **QUICK)
