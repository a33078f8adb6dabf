"""Paths of faces as lists and tables of others write them."""

from __future__ import annotations


def tidy_path(path: str) -> str:
    """A path below the data root as all tables here have it: with slashes, also from Windows, and no ``./`` before it.

    >>> tidy_path(".\\\\Train\\\\train-faces\\\\a.jpg")
    'Train/train-faces/a.jpg'
    """
    return path.strip().replace("\\", "/").removeprefix("./")
