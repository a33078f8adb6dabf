"""The files of data sets as they are handed out: every reader refuses malformed ones with one message, and no more."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from scipy.io import savemat

from swinface.benchmarks.cfp import read_protocol
from swinface.photos.folder import LOG, read_log
from swinface.photos.originals import list_faces, read_adience, read_affectnet, read_imdb_wiki, read_morph
from tests.malformed import mutated, mutated_text, refuse_all

FOLD = "user_id\toriginal_image\tface_id\tage\tgender\tx\n1@N0\ta.jpg\t1\t(25, 32)\tf\t0\n2@N0\tb.jpg\t2\t57\tm\t9\n"
SETS = {
    "adience": (read_adience, "fold_0_data.txt", FOLD),
    "morph": (read_morph, "morph.csv", "id_num,gender,age,photo\n1,M,54,A/1.JPG\n2,F,20,A/2.JPG\n"),
    "affectnet": (read_affectnet, "training.csv", "subDirectory_filePath,expression\n1/a.jpg,0\n1/b.jpg,6\n"),
}
LOG_ROWS = (
    "photo,face,faces,chosen,score,left,top,right,bottom,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5,problem\n"
    "a.jpg,a.jpg,1,largest,0.9,1,2,3,4,1,1,2,1,1.5,2,1,3,2,3,\nb.jpg,,0,largest,,,,,,,,,,,,,,,,no face found\n"
)


@pytest.mark.parametrize("name", SETS)
def test_label_files_of_sets(name, tries, tmp_path):
    read, file, valid = SETS[name]
    log = pd.DataFrame({"photo": ["A/1.JPG", "1/a.jpg"], "face": ["A/1.JPG", "1/a.jpg"]})

    def read_all(mutant: bytes) -> None:
        (tmp_path / file).write_bytes(mutant)
        place = tmp_path if name == "adience" else tmp_path / file
        list_faces(read(place), log, str(place))

    refuse_all(mutated_text(valid), read_all, tries, str(tmp_path))


def test_logs_of_aligned_faces(tries, tmp_path):
    def read(mutant: bytes) -> None:
        (tmp_path / LOG).write_bytes(mutant)
        read_log(tmp_path / LOG)

    refuse_all(mutated_text(LOG_ROWS, ",\n"), read, tries, LOG)


@pytest.mark.parametrize("tries", [3, pytest.param(60, marks=pytest.mark.slow)])  # a process for each
def test_structures_of_matlab(tries, tmp_path):
    content = {name: [[2000.0, 2010.0]] for name in ("photo_taken", "gender", "face_score", "second_face_score")}
    savemat(tmp_path / "valid.mat", {"wiki": content | {"dob": [[7e5, 7e5]], "full_path": [["a.jpg", "b.jpg"]]}})
    valid = (tmp_path / "valid.mat").read_bytes()

    def read(mutant: bytes) -> None:
        (tmp_path / "wiki.mat").write_bytes(mutant)
        read_imdb_wiki(tmp_path / "wiki.mat")

    refuse_all(mutated(valid), read, tries, "wiki.mat")


@pytest.mark.parametrize("file", ["Pair_list_F.txt", "Pair_list_P.txt", "Split/FP/04/same.txt"])
def test_the_protocol_of_cfp(file, tries, tmp_path):
    protocol = tmp_path / "Protocol"
    lists = {
        f"Pair_list_{letter}.txt": "".join(f"{n} ../Data/Images/{n:03}/{kind}/01.jpg\n" for n in range(1, 4))
        for letter, kind in (("F", "frontal"), ("P", "profile"))
    }
    pairs = {"same": "1,1\n3,3\n", "diff": "1,2\n3,1\n"}
    lists |= {f"Split/FP/{n:02}/{kind}.txt": text for n in range(1, 11) for kind, text in pairs.items()}
    for name, text in lists.items():
        (protocol / name).parent.mkdir(parents=True, exist_ok=True)
        (protocol / name).write_text(text)

    def read(mutant: bytes) -> None:
        (protocol / file).write_bytes(mutant)
        paths, *_ = read_protocol(tmp_path, "FP")
        assert all(Path(tmp_path) in path.parents for path in paths)

    refuse_all(mutated_text(lists[file]), read, tries, "Protocol")
