"""Head pose: three angles of a face, and their estimate from five landmarks.

A pose is (yaw, pitch, roll) in degrees, as in 300W-LP and AFLW2000-3D (Zhu et al., "Face Alignment Across Large Poses:
A 3D Solution", CVPR 2016): positive yaw turns the nose to the image's left, positive pitch up, and positive roll turns
the face clockwise. In space with x to the right, y up and z to the viewer, the face is turned by roll, then yaw, then
pitch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np  # parts of scipy are imported where they are used: photos are described without them

from swinface.data.align import ARCFACE
from swinface.files import InputError

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

ANGLES = ("yaw", "pitch", "roll")

# The mean face: x and y are those of ArcFace's template, made symmetric, from the middle of the face; the depths have
# the least error on landmarks of 116 turned faces of FIW's training families. Pixels of the template.
_X = np.abs(ARCFACE[:, 0] - 55.99)
FACE = np.column_stack(
    [
        [-_X[:2].mean(), _X[:2].mean(), 0.0, -_X[3:].mean(), _X[3:].mean()],
        72.0 - np.array([ARCFACE[:2, 1].mean()] * 2 + [ARCFACE[2, 1]] + [ARCFACE[3:, 1].mean()] * 2),
        [0.0, 0.0, 22.0, 2.0, 2.0],
    ]
)

DISTANCE = 800.0  # of the camera from the face, in the same pixels: about one and a half metres


def to_rotation(pose: np.ndarray) -> Rotation:
    """The rotations of poses, (N, 3) or (3,), that take points of an upright frontal face to the camera's space."""
    from scipy.spatial.transform import Rotation

    yaw, pitch, roll = np.moveaxis(np.asarray(pose, dtype=float), -1, 0)
    return Rotation.from_euler("XYZ", -np.stack([pitch, yaw, roll], axis=-1), degrees=True)


def to_pose(rotation: Rotation) -> np.ndarray:
    """The poses of rotations, (N, 3) or (3,): yaw from -90 to 90, pitch and roll from -180 to 180 degrees."""
    pitch, yaw, roll = np.moveaxis(-rotation.as_euler("XYZ", degrees=True), -1, 0)
    return np.stack([yaw, pitch, roll], axis=-1)


def turn(pose: np.ndarray, degrees: np.ndarray | float) -> np.ndarray:
    """The poses, (N, 3) or (3,), of faces whose image is turned clockwise.

    >>> turn(np.array([30.0, 0.0, 10.0]), -10.0).round(1).tolist()  # more than the roll changes
    [29.5, -5.7, -1.5]
    """
    from scipy.spatial.transform import Rotation

    clockwise = np.multiply.outer(np.asarray(degrees, dtype=float), (0.0, 0.0, -1.0))
    return to_pose(Rotation.from_rotvec(clockwise, degrees=True) * to_rotation(pose))


def measure_turn(similarity: np.ndarray) -> float:
    """The angle, clockwise in degrees, by which a (2, 3) similarity of images turns them."""
    return float(np.degrees(np.arctan2(similarity[1, 0], similarity[0, 0])))


def fit_pose(landmarks: np.ndarray, name: str = "the image") -> tuple[np.ndarray, float]:
    """The pose in which the mean face, seen by a camera, comes nearest to five landmarks.

    Landmarks are (5, 2), x and y in pixels, in the order of ``swinface.data.align.ARCFACE``. Gives (3,) yaw, pitch and
    roll in degrees, pitch 0 for a face with the proportions of ArcFace's template; and the root mean square distance of
    the landmarks from those of the mean face, as a share of its distance of the eyes.

    Raises ``InputError``, in which the image is called ``name``, if the landmarks coincide or are not finite.
    """
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    points = np.asarray(landmarks, dtype=float)
    if points.shape != (5, 2) or not np.isfinite(points).all() or np.ptp(points, axis=0).max() < 1e-6:
        raise InputError(f"{name}: the landmarks coincide or are not finite; give five different points.")
    centre = points.mean(axis=0)
    size = np.sqrt(np.square(points - centre).sum() / np.square(FACE[:, :2] - FACE[:, :2].mean(axis=0)).sum())
    goal = (points - centre) / size * (1, -1)

    def place(parameters: np.ndarray) -> np.ndarray:
        turned = Rotation.from_rotvec(parameters[:3]).apply(FACE)
        return parameters[3] * turned[:, :2] / (1 - turned[:, 2:] / DISTANCE) + parameters[4:]

    # Three starts, as the nearest minimum of a profile can be that of its mirror image.
    starts = [
        np.concatenate([to_rotation(np.array([yaw, 0.0, 0.0])).as_rotvec(), [1.0, 0.0, 0.0]]) for yaw in (-45, 0, 45)
    ]
    found = min(
        (least_squares(lambda p: (place(p) - goal).ravel(), start, method="lm") for start in starts),
        key=lambda fit: fit.cost,
    )
    error = np.sqrt(2 * found.cost / len(points)) / (2 * FACE[1, 0])
    return to_pose(Rotation.from_rotvec(found.x[:3])), float(error)
