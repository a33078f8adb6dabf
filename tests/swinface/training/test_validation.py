from __future__ import annotations

import pytest

from swinface.benchmarks.protocols import Age, Expression, Pose, SamePerson
from swinface.data.datasets import ImageFolder, RafDb, UTKFace
from swinface.data.pose import ANGLES
from swinface.data.poses import PoseList
from swinface.files import InputError
from swinface.model import SMALL, SwinFace
from swinface.training.validation import find_error, validate


def test_an_error_is_zero_where_all_is_right():
    assert find_error("AUC", 0.9) == pytest.approx(0.1)
    assert find_error("accuracy %", 75.0) == pytest.approx(0.25)
    assert find_error("gender changes %", 5.0) == pytest.approx(0.05)
    assert find_error("MAE years", 6.0) == pytest.approx(0.6)
    assert find_error("MAE degrees", 4.0) == pytest.approx(0.4)


def test_every_figure_is_given_and_the_first_of_a_benchmark_is_its_error(face_sets):
    benchmarks = {
        "people": SamePerson(ImageFolder(face_sets / "fiw", below="Train/train-faces")),
        "ages": Age(UTKFace(face_sets / "UTKFace")),
        "expressions": Expression(RafDb(face_sets / "RAF-DB")),
    }
    figures = validate(benchmarks, SwinFace(**SMALL).eval())
    assert {name for name in figures if name.startswith("error_")} == {f"error_{name}" for name in benchmarks}
    assert figures["error_people"] == pytest.approx(1 - figures["val_people_AUC"])
    assert figures["error_ages"] == pytest.approx(figures["val_ages_MAE_years"] / 10)
    assert figures["error_expressions"] == pytest.approx(1 - figures["val_expressions_accuracy_%"] / 100)
    assert "val_expressions_balanced_accuracy_%" in figures


def test_an_epoch_is_judged_by_the_mean_of_the_three_angles(face_sets, tmp_path):
    faces = face_sets / "fiw" / "Train" / "train-faces"
    names = sorted(path.relative_to(faces).as_posix() for path in faces.rglob("*.jpg"))
    poses = [f"{name} {10 * number} {5 * number} -{number}" for number, name in enumerate(names)]
    (tmp_path / "label.txt").write_text("\n".join(["name yaw pitch roll", *poses]) + "\n")
    (tmp_path / "data").symlink_to(faces)
    figures = validate({"pose": Pose(PoseList(tmp_path))}, SwinFace(**SMALL, extra=ANGLES).eval())
    each = [figures[f"val_pose_MAE_{angle}_degrees"] for angle in ANGLES]
    assert figures["val_pose_MAE_degrees"] == pytest.approx(sum(each) / 3)
    assert figures["error_pose"] == pytest.approx(sum(each) / 30)


def test_validation_data_that_are_missing_are_named(tmp_path):
    with pytest.raises(InputError, match=r"data\.validation\.ages: no .*nowhere"):
        validate({"ages": Age(UTKFace(tmp_path / "nowhere"))}, SwinFace(**SMALL).eval())
