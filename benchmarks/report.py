"""CPU time and memory of ``kinface report``: ``python benchmarks/report.py --pairs 1000000 --families 1000``.

The pairs are drawn at random, with as many groups as FIW has.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kinface.cli.report import report
from kinface.data.pairs import write_pairs
from kinface.data.vocabulary import TYPES


def draw_pairs(count: int, families: int, prefix: str, seed: int) -> pd.DataFrame:
    """A scored pairs table: half kin, four races of very unequal size, 11 types, scores that share family effects."""
    rng = np.random.default_rng(seed)
    race = rng.choice(["African", "Asian", "Caucasian", "Indian"], families, p=[0.1, 0.1, 0.75, 0.05])
    effect = rng.normal(0, 0.3, families)
    kin = rng.random(count) < 0.5
    a = rng.integers(families, size=count)
    b = np.where(kin, a, (a + rng.integers(1, families, size=count)) % families)
    kin_type = rng.choice(list(TYPES), count)
    row = np.arange(count)
    return pd.DataFrame(
        {
            **{f"face_{side}": [f"{prefix}/{side}{i}.jpg" for i in row] for side in "ab"},
            **{f"person_{side}": [f"{prefix}{f}/{side}" for f in family] for side, family in (("a", a), ("b", b))},
            **{f"family_{side}": [f"{prefix}{f}" for f in family] for side, family in (("a", a), ("b", b))},
            "type": kin_type,
            "kin": kin,
            "race_a": race[a],
            "race_b": race[b],
            "race_source": "drawn",
            "gender_a": [TYPES[code].gender_a for code in kin_type],
            "gender_b": [TYPES[code].gender_b for code in kin_type],
            "gender_source": "drawn",
            "split": prefix,
            "list": "benchmark",
            "score": kin + effect[a] + effect[b] + rng.normal(0, 1, count),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--families", type=int, default=190)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scores, validation = Path(folder, "scores.parquet"), Path(folder, "validation.parquet")
        write_pairs(draw_pairs(options.pairs, options.families, "test", seed=0), scores)
        write_pairs(draw_pairs(5_000, 100, "val", seed=1), validation)
        start = time.process_time()
        report(scores, threshold_from=validation, out=Path(folder, "report"))
        seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{options.pairs:,} pairs of {options.families:,} families: {seconds:.1f} s of CPU, at most {memory:.2f} GiB")


if __name__ == "__main__":
    main()
