"""Which families a model was trained on, so that no threshold or result is taken from them."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import pandas as pd

from kinface.models.verify import read_record

FAMILIES = "families.json"  # of a model: the families that it was trained on, and a digest of each


def digest_families(faces: pd.DataFrame) -> dict[str, str]:
    """Family to a digest of the paths of its faces, of a table with ``family`` and ``face``.

    Another data set may have a family of the same name.
    """
    paths = faces.sort_values("face").groupby("family")["face"].agg("\n".join)
    return {family: hashlib.sha256(listed.encode()).hexdigest()[:12] for family, listed in paths.items()}


def warn_of_trained(pairs: pd.DataFrame, faces: pd.DataFrame, model: Path) -> None:
    """Warn if pairs or triplets are of families that a model was trained on, as far as its folder says.

    ``faces`` are those of the families that ``pairs`` were read with.
    """
    trained = read_record(model, FAMILIES) or {}
    seen = {family for family, digest in digest_families(faces).items() if trained.get(family) == digest}
    known = int((pairs["family_a"].isin(seen) | pairs["family_b"].isin(seen)).sum())
    if known:
        name = pairs["list"].iloc[0] or "the list"
        warnings.warn(
            f"{name}: {known:,} of {len(pairs):,} rows are of families that the model was trained on; thresholds and "
            "results from them do not hold for other people.",
            stacklevel=2,
        )
