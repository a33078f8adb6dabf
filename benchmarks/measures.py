"""Which measure of fairness detects which bias? ``python benchmarks/measures.py [SETS]``.

Scores of three groups of families are drawn, alike but for the first group, which has one planted bias, and audited at
one threshold for all, chosen on other pairs of the same kind. The table has how often each measure exceeds its chance
limit: with a bias this is its power; in "none" and "unequal sizes" it is its rate of false alarms, as groups differ
there in size alone. "Fewer photos" makes scores of the first group noisier, as embeddings of few
photos are; "label noise" calls one kin pair in ten of it non-kin, and as many the other way round.

Disparities are those of every audit, with its chance limit. The chance limit of four more measures comes from families
dealt to groups at random. These are the d' gap once more, which shows what the limit does, and three indices after SFI,
CFI and DFI of Kotwal & Marcel (Fairness Index Measures to Evaluate Bias in Biometric Recognition, 2023, arXiv
2306.10919). The three are written from descriptions, not checked against the paper's equations: the first compares how
far apart a group's kin and other scores lie, the second how wide they are, and the third, by the Kullback-Leibler
divergence, how all of them are distributed.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

import kinface

GROUPS = ("first", "second", "third")
FAMILIES, PAIRS = 60, 1500  # of each group; half of the pairs are kin
BIASES = {  # of the first group: shift of kin and of non-kin scores, their spread, share of wrong labels, families
    "none": {},
    "unequal sizes": {"size": 0.25},
    "genuine shifted": {"kin": -0.4},
    "impostor shifted": {"other": 0.4},
    "wider": {"spread": 1.4},
    "fewer photos": {"noise": 0.8},
    "label noise": {"wrong": 0.1},
}
OF_FAMILY = 0.3  # standard deviation of what all scores of a family have in common; of a pair it is 1
APART = 1.2  # mean of kin scores; of others it is 0
BINS, DEALS, LEVEL = 20, 99, 0.05
SHORT = {"equalized odds difference": "equalized odds", "demographic parity difference": "demographic parity"}


def draw(bias: dict[str, float], seed: int, ending: str = "") -> pd.DataFrame:
    """A scored pairs table with a column ``group``, the same of both families of a pair; names have an ending."""
    rng, tables = np.random.default_rng(seed), []
    for number, group in enumerate(GROUPS):
        own = bias if number == 0 else {}
        families, count = (int(it * own.get("size", 1)) for it in (FAMILIES, PAIRS))
        kin, first = np.arange(count) % 2 == 0, rng.integers(families, size=count)
        second = np.where(kin, first, (first + rng.integers(1, families, count)) % families)
        look = rng.normal(0, OF_FAMILY, families)
        score = own.get("spread", 1) * (rng.normal(size=count) + look[first] + look[second])
        score += np.where(kin, APART + own.get("kin", 0), own.get("other", 0))
        score += own.get("noise", 0) * rng.normal(size=count)
        wrong = rng.random(count) < own.get("wrong", 0)
        second = np.where(wrong, first, second)  # who is called kin lies in one family
        sides = {f"family_{side}": [f"{group}{it}{ending}" for it in of] for side, of in (("a", first), ("b", second))}
        faces = {f"face_{side}": [f"{group}{side}{row}{ending}" for row in range(count)] for side in "ab"}
        tables.append(pd.DataFrame({**faces, **sides, "kin": kin ^ wrong, "score": score, "group": group}))
    return pd.concat(tables, ignore_index=True)


def sum_families(score: np.ndarray, kin: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Of each family, number, sum, sum of squares and histogram of other and kin scores: (families, 2, 3 + bins).

    Groups are sums of their families, however these are dealt.
    """
    found = np.zeros((family.max() + 1, 2, 3 + BINS))
    bins = np.eye(BINS)[np.minimum((score * BINS).astype(int), BINS - 1)]
    np.add.at(found, (family, kin.astype(int)), np.column_stack([np.ones(len(score)), score, score**2, bins]))
    return found


def measure_scores(sums: np.ndarray) -> dict[str, float]:
    """Measures of scores of groups, (groups, 2, 3 + bins) as of ``sum_families``; each grows with unfairness."""
    count, mean = sums[..., 0], sums[..., 1] / sums[..., 0]
    variance = sums[..., 2] / count - mean**2
    decidability = (mean[:, 1] - mean[:, 0]) / np.sqrt(variance.mean(axis=1))  # d' of all deals, from sums of families
    share = (sums[..., 3:].sum(axis=1) + 1e-9) / count.sum(axis=1)[:, None]
    divergence = (share * np.log2(share / share.mean(axis=0))).sum(axis=-1)
    return {
        "d' gap, dealt": np.ptp(decidability),
        "after SFI": _spread(np.abs(mean[:, 1] - mean[:, 0])),
        "after CFI": _spread(np.sqrt(variance).sum(axis=1)),
        "after DFI": divergence.mean() / np.log2(len(sums)),
    }


def _spread(values: np.ndarray) -> float:
    """2/K sum_k |x_k - mean x|, what the index is below 1."""
    return 2 * np.abs(values - values.mean()).mean()


def alarm(bias: dict[str, float], seed: int) -> dict[str, bool]:
    """Which measures exceed what chance gives, on one drawn table."""
    pairs, others = draw(bias, seed), draw(bias, seed + 1_000_000, " of validation")
    audit = kinface.audit(pairs, others, groupings=["group"], resamples=400)
    found = audit.disparities[audit.disparities["grouping"] == "group"].set_index("disparity")["beyond_chance"]
    found = {SHORT.get(name, name): bool(it) for name, it in found.items()}
    score, kin = pairs["score"].to_numpy(), pairs["kin"].to_numpy()
    names, family = np.unique(pairs["family_a"], return_inverse=True)
    sums = sum_families((score - score.min()) / np.ptp(score), kin, family)
    member = np.array([[name.startswith(group) for group in GROUPS] for name in names], float)
    rng, value = np.random.default_rng(seed), measure_scores(np.tensordot(member.T, sums, 1))
    deals = [measure_scores(np.tensordot(rng.permutation(member).T, sums, 1)) for _ in range(DEALS)]
    limits = {name: np.quantile([deal[name] for deal in deals], 1 - LEVEL) for name in value}
    return found | {name: bool(value[name] > limits[name]) for name in value}


def main() -> None:
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    jobs = [(name, seed) for name in BIASES for seed in range(sets)]
    found = Parallel(n_jobs=-1)(delayed(alarm)(BIASES[name], seed) for name, seed in jobs)
    table = pd.DataFrame(found).groupby([name for name, _ in jobs], sort=False).mean().T
    print(f"share of {sets} sets in which each measure exceeds chance")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
