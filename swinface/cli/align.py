"""``swinface align``."""

from __future__ import annotations

from pathlib import Path

from swinface.photos.folder import LEFT_OUT, LOG, NO_FACE, Choice, align_folder


def align(photos: Path, *, out: Path, choose: Choice = "largest") -> None:
    """Detect, align and crop one face of every photo in a folder: 112x112 pixels, as the models expect.

    ``out`` then holds the faces under the names of their photos, and ``aligned.csv``, which gives for every file the
    location of the face, or why there is none. After an interruption, the same command resumes.

    Parameters
    ----------
    photos
        Folder of photos, searched at any depth.
    out
        Folder to write to, outside that of the photos.
    choose
        Which face to take if a photo has several: the largest, or the most central.
    """
    log = align_folder(photos, out, choose)
    problems = log["problem"].dropna()
    missing, others = int((problems == NO_FACE).sum()), int(problems.str.startswith(LEFT_OUT).sum())
    written, broken = len(log) - len(problems), len(problems) - missing - others
    found = (
        f"{len(log) - others:,} photos: {written:,} faces written, {missing:,} without a face, {broken:,} not readable"
    )
    print(f"{found}; {others:,} other files left out" if others else found)
    several = int((log["faces"] > 1).sum())
    if several:
        taken = "largest" if choose == "largest" else "most central"
        print(f"{several:,} photos have several faces; the {taken} was taken")
    print(f"wrote {out / LOG}")
