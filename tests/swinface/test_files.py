"""Outputs appear whole or not at all, paths stay below their root, messages are safe to print."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swinface.files
from swinface.files import (
    InputError,
    check_place,
    inside,
    printable,
    replacing,
    replacing_folder,
    running,
    working_alone,
)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Writing


def test_replacing_makes_folders_and_replaces_the_file(tmp_path):
    target = tmp_path / "a" / "b.csv"
    for text in ("first", "second"):
        with replacing(target) as path:
            assert path.suffix == ".csv"
            path.write_text(text)
        assert target.read_text() == text
    assert names(tmp_path) == ["a", "a/b.csv"]


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "b.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["b.csv"]


def test_replacing_folder_replaces_its_files_and_keeps_others(tmp_path):
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "roc.png").write_text("old")
    (out / "notes.txt").write_text("mine")
    with replacing_folder(out) as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "roc.png").write_text("new")
        assert (out / "figures" / "roc.png").read_text() == "old"
    assert (out / "figures" / "roc.png").read_text() == "new"
    assert (out / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out", "out/figures", "out/figures/roc.png", "out/notes.txt"]


def test_the_file_that_says_that_all_are_there_is_moved_last(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(swinface.files, "_move", lambda source, target: moved.append(target.name))
    with replacing_folder(tmp_path / "out", last="model") as folder:
        for name in ("config", "model", "scores"):
            (folder / name).write_text(name)
    assert moved == ["config", "scores", "model"]


@pytest.mark.parametrize("kind", ["link", "mount", "below what may not be written"])
def test_a_folder_may_be_a_link_to_another_disk_or_all_that_may_be_written(kind, tmp_path, monkeypatch):
    """Files are renamed on one disk, so they are first written there too."""
    link = kind == "link"
    disk, out = tmp_path / "mnt" / "disk", tmp_path / ("link" if link else "mnt/disk")
    disk.mkdir(parents=True)
    if link:
        out.symlink_to(disk)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == disk and kind == "mount")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != disk.parent or link or kind == "mount")
    check_place(out)
    with working_alone(out), replacing_folder(out) as folder:
        assert (folder.parent == disk.parent) if link else (folder.parent == disk)
        (folder / "a.txt").write_text("a")
    assert names(disk) == ["a.txt"] and out.is_symlink() == link


def test_replacing_folder_leaves_nothing_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "out") as folder:
        (folder / "a.csv").write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_files_of_two_writers_of_one_folder_do_not_mix(tmp_path):
    names = [f"{number}.txt" for number in range(200)]

    def write(text: str) -> None:
        with replacing_folder(tmp_path / "out") as folder:
            for name in names:
                (folder / name).write_text(text)
            barrier.wait()

    for _ in range(5):
        barrier = Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(write, text) for text in ("one", "two")]:
                done.result()
        assert len({(tmp_path / "out" / name).read_text() for name in names}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_places_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file; name a folder"), replacing_folder(tmp_path / "file"):
        pass
    with pytest.raises(InputError, match=r"cannot write .*a\.csv"), replacing(tmp_path / "file" / "a.csv"):
        pass
    assert names(tmp_path) == ["file"]


INSIDE = """
import sys
from pathlib import Path
from threading import Barrier
from swinface.files import replacing, replacing_folder, working_alone

with {block} as place:
    if place is not None:
        (place / "part.txt" if place.is_dir() else place).write_text("half")
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def inside_of() -> Iterator[Callable[[str], subprocess.Popen]]:
    """Start a process that stays within a block until it is killed."""
    started = []

    def start(block: str) -> subprocess.Popen:
        command = [sys.executable, "-c", INSIDE.format(block=block)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "inside\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_writer_left_goes_when_the_same_is_written_again(tmp_path, inside_of):
    out, table = tmp_path / "out", tmp_path / "[a].csv"
    for block in (f"replacing_folder({str(out)!r})", f"replacing({str(table)!r})"):
        killed = inside_of(block)
        killed.kill()
        killed.wait()
    assert len(list(tmp_path.glob(".*.partial"))) == 2
    with replacing(tmp_path / "other.csv") as path:
        path.write_text("other")
    assert len(list(tmp_path.glob(".*.partial"))) == 2
    with replacing_folder(out) as folder:
        (folder / "b.txt").write_text("whole")
    with replacing(table) as path:
        path.write_text("whole")
    assert names(tmp_path) == ["[a].csv", "other.csv", "out", "out/b.txt"]


def test_a_writer_that_is_at_work_is_left_alone(tmp_path, inside_of):
    out = tmp_path / "out"
    other = inside_of(f"replacing_folder({str(out)!r})")
    with replacing_folder(out) as folder:
        (folder / "ours.txt").write_text("ours")
    other.communicate()
    assert other.returncode == 0
    assert names(tmp_path) == ["out", "out/ours.txt", "out/part.txt"]


def test_a_folder_is_one_process_at_a_time_and_free_when_it_is_killed(tmp_path, inside_of):
    out = tmp_path / "runs" / "out"
    writer = inside_of(f"replacing({str(out / 'a.csv')!r})")
    other = inside_of(f"working_alone({str(out)!r})")
    with pytest.raises(InputError, match=r"runs/out: another process is at work here"), working_alone(out):
        pass
    for process in (other, writer):
        process.kill()
        process.wait()
    assert len(names(out)) > 0
    with working_alone(out):
        assert names(out) == []
        (out / "a.csv").write_text("whole")
    assert names(tmp_path) == ["runs", "runs/out", "runs/out/a.csv"]


# Paths


def test_inside_joins_paths_below_the_root(tmp_path):
    for path in ("F0001/MID1/a.jpg", "./F0001/MID1/a.jpg", "F0001\\MID1\\a.jpg", ".\\F0001/MID1\\a.jpg"):
        assert inside(tmp_path, path, "list.csv row 3") == tmp_path / "F0001" / "MID1" / "a.jpg"


def test_inside_refuses_the_drives_of_windows(monkeypatch):
    monkeypatch.setattr(swinface.files, "Path", PureWindowsPath)
    assert inside("C:/data", "a/b.jpg", "here") == PureWindowsPath("C:/data/a/b.jpg")
    with pytest.raises(InputError, match="leaves the data root"):
        inside("C:/data", "D:/b.jpg", "here")


@pytest.mark.parametrize("path", ["", ".", "/etc/passwd", "../a.jpg", "F0001/../../a.jpg", "..\\a.jpg", "\\a.jpg"])
def test_inside_refuses_paths_that_leave_the_root(path, tmp_path):
    with pytest.raises(InputError, match=r"^list.csv row 3: the path '.*' leaves the data root"):
        inside(tmp_path, path, "list.csv row 3")


# Text


@given(st.text(st.characters()))
def test_messages_cannot_steer_a_terminal(text):
    shown = printable(text)
    assert shown == printable(shown) == str(InputError(text))
    shown.encode()
    assert len(f"{shown}.".splitlines()) == 1
    assert not {"\x1b", "\r", "\x9b", "\u202e"} & {*shown}


def test_names_in_any_script_are_printed_as_they_are():
    name = "photos/Åsa 顔\u202f3.jpg 💥"
    assert printable(name) == name


def test_anothers_code_does_not_end_the_process():
    with pytest.raises(InputError, match=r"mine\.Half: it fails \(SystemExit: 0\)"), running("mine.Half"):
        sys.exit(0)


def test_a_failure_of_anothers_code_can_be_traced():
    with pytest.raises(InputError, match=r"mine\.Half: it fails") as caught, running("mine.Half"):
        _ = 1 / 0
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
