"""Tables of embeddings are read whatever their names are stored as; nothing is unpickled, and sizes are bounded."""

from __future__ import annotations

import io
import os
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swinface.data.embeddings import Embeddings, read_arrays, write_embeddings
from swinface.files import InputError, tidy_path

FACES = ["a/1.jpg", "b/é.jpg"]
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def npy(header: str, content: bytes = b"") -> bytes:
    """An array whose header says what it likes."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def save(path: Path, compression: int = zipfile.ZIP_STORED, **entries: bytes | np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, entry in entries.items():
            if not isinstance(entry, bytes):
                stream = io.BytesIO()
                np.save(stream, entry)
                entry = stream.getvalue()
            archive.writestr(f"{name}.npy", entry)
    return path


def refuse(path: Path) -> str:
    start = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"^{path}: ") as error:
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 2e7
    tracemalloc.stop()
    assert time.perf_counter() - start < 60
    return str(error.value)


@pytest.mark.parametrize(
    "faces",
    [
        np.array(FACES),
        np.array(FACES, dtype=object),
        np.array([face.encode() for face in FACES]),
        np.array([face.encode() for face in FACES], dtype=object),
        np.array([np.str_(face) for face in FACES], dtype=object),
    ],
    ids=["text", "objects", "bytes", "objects of bytes", "objects of numpy's text"],
)
def test_names_are_read_from_text_bytes_and_objects(faces, tmp_path):
    np.savez(tmp_path / "a.npz", face=faces, embedding=VALUES)
    found, read = read_arrays(tmp_path / "a.npz")
    assert found == FACES
    assert (read["embedding"] == VALUES).all()
    assert (Embeddings(tmp_path / "a.npz")[["b/é.jpg"]] == VALUES[1:]).all()


def test_names_of_other_objects_are_refused_for_what_they_are_and_do_nothing(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "a.npz"
    np.savez(path, face=np.array(["a", Command(mark)], dtype=object), embedding=VALUES)
    assert f"`face` holds Python's objects: it would run {os.mkdir.__module__}.mkdir" in refuse(path)
    assert not mark.exists()
    np.savez(path, face=np.array(["a", None], dtype=object), embedding=VALUES)
    assert "row 1 of `face` is a NoneType; save paths as text" in refuse(path)
    np.savez(path, face=np.array(FACES)[None], embedding=VALUES)
    assert "`face` is (1, 2); it must be (N,)" in refuse(path)


def test_other_arrays_may_be_anything(tmp_path):
    about = np.array([{"model": "x"}, Command(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "a.npz", face=FACES, embedding=VALUES, about=about, FM1=VALUES.astype(">f8"), name=FACES)
    assert [*read_arrays(tmp_path / "a.npz")[1]] == ["embedding", "FM1"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        (VALUES.astype(object), r"`embedding` is (2, 3) object; it must be numbers, (2, D)"),
        (VALUES[:1], r"`embedding` is (1, 3) float32"),
        (VALUES[0], r"`embedding` is (3,) float32"),
        (VALUES.astype(str), r"`embedding` is (2, 3) <U32"),
        (VALUES + np.array([[np.nan], [0]]), "row 0 of `embedding` is not finite"),
        (VALUES + np.array([[0], [1e300]]), "row 1 of `embedding` is not finite"),
    ],
)
def test_embeddings_of_another_form_are_refused(embedding, said, tmp_path):
    assert said in refuse(save(tmp_path / "a.npz", face=np.array(FACES), embedding=embedding))


def test_a_missing_array_is_named(tmp_path):
    assert "no array `embedding`" in refuse(save(tmp_path / "a.npz", face=np.array(FACES)))
    assert "no array `face`" in refuse(save(tmp_path / "a.npz", embedding=VALUES))


HUGE = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    "header",
    [
        HUGE % ("<f4", (10**9, 128)),
        HUGE % ("<f4", (10**30, 10**30)),
        HUGE % ("<f4", (2, -3)),
        HUGE % ("<U0", (10**12,)),
        HUGE % ("|V0", (10**12, 3)),
        HUGE % ("|S1000000000", (2,)),
    ],
)
@pytest.mark.parametrize("name", ["face", "embedding", "FM1"])
def test_a_header_cannot_ask_for_more_than_the_file_holds(header, name, tmp_path):
    entries = {"face": np.array(FACES), "embedding": VALUES, "FM1": VALUES} | {name: npy(header, b"1" * 24)}
    assert f"the array `{name}` is damaged" in refuse(save(tmp_path / "a.npz", **entries))


def test_a_small_file_cannot_fill_the_memory(tmp_path):
    bomb = npy(HUGE % ("<f4", (10_000_000, 128)), bytes(64))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("face.npy", bomb)
        with archive.open("embedding.npy", "w", force_zip64=True) as file:
            for _ in range(1200):
                file.write(bytes(1 << 20))
    assert "bytes; write it without compression" in refuse(tmp_path / "a.npz")


def test_names_from_windows_are_found_and_a_missing_one_is_told_from_those_there(tmp_path):
    np.savez(tmp_path / "a.npz", face=["a\\1.jpg", ".\\b//2.jpg "], embedding=VALUES)
    table = Embeddings(tmp_path / "a.npz")
    assert (table[["b/2.jpg", "a/1.jpg"]] == VALUES[::-1]).all()
    with pytest.raises(InputError, match=r"no embedding of /a/1\.jpg .*; it has 2 others, such as a/1\.jpg"):
        table[["/a/1.jpg"]]
    np.savez(tmp_path / "b.npz", face=["/fiw/b/2.jpg", "/fiw/a/1.jpg"], embedding=VALUES)
    with pytest.raises(InputError, match=r"no embedding of a/1\.jpg .*; it has /fiw/a/1\.jpg, so write all paths"):
        Embeddings(tmp_path / "b.npz")[["a/1.jpg"]]


def test_compressed_tables_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", face=FACES, embedding=np.zeros((2, 100_000)))
    assert read_arrays(tmp_path / "a.npz")[1]["embedding"].shape == (2, 100_000)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)
    faces = draw(st.lists(text.map(tidy_path), unique=True, min_size=1))
    return faces, draw(arrays(np.float32, (len(faces), 2), elements=st.floats(-1e9, 1e9, width=32)))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(tables())
def test_what_is_written_is_read(tmp_path_factory, table):
    faces, values = table
    path = tmp_path_factory.mktemp("written") / "a.npz"
    write_embeddings(path, faces, values)
    found, read = read_arrays(path)
    assert found == faces
    assert (read["embedding"] == values).all()
