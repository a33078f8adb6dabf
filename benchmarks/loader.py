"""How fast training data start and flow: ``python benchmarks/loader.py``.

Makes a record file with as many records and identities as MS1MV2 (only the index is of full size: records are tiny and
hold no image) and one of drawn faces; then prints start-up time and memory, and faces per second of one process.
"""

from __future__ import annotations

import argparse
import gc
import struct
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from swinface.data.datasets import RecordIO
from swinface.data.faces import IMAGE_SIZE
from swinface.data.recordio import HEADER, MAGIC, PART_HEADER, WORD
from swinface.data.streams import Batches, Stream

BATCH, BATCHES = 128, 10


def write_records(folder: Path, images: list[bytes], records: int, identities: int) -> None:
    """Write a set of faces as insightface lays it out: a header, the images in turn, then a record per identity."""
    place = 0
    with open(folder / "train.rec", "wb") as data, open(folder / "train.idx", "w", encoding="ascii") as index:

        def put(key: int, labels: tuple[float, ...], content: bytes = b"") -> None:
            nonlocal place
            if len(labels) > 1:
                content = struct.pack(f"<{len(labels)}f", *labels) + content
            record = HEADER.pack(len(labels) if len(labels) > 1 else 0, labels[0], key, 0) + content
            record = PART_HEADER.pack(MAGIC, len(record)) + record + bytes(-len(record) % WORD)
            index.write(f"{key}\t{place}\n")
            data.write(record)
            place += len(record)

        put(0, (records + 1, records + 1 + identities))
        for number in range(records):
            put(number + 1, (number * identities // records,), images[number % len(images)])
        for number in range(identities):
            put(records + 1 + number, (1.0, 2.0))


def draw_images(count: int) -> list[bytes]:
    """JPEG images of the size of faces, smooth as faces are."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (14, 14, 3), dtype=np.uint8))
        buffer = BytesIO()
        small.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC).save(buffer, "jpeg", quality=95)
        images.append(buffer.getvalue())
    return images


def own_memory() -> float:
    """Memory of this process that is not shared with others or mapped from files, in MB."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=5_822_653)
    parser.add_argument("--identities", type=int, default=85_742)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), [bytes(100)], options.records, options.identities)
        for start in ("first start", "later start"):
            before, begun = own_memory(), time.perf_counter()
            batches = Batches({"recognition": Stream(BATCH, [RecordIO(Path(folder))])}, [], seed=0)
            seconds = time.perf_counter() - begun
            print(f"{options.records:,} records, {start}: {seconds:.1f} s, {own_memory() - before:.0f} MB of memory")
            del batches
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), draw_images(500), 5000, 50)
        for augmentation in ("none", "flip", "light", "randaugment"):
            batches = Batches({"recognition": Stream(BATCH, [RecordIO(Path(folder))], augmentation)}, [], seed=0)
            batches[0]
            begun = time.perf_counter()
            for step in range(1, BATCHES + 1):
                batches[step]
            rate = BATCH * BATCHES / (time.perf_counter() - begun)
            print(f"one process, augmentation {augmentation}: {rate:,.0f} faces/s")


if __name__ == "__main__":
    main()
