"""From a published data set to aligned faces: one face of every photo below a folder, and a log of all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from swinface.cores import count_cores
from swinface.data.align import align
from swinface.data.cache import digest_files
from swinface.data.labels import read_columns
from swinface.files import InputError, inside, printable, replacing_folder, working_alone
from swinface.images import list_images, name_saved, read_image
from swinface.photos.detect import detect
from swinface.registry import check_choice

LOG = "aligned.csv"
UNFINISHED = "aligned.unfinished"  # an empty file beside the log, as long as photos are missing in it
PLACES = ("left", "top", "right", "bottom", *(f"{axis}{number}" for number in range(1, 6) for axis in "xy"))
COLUMNS = ("photo", "face", "faces", "chosen", "score", *PLACES, "problem", "state")
NO_FACE, LEFT_OUT = "no face found", "left out: "  # of the problems; the second is followed by the reason
Choice = Literal["largest", "central"]


def align_folder(photos: Path, out: Path, choose: Choice = "largest", chunk: int = 256) -> pd.DataFrame:
    """Detect, align and crop one face of every photo below a folder.

    Faces are written below ``out`` under the names of their photos, JPEG at quality 95 or PNG. ``aligned.csv`` there
    has a row for every file of ``photos``. A photo without a face, or that cannot be read, has only its row, and so has
    a file that ``list_images`` leaves out. An interrupted call can be repeated: photos that have a row are not read
    again unless their files were written anew, and the result is that of an unbroken call.

    ``choose`` says which face is taken if there are several: the one with the ``largest`` box, or the most
    ``central``, whose box's centre is nearest to that of the photo. After ``chunk`` photos their faces and the log are
    written.

    Gives the log: ``COLUMNS``, in the order of ``list_images``, what it leaves out last. ``face`` is the face's path
    below ``out``, ``faces`` how many there are, ``score`` the detector's confidence, 0 to 1, then come box and
    landmarks in pixels of the photo; ``problem`` is what is wrong, empty where a face was written; ``state`` tells the
    photo's file from one that takes its place.

    Raises ``InputError`` if there are no photos, ``out`` lies within ``photos``, it holds faces that were chosen
    otherwise or are of photos that are not there, another process works there, or the detector is not installed.
    """
    check_choice("choose", choose, Choice)
    names, left_out = list_images(photos)
    if not names:
        raise InputError(f"{photos}: no photos below this folder.")
    saved: dict[str, str] = {}
    for name in names:
        if (other := saved.setdefault(name_saved(name), name)) != name:
            raise InputError(f"{photos}: the faces of {other} and {name} would be one file; rename one of them.")
    place = out.resolve()
    folders = {folder.resolve() for folder in {(photos / name).parent for name in names}}  # links may lead to `out`
    if photos.resolve() in (place, *place.parents) or any(place in (it, *it.parents) for it in folders):
        raise InputError(f"{out}: lies within {photos}; name a folder elsewhere.")
    detect(np.zeros((64, 64, 3), dtype=np.uint8))  # the detector is loaded once, or is not installed
    with working_alone(out):
        log = read_log(out / LOG) if (out / LOG).exists() else pd.DataFrame(columns=list(COLUMNS))
        other = set(log["chosen"].astype(str)) - {choose}
        if other:
            raise InputError(f"{out}: its faces were chosen by {min(other)!r}, not {choose!r}; choose another folder.")
        log = _keep_done(log, photos, out, names)
        done = set(log["photo"])
        left = [name for name in names if name not in done]
        with tqdm(total=len(left), desc="align", unit="photo", disable=None) as bar:
            for start in range(0, len(left), chunk):
                part = left[start : start + chunk]
                # Threads have ended before the folder is moved or, when interrupted, deleted.
                with replacing_folder(out, last=LOG) as folder:
                    with ThreadPoolExecutor(count_cores()) as pool:
                        rows = list(pool.map(partial(_align_photo, photos, folder, choose), part))
                    log = pd.concat([log, pd.DataFrame(rows, columns=list(COLUMNS))], ignore_index=True)
                    log.to_csv(folder / LOG, index=False)
                    (folder / UNFINISHED).touch()
                bar.update(len(part))
        log = log.set_index("photo").reindex(names).reset_index()
        others = {printable(name): f"{LEFT_OUT}{reason}" for name, reason in left_out.items()}
        rest = pd.DataFrame({"photo": [*others], "faces": 0, "chosen": choose, "problem": [*others.values()]})
        log = pd.concat([log, rest.reindex(columns=list(COLUMNS)).astype(log.dtypes)], ignore_index=True)
        with replacing_folder(out) as folder:
            log.to_csv(folder / LOG, index=False)
        (out / UNFINISHED).unlink(missing_ok=True)
    return log


def _keep_done(log: pd.DataFrame, photos: Path, out: Path, names: list[str]) -> pd.DataFrame:
    """The rows of photos that need not be read again; faces of those whose files were written anew are deleted.

    Raises ``InputError`` if there are faces of other photos, as of another folder, which would be among those of these.
    """
    faces = log.set_index("photo")["face"].dropna().map(lambda face: inside(out, face, f"{out / LOG}"))
    other = [face for face in faces.drop(names, errors="ignore") if face.exists()]
    if other:
        some = f"{len(other):,} faces of photos that are not in {photos}, such as {other[0]}"
        raise InputError(f"{out}: has {some}; delete these faces, or choose another folder.")
    now = pd.Series([digest_files([photos / name]) for name in log["photo"]], index=log.index, dtype=object)
    same = log["state"] == now
    for face in faces[faces.index.isin(log["photo"][~same])]:
        face.unlink(missing_ok=True)
    return log[same]


def read_log(path: Path) -> pd.DataFrame:
    """Read the log of ``align_folder``: a table with ``COLUMNS``.

    Raises ``InputError`` if the file is missing, or is no such log.
    """
    log = read_columns(path, "log of `swinface align`", dtype=str)
    if list(log.columns) != list(COLUMNS) or not isinstance(log.index, pd.RangeIndex):
        raise InputError(f"{path}: not a log of `swinface align`; choose another folder.")
    if not log["photo"].is_unique or log["photo"].isna().any():
        raise InputError(f"{path}: a photo has no name or occurs twice; delete the file to start again.")
    for column in ("faces", "score", *PLACES):
        numbers = pd.to_numeric(log[column], errors="coerce")
        if (numbers.isna() & log[column].notna()).any() or (column == "faces" and (numbers % 1 != 0).any()):
            raise InputError(f"{path}: column {column} must hold numbers; delete the file to start again.")
        log[column] = numbers.astype(int) if column == "faces" else numbers
    return log


def read_whole_log(path: Path) -> pd.DataFrame:
    """``read_log`` of a folder in which all photos are done.

    Raises ``InputError`` as that does, or if ``align_folder`` was interrupted: faces would be left out.
    """
    if (path.parent / UNFINISHED).exists():
        raise InputError(
            f"{path}: `swinface align` was interrupted, so photos are missing; run the same command again to resume."
        )
    return read_log(path)


def _align_photo(photos: Path, folder: Path, choose: Choice, name: str) -> dict[str, Any]:
    """Write a photo's face below ``folder``, and give its row of the log."""
    row: dict[str, Any] = {"photo": name, "faces": 0, "chosen": choose, "state": digest_files([photos / name])}
    try:
        image = read_image(photos / name)
        found = detect(image)
        if not found:
            return row | {"problem": NO_FACE}
        centre = np.array(image.shape[1::-1]) / 2
        off = [float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - centre)) for face in found]
        face = found[0 if choose == "largest" else np.argmin(off)]
        aligned = Image.fromarray(align(image, face.landmarks, str(photos / name)))
    except InputError as error:
        return row | {"problem": str(error)}
    target = name_saved(name)
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    options = {} if target.lower().endswith(".png") else {"quality": 95, "subsampling": 0}
    aligned.save(folder / target, **options)
    places = np.round([*face.box, *np.ravel(face.landmarks)], 2).tolist()
    found_here = {"face": target, "faces": len(found), "score": round(face.score, 4)}
    return row | found_here | dict(zip(PLACES, places, strict=True))
