"""Verification sets are read from pickles of Python 2 and 3, and a pickle that would run anything is refused."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from swinface.data.pickles import read_pickled_pairs
from swinface.files import InputError

IMAGES = [b"\xff\xd8 first", b"\x89PNG second", bytes(range(256)), b"4"]


def write(content: object, folder: Path, protocol: int = 4) -> Path:
    path = folder / "lfw.bin"
    path.unlink(missing_ok=True)  # a disk may wait when a file is overwritten
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


def refuse(content: object, folder: Path, protocol: int = 4) -> str:
    path = write(content, folder, protocol)
    with pytest.raises(InputError) as error:
        read_pickled_pairs(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    return message


# The format


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", ["bytes", "arrays", "columns", "bytearrays", "objects"])
def test_every_protocol_and_form_is_read(protocol, form, tmp_path):
    images = list(IMAGES)
    if form in ("arrays", "columns"):
        images = [np.frombuffer(image, dtype=np.uint8) for image in IMAGES]
    if form == "bytearrays":
        images = [bytearray(image) for image in (*IMAGES[:3], IMAGES[3])]
    if form == "objects":
        images = np.array(IMAGES, dtype=object)
    if form == "columns":  # as older OpenCV encoded them
        images = [image[:, None].copy() for image in images]
    path = write((images, [True, False]), tmp_path, protocol)
    read, same = read_pickled_pairs(path)
    assert read == IMAGES
    assert same.dtype == bool
    assert same.tolist() == [True, False]


LABELS = {
    "bool": np.array([True, False]),
    "bool numbers": [np.True_, np.False_],
    "int": (1, 0),
    "uint8": np.array([1, 0], np.uint8),
    "int64": np.array([1, 0]),
    "int64 numbers": list(np.array([1, 0])),
    "big-endian": np.array([1, 0], ">i4"),
    "float": [1.0, 0.0],
    "float32": np.array([1, 0], np.float32),
    "object": np.array([True, 0], dtype=object),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_may_be_numbers_or_numpys(labels, protocol, tmp_path):
    _, same = read_pickled_pairs(write([tuple(IMAGES), labels], tmp_path, protocol))
    assert same.dtype == bool
    assert same.tolist() == [True, False]


def python2_string(text: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(text)) + text


def python2_array(content: bytes) -> bytes:
    """What Python 2 and its numpy write, at protocol 2, for a uint8 array of one axis."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + (b"J" + struct.pack("<i", len(content)) + b"\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R")
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + (python2_string(content) + b"tb")
    )


@pytest.mark.parametrize("encode", [python2_string, python2_array])
def test_a_pickle_of_python_2_is_read(encode, tmp_path):
    content = b"\x80\x02](" + b"".join(map(encode, IMAGES)) + b"e](\x88\x89e\x86."
    read, same = read_pickled_pairs(write(content, tmp_path))
    assert read == IMAGES
    assert same.tolist() == [True, False]


@pytest.mark.parametrize("labels", [b"(lp9\nI01\naI00\na", b"(lp9\nI1\naI0\na", b"(lp9\nF1.0\naF0.0\na"])
def test_a_pickle_of_python_2_at_protocol_0_is_read(labels, tmp_path):
    strings = b"".join(b"S%s\np%d\na" % (repr(image)[1:].encode(), row) for row, image in enumerate(IMAGES, start=1))
    read, same = read_pickled_pairs(write(b"((lp0\n" + strings + labels + b"tp10\n.", tmp_path))
    assert read == IMAGES
    assert same.tolist() == [True, False]


# What would run something


class Command:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_is_refused_and_does_nothing(protocol, tmp_path):
    mark = tmp_path / "ran"
    message = refuse((IMAGES, [True, Command(os.system, f"touch {mark}")]), tmp_path, protocol)
    assert f"it would run {os.system.__module__}.system" in message
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        collections.OrderedDict(a=1),
        Command(eval, "1"),
        Command(getattr, "a", "upper"),
        Command(np.load, "a.npy", None, True),
        Command(np.ndarray.__reduce__),
        io.BytesIO(b"1"),
    ],
)
def test_any_other_name_is_refused(content, tmp_path):
    assert "it would run" in refuse((IMAGES, [True, content]), tmp_path)


@pytest.mark.parametrize("name", [b"cnumpy.core.multiarray\n_reconstruct.__globals__\n", b"cnumpy\ndtype.__class__\n"])
def test_attributes_of_known_names_are_refused(name, tmp_path):
    assert "it would run" in refuse(b"\x80\x04" + name + b".", tmp_path)


@pytest.mark.parametrize("labels", [np.zeros(2, "M8[s]"), np.zeros(2, "V8"), np.zeros(2, complex)])
def test_arrays_of_other_types_are_refused_for_what_they_are(labels, tmp_path):
    message = refuse((IMAGES, labels), tmp_path)
    assert f"it has values of numpy's type {labels.dtype.str[1:].split('[')[0]}" in message
    assert "would run" not in message


@pytest.mark.parametrize("state", [b"}X\x08\x00\x00\x00__name__K\x01s", b"N}X\x09\x00\x00\x00_functionK\x01s\x86"])
def test_a_pickle_cannot_alter_the_reader(state, tmp_path):
    assert "it would run _encode with attributes" in refuse(b"\x80\x02c_codecs\nencode\n" + state + b"b.", tmp_path)
    test_every_protocol_and_form_is_read(2, "bytes", tmp_path)


# Other content


def test_a_truncated_file_is_refused(tmp_path):
    for protocol in (0, 2, 4):
        whole = pickle.dumps((IMAGES, [True, False]), protocol=protocol)
        for length in range(len(whole)):
            assert "damaged" in refuse(whole[:length], tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff\xe0 a jpeg", b"\x80\x04\x82\x01."])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    assert "it is damaged, or no pickle" in refuse(content, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": IMAGES}, "must hold a list of images and one of labels"),
        ((IMAGES, [True, False], 1), "must hold a list of images and one of labels"),
        ((dict(enumerate(IMAGES)), [True, False]), "the images are a dict"),
        (([*IMAGES[:3], "text"], [True, False]), "image 3 is 'text'"),
        (([*IMAGES[:3], np.ones(2, bool)], [True, False]), "image 3 is a numpy array"),
        ((IMAGES, [True, 2]), "label 1 is 2; it must be True or False"),
        ((IMAGES, [True, "yes"]), "label 1 is 'yes'"),
        ((IMAGES, np.array(["yes", "no"])), "label 0 is 'yes'"),
        ((IMAGES, np.array([b"1", b"0"])), "label 0 is b'1'"),
        ((IMAGES, [True, 0.5]), "label 1 is 0.5"),
        ((IMAGES, [True, float("nan")]), "label 1 is nan"),
        ((IMAGES, [True, 10**5000]), "label 1 is a int"),
        ((IMAGES, np.array([1, -1])), "label 1 is -1"),
        ((IMAGES, np.array([True, "a"], dtype=object)), "label 1 is 'a'"),
        ((IMAGES, [[True], [False]]), "label 0 is a list"),
        ((IMAGES, np.ones((2, 2), bool)), "the labels are an array of shape (2, 2)"),
        ((IMAGES, np.array(True)), "an array of shape ()"),
        (([], []), "no pairs"),
        ((IMAGES[:3], [True, False]), "3 images for 2 pairs"),
    ],
)
def test_other_content_is_refused(content, message, tmp_path):
    assert message in refuse(content, tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.bin: cannot be read \(No such file"):
        read_pickled_pairs(tmp_path / "none.bin")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        read_pickled_pairs(tmp_path)


@pytest.mark.parametrize(
    "asking",
    [
        b"]r\xff\xff\xff\x7f",  # values that are used again are numbered; a list of them can be as long as the number
        b"]p2147483647\n",
        b"\x96\x00\x00\x00\x00\x00\x01\x00\x00",  # lengths of what follows
        b"\x8e\x00\x00\x00\x00\x00\x01\x00\x00",
        b"\x95\x00\x00\x00\x00\x00\x01\x00\x00",
        b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R",
    ],
)
def test_a_few_bytes_cannot_ask_for_gigabytes(asking, tmp_path):
    tracemalloc.start()
    refuse(b"\x80\x04" + asking + b".", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
