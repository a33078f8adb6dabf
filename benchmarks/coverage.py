"""Do confidence intervals cover the truth? ``python benchmarks/coverage.py --out coverage.csv``; ``--quick``: a minute.

Scores are drawn with known truth: three regions of one, two and four times as many families, families of unequal size,
and effects of families on kin pairs and on non-kin pairs, whose share of the variance is known. For each scenario, the
table has the coverage of 95% intervals; their width relative to the true spread (2 * 1.96 standard deviations of the
estimates over data sets); how often a figure is called significant; and with ``--bootstrap`` the same for the product
bootstrap (``kinface.fairness.bootstrap``). "tpr over thresholds" compares the range of the TPR at thresholds of
resampled validation families with its range at thresholds of new families.

Targets: coverage .93 to .97, width at most 1.15 of the true spread, ``significant`` at most .06 where there is no gap,
also of "any gap", one or more of a data set's four.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import norm

from kinface.fairness.audit import measure_disparities
from kinface.fairness.bootstrap import draw_families, weighted_metrics
from kinface.fairness.contrasts import CONTRASTED, LEVEL, contrast_with_largest, correct_holm, find_gaps
from kinface.fairness.disparities import DISPARITIES
from kinface.fairness.dyads import Dyads
from kinface.fairness.intervals import FARS, MEASURED, Estimates, estimate
from kinface.fairness.threshold import choose_threshold, resample_threshold
from swinface.bootstrap import interval_around, weigh_pairs

EFFECTS = {  # share of the variance that families have of kin scores, and each of two families of non-kin scores
    "none": (0.0, 0.0),
    "small": (0.2, 0.03),
    "large": (0.5, 0.15),
    "kin alone": (0.5, 0.0),
    "non-kin alone": (0.0, 0.15),
}
FAMILIES = (5, 10, 20, 50, 200)  # of the smallest region
REGIONS = {"A": 1, "B": 2, "C": 4}
KIN, THRESHOLD = 1.0, 0.8  # mean score of kin pairs; that of non-kin pairs is 0
GAPS = {"none": (0.0, 0.0), "kin": (-0.5, 0.0), "non-kin": (0.0, 0.5)}  # shifts of region A
METRICS = ("tpr", "fmr", "accuracy", "auc", "eer", "dprime", "tar_at_1e-1")
DISPARATE = ("equalized odds difference", "GARBE", "FDR", "accuracy spread", "FNMR, max over geometric mean")
AT_ONCE = 50  # data sets


def draw(families: int, effect: str, gap: str, data_sets: int, seed: int) -> tuple[np.ndarray, ...]:
    """Score, kin, first and second family, and group (3 * data set + region) of each pair. Scores have variance 1."""
    rng, (of_kin, of_others), parts, start = np.random.default_rng(seed), EFFECTS[effect], [], 0
    for number, (region, times) in product(range(data_sets), enumerate(REGIONS.values())):
        shift = GAPS[gap] if region == 0 else (0.0, 0.0)
        count = families * times
        size = 3 + rng.geometric(0.1, count)  # kin pairs of each family: 13 on average, very unequal
        kin_family, total = np.repeat(np.arange(count), size), size.sum()
        first = rng.choice(count, total, p=size / total)
        second = (first + rng.integers(1, count, total)) % count
        alike, others = rng.normal(0, np.sqrt(of_kin), count), rng.normal(0, np.sqrt(of_others), count)
        noise = rng.normal(size=(2, total))
        score = KIN + shift[0] + alike[kin_family] + noise[0] * np.sqrt(1 - of_kin)
        other = shift[1] + others[first] + others[second] + noise[1] * np.sqrt(1 - 2 * of_others)
        sides = np.sort([np.r_[kin_family, first], np.r_[kin_family, second]], axis=0) + start
        group = np.full(2 * total, len(REGIONS) * number + region)
        parts.append((np.r_[score, other], np.arange(2 * total) < total, *sides, group))
        start += count
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def find_truth(gap: str) -> pd.DataFrame:
    """The metrics of each region."""
    found = {}
    for region in REGIONS:
        kin, others = GAPS[gap] if region == "A" else (0.0, 0.0)
        tpr, fmr = norm.sf(THRESHOLD - KIN - kin), norm.sf(THRESHOLD - others)
        auc, tar = norm.cdf((KIN + kin - others) / np.sqrt(2)), norm.sf(norm.isf(0.1) + others - KIN - kin)
        rates = {"tpr": tpr, "fmr": fmr, "fnmr": 1 - tpr, "accuracy": (tpr + 1 - fmr) / 2}
        apart = {"eer": norm.cdf((others - KIN - kin) / 2), "dprime": KIN + kin - others}
        found[region] = rates | {"positive_rate": (tpr + fmr) / 2, "auc": auc, "tar_at_1e-1": tar} | apart
    return pd.DataFrame(found).T


def judge(found: Estimates, dyads: Dyads, kin: np.ndarray, group: np.ndarray, truth: pd.DataFrame) -> list[tuple]:
    """Each figure of some data sets: name, value, interval, truth, and whether it is called significant."""
    count = found.value.shape[1]
    kinds = {"": np.ones(len(kin), bool), "kin_": kin, "non_kin_": ~kin}
    units = dyads.count(group, count, kin)
    table = {f"{kind}units": units[of] for kind, of in (("", "all"), ("kin_", "kin"), ("non_kin_", "non-kin"))}
    pairs = dict(zip(("pairs", "kin", "non_kin"), (np.bincount(group[it]) for it in kinds.values()), strict=True))
    values = dict(zip(MEASURED, found.value, strict=True))
    groups = pd.DataFrame({"grouping": np.arange(count) // len(REGIONS), "group": [*REGIONS] * (count // len(REGIONS))})
    groups = groups.assign(not_compared=None, **table, **pairs, **values, fnmr=1 - values["tpr"])
    covariance = dict(zip(MEASURED, found.covariance, strict=True))
    deviations = dict(zip(MEASURED, found.deviations.swapaxes(0, 1), strict=True))
    wanted = {name: DISPARITIES.find(name) for name in DISPARITIES.names() if name in DISPARATE or "gap" in name}
    disparities = measure_disparities(groups, deviations | {"fnmr": -deviations["tpr"]}, wanted)
    gaps = find_gaps(groups, disparities, covariance)
    each = gaps["p"].where(gaps["comparable"]).groupby(gaps["grouping"])  # a data set is a report of its own
    gaps["significant"] = each.transform(correct_holm) < LEVEL
    rows = []
    for metric, (place, group) in product(METRICS, enumerate(groups["group"])):
        ends = (table[MEASURED.index(metric), place] for table in (found.low, found.high))
        rows.append((f"{metric} of {group}", values[metric][place], *ends, truth[metric][group], None))
    for row in contrast_with_largest(groups, covariance).itertuples():
        true = truth[row.metric][row.group] - truth[row.metric][row.reference]
        rows.append(
            (f"{row.metric}, {row.group} - {row.reference}", row.difference, row.low, row.high, true, row.significant)
        )
    for row in disparities.itertuples():
        if row.disparity in DISPARATE:
            true = float(wanted[row.disparity](*(truth[rate].to_numpy() for rate in wanted[row.disparity].rates)))
            rows.append((row.disparity, row.value, row.low, row.high, true, row.beyond_chance))
    for row in gaps.itertuples():
        rows.append(
            (f"gap in {row.metric}", row.difference, np.nan, np.nan, np.ptp(truth[row.metric]), row.significant)
        )
    rows += [("any gap", np.nan, np.nan, np.nan, np.nan, it) for it in gaps.groupby("grouping")["significant"].any()]
    return rows


def judge_by_bootstrap(drawn: tuple[np.ndarray, ...], resamples: int, truth: pd.DataFrame, seed: int) -> list[tuple]:
    """The same by the product bootstrap: percentiles, and a gap beyond that of groups which are shifted to the mean."""
    score, kin, first, second, group = drawn
    rows, found, ones = [], {}, np.ones((len(score), 1), np.float32)
    families = draw_families(second.max() + 1, resamples, seed)
    for number in range(group.max() + 1):
        own = np.flatnonzero(group == number)
        weight = np.hstack([ones[own], weigh_pairs(families, first[own], second[own])])
        found[number] = weighted_metrics(score[own], kin[own], weight, THRESHOLD, FARS)
    for metric, start in product(CONTRASTED, range(0, len(found), len(REGIONS))):
        of_regions = np.stack([found[start + place][metric] for place in range(len(REGIONS))])
        point, values = of_regions[:, 0], of_regions[:, 1:]
        for place, region in enumerate(REGIONS):
            ends = map(float, interval_around(point[place], values[place]))
            rows.append((f"bootstrap: {metric} of {region}", point[place], *ends, truth[metric][region], None))
        chance = np.nanquantile(np.ptp(np.clip(values - point[:, None] + point.mean(), 0, 1), axis=0), 0.95)
        low, _ = interval_around(np.ptp(point), values[point.argmax()] - values[point.argmin()])
        significant = bool(low > 0 and np.ptp(point) > chance)
        rows.append((f"bootstrap: gap in {metric}", np.ptp(point), np.nan, np.nan, np.ptp(truth[metric]), significant))
    return rows


def judge_thresholds(families: int, effect: str, data_sets: int, seed: int) -> dict:
    """How far the TPR varies where the threshold is chosen again: resampled families beside new families."""
    chosen, widths = [], []
    for number in range(data_sets):
        score, kin, first, second, _ = draw(families, effect, "none", 1, seed + number)
        faces = {f"face_{side}": [f"{side}{row}" for row in range(len(kin))] for side in "ab"}
        pairs = pd.DataFrame(faces | {"family_a": first, "family_b": second, "kin": kin, "score": score})
        chosen.append(choose_threshold(pairs))
        if number < AT_ONCE:
            widths.append(np.ptp(np.nanquantile(norm.sf(resample_threshold(pairs) - KIN), [0.025, 0.975])))
    width = np.mean(widths) / np.ptp(np.quantile(norm.sf(np.array(chosen) - KIN), [0.025, 0.975]))
    return {"families": families, "effect": effect, "gap": "none", "figure": "tpr over thresholds", "width": width}


def simulate(families: int, effect: str, gap: str, data_sets: int, bootstrap: int = 0, seed: int = 0) -> pd.DataFrame:
    """A row per figure: ``coverage``, ``width`` beside the true spread, ``significant`` (how often)."""
    truth, rows = find_truth(gap), []
    for part in range(0, data_sets, AT_ONCE):
        count = min(AT_ONCE, data_sets - part)
        score, kin, first, second, group = drawn = draw(families, effect, gap, count, seed=seed + part)
        dyads = Dyads(first, second, np.arange(second.max() + 1, dtype=np.uint64))
        multipliers = dyads.draw_multipliers(400, seed + part)
        found = estimate(score, kin, group, count * len(REGIONS), THRESHOLD, dyads, multipliers, seed + part)
        rows += judge(found, dyads, kin, group, truth)
        rows += judge_by_bootstrap(drawn, bootstrap, truth, seed + part) if bootstrap else []
    table = pd.DataFrame(rows, columns=["figure", "value", "low", "high", "truth", "significant"])
    table["covered"] = (table["low"] <= table["truth"] + 1e-12) & (table["truth"] - 1e-12 <= table["high"])
    results = []
    for figure, own in table.groupby("figure", sort=False):
        known = own.dropna(subset=["low"])
        width = (known["high"] - known["low"]).mean() / (2 * 1.96 * own["value"].std())
        row = {"families": families, "effect": effect, "gap": gap, "figure": figure, "truth": own["truth"].iloc[0]}
        significant = own["significant"].dropna().astype(float).mean()
        results.append(row | {"coverage": known["covered"].mean(), "width": width, "significant": significant})
    return pd.DataFrame(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sizes, two effects and 100 data sets each")
    parser.add_argument("--data-sets", type=int, default=300)
    parser.add_argument("--bootstrap", type=int, default=0, help="resamples of the product bootstrap")
    parser.add_argument("--families", type=int, nargs="+", default=FAMILIES)
    parser.add_argument("--effects", nargs="+", default=[*EFFECTS])
    parser.add_argument("--gaps", nargs="+", default=[*GAPS])
    parser.add_argument("--out", help="csv file with all rows")
    options = parser.parse_args()
    if options.quick:
        options.data_sets, options.families, options.effects = 100, [10, 50], ["small", "large"]
    cases = product(options.families, options.effects, options.gaps)
    table = pd.concat([simulate(*case, options.data_sets, options.bootstrap) for case in cases], ignore_index=True)
    cases = product(options.families, options.effects)
    thresholds = pd.DataFrame([judge_thresholds(*case, options.data_sets, 0) for case in cases])
    table = pd.concat([table, thresholds], ignore_index=True)
    if options.out:
        table.to_csv(options.out, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
