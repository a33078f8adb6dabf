"""How well properties other than kinship tell kin from non-kin pairs, and a model's scores without them. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from tqdm import tqdm

from kinface.data.annotations import TAKEN, is_measurement
from kinface.data.pairs import check_kinds, check_pairs, drop_marks, factorize_sides
from kinface.data.photos import name_photographs
from kinface.data.tables import as_pandas, canonical_text, infer_type, take_index
from kinface.fairness.dyads import FAMILIES, Dyads
from kinface.fairness.intervals import MEASURED, interval_of_difference, interval_of_rate, measure_by, standard_error
from swinface.bootstrap import start_drawing
from swinface.files import InputError, inside
from swinface.images import read_image

ENDS = ("", "_low", "_high")
ALONE = ("control", "pairs", "kin", *(f"auc{end}" for end in ENDS), "significant")  # columns of a list without scores
SCORED = (*(f"{name}{end}" for name in ("model", "model_alike", "difference") for end in ENDS), "left_out")  # and with
PARTS = 10  # of as many pairs each, into which a control with more values than these is divided
SHUFFLES = 200
AT_ONCE = 20_000  # pairs whose histograms are compared together


def controls(
    pairs: pd.DataFrame,
    faces: pd.DataFrame | None = None,
    *,
    root: str | Path | None = None,
    clusters: Sequence[str] | None = FAMILIES,
    seed: int = 0,
) -> pd.DataFrame:
    """Score pairs by properties other than kinship: a list that such controls solve does not measure kinship.

    Kin are often cropped from one photograph, which a network sees (Dawson, Zisserman & Nellaker, From Same Photo:
    Cheating on Visual Kinship Challenges, ACCV 2018, arXiv 1809.06200), and strangers are often of two races. Each
    control scores all pairs alone. The model's AUC is then measured again without the help of the control: each kin
    pair is compared only with non-kin pairs that the control scores alike, the same value, or the same tenth of
    the pairs if it has more than ten. This is the covariate-adjusted AUC (Janes & Pepe, Biometrika 96(2), 2009). Kin
    pairs without such non-kin pairs, as those from one photograph mostly are, are left out. Raises ``InputError`` if a
    table or an image cannot be used, pairs are all of one kind, or some have a score and others none.

    Parameters
    ----------
    pairs
        A pairs table, scored or not. Attributes are the columns X_a and X_b, such as race, gender, or ``photo``, the
        photograph that a face is cut from; without it, it is taken from names such as FIW's, P00004_face1.jpg.
    faces
        A row per face: ``face``, ``person`` and further attributes, such as ``faces`` of ``read_families``.
    root
        Folder of the images; without it no control reads them.
    clusters
        As for ``kinface.audit``.
    seed
        Seed of the shuffled labels.

    Returns
    -------
    pd.DataFrame
        A row per control of which something is known: ``control``; ``pairs`` and ``kin``, for which it is known;
        ``auc`` of the control alone, below the chance level, .5, if kin have less of it; ``significant``, whether .5
        lies outside the interval. With scores also ``model``, the model's AUC on these pairs, ``model_alike``, that of
        pairs alike, ``difference``, the latter minus the former, and ``left_out``, kin pairs left out by it; and the
        rows ``model`` and ``shuffled labels``, between whose ends lie 95 of 100 such AUCs. AUCs and the difference have
        ``_low`` and ``_high``, the ends of their 95% intervals (``kinface.fairness.intervals``).

        The controls are ``same X`` for each attribute with classes, ``X gap`` for a measured one, ``photos per person``
        (the sum of both), and of images ``colour histogram`` (the intersection of histograms of 8 x 8 x 8 colours;
        Swain & Ballard, IJCV 7(1), 1991), ``image size`` and ``sharpness`` (variance of the Laplacian); of measures the
        smaller difference counts as more alike.

    Examples
    --------
    >>> import kinface
    >>> families, _ = kinface.make_families()
    >>> found = controls(families.pairs("val"), families.faces)
    >>> found["control"].tolist()
    ['same race', 'same gender', 'age gap', 'same photo', 'photos per person']
    """
    pairs = check_pairs(pairs, "pairs")
    check_kinds(pairs["kin"], "pairs")
    unscored = pairs["score"].isna()
    if unscored.any() and not unscored.all():
        raise InputError(
            f"row {int(unscored.argmax()) + 1}: score is missing, and others have one; leave such pairs out."
        )
    kin, dyads = pairs["kin"].to_numpy(), Dyads.of_pairs(pairs, clusters)
    found = measure_controls(pairs, faces, root=root, dyads=dyads)
    if "model" in found:
        score = pairs["score"].to_numpy()
        everyone = {"control": "model", **_describe_auc(score, kin, np.zeros(len(pairs), int), dyads)}
        shuffled = everyone | {"control": "shuffled labels", **_shuffle(score, kin, seed)}
        found = pd.concat([found, pd.DataFrame([everyone, shuffled])], ignore_index=True)
    return found


def measure_controls(
    pairs: pd.DataFrame, faces: pd.DataFrame | None = None, *, root: str | Path | None = None, dyads: Dyads
) -> pd.DataFrame:
    """The rows of ``controls`` but for the last two, of pairs that are checked (``check_pairs``)."""
    scored = bool(pairs["score"].notna().all())
    of_control = _score_attributes(pairs, faces) | ({} if root is None else _score_images(pairs, Path(root)))
    order = np.argsort(pairs["score"].to_numpy(), kind="stable")  # once: what is in order is not sorted again
    kin, score, dyads = pairs["kin"].to_numpy()[order], pairs["score"].to_numpy()[order], dyads[order]
    rows = []
    for name, values in tqdm(of_control.items(), "controls", unit="control", leave=False, disable=None, delay=1):
        alike = values[order]
        known = ~np.isnan(alike)
        if not known.any():
            continue
        together = np.where(known, 0, -1)
        row = {"control": name, **_describe_auc(alike, kin, together, dyads)}
        if scored:
            part = _divide(alike)
            plain, influence = _measure_auc(score, kin, together)
            within, moved = _measure_auc(score, kin, part)
            row |= _with_interval("model", plain, influence, dyads, known)
            row |= _with_interval("model_alike", within, moved, dyads, known)
            error = standard_error(moved - influence, dyads)
            low, high = interval_of_difference(within - plain, error**2)
            row |= {"difference": within - plain, "difference_low": float(low), "difference_high": float(high)}
            row["left_out"] = int((kin & known & ~np.isin(part, part[~kin & known])).sum())
        rows.append(row)
    columns = [*ALONE, *(SCORED if scored else ())]
    return pd.DataFrame(rows, columns=columns).astype({"left_out": "Int64"} if scored else {})


def _score_attributes(pairs: pd.DataFrame, faces: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """Control to (pairs,), higher where the two people, or their photos, are more alike; NaN where unknown."""
    sides = {name[:-2]: (pairs[name], pairs[f"{name[:-2]}_b"]) for name in pairs if _is_attribute(name, pairs)}
    if faces is not None:
        faces = take_index(as_pandas(faces))
        named = [name for name in ("face", "person") if name in faces]
        texts = {name: canonical_text(faces[name], f"faces: {name}", paths=name == "face") for name in named}
        faces = faces.assign(**texts)
        if "face" not in faces or faces["face"].duplicated().any():
            raise InputError("faces: a column 'face' is needed that names each face once.")
        table = faces.set_index("face")
        if len(table) and not pairs["face_a"].isin(table.index).any():
            warnings.warn(f"faces: has no row of the pairs' faces, such as {pairs['face_a'][0]}.", stacklevel=4)
        more = [name for name in table if name not in (*TAKEN, *sides) and not name.endswith("_source")]
        table = drop_marks(table[more], "faces")
        both = [table.reindex(pairs[side]).reset_index(drop=True) for side in ("face_a", "face_b")]
        sides |= {name: (both[0][name], both[1][name]) for name in more}
    codes, names = factorize_sides(pairs, "face")
    if "photo" not in sides:
        photo = name_photographs(names).astype(object)
        photo[photo == names] = None  # the name of the face does not tell
        sides["photo"] = tuple(pd.Series(photo[of_side], dtype=object) for of_side in codes.reshape(2, -1))
    found = {}
    for name, (a, b) in sides.items():
        if name == "age":  # years, also as text
            a, b = infer_type(a), infer_type(b)
        if is_measurement(a) and is_measurement(b) and name not in ("race", "gender"):  # codes have no gap
            found[f"{name} gap"] = -np.abs(a.to_numpy(float, na_value=np.nan) - b.to_numpy(float, na_value=np.nan))
        else:
            a, b = (canonical_text(side, f"attribute {name}") for side in (a, b))
            known = (a.notna() & b.notna()).to_numpy()
            found[f"same {name}"] = np.full(len(pairs), np.nan)
            found[f"same {name}"][known] = (a[known] == b[known]).to_numpy()
    if faces is not None and "person" in faces:
        photos = faces["person"].value_counts()
    else:
        photos = pd.DataFrame({"face": codes, "person": pd.concat([pairs["person_a"], pairs["person_b"]])})
        photos = photos.drop_duplicates()["person"].value_counts()
    found["photos per person"] = sum(pairs[side].map(photos).to_numpy(float) for side in ("person_a", "person_b"))
    return found


def _is_attribute(name: str, pairs: pd.DataFrame) -> bool:
    """Whether it says something of the first person, and the second has it too."""
    named = name.endswith("_a") and f"{name[:-2]}_b" in pairs and name[:-2] not in (*TAKEN, "face", "person", "family")
    return named and pairs[name].notna().any()


def _score_images(pairs: pd.DataFrame, root: Path) -> dict[str, np.ndarray]:
    """Control to (pairs,), higher where the two images are more alike."""
    codes, names = factorize_sides(pairs, "face")
    images = (read_image(inside(root, name, "the pairs")) for name in names)
    images = tqdm(images, "images", len(names), unit="image", leave=False, disable=None, delay=1)
    histograms, pixels, sharpness = zip(*map(_describe, images), strict=True)
    histograms, (a, b) = np.stack(histograms), codes.reshape(2, -1)
    places = [slice(start, start + AT_ONCE) for start in range(0, len(pairs), AT_ONCE)]
    shared = [np.minimum(histograms[a[it]], histograms[b[it]]).sum(axis=1, dtype=float) for it in places]
    found = {"colour histogram": np.concatenate(shared)}
    for name, value in (("image size", pixels), ("sharpness", sharpness)):
        scale = np.log1p(np.array(value, float))
        found[name] = -np.abs(scale[a] - scale[b])
    return found


def _describe(image: np.ndarray) -> tuple[np.ndarray, int, float]:
    """The shares of 8 x 8 x 8 colours, the number of pixels and the variance of the Laplacian of (H, W, 3) uint8."""
    bins = (image >> 5).reshape(-1, 3).astype(np.intp) @ [64, 8, 1]
    grey = np.pad(image.mean(axis=2), 1, mode="edge")
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return np.bincount(bins, minlength=512).astype(np.float32) / len(bins), len(bins), float(laplacian.var())


def _divide(alike: np.ndarray) -> np.ndarray:
    """(pairs,) the part of each pair, in which all pairs count as alike; -1 where unknown."""
    if len(np.unique(alike[~np.isnan(alike)])) > PARTS:
        return pd.qcut(pd.Series(alike), PARTS, labels=False, duplicates="drop").fillna(-1).to_numpy(int)
    return pd.factorize(alike)[0]


def _measure_auc(score: np.ndarray, kin: np.ndarray, part: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over kin pairs of the AUC within their part of the list, and the influence value of each pair.

    ``part`` is (pairs,), -1 for pairs that do not count. Of the mean sum_s share_s AUC_s the influence values are
    share_s times those of AUC_s, and (AUC_s - mean) / m more for each of the m kin pairs, whose numbers are the shares.
    """
    areas, influence = (
        it[:, MEASURED.index("auc")] for it in measure_by(score, kin, part, int(part.max()) + 1, threshold=0.0)
    )
    counts = np.where(np.isnan(areas), 0, np.bincount(part[kin & (part >= 0)], minlength=len(areas)))
    if not counts.any():
        return np.nan, influence
    mean = float(np.nansum(areas * counts) / counts.sum())
    counted = kin & (part >= 0) & (counts[part] > 0)
    influence = influence * (counts / counts.sum())[part]
    influence[counted] += (areas[part[counted]] - mean) / counts.sum()
    return mean, influence


def _describe_auc(score: np.ndarray, kin: np.ndarray, part: np.ndarray, dyads: Dyads) -> dict[str, float | int | bool]:
    auc, influence = _measure_auc(score, kin, part)
    row = {"pairs": int((part >= 0).sum()), "kin": int(kin[part >= 0].sum())}
    row |= _with_interval("auc", auc, influence, dyads, part >= 0)
    return row | {"significant": bool(row["auc_low"] > 0.5 or row["auc_high"] < 0.5)}


def _shuffle(score: np.ndarray, kin: np.ndarray, seed: int) -> dict[str, float | bool]:
    """The mean AUC with shuffled labels, and between what 95 of 100 lie, by the ranks of the kin pairs."""
    rank, rng, count = rankdata(score), start_drawing(seed), kin.sum()
    sums = np.array([rank @ rng.permutation(kin) for _ in range(SHUFFLES)])
    areas = (sums - count * (count + 1) / 2) / (count * (len(kin) - count))
    low, high = np.quantile(areas, [0.025, 0.975])
    return {"auc": areas.mean(), "auc_low": low, "auc_high": high, "significant": bool(low > 0.5 or high < 0.5)}


def _with_interval(name: str, auc: float, influence: np.ndarray, dyads: Dyads, known: np.ndarray) -> dict[str, float]:
    units = dyads.count(np.where(known, 0, -1), 1, known)["all"][0]
    low, high = interval_of_rate(auc, standard_error(influence, dyads, known), units)
    return {name: auc, f"{name}_low": float(low), f"{name}_high": float(high)}
