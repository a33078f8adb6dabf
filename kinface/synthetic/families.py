"""Synthetic families in the layout of FIW: every face drawn, every gene, race, gender, age and bias known exactly.

Who the people are and what their faces inherit is ``kinface.synthetic.pedigree``; how a face is drawn,
``kinface.synthetic.drawing``. Between them, person i with visible traits v_i, a style w_i of their own and
ancestry a_i looks like

    x_i = [2 tanh(v_i / 2), w_i] + appearance * (a_i A + B[gender_i])

tanh keeps caricatures out; A and B are in ``LOOKS``. Race and gender so shift the very features
that families share, and with appearance 0 they leave no trace in any pixel. The same seed with another appearance
or bias makes the same world: the same people, genes and photographs, and only that differs.

The groups are caricatures for testing software; no figure on them says anything about people. What neither a model nor
a reader may see, the truth and the list of traps, is in ``truth/``.
"""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from kinface.data.fiw import read_families
from kinface.data.matrices import RELATIONS, TYPE_OF
from kinface.data.search import sample_search, write_search
from kinface.data.triplets import sample_triplets, write_triplet_list
from kinface.data.vocabulary import RACES
from kinface.synthetic.drawing import STYLE, TRAITS, Look, draw_face
from kinface.synthetic.pedigree import CODES, EXTRA_CHILDREN, Family, Person, grow_pedigree, relate
from swinface.bootstrap import start_drawing
from swinface.files import InputError, replacing_folder

# The races of every ten families of a split, in order: unequal shares, the same in training and validation.
RACE_OF_FAMILY = ("Caucasian", "African", "Caucasian", "Asian", "Caucasian", "African", "Indian", "Caucasian", "Asian",
                  "Caucasian")  # fmt: skip

Looks = Mapping[str, Mapping[str, float]]  # race or gender -> feature -> shift in standard deviations
LOOKS: Looks = {
    "African": dict(skin_lightness=-5.5, hair_lightness=-1.3, hair_curl=1.5, nose_width=1.2, lip_fullness=1.2,
                    eye_colour=-0.8),
    "Asian": dict(skin_lightness=0.8, skin_redness=-1.2, hair_lightness=-1.3, hair_redness=-0.5, hair_curl=-1.0,
                  eye_size=-0.9, eye_slant=1.2, eye_colour=-0.8),
    "Caucasian": dict(skin_lightness=1.5, hair_lightness=0.8, nose_length=0.4, eye_colour=0.6),
    "Indian": dict(skin_lightness=-2.6, skin_redness=-0.5, hair_lightness=-1.2, brow_thickness=0.7, eye_size=0.5,
                   eye_colour=-0.8),
    "m": dict(jaw_width=0.9, brow_thickness=0.8, brow_height=-0.6, hair_length=-0.9, beard=0.9),
    "f": dict(jaw_width=-0.9, brow_thickness=-0.8, brow_height=0.6, hair_length=0.9, beard=-0.9, lip_redness=0.9,
              eye_size=0.4),
}  # fmt: skip

STYLE_MEAN, STYLE_SPREAD = {"hair_length": 0.0, "beard": -0.6, "freckles": -0.3}, 0.6
LAST_YEAR = 2015  # of photographs
YOUNGEST, OLDEST = 4, 85
SOURCE = "simulator"  # who the annotations are by

PREDICTED_RACES = {
    "African": {"black": 0.85, "latino hispanic": 0.06, "indian": 0.06, "white": 0.03},
    "Asian": {"asian": 0.85, "latino hispanic": 0.08, "white": 0.07},
    "Caucasian": {"white": 0.7, "latino hispanic": 0.15, "middle eastern": 0.1, "asian": 0.03, "black": 0.02},
    "Indian": {"indian": 0.75, "black": 0.1, "latino hispanic": 0.08, "middle eastern": 0.07},
}

# Training families that carry a trap of real FIW each, by number; truth/traps.csv says where.
TRAPS = {
    1: "member without faces",
    2: "faces without a row",
    3: "odd gender",
    5: "contradicting cells",
    6: "column without a row",
    7: "undecided cell",
    9: "truncated image",
    10: "empty image",
}

LARGE_FAMILY = 11
FEWEST_FAMILIES = 12  # so that all of these are there, and three families to validate on
MOST_FAMILIES = 9999
PAIRS_PER_RELATION = 6  # pairs of faces that a list holds of two persons


@dataclass(frozen=True)
class Drawn:
    """How much ``synthesize`` wrote: families, people, faces, validation pairs, and traps of real FIW."""

    families: int
    people: int
    faces: int
    pairs: int
    traps: int


def synthesize(
    out: Path, *, families: int = 120, photos: float = 4.0, appearance: float = 1.0, bias: float = 0.5, seed: int = 0
) -> Drawn:
    """Draw synthetic families with known genes and a known bias, and write them in the layout of FIW.

    Parameters
    ----------
    out
        Folder to write to; new or empty.
    families
        Number of families, at least 12. Every fourth is for validation. The faces of the first families do not depend
        on how many follow.
    photos
        Mean number of photographs of a person.
    appearance
        How clearly race and gender show in a face: 1 clearly, 0 not at all.
    bias
        Share of the inherited traits that noise replaces in faces of the disadvantaged race: 0 nothing, 1 all.
    seed
        The same seed and options write the same files.

    Raises
    ------
    InputError
        An option is out of its range, or ``out`` is not empty.
    """
    check_options(families, photos, appearance, bias, seed)
    check_empty(out)
    with replacing_folder(out) as root:
        drawn, annotations = [], []
        traps = [("large family", f"Train/train-faces/F{LARGE_FAMILY:04d}")]
        for family, photographs, label_rng in draw_families(families, photos, appearance, bias, seed):
            for face, image in photographs:
                (root / face).parent.mkdir(parents=True, exist_ok=True)
                image.save(root / face, quality=92)
            _write_matrix(family, root)
            if family.number in TRAPS:
                traps.append((TRAPS[family.number], _set_trap(TRAPS[family.number], family, root)))
                family.faces = [face for face in family.faces if (root / face[0]).exists()]
            annotations += [_annotate(family, face, label_rng) for face in family.faces]
            drawn.append(family)
        pairs = draw_pairs([family for family in drawn if family.split == "val"], np.random.default_rng([seed, 0]))
        write_lists(pairs, root / "lists")
        (root / "annotations").mkdir()
        pd.DataFrame(annotations).to_csv(root / "annotations" / "faces_predicted.csv", index=False)
        write_tracks(root)
        _write_truth(drawn, bias, root / "truth")
        pd.DataFrame(traps, columns=["kind", "where"]).to_csv(root / "truth" / "traps.csv", index=False)
    people, faces = sum(len(family.people) for family in drawn), sum(len(family.faces) for family in drawn)
    return Drawn(families, people, faces, len(pairs), len(traps))


def check_options(families: int, photos: float, appearance: float, bias: float, seed: int) -> None:
    if not FEWEST_FAMILIES <= families <= MOST_FAMILIES:
        raise InputError(f"families is {families}; choose {FEWEST_FAMILIES} to {MOST_FAMILIES}.")
    if not 1 <= photos <= 100:
        raise InputError(f"photos is {photos:g}; choose 1 to 100 photographs of a person on average.")
    for option, value in (("appearance", appearance), ("bias", bias)):
        if not 0 <= value <= 1:
            raise InputError(f"{option} is {value:g}; choose a number from 0 to 1.")
    start_drawing(seed)


def check_empty(out: Path) -> None:
    """Raise ``InputError`` if a folder has files already: old faces would stay among the new ones."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name a new folder, for old faces would stay among the new ones.")


def draw_families(
    count: int, photos: float, appearance: float, bias: float, seed: int
) -> Iterator[tuple[Family, Iterator[tuple[str, Image.Image]], np.random.Generator]]:
    """Draw families one by one: a family; its photographs, path and image, which are added to ``family.faces`` as they
    are drawn; and the random generator of its annotations."""
    numbers = itertools.count(1)
    for number in range(1, count + 1):
        family_rng, photo_rng, label_rng = np.random.default_rng([seed, number]).spawn(3)
        family = found_family(number, family_rng)
        looks = [form_look(person, appearance, bias, family_rng) for person in family.people]
        yield family, _photograph(family, looks, photos, numbers, photo_rng), label_rng


def found_family(number: int, rng: np.random.Generator) -> Family:
    """The family of a number, without faces yet: its race, from ``RACE_OF_FAMILY``, and its people."""
    place_in_split = number // 4 if number % 4 == 0 else number - number // 4
    race = RACE_OF_FAMILY[(place_in_split - 1) % len(RACE_OF_FAMILY)]
    people = grow_pedigree(list(RACES).index(race), EXTRA_CHILDREN * (4 if number == LARGE_FAMILY else 1), rng)
    return Family(number, people, relate(people))


def _photograph(
    family: Family, looks: list[Look], photos: float, numbers: Iterator[int], rng: np.random.Generator
) -> Iterator[tuple[str, Image.Image]]:
    """Draw the faces of a family. Photographs are numbered through all families, as in FIW."""
    for member, (person, look) in enumerate(zip(family.people, looks, strict=True)):
        oldest = min(OLDEST, LAST_YEAR - person.born)
        for _ in range(rng.geometric(1 / photos)):
            age = YOUNGEST + (oldest - YOUNGEST) * rng.beta(1.5, 1)
            face = f"{family.folder}/MID{member + 1}/P{next(numbers):05d}_face0.jpg"
            family.faces.append((face, member, age))
            yield face, draw_face(look, age, rng)


def form_look(person: Person, appearance: float, bias: float, rng: np.random.Generator, looks: Looks = LOOKS) -> Look:
    """x of the module's formula."""
    look = dict(zip(TRAITS, 2 * np.tanh(person.show_traits(bias) / 2), strict=True))
    look |= {name: STYLE_MEAN[name] + rng.normal(0, STYLE_SPREAD) for name in STYLE}
    parts = [(share, looks[race]) for race, share in zip(RACES, person.ancestry, strict=True)]
    for share, shifts in [*parts, (1.0, looks[person.gender])]:
        for name, shift in shifts.items():
            look[name] += appearance * share * shift
    return Look(**look)


def _write_matrix(family: Family, root: Path) -> None:
    header = ["MID", *range(1, len(family.people) + 1), "Name", "Gender"]
    rows = [
        [member, *codes, f"member {member}", person.gender]
        for member, (person, codes) in enumerate(zip(family.people, family.matrix.tolist(), strict=True), start=1)
    ]
    _write_rows(root / family.folder / "mid.csv", [header, *rows])


def _write_rows(path: Path, rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def _annotate(family: Family, face: tuple[str, int, float], rng: np.random.Generator) -> dict[str, object]:
    """What a predictor might say of one face: often wrong, and of children's gender most often."""
    path, member, age = face
    person = family.people[member]
    races = PREDICTED_RACES[person.race]
    wrong = rng.random() < (0.3 if age < 13 else 0.06)
    return {
        "face": path,
        f"race_{SOURCE}": rng.choice(list(races), p=list(races.values())),
        f"age_{SOURCE}": round(max(0.5, age + rng.normal(0, 4)), 2),
        f"gender_{SOURCE}": "male" if (person.gender == "m") != wrong else "female",
    }


def _write_truth(families: list[Family], bias: float, folder: Path) -> None:
    """``people.parquet`` (genes and visible traits of everyone) and ``faces.parquet`` (whose face, at what age)."""
    folder.mkdir()
    people, faces = [], []
    for family in families:
        for member, person in enumerate(family.people):
            row = {"person": f"{family.name}/MID{member + 1}", "family": family.name, "split": family.split}
            row |= {"race": person.race, "gender": person.gender, "born": person.born}
            row |= {f"gene_{name}": value for name, value in zip(TRAITS, person.genes, strict=True)}
            row |= {f"visible_{name}": value for name, value in zip(TRAITS, person.show_traits(bias), strict=True)}
            people.append(row)
        faces += [(path, f"{family.name}/MID{member + 1}", age) for path, member, age in family.faces]
    pd.DataFrame(people).to_parquet(folder / "people.parquet", index=False)
    pd.DataFrame(faces, columns=["face", "person", "age"]).to_parquet(folder / "faces.parquet", index=False)


def _set_trap(kind: str, family: Family, root: Path) -> str:
    """Spoil one thing of a family on disk, as it is spoilt in real FIW, and return where."""
    folder = root / family.folder
    with (folder / "mid.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    parent, child = np.argwhere(family.matrix == CODES["parent"])[0] + 1
    stranger, other = np.argwhere(family.matrix + np.eye(len(family.people)) == 0)[0] + 1
    face = family.faces[0][0]
    where = f"{family.folder}/mid.csv"
    match kind:
        case "member without faces":
            shutil.rmtree(folder / "MID1")
            where = f"{family.folder}/MID1"
        case "faces without a row":
            last = len(family.people)
            rows = [row[:last] + row[last + 1 :] for row in rows[:-1]]
            where = f"{family.folder}/MID{last}"
        case "odd gender":
            rows[1][-1], rows[2][-1] = f" {rows[1][-1].upper()}", ""
        case "contradicting cells":
            rows[child][parent] = CODES["sibling"]
        case "column without a row":
            del rows[2]
            shutil.rmtree(folder / "MID2")
        case "undecided cell":
            rows[stranger][other] = rows[other][stranger] = CODES["to be decided"]
        case "truncated image" | "empty image":
            image = (root / face).read_bytes()
            (root / face).write_bytes(image[: len(image) // 2] if kind == "truncated image" else b"")
            where = face
    _write_rows(folder / "mid.csv", rows)
    return where


def draw_pairs(families: list[Family], rng: np.random.Generator) -> pd.DataFrame:
    """Kin pairs of all 11 types, and for each a non-kin pair: the same first face with the second of another family.

    As in RFIW's lists, that face belongs to someone of the same role; races are not matched. A type which no other
    family has is left out, for it has no such face. The columns are face_a, face_b, type, kin, race_a and race_b, in
    random order of rows.
    """
    same_type: dict[str, list[dict]] = {}
    for pair in itertools.chain.from_iterable(_pair_relatives(family, rng) for family in families):
        same_type.setdefault(pair["type"], []).append(pair)
    rows, taken = [], set()
    for kin in same_type.values():
        for pair in kin:
            others = (kin[place] for place in rng.permutation(len(kin)))
            free = (o for o in others if o["family"] != pair["family"] and {pair["face_a"], o["face_b"]} not in taken)
            if other := next(free, None):
                taken.add(frozenset((pair["face_a"], other["face_b"])))
                rows += [pair, pair | {"face_b": other["face_b"], "race_b": other["race_b"], "kin": 0}]
    return pd.DataFrame(rows).drop(columns="family").iloc[rng.permutation(len(rows))].reset_index(drop=True)


def _pair_relatives(family: Family, rng: np.random.Generator) -> list[dict[str, object]]:
    faces = [[path for path, owner, _ in family.faces if owner == member] for member in range(len(family.people))]
    pairs = []
    for i, j in itertools.permutations(range(len(family.people)), 2):
        a, b = family.people[i], family.people[j]
        kin_type = TYPE_OF.get((RELATIONS[family.matrix[i, j]], a.gender, b.gender))
        if kin_type is None or (kin_type in ("bb", "ss") and i > j):  # these two would be there both ways
            continue
        combinations = list(itertools.product(faces[i], faces[j]))
        chosen = rng.permutation(len(combinations))[:PAIRS_PER_RELATION]
        common = {"family": family.name, "type": kin_type, "kin": 1, "race_a": a.race, "race_b": b.race}
        pairs += [{"face_a": combinations[k][0], "face_b": combinations[k][1], **common} for k in chosen]
    return pairs


def write_lists(pairs: pd.DataFrame, folder: Path) -> None:
    """The same pairs in RFIW's form and in KFC's."""
    folder.mkdir()
    rfiw, kfc = [], []
    for index, pair in enumerate(pairs.itertuples()):
        common = f"{pair.face_a} {pair.face_b} {pair.type} {pair.kin}"
        races = list(dict.fromkeys((RACES[pair.race_a], RACES[pair.race_b])))
        rfiw.append(f"{index} {common}\n")
        kfc.append(f"{common} {'&'.join(races)}\n")
    (folder / "val_choose.txt").write_text("".join(rfiw), encoding="utf-8", newline="\n")
    (folder / "val_choose_kfc.txt").write_text("".join(kfc), encoding="utf-8", newline="\n")


def write_tracks(root: Path) -> None:
    """The lists of RFIW's Tracks 2 and 3, of the validation families as read from disk, each in a folder of its own."""
    families = read_families(root)
    for track in ("track2", "track3"):
        (root / "lists" / track).mkdir()
    write_triplet_list(sample_triplets(families, "val"), root / "lists" / "track2" / "val.txt")
    write_search(sample_search(families, "val"), root / "lists" / "track3")
