"""Search for relatives: RFIW's Track 3. A query, a person with one or more photos, is sought in a gallery of faces."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kinface.data.families import Families
from kinface.data.lists import below, check_face, persons_of_faces, read_fields
from kinface.data.sampling import pick_faces
from kinface.data.tables import read_table
from swinface.bootstrap import start_drawing
from swinface.files import InputError, inside, replacing, tidy_path
from swinface.images import list_images

DESCRIBED = ("person", "family", "race", "gender")

# RFIW's tables of whose the queries and the gallery's faces are, beside the lists: the columns of person and family.
TABLES = {"probe_list.csv": {"ref": "person", "fid": "family"}, "gallery_list.csv": {"mid": "person", "fid": "family"}}


@dataclass(frozen=True)
class Search:
    """Who is sought, and where.

    ``queries`` has a row per photo: ``query``, its number from 0 in the order of the list, ``face``, ``person``,
    ``family``, ``race`` and ``gender``; those of the person are missing where they are unknown. ``gallery`` has the
    same but for ``query``, a row per face, in the order of the list. ``kinds`` is from person of a query and person in
    the gallery to what ties them, as far as it is known: a type of kinship, or another relation such as ``spouse``.
    """

    queries: pd.DataFrame
    gallery: pd.DataFrame
    kinds: dict[tuple[str, str], str]

    @property
    def people(self) -> pd.DataFrame:
        """A row per query: ``person``, ``family``, ``race``, ``gender`` and ``photos``, how many there are."""
        first = self.queries.drop_duplicates("query").set_index("query").sort_index()
        return first[[*DESCRIBED]].assign(photos=self.queries["query"].value_counts())

    @property
    def faces(self) -> list[str]:
        """All faces, each once, sorted."""
        return sorted({*self.queries["face"], *self.gallery["face"]})


def read_search(queries: str | Path, gallery: str | Path, families: Families) -> Search:
    """Read the lists of Track 3 as RFIW hands them out.

    Lines of the queries are ``index folder``, a folder of one person's photos (or the one photo), those of the gallery
    ``index face``; paths start from the root of ``families``. Families are known from these, or from ``probe_list.csv``
    and ``gallery_list.csv`` beside the lists or in the root. Raises ``InputError`` that names the file and line that
    cannot be used.
    """
    queries, gallery = Path(queries), Path(gallery)
    persons = persons_of_faces(families)
    lines, gallery_lines = _read_paths(queries), _read_paths(gallery)
    photos = [_list_photos(path, where, families.root, persons) for where, path in lines]
    sought = pd.DataFrame({"query": range(len(lines)), "face": photos}).explode("face", ignore_index=True)
    of_queries, faces = set(sought["face"]), []
    for where, path in gallery_lines:
        faces.append(check_face(path, where, families.root, persons))
        if faces[-1] in of_queries:
            raise InputError(f"{where}: {faces[-1]} is a photo of a query; leave it out.")
    for path, listed in ((queries, [path for _, path in lines]), (gallery, faces)):
        if twice := len(listed) - len({*map(tidy_path, listed)}):
            warnings.warn(f"{path}: {twice:,} lines repeat an earlier one, which then counts more.", stacklevel=3)
    known = _read_known({queries: [path for _, path in lines], gallery: faces}, families.root)
    return _describe(sought, pd.DataFrame({"face": faces}), families, known)


def _read_paths(path: Path) -> list[tuple[str, str]]:
    rows, last = [], -1
    for where, fields in read_fields(path):
        if len(fields) != 2 or not fields[0].isdecimal():
            given = " ".join(fields)
            raise InputError(f"{where}: expected 'index path', a number and a path without header; got {given!r}.")
        if int(fields[0]) <= last:  # the tables of whose they are, and predictions, count lines
            raise InputError(f"{where}: the index {fields[0]} comes after {last}; keep the lines in their order.")
        last = int(fields[0])
        rows.append((where, fields[1]))
    if last != len(rows) - 1:
        warnings.warn(f"{path}: its index goes to {last}; results number its {len(rows):,} lines from 0.", stacklevel=4)
    return rows


def _list_photos(path: str, where: str, root: Path, persons: dict[str, str | None]) -> list[str]:
    path = below(root, path).rstrip("/")
    folder = inside(root, path, where)
    if folder.is_file():
        return [check_face(path, where, root, persons)]
    if not folder.is_dir():
        raise InputError(f"{where}: no folder {path} below {root}; a query is a folder of photos of one person.")
    photos = [face for face in list_images(root, path).names if face.rpartition("/")[0] == path]
    if not photos:
        raise InputError(f"{where}: no photos in {folder}.")
    return [check_face(face, where, root, persons) for face in photos]


def _read_known(lists: dict[Path, list[str]], root: Path) -> dict[str, pd.DataFrame]:
    """What RFIW's tables say of the queries and of the gallery's faces, as far as they are there.

    ``lists`` is from the list of the queries, and that of the gallery, to its paths.
    """
    known = {}
    for (name, columns), (beside, listed) in zip(TABLES.items(), lists.items(), strict=True):
        path = next((folder / name for folder in (beside.parent, root) if (folder / name).is_file()), None)
        if path is None:
            continue
        table = read_table(path, "table of Track 3")
        lacking = [column for column in columns if column not in table]
        problem = f"no column {lacking[0]!r}" if lacking else None
        if not lacking and len(table) != len(listed):
            problem = f"{len(table)} rows for a list of {len(listed)}"
        elif "ref" in table and (row := _find_moved(table["ref"].fillna("").tolist(), listed)):
            problem = f"row {row} is of another line of {beside}, by its ref"
        if problem:
            raise InputError(f"{path}: {problem}; it must have a row for each line of the list, in the same order.")
        known[name] = table[list(columns)].rename(columns=columns).astype(object)
    return known


def _find_moved(refs: list[str], listed: list[str]) -> int | None:
    """The first row, from 1, whose ``ref`` is the end of another line's path; None if each is that of its own line, or
    the refs are no paths of this list."""
    refs = [tidy_path(ref).rstrip("/") for ref in refs]
    ends = ["/".join(tidy_path(path).split("/")[-ref.count("/") - 1 :]) for ref, path in zip(refs, listed, strict=True)]
    moved = (row for row, (ref, end) in enumerate(zip(refs, ends, strict=True), start=1) if ref != end)
    return next(moved, None) if sorted(refs) == sorted(ends) else None


def _describe(sought: pd.DataFrame, faces: pd.DataFrame, families: Families, known: dict[str, pd.DataFrame]) -> Search:
    """Complete photos of queries and faces of a gallery with what is known of their persons."""
    persons = persons_of_faces(families)
    described = []
    rows = (sought["query"], pd.Series(range(len(faces))))
    for table, row, name in zip((sought, faces), rows, TABLES, strict=True):
        table = table.assign(person=table["face"].map(persons).astype(object))
        table["family"] = table["person"].str.partition("/")[0] if table["person"].notna().any() else None
        if name in known:
            stated = known[name].loc[row].reset_index(drop=True)
            for column in ("person", "family"):
                table[column] = table[column].where(table[column].notna(), stated[column])
        people = families.people.set_index("person")[["race", "gender"]]
        table = table.join(people, on="person")
        for column in ("face", *DESCRIBED):
            table[column] = table[column].astype(object).where(table[column].notna(), None)
        described.append(table)
    of_queries = set(described[0]["person"].dropna())
    kinds = {}
    for relation in families.relations.itertuples():
        kind = relation.type or relation.relation
        for person, other in ((relation.person_a, relation.person_b), (relation.person_b, relation.person_a)):
            if person in of_queries:
                kinds[person, other] = kind
    return Search(*described, kinds)


def sample_search(families: Families, split: str, *, seed: int = 0) -> Search:
    """Draw a query from each family of a split: a person with a blood relative, and all of their photos.

    The gallery is all faces of all other people of the split. So it holds relatives of every query, as in RFIW. The
    same seed draws the same people, in whatever order the tables' rows are. Raises ``InputError`` if no two relatives
    of the split have faces.
    """
    faces = pick_faces(families, split)
    pictured = set(faces["person"])
    blood = families.relations[families.relations["relation"] != "spouse"]
    blood = blood[blood["person_a"].isin(pictured) & blood["person_b"].isin(pictured)]
    if blood.empty:
        raise InputError(f"no query can be drawn from split {split!r}: it needs two relatives with faces.")
    generator = start_drawing(seed)
    queries = {}
    for family, related in blood.groupby("family", sort=True):
        queries[family] = generator.choice(sorted({*related["person_a"], *related["person_b"]}))
    number = {person: place for place, person in enumerate(queries.values())}
    faces = faces.assign(query=faces["person"].map(number))[["query", "face"]]
    sought = faces.dropna().astype({"query": int}).sort_values(["query", "face"], ignore_index=True)
    gallery = faces.loc[faces["query"].isna(), ["face"]].reset_index(drop=True)
    return _describe(sought, gallery, families, {})


def write_search(search: Search, folder: Path) -> None:
    """Write the lists of Track 3 in RFIW's form: ``probe.txt``, ``gallery.txt``, and whose they are in two csv files.

    Each query's photos are all those of one folder.
    """
    folders = search.queries.groupby("query")["face"].first().str.rpartition("/")[0]
    lists = {"probe.txt": folders, "gallery.txt": search.gallery["face"]}
    for name, paths in lists.items():
        with replacing(folder / name) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{index} ./{path}\n" for index, path in enumerate(paths))
    people = search.people.rename(columns={"person": "ref", "family": "fid"})[["ref", "fid"]]
    gallery = search.gallery.rename(columns={"family": "fid", "person": "mid", "face": "ref"})[["fid", "mid", "ref"]]
    for name, table in (("probe_list.csv", people), ("gallery_list.csv", gallery)):
        with replacing(folder / name) as partial:
            table.reset_index(drop=True).to_csv(partial)
