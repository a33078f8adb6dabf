from __future__ import annotations

import pytest

from swinface.benchmarks.protocols import Age, Expression, SamePerson
from swinface.data.datasets import ImageFolder, RafDb, UTKFace
from swinface.files import InputError
from swinface.model import SMALL, SwinFace
from swinface.training.validation import find_error, validate


def test_an_error_is_zero_where_all_is_right():
    assert find_error("AUC", 0.9) == pytest.approx(0.1)
    assert find_error("accuracy %", 75.0) == pytest.approx(0.25)
    assert find_error("MAE years", 6.0) == pytest.approx(0.6)


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


def test_validation_data_that_are_missing_are_named(tmp_path):
    with pytest.raises(InputError, match=r"data\.validation\.ages: no .*nowhere"):
        validate({"ages": Age(UTKFace(tmp_path / "nowhere"))}, SwinFace(**SMALL).eval())
