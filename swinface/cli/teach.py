"""``swinface teach``."""

from __future__ import annotations

from pathlib import Path

import swinface.data.datasets  # noqa: F401  # its classes can then be named without their module
from swinface.data.embeddings import write_embeddings
from swinface.data.source import Source
from swinface.files import check_ending
from swinface.photos.alignment import warn_unaligned
from swinface.recognition.teacher import embed_by_teacher


def teach(*, source: Source, out: Path) -> None:
    """Write a teacher's embeddings of every face of a data set.

    Parameters
    ----------
    source
        The data set, a class of ``swinface.data.datasets`` with its options.
    out
        File to write, .npz with ``face`` (N,), the image names of the source, and ``embedding`` (N, 128).
    """
    check_ending(out, [".npz"], "a table of embeddings")
    warn_unaligned(source.read, range(len(source)), source.root)
    embeddings = embed_by_teacher(source)
    write_embeddings(out, list(source.table["image"]), embeddings)
    print(f"{len(embeddings)} faces, {embeddings.shape[1]} numbers each: {out}")
