"""Search in a gallery that is kept in a file: block by block, against one product of whole matrices.

    python benchmarks/search.py --faces 1000000

The gallery is random, float16, and mapped from a file. Prints the time and the memory of both ways, and whether they
find the same faces.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from kinface.data.ranking import find_nearest

TOP = 100


def make_gallery(path: Path, faces: int, size: int) -> None:
    """Write a gallery of random directions, in blocks."""
    gallery = np.lib.format.open_memmap(path, "w+", np.float16, (faces, size))
    rng = np.random.default_rng(0)
    for start in range(0, faces, 65_536):
        part = rng.normal(size=(min(65_536, faces - start), size)).astype(np.float32)
        gallery[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)


def search(path: Path, queries: int, way: str) -> np.ndarray:
    """(queries, TOP) places of the nearest faces."""
    gallery = np.load(path, mmap_mode="r")
    sought = np.asarray(gallery[:queries], dtype=np.float32)
    if way == "blocks":
        return find_nearest([photo[None] for photo in sought], gallery, TOP)[0]
    scores = sought @ np.asarray(gallery, dtype=np.float32).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--faces", type=int, default=1_000_000, help="faces in the gallery")
    options.add_argument("--size", type=int, default=128, help="numbers in an embedding")
    options.add_argument("--queries", type=int, default=190, help="people who are sought")
    options.add_argument("--way", choices=["blocks", "whole"], help="only this way, in a gallery that is there")
    options.add_argument("--folder", type=Path, help="where the gallery lies, with --way")
    chosen = options.parse_args()
    if chosen.way:
        start = time.perf_counter()
        found = search(chosen.folder / "gallery.npy", chosen.queries, chosen.way)
        seconds = time.perf_counter() - start
        np.save(chosen.folder / f"{chosen.way}.npy", found)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{chosen.way:7} {seconds:8.1f} s {memory:6.2f} GB")
        return
    with tempfile.TemporaryDirectory() as folder:
        make_gallery(Path(folder) / "gallery.npy", chosen.faces, chosen.size)
        print(f"{chosen.faces:,} faces of {chosen.size} numbers, {chosen.queries} queries, the first {TOP}")
        for way in ("blocks", "whole"):
            arguments = [f"--{name}={getattr(chosen, name)}" for name in ("faces", "size", "queries")]
            command = [sys.executable, __file__, f"--way={way}", f"--folder={folder}", *arguments]
            subprocess.run(command, check=True)
        blocks, whole = (np.load(Path(folder) / f"{way}.npy") for way in ("blocks", "whole"))
        print(f"the same faces in the same order: {100 * (blocks == whole).mean():.2f}%")


if __name__ == "__main__":
    main()
