"""CPU time and memory of an audit: ``python benchmarks/audit.py`` (some minutes; ``--pairs 5000`` alone takes one).

Pairs are those of ``benchmarks/report.py``, of known and of unknown families. The audit of the smallest table is
compared with the product bootstrap (``resample_groups``) and fairlearn's bootstrap of rows: one grouping, no AUC.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from multiprocessing import get_context

import pandas as pd
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from report import draw_pairs
from sklearn.metrics import accuracy_score

from kinface.fairness.audit import audit_fairness
from kinface.fairness.bootstrap import resample_groups

THRESHOLD = 0.7


def audit(pairs: pd.DataFrame, resamples: int) -> None:
    done = audit_fairness(pairs, THRESHOLD, resamples=resamples)
    assert len(done.gaps) and len(done.contrasts)


def by_product(pairs: pd.DataFrame, resamples: int) -> None:
    resample_groups(audit_fairness(pairs, THRESHOLD, resamples=1), resamples)


def by_fairlearn(pairs: pd.DataFrame, resamples: int) -> None:
    metrics = [accuracy_score, true_positive_rate, false_positive_rate, selection_rate]
    MetricFrame(
        metrics={metric.__name__: metric for metric in metrics},
        y_true=pairs["kin"].astype(int),
        y_pred=(pairs["score"] >= THRESHOLD).astype(int),
        sensitive_features=pairs["race_a"],
        n_boot=resamples,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )


def measure(work: Callable[[pd.DataFrame, int], None], count: int, families: int, resamples: int) -> str:
    """Seconds of CPU, and the most memory that the process, which drew the table too, has held."""
    pairs = draw_pairs(count, families or 2, "test", seed=0)
    pairs = pairs if families else pairs.assign(family_a=None, family_b=None)
    start = time.process_time()
    work(pairs, resamples)
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{seconds:7.1f} s of CPU, at most {memory:.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[5_000, 100_000, 1_000_000])
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    smallest = min(options.pairs)
    cases = [("audit", audit, count, families) for count in options.pairs for families in (min(count // 50, 1000), 0)]
    cases += [(work.__name__, work, smallest, smallest // 50) for work in (by_product, by_fairlearn)]
    for name, work, count, families in cases:
        with get_context("spawn").Pool(1) as pool:  # a process of its own has its own peak of memory
            found = pool.apply(measure, (work, count, families, options.resamples))
        known = f"{families} families" if families else "families unknown"
        print(f"{name}, {count:,} pairs, {known}, {options.resamples} resamples: {found}", flush=True)


if __name__ == "__main__":
    main()
