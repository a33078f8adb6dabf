"""``swinface attention``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from swinface.choices import SHIPPED
from swinface.files import replacing_folder
from swinface.images import find_images
from swinface.tasks import TASKS

DOTS_PER_INCH = 150


def attention(images: list[Path], *, out: Path, model: Path = SHIPPED) -> None:
    """Show how much each task uses each level of the trunk, and which regions of the face its prediction depends on.

    This writes ``levels.csv`` and ``levels.png`` (the channel gate, averaged over a level's channels and over the
    faces), and ``places.csv`` and ``places.png`` (how much each place of a 7x7 grid contributes to the prediction).

    Parameters
    ----------
    images
        Square faces, aligned to ArcFace's five points; a folder means all images in it.
    out
        Folder to write to.
    model
        Folder of a trained model; by default the released model.
    """
    from swinface.attention import attend, draw_levels, draw_places  # torch takes seconds to import
    from swinface.model import SwinFace
    from swinface.photos.alignment import warn_unaligned_files
    from swinface.pretrained import best_device

    with replacing_folder(out) as folder:
        network = SwinFace.from_pretrained(model).to(best_device())
        files = find_images(images)
        warn_unaligned_files(files)
        levels, places, face = attend(network, files)
        levels.to_csv(folder / "levels.csv")
        places.to_csv(folder / "places.csv")
        draw_levels(levels, len(files)).savefig(folder / "levels.png", dpi=DOTS_PER_INCH)
        draw_places(places, face, len(files)).savefig(folder / "places.png", dpi=DOTS_PER_INCH)
    print(f"Mean channel gate of each level, over {len(files):,} faces; tasks of one subnet share it.\n")
    print(_describe(levels))


def _describe(levels: pd.DataFrame) -> str:
    """The table as text, a row per subnet with its tasks."""
    titled = levels.assign(tasks=[TASKS[task].title for task in levels.index]).groupby("subnet", sort=False)
    subnets = titled.agg(dict.fromkeys(levels, "first") | {"tasks": ", ".join})
    return subnets.to_string(index=False, float_format="{:.3f}".format)
