"""Made-up families with known genes, race, gender, and a bias planted in how much of the genes a face shows.

For T traits (``kinface.synthetic.drawing.TRAITS``) and person i:

* Pedigrees run over three generations, one in four over a fourth; who marries in is unrelated to all others.
* Genes. Each trait has L = ``LOCI`` loci with two alleles of standard normal effect; at every locus a child takes one
  random allele of each parent. g_i = (sum of the trait's 2 L alleles) / sqrt(2 L), so g_i ~ N(0, 1), and relatives of
  kinship coefficient phi correlate by 2 phi (Wright, "Coefficients of inbreeding and relationship", 1922): parents,
  children and siblings by 1/2, grandparents by 1/4.
* Traits. t_i = sqrt(h2) g_i + sqrt(1 - h2) e_i with h2 = ``HERITABILITY`` and e_i ~ N(0, 1) of the person alone.
* Planted bias. For people of the race ``DISADVANTAGED``, v_i = sqrt(1 - bias) t_i + sqrt(bias) n_i with n_i ~ N(0, 1)
  of the person alone; for all others v_i = t_i. All photographs of a person show the same v_i, which varies as much
  in every group. Groups differ only in how much of a face is the family's: relatives of the disadvantaged correlate
  by 2 phi h2 (1 - bias) instead of 2 phi h2, so their kinship is harder to verify.
* Race. Ancestry is a point of the simplex over ``RACES``: the mean of the parents'. Founders are of their family's
  race, and so are most who marry in. A person's race is the largest part of the ancestry, the first when equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kinface.data.matrices import RELATIONS
from kinface.data.vocabulary import RACES
from kinface.synthetic.drawing import TRAITS

CODES = {name: code for code, name in RELATIONS.items()}  # of the cells of mid.csv
LOCI = 4
HERITABILITY = 0.9
DISADVANTAGED = "African"
MARRIES_ACROSS_RACES = 0.1  # of those who marry in
MARRIES = 0.45  # of children; the first of a generation always does, so that families reach their last generation
FOURTH_GENERATION = 0.25
EXTRA_CHILDREN = 0.8  # mean, beyond a couple's first
FIRST_BORN_IN = 1935  # mean year of birth of the founders of a family of three generations
GENERATION = 28  # years


@dataclass
class Person:
    """One person of a pedigree."""

    gender: str
    parents: tuple[int, int] | None  #: their places in the pedigree; none of founders and those who married in
    born: float  #: year
    ancestry: np.ndarray  #: (races,), sums to 1
    alleles: np.ndarray  #: (traits, loci, 2)
    environment: np.ndarray  #: (traits,): e of the module's formulas
    noise: np.ndarray  #: (traits,): n

    @property
    def race(self) -> str:
        return list(RACES)[int(self.ancestry.argmax())]

    @property
    def genes(self) -> np.ndarray:
        """g, (traits,)."""
        return self.alleles.sum(axis=(1, 2)) / np.sqrt(2 * LOCI)

    def show_traits(self, bias: float) -> np.ndarray:
        """v, (traits,): what the person's face shows of its traits."""
        traits = np.sqrt(HERITABILITY) * self.genes + np.sqrt(1 - HERITABILITY) * self.environment
        hidden = bias if self.race == DISADVANTAGED else 0.0
        return np.sqrt(1 - hidden) * traits + np.sqrt(hidden) * self.noise


@dataclass
class Family:
    """A family as drawn; member k of ``people`` is ``MID<k + 1>``."""

    number: int
    people: list[Person]
    matrix: np.ndarray  #: (members, members): what member i is to member j
    faces: list[tuple[str, int, float]] = field(default_factory=list)  #: path below the root, place in people, and age

    @property
    def name(self) -> str:
        return f"F{self.number:04d}"

    @property
    def split(self) -> str:
        return "val" if self.number % 4 == 0 else "train"

    @property
    def folder(self) -> str:
        return f"{'Validation/val' if self.split == 'val' else 'Train/train'}-faces/{self.name}"


def grow_pedigree(race: int, extra_children: float, rng: np.random.Generator) -> list[Person]:
    """Let a couple of a race, a place in ``RACES``, have descendants: all of them, in random order, as FIW's members
    are. ``extra_children`` is the mean number of a couple's children beyond the first."""
    people: list[Person] = []
    generations = 4 if rng.random() < FOURTH_GENERATION else 3
    first_born = FIRST_BORN_IN - GENERATION * (generations - 3)

    def add(generation: int, gender: str, parents: tuple[int, int] | None = None) -> int:
        born = first_born + GENERATION * generation + rng.normal(0, 4)
        if parents:
            ancestry = np.mean([people[parent].ancestry for parent in parents], axis=0)
            alleles = np.stack([_inherit(people[parent].alleles, rng) for parent in parents], axis=2)
        else:
            crosses = bool(people) and rng.random() < MARRIES_ACROSS_RACES
            ancestry = np.eye(len(RACES))[(race + crosses * rng.integers(1, len(RACES))) % len(RACES)]
            alleles = rng.standard_normal((len(TRAITS), LOCI, 2))
        environment, noise = rng.standard_normal((2, len(TRAITS)))
        people.append(Person(gender, parents, born, ancestry, alleles, environment, noise))
        return len(people) - 1

    couples = [(add(0, "m"), add(0, "f"))]
    for generation in range(1, generations):
        children = [
            add(generation, rng.choice(["m", "f"]), couple)
            for couple in couples
            for _ in range(1 + rng.poisson(extra_children))
        ]
        married = [child for child in children if child == children[0] or rng.random() < MARRIES]
        if generation + 1 < generations:
            couples = [(child, add(generation, "f" if people[child].gender == "m" else "m")) for child in married]
    return _shuffle(people, rng)


def _inherit(alleles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of a parent's two alleles at every locus: (traits, loci, 2) to (traits, loci)."""
    chosen = rng.integers(0, 2, alleles.shape[:2])
    return np.take_along_axis(alleles, chosen[..., None], axis=2)[..., 0]


def _shuffle(people: list[Person], rng: np.random.Generator) -> list[Person]:
    order = rng.permutation(len(people))
    place = np.argsort(order)
    for person in people:
        person.parents = person.parents and (int(place[person.parents[0]]), int(place[person.parents[1]]))
    return [people[i] for i in order]


def relate(people: list[Person]) -> np.ndarray:
    """The matrix of a pedigree: cell (i, j) is the code of what i IS TO j (``kinface.data.matrices.RELATIONS``)."""
    parent = np.zeros((len(people),) * 2, dtype=int)
    for child, person in enumerate(people):
        parent[list(person.parents or ()), child] = 1
    grandparent = parent @ parent
    great_grandparent = grandparent @ parent
    others = 1 - np.eye(len(people), dtype=int)
    matrix = np.zeros_like(parent)
    for name, related in (
        ("sibling", parent.T @ parent * others),
        ("spouse", parent @ parent.T * others),  # they share a child
        ("parent", parent),
        ("child", parent.T),
        ("grandparent", grandparent),
        ("grandchild", grandparent.T),
        ("great-grandparent", great_grandparent),
        ("great-grandchild", great_grandparent.T),
    ):
        matrix[related > 0] = CODES[name]
    return matrix
