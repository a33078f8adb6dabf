"""Data sets with head poses: 300W-LP and AFLW2000-3D as published, and lists of poses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from swinface.data.align import ARCFACE, align, fit_similarity
from swinface.data.datasets import LabelList
from swinface.data.labels import DEGREES, decode, read_labels
from swinface.data.matlab import read_matlab, refuse_matlab
from swinface.data.pose import ANGLES, measure_turn, turn
from swinface.data.source import Source
from swinface.files import InputError, one_line
from swinface.images import take_images

# The places among the 68 landmarks, counted from 0, whose means are ArcFace's five points.
FIVE = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))


def read_poses(files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read Matlab files: ``Pose_Para`` begins with pitch, yaw and roll in radians; ``pt3d_68`` or ``pt2d``, landmarks.

    Gives (N, 3) yaw, pitch and roll in degrees, see ``swinface.data.pose``, and (N, 5, 2) landmarks in the order of
    ``swinface.data.align.ARCFACE``, in pixels. Raises ``InputError``, which names the file, if one is missing or not of
    that form.
    """
    files = tqdm(files, desc="poses", unit="file", leave=False, disable=None)
    poses, landmarks, what = [], [], "a file of 300W-LP or AFLW2000-3D"
    for file, content in zip(files, read_matlab(files.iterable, ["Pose_Para", "pt3d_68", "pt2d"], what), strict=True):
        try:
            pose = np.degrees(np.ravel(content["Pose_Para"])[:3])
            points = content["pt3d_68" if "pt3d_68" in content else "pt2d"][:2]
            places = np.array(points, dtype=float).T - 1  # Matlab counts pixels from 1
            if pose.shape != (3,) or places.shape != (68, 2) or not np.isfinite([*pose, *places.ravel()]).all():
                raise ValueError("no three angles, or no 68 landmarks")
        except (KeyError, TypeError, ValueError) as error:
            raise refuse_matlab(file, what, one_line(error)) from error
        poses.append(pose[[1, 0, 2]])
        landmarks.append([places[part].mean(axis=0) for part in FIVE])
    return np.array(poses).reshape(-1, 3), np.array(landmarks).reshape(-1, 5, 2)


class PoseFolder(Source):
    """300W-LP and AFLW2000-3D (Zhu et al., CVPR 2016) as published: ``NAME.mat`` beside each ``NAME.jpg``.

    Faces are aligned by five points of the 68 in the file, and the pose is that of the aligned face. Faces with an
    angle above 99 degrees are left out, as in the field's protocol (Ruiz et al., "Fine-Grained Head Pose Estimation
    Without Keypoints", CVPRW 2018).
    """

    LARGEST = 99.0  # degrees

    def _read_table(self) -> pd.DataFrame:
        images = take_images(self.root)
        lacking = [image for image in images if not (self.root / image).with_suffix(".mat").is_file()]
        if lacking:
            raise InputError(f"{self.root}: no {Path(lacking[0]).with_suffix('.mat')} beside {lacking[0]}.")
        poses, landmarks = read_poses([(self.root / image).with_suffix(".mat") for image in images])
        kept = (np.abs(poses) <= self.LARGEST).all(axis=1)
        names = np.array(images, dtype=object)[kept]
        fitted = [
            fit_similarity(points, ARCFACE, f"{self.root / name}")
            for name, points in zip(names, landmarks[kept], strict=True)
        ]
        table = pd.DataFrame(turn(poses[kept], np.array([*map(measure_turn, fitted)])), columns=list(ANGLES))
        table.insert(0, "image", names)
        self._landmarks = dict(zip(table["image"], landmarks[kept], strict=True))
        return table

    def _list_files(self) -> Iterable[Path]:
        for image in super()._list_files():
            yield from (image, image.with_suffix(".mat"))

    def _decode(self, image: str) -> np.ndarray:
        return align(super()._decode(image), self._landmarks[image], f"{self.root / image}")


class PoseList(LabelList):
    """A list of head poses as ``swinface labels pose`` makes it: a header ``name yaw pitch roll``, degrees."""

    def _read_list(self, path: Path) -> pd.DataFrame:
        labels = read_labels(path, ["name", *ANGLES])
        angles = {angle: decode(path, labels[angle], ends=DEGREES) for angle in ANGLES}
        return pd.DataFrame({"image": labels["name"], **angles}).dropna()
