"""RecordIO is read as mxnet writes it, in any order, by any number of threads and processes, or refused by name."""

from __future__ import annotations

import pickle
import struct
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinface.data.datasets import RecordIO
from swinface.data.recordio import MAGIC, RecordFile
from swinface.data.streams import keep_decoded
from swinface.files import InputError

MAGIC_BYTES = struct.pack("<I", MAGIC)

# Written by mxnet 1.9.1: records 0 (label 5, id 1, b"abcde"), 1 (labels 3 and -1, b"wxyz" + magic twice + b"1") and
# 7 (label 2, the magic number as its id, no content).
MXNET_INDEX = "0\t0\n1\t40\n7\t104\n"
MXNET_RECORDS = (
    "0a23d7ce1d000000000000000000a0400100000000000000000000000000000061626364650000000a23d7ce24000020"
    "02000000000000000000000000000000000000000000000000004040000080bf7778797a0a23d7ce000000400a23d7ce"
    "01000060310000000a23d7ce0800002000000000000000400a23d7ce0c000060000000000000000000000000"
)


def pack(labels: list[float], content: bytes, several: bool = False) -> bytes:
    """What mxnet.recordio.pack makes of labels and content: in the header, or behind it where there are several."""
    if several or len(labels) > 1:
        return struct.pack("<IfQQ", len(labels), 0.0, 0, 0) + struct.pack(f"<{len(labels)}f", *labels) + content
    return struct.pack("<IfQQ", 0, labels[0], 0, 0) + content


def write_records(path: Path, records: dict[int, bytes]) -> None:
    """Write records as dmlc-core does: in parts that end wherever an aligned word of the data is the magic number."""
    data, index = b"", []
    for key, record in records.items():
        index.append(f"{key}\t{len(data)}\n")
        cuts = [at for at in range(0, len(record) - 3, 4) if record[at : at + 4] == MAGIC_BYTES]
        starts, ends = [0, *(cut + 4 for cut in cuts)], [*cuts, len(record)]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            flag = 0 if not cuts else 1 if number == 0 else 3 if number == len(cuts) else 2
            part = record[start:end]
            data += struct.pack("<II", MAGIC, flag << 29 | len(part)) + part + bytes(-len(part) % 4)
    path.write_bytes(data)
    path.with_suffix(".idx").write_text("".join(index))


def face_set(path: Path, labels: list[int]) -> RecordFile:
    """Records of faces as insightface lays them out: a header, images, then a record per identity."""
    count, people = len(labels), sorted(set(labels))
    records = {0: pack([count + 1, count + 1 + len(people)], b"")}
    for i, label in enumerate(labels):
        records[1 + i] = pack([label], bytes([i % 256] * (1 + i % 9)), several=i % 3 == 2)
    records |= {count + 1 + i: pack([1, 2], b"") for i in range(len(people))}
    write_records(path, records)
    return RecordFile(path)


def read_content(records: RecordFile, key: int) -> bytes:
    return records.read(key)[1]


def test_what_mxnet_wrote_is_read(tmp_path):
    (tmp_path / "a.rec").write_bytes(bytes.fromhex(MXNET_RECORDS))
    (tmp_path / "a.idx").write_text(MXNET_INDEX)
    records = RecordFile(tmp_path / "a.rec")
    expected = {7: ([2.0], b""), 0: ([5.0], b"abcde"), 1: ([3.0, -1.0], b"wxyz" + MAGIC_BYTES * 2 + b"1")}
    for key, (labels, content) in expected.items():
        found = records.read(key)
        assert found[0].dtype == np.float32
        assert (found[0].tolist(), found[1]) == (labels, content)
    np.testing.assert_array_equal(records.read_labels(np.array([7, 1, 0])), [2, 3, 5])
    assert records.image_keys().tolist() == [0, 1, 7]  # record 0 has content: no set of faces


def test_identities_are_kept_beside_the_records_and_read_from_them_once(tmp_path, monkeypatch):
    labels, read = [3, 3, 0, 5, 5], []
    face_set(tmp_path / "train.rec", labels)
    read_labels = RecordFile.read_labels
    monkeypatch.setattr(RecordFile, "read_labels", lambda *given: read.append(1) or read_labels(*given))
    for _ in range(2):
        assert RecordIO(tmp_path).table["identity"].tolist() == [str(label) for label in labels]
    assert len(read) == 1
    face_set(tmp_path / "train.rec", [1, *labels])  # another set in the same place
    assert RecordIO(tmp_path).table["identity"].tolist() == ["1", *map(str, labels)]
    assert len(read) == 2

    def refuse(path, *given):
        raise InputError(f"cannot write {path}")

    monkeypatch.setattr("swinface.data.datasets.map_computed", refuse)  # as in a folder that is read only
    assert RecordIO(tmp_path).table["identity"].tolist() == ["1", *map(str, labels)]


def test_cached_faces_depend_on_records(tmp_path):
    for colour in ("red", "blue"):
        face = BytesIO()
        Image.new("RGB", (112, 112), colour).save(face, "png")
        write_records(tmp_path / "train.rec", {key: pack([1.0], face.getvalue()) for key in range(2)})
        assert np.array_equal(keep_decoded(RecordIO(tmp_path), tmp_path), RecordIO(tmp_path).read_all())


def test_the_test_writer_equals_mxnets_writer(tmp_path):
    header = struct.pack("<IfQQ", 0, 5.0, 1, 0)
    last = struct.pack("<IfQQ", 0, 2.0, MAGIC, 0)
    content = b"wxyz" + MAGIC_BYTES * 2 + b"1"
    write_records(tmp_path / "a.rec", {0: header + b"abcde", 1: pack([3.0, -1.0], content), 7: last})
    assert (tmp_path / "a.rec").read_bytes().hex() == MXNET_RECORDS
    assert (tmp_path / "a.idx").read_text() == MXNET_INDEX


def test_a_face_sets_images_are_the_records_before_its_identities(tmp_path):
    labels = [0, 0, 5, 5, 5, 16_777_216]  # the largest of which float32 has every smaller whole number
    records = face_set(tmp_path / "train.rec", labels)
    keys = records.image_keys()
    assert keys.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(records.read_labels(keys), labels)
    assert [records.read(key)[0][0] for key in keys] == labels
    assert [read_content(records, key) for key in keys[::-1]] == [bytes([i] * (i + 1)) for i in range(6)][::-1]


def test_labels_are_read_in_chunks_as_one_by_one(tmp_path):
    random = np.random.default_rng(0)
    words = [MAGIC_BYTES, b"1234", b"\0\0\0\0"]
    contents = [b"".join(random.choice(words, random.integers(0, 6))) for _ in range(50)]
    write_records(tmp_path / "a.rec", {2 * i: pack([i, 7][: 1 + i % 2], content) for i, content in enumerate(contents)})
    records = RecordFile(tmp_path / "a.rec")
    keys = random.permutation(np.arange(0, 100, 2))
    np.testing.assert_array_equal(records.read_labels(keys, records=3), keys / 2)
    assert [read_content(records, key) for key in range(0, 100, 2)] == contents


def test_threads_and_processes_read_as_one_does(tmp_path):
    records = face_set(tmp_path / "train.rec", list(range(60)))
    keys = [int(key) for key in records.image_keys()] * 4
    alone = [read_content(records, key) for key in keys]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda key: read_content(records, key), keys)) == alone
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(records.read, 3).result()[1] == alone[2]


def test_a_copy_for_a_worker_holds_the_path_alone(tmp_path):
    records = face_set(tmp_path / "train.rec", [1] * 2000)
    records.read_labels(records.image_keys())
    assert len(pickle.dumps(records)) < 1000


def test_nothing_is_opened_before_it_is_needed(tmp_path):
    records = RecordFile(tmp_path / "none.rec")
    with pytest.raises(InputError, match=r"none\.idx: no such file; it must lie next to none\.rec"):
        records.read(1)
    (tmp_path / "none.idx").write_text("1\t0\n")
    with pytest.raises(InputError, match=r"none\.rec: no such RecordIO file"):
        records.read(1)


@pytest.mark.parametrize("text", ["", "0\n", "0\t0\t0\n", "0 0\n", "a\tb\n", "0\t0.5\n"])
def test_a_damaged_index_is_refused(tmp_path, text):
    (tmp_path / "a.rec").write_bytes(bytes.fromhex(MXNET_RECORDS))
    (tmp_path / "a.idx").write_text(text)
    with pytest.raises(InputError, match=r"a\.idx: not the index of a RecordIO file; lines must be `key<tab>offset`"):
        RecordFile(tmp_path / "a.rec").image_keys()


def test_a_record_that_is_not_there_or_twice_is_refused(tmp_path):
    records = face_set(tmp_path / "a.rec", [1, 2])
    for read in (records.read, lambda key: records.read_labels(np.array([1, key]))):
        with pytest.raises(InputError, match=r"a\.idx: has no record 9"):
            read(9)
    (tmp_path / "a.idx").write_text("4\t0\n4\t0\n")
    with pytest.raises(InputError, match=r"a\.idx: record 4 is listed twice"):
        RecordFile(tmp_path / "a.rec").read(4)


def test_an_index_without_all_announced_images_is_refused(tmp_path):
    face_set(tmp_path / "a.rec", [1, 2, 3])
    lines = (tmp_path / "a.idx").read_text().splitlines(keepends=True)
    (tmp_path / "a.idx").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(InputError, match=r"a\.rec: record 0 announces 3 images, the \.idx has 2"):
        RecordFile(tmp_path / "a.rec").image_keys()


@pytest.mark.parametrize("content", [b"abcd" + MAGIC_BYTES + b"efgh", b"abcdefghi"])
def test_every_cut_of_the_file_is_noticed(tmp_path, content):
    """Cut off at each byte of its last record, the record is refused, and those before it are read."""
    write_records(tmp_path / "a.rec", {1: pack([4.0], b"first"), 2: pack([5.0, 6.0], content)})
    whole = (tmp_path / "a.rec").read_bytes().rstrip(b"\0")  # padding at the end is not missed
    start = int((tmp_path / "a.idx").read_text().split()[-1])
    for length in range(start, len(whole)):
        (tmp_path / "a.rec").write_bytes(whole[:length])
        records = RecordFile(tmp_path / "a.rec")
        assert read_content(records, 1) == b"first"
        for read in (lambda of=records: of.read(2), lambda of=records: of.read_labels(np.array([1, 2]))):
            with pytest.raises(InputError, match=rf"a\.rec: record 2, at byte {start}: the file ends"):
                read()


@pytest.mark.parametrize(
    ("place", "byte", "what"),
    [
        (0, 0x00, "no record starts or goes on there"),  # magic
        (7, 0x60, "no record starts or goes on there"),  # the last part of a record that has no first
        (4, 0x08, "its header is cut off"),  # length
        (8, 0xFF, "its labels are cut off"),  # count of labels
    ],
)
def test_a_damaged_record_is_refused(tmp_path, place, byte, what):
    write_records(tmp_path / "a.rec", {1: pack([4.0], b"first"), 2: pack([5.0], b"second"), 3: pack([6.0], b"third")})
    start = int((tmp_path / "a.idx").read_text().split()[3])
    damaged = bytearray((tmp_path / "a.rec").read_bytes())
    damaged[start + place] = byte
    (tmp_path / "a.rec").write_bytes(damaged)
    records = RecordFile(tmp_path / "a.rec")
    for read in (lambda: records.read(2), lambda: records.read_labels(np.array([1, 2, 3]))):
        with pytest.raises(InputError, match=rf"a\.rec: record 2, at byte {start}: {what}; copy"):
            read()
    assert (read_content(records, 1), read_content(records, 3)) == (b"first", b"third")


@pytest.mark.parametrize("offset", [-8, 2, 10_000])
def test_an_offset_outside_the_file_is_refused(tmp_path, offset):
    face_set(tmp_path / "a.rec", [1, 2])
    (tmp_path / "a.idx").write_text(f"1\t{offset}\n")
    records = RecordFile(tmp_path / "a.rec")
    for read in (lambda: records.read(1), lambda: records.read_labels(np.array([1]))):
        with pytest.raises(InputError, match=rf"a\.rec: record 1, at byte {offset}"):
            read()
