"""A data set of families with its lists: pairs, triplets and searches, read from files or drawn from a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from kinface.data.arrays import list_in_order
from kinface.data.families import Families
from kinface.data.lists import names_split, read_any_list
from kinface.data.matching import match_pairs
from kinface.data.pairs import find_places
from kinface.data.prepare import prepare_families, write_prepared
from kinface.data.search import Search, read_search, sample_search
from kinface.data.triplets import read_triplets, sample_triplets
from swinface.files import InputError


@dataclass(frozen=True)
class Dataset(Families):
    """The result of ``read_families``: tables, and the lists that belong to ``folder``, which they were read from.

    ``faces`` has a row per image: ``face`` (its path below ``root``), ``person``, ``family``, ``split``, and ``race``,
    ``age`` and ``gender`` as annotated, each with its ``_source``. ``people`` has ``person``, ``family``, ``split``,
    ``faces`` (their number), ``name`` and the same attributes of the person; ``relations`` has ``person_a``,
    ``person_b``, ``relation``, ``type`` and ``generation_gap``. Custom attributes are further columns of faces
    and people. ``kinface.data.families.TABLES`` lists all.
    """

    folder: Path | None = None  #: None for synthetic families

    def pairs(
        self,
        of: str | Path,
        *,
        match: Sequence[str] = (),
        people: bool = False,
        swap_grandparents: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Read a list of pairs, or draw one from a split: a pairs table.

        Raises ``InputError`` if there is no such list, it cannot be used, or no pairs can be drawn.

        Parameters
        ----------
        of
            The name of a list of the folder, such as ``val_choose`` of ``lists/val_choose.txt``; or a split, ``train``,
            ``tune``, ``val`` or ``test``, to draw from (``kinface.data.sampling.sample_pairs``); or a file in any form
            of the field or of the pairs table (``kinface.data.lists.read_any_list``).
        match
            Replace the non-kin pairs by some that have this in common with the kin pairs, such as ``["race", "type",
            "gender"]`` (``kinface.data.matching.match_pairs``). Kin pairs without such a non-kin pair are left out.
        people
            Return each pair of people once, to be scored by all of their photos.
        swap_grandparents
            The file names grandparents as FIW's official lists do, which swap their genders.
        seed
            Seed of what is drawn.

        Examples
        --------
        >>> import kinface
        >>> families, _ = kinface.make_families()
        >>> matched = families.pairs("val", match=["race", "type", "gender"])
        >>> one_race = matched["race_a"] == matched["race_b"]
        >>> one_race.groupby(matched["kin"]).mean().nunique()  # the same share of kin and of strangers
        1
        """
        _check_name(of)
        folder, name = self.folder or self.root, str(of)
        listed = folder / "lists" / f"{name}.txt"
        named = listed if not (names_split(of) or Path(of).exists()) and listed.is_file() else of
        pairs = read_any_list(named, folder, self, swap_grandparents=swap_grandparents, people=people, seed=seed)
        return match_pairs(pairs, self, match, seed=seed)[0] if match else pairs

    def write(
        self, folder: str | Path, *, lists: Sequence[Path] | None = None, swap_grandparents: bool = False
    ) -> Dataset:
        """Write the folder of ``kinface prepare`` for a copy of FIW, and return it as ``read_families`` reads it.

        Every image is decoded, and what is unreadable left out; pairs of the tune families are drawn. Raises
        ``InputError`` if this is no copy of FIW, no image can be read, or a list is unusable.

        Parameters
        ----------
        folder
            Where to; it can then be given wherever a folder of FIW is asked for.
        lists
            Lists of pairs; by default all of ``lists/*.txt``.
        swap_grandparents
            As of :meth:`pairs`.
        """
        prepared = prepare_families(self, lists=lists, swap_grandparents=swap_grandparents)
        write_prepared(prepared, Path(folder))
        return replace(prepared.families, read_with={}, folder=Path(folder))

    def triplets(self, of: str | Path, *, match: Sequence[str] = (), seed: int = 0) -> pd.DataFrame:
        """Read a list of triplets, father, mother and child (``kinface.data.triplets``), or draw one from a split.

        Raises ``InputError`` if the file cannot be used, or no triplets can be drawn.

        Parameters
        ----------
        of
            A split, or a file (``kinface.data.triplets.read_triplets``).
        match
            ``["race"]``: in what is drawn, the child of a non-kin triplet has the race of that of the kin triplet.
        seed
            Seed of what is drawn.
        """
        _check_name(of)
        if names_split(of):
            return sample_triplets(self, str(of), match=match, seed=seed)
        return read_triplets(of, self)

    def search(self, of: str | Path, gallery: str | Path | None = None, *, seed: int = 0) -> Search:
        """Read who is sought and where, or draw it from a split.

        Raises ``InputError`` if a list cannot be used, or no person can be drawn.

        Parameters
        ----------
        of
            A split: of each family one person is sought among all others of the split. Or, with a ``gallery``, RFIW's
            list of queries (``kinface.data.search.read_search``).
        gallery
            RFIW's list of the gallery.
        seed
            Seed of what is drawn.
        """
        _check_name(of)
        if gallery is None:
            return sample_search(self, str(of), seed=seed)
        return read_search(of, gallery, self)

    def describe(self, faces: Sequence[str] | None = None) -> pd.DataFrame:
        """The people of faces, (N,) paths, by default of all, as ``kinface.probe`` needs them.

        Gives a row per face: ``face``, ``person``, ``family``, ``split``, and the attributes of the person. Raises
        ``InputError`` if a face is none of the families'.
        """
        about = self.people.drop(columns=["family", "mid", "split", "faces"])
        table = self.faces[["face", "person", "family", "split"]].merge(about, on="person", how="left")
        if faces is None:
            return table
        return table.iloc[
            find_places(list_in_order(faces, "faces"), table["face"], "no face of these families")
        ].reset_index(drop=True)


def _check_name(of: object) -> None:
    if not isinstance(of, str | Path):
        raise InputError(f"{type(of).__name__} given; give the name of a list or split, or the path of a file.")
