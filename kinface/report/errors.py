"""The pairs with the largest errors, with their faces: a confidential page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pandas as pd
from PIL import Image

from kinface.fairness.audit import FairnessAudit
from kinface.report.html import make_environment
from swinface.files import InputError, inside
from swinface.images import read_image

SIDE = 112  # pixels of a face on the page


def find_errors(audit: FairnessAudit, grouping: str, count: int = 6) -> pd.DataFrame:
    """The pairs of each group that are most wrongly accepted and rejected: of non-kin those with the highest scores, of
    kin those with the lowest.

    Gives ``group``, ``error`` (``accepted`` or ``rejected``), ``face_a``, ``face_b``, ``type``, ``score``; the worst
    come first. Raises ``InputError`` if the audit has no such grouping.
    """
    if grouping not in audit.labels:
        raise InputError(f"no grouping {grouping!r}; the audit has {', '.join(map(str, audit.labels.columns))}.")
    pairs, accepted = audit.pairs, audit.pairs["score"] >= audit.threshold
    found = []
    for group in audit.labels[grouping].cat.categories:
        of_group = audit.labels[grouping] == group
        for error, wrong, ascending in (
            ("accepted", accepted & ~pairs["kin"], False),
            ("rejected", ~accepted & pairs["kin"], True),
        ):
            worst = pairs[of_group & wrong].sort_values(
                ["score", "face_a", "face_b"], ascending=[ascending, True, True]
            )
            found.append(worst.head(count)[["face_a", "face_b", "type", "score"]].assign(group=group, error=error))
    columns = ["group", "error", "face_a", "face_b", "type", "score"]
    return pd.concat(found)[columns].reset_index(drop=True)


def render_errors(audit: FairnessAudit, root: Path, grouping: str = "race", count: int = 6) -> str:
    """A page with these pairs, their scores and their faces, which are inside it: it is as confidential as they are.

    ``root`` is the folder that paths of faces start from. Raises ``InputError`` if a face is not there, or cannot be
    read.
    """
    if grouping not in audit.labels:
        grouping = "overall"
    errors = find_errors(audit, grouping, count)
    images = {face: _embed_image(root, face) for face in {*errors["face_a"], *errors["face_b"]}}
    groups = {
        group: {error: rows.to_dict("records") for error, rows in of_group.groupby("error")}
        for group, of_group in errors.groupby("group", sort=False)
    }
    template = make_environment().get_template("errors.html")
    return template.render(grouping=grouping, groups=groups, images=images, threshold=audit.threshold, count=count)


def _embed_image(root: Path, face: str) -> str:
    """The face as a JPEG in text."""
    path = inside(root, face, "the pairs")
    if not path.is_file():
        raise InputError(f"{path}: no such face; name the folder that the pairs' paths start from.")
    image = Image.fromarray(read_image(path))
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
