"""The synthetic world must be what its docstrings say: correlations, bias, groups, layout, traps, determinism."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from kinface.data.matrices import MIRROR, read_matrix
from kinface.data.vocabulary import RACES, TYPES
from kinface.synthetic import families as synthetic
from kinface.synthetic.drawing import STYLE, TRAITS, Look, draw_face
from kinface.synthetic.families import synthesize
from kinface.synthetic.pedigree import CODES, DISADVANTAGED, HERITABILITY, grow_pedigree, relate
from swinface.files import InputError
from tests.commands import run_kinface

BIAS = 0.5


@pytest.fixture(scope="module")
def pedigrees():
    rng = np.random.default_rng(0)
    return [grow_pedigree(number % len(RACES), 1.0, rng) for number in range(400)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "fiw"
    synthesize(folder, families=40, photos=2, bias=BIAS)
    return folder


@pytest.fixture(scope="module")
def without_appearance(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "fiw"
    synthesize(folder, families=40, photos=2, bias=BIAS, appearance=0)
    return folder


def related(people, name):
    return np.argwhere(relate(people) == CODES[name])


def correlate(pedigrees, name, values):
    """Mean product of standard normal values over all traits of all pairs of relatives."""
    products = [values(people[i]) * values(people[j]) for people in pedigrees for i, j in related(people, name)]
    return float(np.mean(products))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("parent", 1 / 2), ("sibling", 1 / 2), ("grandparent", 1 / 4), ("great-grandparent", 1 / 8), ("spouse", 0)],
)
def test_genes_of_relatives_correlate_by_twice_their_kinship(pedigrees, name, expected):
    assert correlate(pedigrees, name, lambda person: person.genes) == pytest.approx(expected, abs=0.04)


def test_genes_are_standard_normal_and_families_unrelated(pedigrees):
    genes = np.array([person.genes for people in pedigrees for person in people])
    assert genes.mean() == pytest.approx(0, abs=0.03)
    assert genes.std() == pytest.approx(1, abs=0.03)
    across = [a[0].genes * b[0].genes for a, b in pairwise(pedigrees)]
    assert np.mean(across) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("bias", [0, 0.5, 0.9])
def test_bias_weakens_the_family_in_faces_of_one_race_only(pedigrees, bias):
    def same_race(race):
        return [people for people in pedigrees if all(person.race == race for person in people)]

    for race in RACES:
        families = same_race(race)
        visible = correlate(families, "parent", lambda person: person.show_traits(bias))
        share = 1 - bias if race == DISADVANTAGED else 1
        assert visible == pytest.approx(0.5 * HERITABILITY * share, abs=0.05)
        traits = np.array([person.show_traits(bias) for people in families for person in people])
        assert traits.std() == pytest.approx(1, abs=0.04), "the bias must not change how much faces vary"


def test_matrix_follows_the_pedigree(pedigrees):
    seen = Counter()
    for people in pedigrees[:60]:
        matrix = relate(people)
        assert all(MIRROR[matrix[i, j]] == matrix[j, i] for i in range(len(people)) for j in range(len(people)))
        for j, person in enumerate(people):
            assert set(np.flatnonzero(matrix[:, j] == CODES["parent"])) == set(person.parents or ())
            brood = {i for i, other in enumerate(people) if i != j and person.parents == other.parents != None}  # noqa: E711
            assert set(np.flatnonzero(matrix[:, j] == CODES["sibling"])) == brood
        for i, j in related(people, "grandparent"):
            assert any(i in (people[parent].parents or ()) for parent in people[j].parents)
            assert people[i].born < people[j].born
        for i, j in related(people, "spouse"):
            assert people[i].gender != people[j].gender
        seen.update(np.unique(matrix).tolist())
    assert set(seen) == set(MIRROR) - {CODES["to be decided"]}


def read_truth(root):
    people = pd.read_parquet(root / "truth" / "people.parquet")
    return people, pd.read_parquet(root / "truth" / "faces.parquet").merge(people, on="person")


def test_layout(root):
    people, faces = read_truth(root)
    annotations = pd.read_csv(root / "annotations" / "faces_predicted.csv")
    on_disk = {path.relative_to(root).as_posix() for path in root.rglob("*.jpg")}
    assert set(faces["face"]) == set(annotations["face"]) == on_disk
    for face, split in zip(faces["face"], faces["split"], strict=True):
        folder = {"train": "Train/train-faces", "val": "Validation/val-faces"}[split]
        assert face.startswith(f"{folder}/F")
    with Image.open(root / faces["face"].iloc[0]) as image:
        assert (image.size, image.mode) == ((112, 112), "RGB")
    assert people["split"].value_counts(normalize=True)["val"] == pytest.approx(0.25, abs=0.08)
    assert set(people["race"]) == set(RACES)
    assert people.groupby("family").size().idxmax() == f"F{synthetic.LARGE_FAMILY:04d}"


def read_rfiw(root):
    rows = [line.split() for line in (root / "lists" / "val_choose.txt").read_text().splitlines()]
    return pd.DataFrame(rows, columns=["index", "face_a", "face_b", "type", "kin"])


def test_list_follows_the_matrices(root):
    pairs = read_rfiw(root)
    assert pairs["index"].tolist() == [str(index) for index in range(len(pairs))]
    assert set(pairs["type"]) == set(TYPES)
    assert not pairs.duplicated(["face_a", "face_b"]).any()
    relations, genders = {}, {}
    for matrix_file in (root / "Validation").rglob("mid.csv"):
        matrix = read_matrix(matrix_file, matrix_file.parent.name)
        folder = matrix_file.parent.relative_to(root).as_posix()
        genders |= {f"{folder}/MID{mid}": gender for mid, (_, gender) in matrix.members.items()}
        for a, b, _, kin_type in matrix.relations:
            relations[f"{folder}/MID{a}", f"{folder}/MID{b}"] = kin_type
    for pair in pairs.itertuples():
        persons = tuple(str(Path(face).parent) for face in (pair.face_a, pair.face_b))
        roles = TYPES[pair.type]
        assert (genders[persons[0]], genders[persons[1]]) == (roles.gender_a, roles.gender_b)
        if pair.kin == "1":
            same_brood = roles.relation == "sibling" and relations.get(persons[::-1]) == pair.type
            assert relations.get(persons) == pair.type or same_brood
        else:
            assert Path(persons[0]).parent != Path(persons[1]).parent
        assert (root / pair.face_a).is_file()
        assert (root / pair.face_b).is_file()
    assert Counter(pairs["type"][pairs["kin"] == "1"]) == Counter(pairs["type"][pairs["kin"] == "0"])


def test_kfc_list_holds_the_same_pairs_and_the_true_races(root):
    people, _ = read_truth(root)
    race = people.set_index("person")["race"].map(RACES)
    rows = [line.split() for line in (root / "lists" / "val_choose_kfc.txt").read_text().splitlines()]
    rfiw = read_rfiw(root)[["face_a", "face_b", "type", "kin"]].to_numpy().tolist()
    assert [row[:4] for row in rows] == rfiw
    crossing = 0
    for face_a, face_b, _, _, code in rows:
        codes = [race["/".join(Path(face).parts[-3:-1])] for face in (face_a, face_b)]
        assert code == (codes[0] if codes[0] == codes[1] else f"{codes[0]}&{codes[1]}")
        crossing += codes[0] != codes[1]
    assert crossing > 0


def test_predictions_err_per_face_and_less_per_person(root):
    _, faces = read_truth(root)
    annotations = pd.read_csv(root / "annotations" / "faces_predicted.csv")
    mapped = dict.fromkeys(("white", "latino hispanic", "middle eastern"), "Caucasian")
    mapped |= {"black": "African", "asian": "Asian", "indian": "Indian"}
    faces = faces.merge(annotations, on="face")
    faces["predicted"] = faces["race_simulator"].map(mapped)
    often = faces[faces.groupby("person")["face"].transform("size") >= 3]
    per_face = (often["predicted"] == often["race"]).mean()
    majority = often.groupby("person").agg(predicted=("predicted", lambda s: s.mode()[0]), race=("race", "first"))
    assert 0.7 < per_face < 0.97
    assert (majority["predicted"] == majority["race"]).mean() > per_face
    assert (faces["gender_simulator"].str[0] == faces["gender"]).mean() > 0.8
    assert (faces["age_simulator"] - faces["age"]).abs().mean() < 6


def test_only_the_documented_traps(root):
    traps = pd.read_csv(root / "truth" / "traps.csv").set_index("kind")["where"]
    assert set(traps.index) == {*synthetic.TRAPS.values(), "large family"}
    assert not (root / traps["member without faces"]).exists()
    assert (root / traps["faces without a row"]).is_dir()
    assert (root / traps["empty image"]).stat().st_size == 0
    with pytest.raises(OSError), Image.open(root / traps["truncated image"]) as image:
        image.load()
    genders, contradicting, undecided, without_row = set(), [], [], []
    for matrix_file in root.rglob("mid.csv"):
        with matrix_file.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
        where = matrix_file.relative_to(root).as_posix()
        genders |= {(row[-1], where) for row in rows if row[-1] not in ("m", "f")}
        cells = {(row[0], column): int(row[header.index(column)]) for row in rows for column in header[1:-2]}
        contradicting += [where for (i, j), code in cells.items() if MIRROR[code] != cells.get((j, i), MIRROR[code])]
        undecided += [where for code in cells.values() if code == CODES["to be decided"]]
        without_row += [where] if [row[0] for row in rows] != header[1:-2] else []
    assert {where for _, where in genders} == {traps["odd gender"]}
    assert sorted(gender.strip().lower() in ("m", "f") for gender, _ in genders) == [False, True]
    assert contradicting == [traps["contradicting cells"]] * 2
    assert undecided == [traps["undecided cell"]] * 2
    assert without_row == [traps["column without a row"]]


def read_tree(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_seed_writes_the_same_bytes_and_more_families_only_add(tmp_path):
    for name, families, seed in (("once", 12, 3), ("again", 12, 3), ("more", 14, 3), ("other", 12, 4)):
        synthesize(tmp_path / name, families=families, photos=1, seed=seed)
    once, again, more, other = (read_tree(tmp_path / name) for name in ("once", "again", "more", "other"))
    assert once == again
    faces = {path: content for path, content in once.items() if "-faces/" in path}
    assert {path: more.get(path) for path in faces} == faces
    assert len(more) > len(once)
    assert all(other.get(path) != content for path, content in faces.items() if content and path.endswith(".jpg"))


def test_bias_changes_faces_of_the_disadvantaged_only(tmp_path):
    for name, bias in (("none", 0.0), ("strong", 0.9)):
        synthesize(tmp_path / name, families=12, photos=1, bias=bias)
    none, strong = read_tree(tmp_path / "none"), read_tree(tmp_path / "strong")
    _, faces = read_truth(tmp_path / "none")
    faces = faces[[len(none[face]) > 0 for face in faces["face"]]]
    changed = [none[face] != strong[face] for face in faces["face"]]
    assert changed == (faces["race"] == DISADVANTAGED).tolist()


def probe(root, attribute):
    """Balanced accuracy on held-out families of a linear probe on small pixels."""
    _, faces = read_truth(root)
    spoilt = pd.read_csv(root / "truth" / "traps.csv").set_index("kind")["where"][["truncated image", "empty image"]]
    faces = faces[~faces["face"].isin(spoilt)]
    pixels = []
    for face in faces["face"]:
        with Image.open(root / face) as image:
            pixels.append(np.asarray(image.resize((14, 14), Image.Resampling.BOX)).ravel() / 128 - 1)
    pixels, held_out = np.array(pixels), faces["family"].str[1:].astype(int).to_numpy() % 2 == 0
    model = LogisticRegression(class_weight="balanced", C=0.01, max_iter=1000)
    model.fit(pixels[~held_out], faces[attribute][~held_out])
    return balanced_accuracy_score(faces[attribute][held_out], model.predict(pixels[held_out]))


@pytest.mark.parametrize(("attribute", "chance"), [("race", 0.25), ("gender", 0.5)])
def test_appearance_puts_race_and_gender_into_pixels(root, without_appearance, attribute, chance):
    assert probe(root, attribute) > chance + 0.3
    assert probe(without_appearance, attribute) == pytest.approx(chance, abs=0.08)


def test_without_appearance_the_look_knows_neither_race_nor_gender(pedigrees):
    person = pedigrees[0][0]
    looks = []
    for race, gender in ((0, "m"), (1, "f"), (2, "m")):
        person.ancestry, person.gender = np.eye(len(RACES))[race], gender
        looks.append(synthetic.form_look(person, appearance=0, bias=0, rng=np.random.default_rng(0)))
    assert looks[0] == looks[1] == looks[2]


@pytest.mark.parametrize("trait", TRAITS)
def test_every_trait_shows(trait):
    """The same photograph of two people who differ in one trait differs: no photograph's noise hides it."""
    average = dict.fromkeys((*TRAITS, *STYLE), 0.0)
    pictures = [
        np.asarray(draw_face(Look(**average | {trait: value}), 30.0, np.random.default_rng(0)), dtype=float)
        for value in (-1.5, 1.5)
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"families": 11}, "families is 11; choose 12 to 9999"),
        ({"families": 10000}, "families"),
        ({"photos": 0.5}, "photos is 0.5"),
        ({"appearance": 1.5}, "appearance is 1.5; choose a number from 0 to 1"),
        ({"bias": -0.1}, "bias is -0.1"),
        ({"bias": float("nan")}, "bias is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        synthesize(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        synthesize(tmp_path, families=12)
    (tmp_path / "mine.txt").rename(tmp_path / "file")
    with pytest.raises(InputError, match="is a file"):
        synthesize(tmp_path / "file", families=12)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_left_of_a_run_that_fails(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "write_lists", fail)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "out", families=12, photos=1)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_named(tmp_path, capsys):
    assert run_kinface("synthesize", tmp_path / "out", "--families", "12", "--photos", "1") == 0
    printed = capsys.readouterr().out
    for part in ("12 families", "val_choose.txt", "truth", "kinface prepare"):
        assert part in printed
