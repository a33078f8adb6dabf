"""The task table is what the published model and CelebA's header say."""

from __future__ import annotations

from collections import Counter

from swinface.tasks import PAPER_TASKS, SUBNETS, TASKS, task_name


def test_42_tasks_in_11_subnets():
    assert len(PAPER_TASKS) == 42
    assert all(name == task.name for name, task in PAPER_TASKS.items())
    sizes = Counter(task.subnet for task in PAPER_TASKS.values())
    assert [sizes[subnet] for subnet in SUBNETS] == [1, 2, 2, 6, 10, 5, 2, 4, 6, 2, 2]


def test_order_is_the_published_one():
    assert list(PAPER_TASKS)[:6] == ["gender", "age", "young", "expression", "smiling", "attractive"]
    assert list(PAPER_TASKS)[-4:] == ["double_chin", "goatee", "wearing_necklace", "wearing_necktie"]
    subnets = [task.subnet for task in PAPER_TASKS.values()]
    assert subnets == sorted(subnets, key=SUBNETS.index), "tasks of one subnet lie together"


def test_the_meaning_of_the_logits():
    classes = {name: task.classes for name, task in PAPER_TASKS.items()}
    assert classes == {name: {"age": 1, "expression": 7}.get(name, 2) for name in PAPER_TASKS}
    assert PAPER_TASKS["gender"].labels == ("female", "male")
    assert PAPER_TASKS["expression"].labels[3] == "happiness"
    assert PAPER_TASKS["bald"].labels == ("no", "yes")


def test_losses_and_streams():
    assert [name for name, task in TASKS.items() if task.loss == "age"] == ["age"]
    assert TASKS["gender"].streams == ("age_gender", "celeba")
    assert [name for name, task in TASKS.items() if "expression" in task.streams] == ["expression"]


def test_task_name_drops_apostrophes_and_blanks():
    assert task_name("Five O'Clock Shadow") == "five_oclock_shadow"
    assert task_name("Heavy Makeup") == "heavy_makeup"


def test_celeba_header_names_every_celeba_task(shared_data):
    header = (shared_data / "CelebA" / "list_attr_celeba.txt").read_text().splitlines()[1].split()
    celeba = [name for name, task in TASKS.items() if "celeba" in task.streams]
    assert len(header) == len(celeba) == 40
    assert {task_name(column) for column in header} == set(celeba)
