"""``swinface predict``."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swinface.choices import SHIPPED, Runtime
from swinface.files import InputError, check_ending, check_place, drop_output, printable, replacing
from swinface.images import find_images, name_saved, read_image

LIKELY = 0.5  # probability from which an attribute is printed


def predict(
    photos: list[Path],
    *,
    model: Path = SHIPPED,
    aligned: bool = False,
    runtime: Runtime = "auto",
    json: Path | None = None,
    save: Path | None = None,
) -> None:
    """Predict age, gender, expression and attributes of every face in photos, the largest face first.

    Photos without a result are listed on stderr at the end, each with the reason, and the exit code is then 2.

    Parameters
    ----------
    photos
        Image files; they are turned upright by their EXIF orientation. A folder means all images in it.
    model
        Folder of a trained model; by default the released model.
    aligned
        The images are square faces, aligned to ArcFace's five points: no detector is run.
    runtime
        The library that runs the model. ``auto``: OpenVINO on a CPU, if the extra ``fast`` is installed, there are 256
        photos or more, and its outputs agree with torch's; otherwise torch.
    json
        File to write all results to, .json: a list with an entry per photo, with the probabilities of all tasks.
    save
        Folder to write the photos to with their faces marked and numbered as printed.
    """
    if json is not None:
        check_ending(json, [".json"], "the results")
        check_place(json)
    photos = find_images(photos)
    targets = [None] * len(photos) if save is None else name_drawings(photos, save)
    from swinface.model import SwinFace  # torch takes seconds to import, and help needs none
    from swinface.photos.alignment import warn_unaligned_files
    from swinface.photos.predict import draw_faces
    from swinface.photos.predict import predict as predict_faces
    from swinface.pretrained import best_device
    from swinface.runtimes import Runner

    network = SwinFace.from_pretrained(model).to(best_device())
    runner = Runner(network, runtime=runtime, method="read", faces=len(photos))
    if network.untrained:
        print(f"swinface predict: left out, model not trained on: {', '.join(network.untrained)}", file=sys.stderr)
    if aligned:
        warn_unaligned_files(photos)
    results, failures = [], []
    for photo, target in zip(photos, targets, strict=True):
        result: dict[str, Any] = {"photo": str(photo), "faces": []}
        try:
            image = read_image(photo)
            result["faces"] = predict_faces(network, image, aligned, name=str(photo), runtime=runner)
            if not result["faces"]:
                raise InputError(f"{photo}: no face found.")
        except InputError as error:
            result["error"] = str(error)
            failures.append(str(error))
        else:
            try:
                print(_describe_photo(photo, result["faces"]), flush=True)
            except BrokenPipeError:
                if json is None and save is None:
                    raise
                drop_output()  # the files are wanted still
            if target is not None:
                draw_faces(image, result["faces"], target)
        results.append(result)
    if json is not None:
        with replacing(json) as partial:
            partial.write_text(json_format.dumps(results, indent=1) + "\n", encoding="utf-8")
    if failures and len(photos) == 1:
        raise InputError(failures[0])
    if failures:
        print(*failures, sep="\n", file=sys.stderr)
        raise InputError(f"{len(failures)} of {len(photos)} photos have no result; the reasons are above.")


def _describe_photo(photo: Path, faces: Sequence[dict[str, Any]]) -> str:
    from swinface.photos.predict import summarise

    lines = [printable(str(photo))]
    for number, face in enumerate(faces, start=1):
        likely = sorted((-share, name) for name, share in face["attributes"].items() if share > LIKELY)
        attributes = ", ".join(f"{name.replace('_', ' ')} {-share:.2f}" for share, name in likely)
        lines.append(f"  {number}. {summarise(face)}")
        lines += [f"     {attributes}"] if attributes else []
    return "\n".join(lines)


def name_drawings(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Where to write each photo with its faces marked: its name in ``folder``, with a number if photos share a name.

    Raises ``InputError`` if a photo lies in ``folder`` itself, where a drawing could overwrite it.
    """
    taken: set[str] = set()
    targets = []
    for photo in photos:
        if folder.resolve() in (photo.parent.resolve(), photo.resolve().parent):
            raise InputError(f"{folder}: {photo} lies there; --save needs a folder other than that of the photos.")
        name, count = name_saved(photo.name), 1
        while name.lower() in taken:  # some file systems take a.jpg and A.JPG for one
            count += 1
            name = name_saved(f"{photo.stem}-{count}{photo.suffix}")
        taken.add(name.lower())
        targets.append(folder / name)
    return targets
