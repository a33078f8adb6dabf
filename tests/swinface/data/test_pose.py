"""Head pose: what the angles mean, their estimate from landmarks, and the sets that have them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat
from sklearn.metrics import roc_auc_score

from swinface.data.align import ARCFACE, align, fit_similarity
from swinface.data.pose import FACE, fit_pose, measure_turn, to_pose, to_rotation, turn
from swinface.data.poses import PoseFolder, PoseList
from swinface.data.streams import Batches, Stream, keep_decoded
from swinface.files import InputError
from swinface.images import read_image
from swinface.photos.detect import detect
from swinface.photos.folder import COLUMNS, PLACES
from tests.commands import run_swinface

POSES = [(0, 0, 0), (35, 0, 0), (-60, 10, 5), (20, -15, 30), (-10, 25, -40), (75, 5, 0)]


def photograph(pose, scale=2.0, distance=800.0) -> np.ndarray:
    """Where a camera sees the five landmarks of the mean face: (5, 2), y down."""
    points = to_rotation(np.array(pose, dtype=float)).apply(FACE)
    return scale * points[:, :2] / (1 - points[:, 2:] / distance) * (1, -1) + 200


def test_angles_have_the_signs_of_300w_lp():
    nose = np.array([0.0, 0.0, 1.0])  # to the viewer
    assert to_rotation(np.array([30.0, 0, 0])).apply(nose)[0] == pytest.approx(-0.5)  # to the image's left
    assert to_rotation(np.array([0, 30.0, 0])).apply(nose)[1] == pytest.approx(0.5)  # up
    right = to_rotation(np.array([0, 0, 30.0])).apply([1.0, 0.0, 0.0])
    assert right[1] == pytest.approx(-0.5)  # clockwise: the right side goes down


@pytest.mark.parametrize(("yaw", "pitch", "roll"), POSES)
def test_the_matrix_is_that_of_3ddfa(yaw, pitch, roll):
    x, y, z = np.radians([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    pose = np.array([yaw, pitch, roll], dtype=float)
    assert np.allclose(to_rotation(pose).as_matrix(), about_x @ about_y @ about_z)
    assert np.allclose(to_pose(to_rotation(pose)), pose)


@pytest.mark.parametrize("pose", POSES)
def test_a_pose_is_found_from_its_landmarks(pose):
    found, error = fit_pose(photograph(pose))
    assert np.allclose(found, pose, atol=1e-3) and error < 1e-6
    random = np.random.default_rng(0)
    noisy = [fit_pose(photograph(pose) + random.normal(0, 1, (5, 2))) for _ in range(20)]
    assert np.median([np.abs(found - pose).max() for found, _ in noisy]) < 8
    assert all(0.001 < error < 0.05 for _, error in noisy)


@pytest.mark.parametrize("pose", POSES)
def test_a_turned_image_shows_a_turned_pose(pose):
    angle = np.radians(25)
    clockwise = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # y points down
    landmarks = photograph(pose, distance=1e9)  # far away, what a camera sees does not depend on the place
    assert measure_turn(fit_similarity(landmarks, landmarks @ clockwise.T)) == pytest.approx(25)
    assert np.allclose(turn(np.array(pose, dtype=float), 25), to_pose(_fit_far(landmarks @ clockwise.T)), atol=1e-3)


def _fit_far(landmarks):
    """The rotation by which the face gives these landmarks from far away: linear, and so without a start."""
    goal = (landmarks - landmarks.mean(axis=0)) * (1, -1)
    face = FACE - FACE.mean(axis=0)
    rows = np.linalg.lstsq(face, goal, rcond=None)[0].T / 2.0  # the scale of ``photograph``
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(np.vstack([rows, np.cross(rows[0], rows[1])]))


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2))])
def test_landmarks_that_are_none_are_refused(landmarks):
    with pytest.raises(InputError, match="five different points"):
        fit_pose(landmarks)


def test_frontal_and_profile_faces_are_told_apart(shared_data):
    root = shared_data / "CFP" / "Data" / "Images"
    yaw, profile = [], []
    for person in range(1, 41):
        for kind in ("frontal", "profile"):
            found = detect(read_image(root / f"{person:03}" / kind / "01.jpg"))
            if found:
                yaw.append(abs(fit_pose(found[0].landmarks)[0][0]))
                profile.append(kind == "profile")
    assert len(yaw) > 70
    assert roc_auc_score(profile, yaw) > 0.99


def write_pose_set(root, poses, key="pt2d"):
    """Images and files in the format of 300W-LP (``pt2d``) or AFLW2000-3D (``pt3d_68``)."""
    root.mkdir(parents=True, exist_ok=True)
    for number, (yaw, pitch, roll) in enumerate(poses):
        five = photograph((yaw, pitch, roll))
        points = np.zeros((3 if key == "pt3d_68" else 2, 68))
        for part, place in zip([range(36, 42), range(42, 48), [30], [48], [54]], five, strict=True):
            points[:2, part] = place[:, None] + 1  # Matlab counts from 1
        content = {"Pose_Para": np.array([[*np.radians([pitch, yaw, roll]), 0, 0, 0, 1.0]]), key: points}
        savemat(root / f"image{number:05}.mat", content)
        Image.new("RGB", (450, 450), (number, 0, 0)).save(root / f"image{number:05}.jpg", quality=100)
    return root


@pytest.mark.parametrize("key", ["pt2d", "pt3d_68"])
def test_the_pose_of_a_set_is_that_of_the_aligned_face(tmp_path, key):
    root = write_pose_set(tmp_path / "AFLW2000", [*POSES, (120, 0, 0)], key)
    source = PoseFolder(root)
    assert len(source) == len(POSES)  # a pose above 99 degrees is left out
    for row, pose in enumerate(POSES):
        landmarks = photograph(pose)
        similarity = fit_similarity(landmarks, ARCFACE)
        expected, _ = fit_pose(landmarks @ similarity[:, :2].T + similarity[:, 2])
        assert np.allclose(source.table.loc[row, ["yaw", "pitch", "roll"]].astype(float), expected, atol=0.2)
        assert np.array_equal(source.read(row), align(read_image(root / source.table["image"][row]), landmarks))


def test_cached_faces_depend_on_landmarks(tmp_path):
    root, other = (write_pose_set(tmp_path / name, [pose]) for name, pose in (("set", POSES[0]), ("other", POSES[2])))
    noise = np.random.default_rng(0).integers(0, 256, (450, 450, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "image00000.jpg")
    before = keep_decoded(PoseFolder(root), tmp_path)
    shutil.copy(other / "image00000.mat", root)
    after = keep_decoded(PoseFolder(root), tmp_path)
    assert np.array_equal(after, PoseFolder(root).read_all()) and not np.array_equal(after, before)


def test_files_of_another_form_are_named(tmp_path):
    root = write_pose_set(tmp_path / "set", POSES[:2])
    (root / "image00001.mat").write_bytes(b"nonsense" * 50)
    with pytest.raises(InputError, match=r"image00001\.mat: not a file of 300W-LP or AFLW2000-3D"):
        len(PoseFolder(root))
    savemat(root / "image00001.mat", {"Pose_Para": np.zeros((1, 7)), "pt2d": np.zeros((2, 21))})
    with pytest.raises(InputError, match="68 landmarks"):
        len(PoseFolder(root))
    (root / "image00001.mat").unlink()
    with pytest.raises(InputError, match=r"no image00001\.mat beside"):
        len(PoseFolder(root))


def test_labels_from_landmarks_are_those_of_the_aligned_face(tmp_path, capsys):
    faces = tmp_path / "data"
    rows = []
    for number, pose in enumerate(POSES[:4]):
        Image.new("RGB", (112, 112)).save(tmp_path / "x.png")
        faces.mkdir(exist_ok=True)
        Image.new("RGB", (112, 112)).save(faces / f"{number}.png")
        places = dict(zip(PLACES, [0, 0, 9, 9, *photograph(pose).ravel()], strict=True))
        rows.append({"photo": f"{number}.png", "face": f"{number}.png", "faces": 1, "chosen": "largest"} | places)
    rows.append({"photo": "none.png", "faces": 0, "chosen": "largest", "problem": "no face found"})
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(faces / "aligned.csv", index=False)
    command = ["labels", "pose", faces / "aligned.csv", "--faces", faces, "--out", tmp_path / "label.txt"]
    assert run_swinface(*command) == 0
    table = PoseList(tmp_path).table
    assert table["image"].tolist() == [f"data/{number}.png" for number in range(4)]
    for row, pose in enumerate(POSES[:4]):
        turned = turn(np.array(pose, dtype=float), measure_turn(fit_similarity(photograph(pose), ARCFACE)))
        assert np.allclose(table.loc[row, ["yaw", "pitch", "roll"]].astype(float), turned, atol=0.06)
    with pytest.raises(InputError, match=r"data\.streams\.pose\.augment: 'flip' moves faces, .* yaw; choose none"):
        Batches({"pose": Stream(2, [PoseList(tmp_path)])}, ["yaw", "pitch", "roll"], 0)
    batch = Batches({"pose": Stream(4, [PoseList(tmp_path)], "photometric")}, ["yaw", "pitch", "roll"], 0)[0]
    assert sorted(batch["labels"][:, 0].tolist()) == pytest.approx(sorted(table["yaw"]))
