"""CFP's official files are read as they are, and scored by LFW's protocol."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from swinface.benchmarks.cfp import FrontalProfile, read_protocol
from swinface.files import InputError

PEOPLE = 6


@pytest.fixture
def cfp(tmp_path) -> Path:
    """Six people whose images have a colour of their own, two frontal and one profile each; two pairs of each kind."""
    root = tmp_path / "CFP"
    lists = {"frontal": [], "profile": []}
    for person in range(PEOPLE):
        for kind, count in (("frontal", 2), ("profile", 1)):
            for number in range(1, count + 1):
                name = f"Data/Images/{person + 1:03}/{kind}/{number:02}.jpg"
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                colour = (40 * person, 200 - 30 * person, 10 * person + number)
                Image.new("RGB", (112, 112), colour).save(root / name, quality=95)
                lists[kind].append(name)
    (root / "Protocol").mkdir()
    for letter, kind in (("F", "frontal"), ("P", "profile")):
        lines = [f"{number} ../{name}\n" for number, name in enumerate(lists[kind], start=1)]
        (root / "Protocol" / f"Pair_list_{letter}.txt").write_text("".join(lines))
    for fold in range(10):
        a, b = fold % PEOPLE, (fold + 1) % PEOPLE
        for protocol, same, different in (
            ("FP", [(2 * a + 1, a + 1), (2 * b + 2, b + 1)], [(2 * a + 1, b + 1), (2 * b + 2, a + 1)]),
            ("FF", [(2 * a + 1, 2 * a + 2), (2 * b + 1, 2 * b + 2)], [(2 * a + 1, 2 * b + 1), (2 * b + 2, 2 * a + 2)]),
        ):
            folder = root / "Protocol" / "Split" / protocol / f"{fold + 1:02}"
            folder.mkdir(parents=True)
            for name, pairs in (("same.txt", same), ("diff.txt", different)):
                (folder / name).write_text("".join(f"{x},{y}\n" for x, y in pairs))
    return root


def embed_colours(faces) -> np.ndarray:
    return faces.float().mean(dim=(2, 3)).numpy() - 100


@pytest.mark.parametrize("protocol", ["FP", "FF"])
def test_pairs_are_those_of_the_protocol(cfp, protocol):
    paths, first, second, same = read_protocol(cfp, protocol)
    assert len(first) == 40 and same.tolist() == [True, True, False, False] * 10
    kinds = {paths[place].parent.name for place in second}
    assert kinds == ({"profile"} if protocol == "FP" else {"frontal"})
    assert {paths[place].parent.name for place in first} == {"frontal"}
    people = [[paths[place].parents[1].name for place in side] for side in (first, second)]
    assert [a == b for a, b in zip(*people, strict=True)] == same.tolist()
    assert [path.relative_to(cfp).as_posix() for path in (paths[first[0]], paths[second[0]])] == [
        "Data/Images/001/frontal/01.jpg",
        f"Data/Images/001/{'profile/01' if protocol == 'FP' else 'frontal/02'}.jpg",
    ]


@pytest.mark.parametrize("protocol", ["FP", "FF"])
def test_a_model_that_knows_the_people_is_always_right(cfp, protocol):
    (result,) = FrontalProfile(cfp, protocol).run(SimpleNamespace(embed=embed_colours))
    assert (result.metric, result.ours, result.n) == ("accuracy %", 100.0, 40)


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("Pair_list_F.txt", "1 Data/Images/001/frontal/01.jpg\n", "Pair_list_F.txt line 1"),
        ("Pair_list_P.txt", "1 ../../../secret.jpg\n", "Pair_list_P.txt line 1"),
        ("Split/FP/03/same.txt", "1,2,3\n", r"03/same.txt line 1: '1,2,3' must be two numbers"),
        ("Split/FP/03/diff.txt", "1,2\n1,999\n", "03/diff.txt line 2: '1,999' names an image that is in no list"),
        ("Split/FP/03/diff.txt", "1,0\n1,2\n", "line 1: '1,0' names an image that is in no list"),
        ("Split/FP/03/diff.txt", "1,2\n1,1\n", "03/diff.txt line 2: '1,1' must be two images of two people"),
        ("Split/FF/03/same.txt", "1,1\n", "line 1: '1,1' must be two images of one person"),
        ("Split/FP/03/same.txt", "1,2\n", "line 1: '1,2' must be two images of one person"),
        ("Split/FP/03/diff.txt", "1,2\n", "the same number of pairs"),
        ("Split/FP/10/same.txt", None, "10/same.txt: no such list"),
    ],
)
def test_a_file_of_another_form_is_named(cfp, file, text, named):
    path = cfp / "Protocol" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(InputError, match=named):
        read_protocol(cfp, "FF" if "FF" in file else "FP")


def test_the_real_set_is_read(shared_data):
    paths, first, second, same = read_protocol(shared_data / "CFP", "FP")
    assert (len(paths), len(first), same.sum()) == (7000, 7000, 3500)
    people = [np.array([paths[place].parents[1].name for place in side]) for side in (first, second)]
    assert ((people[0] == people[1]) == same).all()
