"""The sections of a report on one model: what was measured, findings, and results by group."""

from __future__ import annotations

from kinface.fairness.groupings import OVERALL
from kinface.fairness.groups import FALSE_ACCEPTS
from kinface.report.blocks import (
    DASH,
    Block,
    Heading,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
    bold,
    change,
    decimal,
    estimate,
    percent,
    points,
    say,
)
from kinface.report.build import name_files

NAMES = {
    "overall": "All pairs",
    "race": "Race",
    "race crossing": "Same race or two races",
    "gender pair": "Gender pair",
    "type": "Kinship type",
    "generation gap": "Generation gap",
    "race and gender": "Race and gender pair",
}


METRICS = {
    "accuracy": "accuracy",
    "tpr": "TPR (kin pairs accepted)",
    "fmr": "FMR (non-kin pairs accepted)",
    "auc": "AUC",
}


GAP_NUMBERS = ("highest_value", "lowest_value", "difference", "low", "high", "chance")


AFFECTED_BY_PREVALENCE = ("accuracy gap", "accuracy spread", "skewed error ratio", "demographic parity difference")


def name_grouping(grouping: str) -> str:
    """Its heading; one's own groupings keep the name of their column."""
    return NAMES.get(grouping, grouping)


def describe_families(listed: dict) -> str:
    """From how many families the pairs of a list come."""
    if not listed["pairs_of_unknown_families"]:
        return f"{listed['families']:,} families"
    return f"{listed['families']:,} known families and unknown ones" if listed["families"] else "unknown families"


def describe_unlabelled(listed: dict, grouping: str) -> str:
    """How many pairs of a list are in no group of a grouping."""
    text = "{count:,} of the {pairs:,} pairs have no label for {grouping} and are in none of its groups."
    name = name_grouping(grouping).lower()
    return say(text, count=listed["without_group"][grouping], pairs=listed["scores"]["pairs"], grouping=name)


def write_lead(record: dict) -> str:
    """The first paragraph."""
    return say(
        "A model gave each of {pairs:,} pairs of faces a score: a higher score means that the two people are more "
        "likely kin. {kin:,} pairs are kin, {non_kin:,} are not. They come from {families}. Pairs with a score of "
        "{threshold:.4g} or more are accepted as kin. This report shows how often that is right, and whether it is "
        "right equally often for all groups.",
        **{name: record["scores"][name] for name in ("pairs", "kin", "non_kin")},
        families=describe_families(record["scores"]),
        threshold=record["threshold"]["value"],
    )


def write_measured(record: dict) -> Section:
    """Where the figures come from, doubts about them, and the results for all pairs."""
    items = [_describe_scores(record["scores"]), _describe_threshold(record["threshold"]), _describe_labels(record)]
    text = (
        "The range in small print below a result is its 95% confidence interval. It shows how far the result may be "
        "from the value for all {resampled} like these. It comes from {resamples:,} bootstrap resamples of {resampled} "
        "(seed {seed})."
    )
    if "pairs" in record["resampled"]:
        text += (
            " <b>Pairs of unknown families were resampled one by one, as if they were independent.</b> Their intervals "
            "are too narrow."
        )
    items.append(say(text, **{name: record[name] for name in ("resamples", "resampled", "seed")}))
    warnings = [Paragraph(say("<b>Warning.</b> {}", text), "warning") for text in record["warnings"]]
    overall = [row for row in record["groups"] if row["grouping"] == OVERALL]
    blocks = [Items(items), *warnings, tabulate_groups(overall), *_show_curves(record, OVERALL)]
    return Section("measured", "What was measured", blocks)


def _describe_scores(scores: dict) -> str:
    if scores["file"] is None:
        return say("Scores: a table of {pairs:,} pairs.", **scores)
    return say("Scores: <code>{file}</code> (list: {list}; split: {split}).", **scores)


def _describe_threshold(threshold: dict) -> str:
    text = "Threshold: <b>{value:.4g}</b>, the same for all groups. "
    if threshold["rule"] == "given":
        text += (
            "It was given by the user. This report cannot check on which pairs it was chosen. If it was chosen on the "
            "pairs of this report, the model looks better than it is."
        )
        return say(text, **threshold)
    chosen_on = "{pairs:,} validation pairs of {origin}"
    if threshold["file"] is not None:
        chosen_on = "<code>{file}</code> (list: {list}; split: {split}; {pairs:,} pairs of {origin})"
    text += f"It was chosen on {chosen_on}, not on the pairs of this report. "
    text += "It is the score with the largest TPR − FMR (Youden's J)."
    return say(text, origin=describe_families(threshold), **threshold)


def _describe_labels(record: dict) -> str:
    grouped = {row["grouping"] for row in record["groups"]}
    known = {"race": "race", "gender pair": "gender"}
    sources = {label: record["scores"][f"{label}_source"] for name, label in known.items() if name in grouped}
    sources |= record["scores"]["own_sources"]
    text = say("Groups: ")
    if sources:
        listed = say("; ").join(say("{}: {}", label, source) for label, source in sources.items())
        text += say(
            "the labels come from these sources: {}. They describe how the source sees a person, not necessarily how "
            "the person sees themselves. If a model predicted them, its errors affect all results by these groups. ",
            listed,
        )
    for name in (name for name in known if name not in grouped):
        text += say("The pairs have no labels for results by {}. ", name)
    if record["own_groupings"]:
        text += say("Groupings of the user: {}.", ", ".join(record["own_groupings"]))
    return text


def write_findings(record: dict) -> Section:
    """Which differences between groups are significant."""
    blocks: list[Block] = []
    overall = record["groups"][0]
    if overall["auc_low"] is not None and overall["auc_low"] <= 0.5:
        blocks.append(_warn(
            "Not shown to be better than guessing.",
            "The confidence interval of the AUC of all pairs includes 0.5, which is guessing. For such a model, equal "
            "results of groups mean little.",
        ))  # fmt: skip
    if "pairs" in record["resampled"]:
        blocks.append(_warn(
            "Too many differences may be called significant.",
            "Families of pairs are unknown, and such pairs are treated as independent. A difference that is "
            "significant here may not be found again in other families.",
        ))  # fmt: skip
    blocks += _summarise_gaps(record)
    if record["race_reward"]:
        blocks.append(Paragraph(_describe_race_reward(record["race_reward"])))
    if record["unequal_prevalence"]:
        blocks.append(_warn(
            "Do not compare accuracies by "
            + ", ".join(name_grouping(name).lower() for name in record["unequal_prevalence"]) + ".",
            "These groups have different shares of kin pairs. Accuracy, accuracy spread, skewed error ratio and "
            "demographic parity difference then differ even for a model that treats all groups alike. Compare TPR and "
            "FMR instead.",
        ))  # fmt: skip
    if record["gaps"]:
        blocks += _tabulate_gaps(record)
    return Section("findings", "Findings", blocks)


def _warn(title: str, text: str) -> Paragraph:
    return Paragraph(say("<b>{}</b> {}", title, text), "warning")


def _summarise_gaps(record: dict) -> list[Block]:
    examined = [gap for gap in record["gaps"] if gap["comparable"]]
    shown = [gap for gap in examined if gap["shown"]]
    if not examined:
        return [Paragraph(say("No grouping has two groups that can be compared."))]
    counts = {"examined": len(examined), "shown": len(shown), "chance": record["shown_by_chance"]}
    text = "{examined} differences between groups were tested. "
    if shown:
        text += (
            "<b>{shown} of them {verb} significant</b>: larger than chance explains. If all groups were equal, about "
            "{chance:.1f} would be called significant by chance."
        )
        return [
            Paragraph(say(text, **counts, verb="is" if len(shown) == 1 else "are")),
            Items([_describe_gap(gap) for gap in shown]),
        ]
    text += (
        "<b>No difference is significant</b>: chance can explain all of them. This does not prove that the groups are "
        "equal. The intervals below show how large the differences may be."
    )
    return [Paragraph(say(text, **counts))]


def _describe_gap(gap: dict) -> str:
    return say(
        "<b>{grouping}, {metric}:</b> {highest} {highest_value}, {lowest} {lowest_value}. The difference is "
        "{difference} (95% interval {low} to {high}). If these groups were equal, chance alone would give more than "
        "{chance} in only 5% of samples.",
        grouping=name_grouping(gap["grouping"]),
        metric=METRICS[gap["metric"]],
        **_write_gap(gap),
    )


def _write_gap(gap: dict) -> dict[str, str]:
    """Its groups and numbers as text: rates in percent and points, AUC as a number."""
    if gap["metric"] == "auc":
        written = {name: decimal(gap[name]) for name in GAP_NUMBERS}
    else:
        written = {name: percent(gap[name]) for name in GAP_NUMBERS}
        written |= {name: f"{written[name]}%" for name in ("highest_value", "lowest_value")}
        written |= {name: f"{written[name]} points" for name in ("difference", "chance")}
    return {name: text.replace("-", "−") for name, text in written.items()} | {
        it: gap[it] for it in ("highest", "lowest")
    }


def _describe_race_reward(reward: dict) -> str:
    text = (
        "<b>Does it help to recognise race?</b> {same}% of the non-kin pairs of one race are accepted, and {cross}% of "
        "the non-kin pairs of two races: a difference of {difference} points (95% interval {low} to {high}). "
    )
    if reward["low"] > 0:
        text += (
            "The model rejects two strangers more easily if they are of different races. It therefore looks better on "
            "a list with many such pairs."
        )
    elif reward["high"] < 0:
        text += "The model accepts two strangers more often if they are of different races."
    else:
        text += "The difference is not significant."
    rates = {"same": percent(reward["same"]), "cross": percent(reward["cross"])}
    return say(text, **rates, **{name: points(reward[name]) for name in ("difference", "low", "high")})


def _tabulate_gaps(record: dict) -> list[Block]:
    rows = []
    for gap in record["gaps"]:
        result = bold("significant") if gap["shown"] else "not significant"
        written = _write_gap(gap)
        rows.append([
            name_grouping(gap["grouping"]),
            METRICS[gap["metric"]],
            *(f"{written[end]} {written[f'{end}_value']}" for end in ("highest", "lowest")),
            result if gap["comparable"] else "not comparable",
            written["difference"],
            f"{written['low']} to {written['high']}",
            written["chance"],
        ])  # fmt: skip
    header = ["grouping", "metric", "highest", "lowest", "result", "difference", "95% interval", "chance limit"]
    note = (
        "Each row compares the group with the highest and the group with the lowest value. Their difference is called "
        "<b>significant</b> if its confidence interval excludes 0 and it is larger than the <b>chance limit</b>: the "
        "largest difference between equal groups exceeds this limit in only 5% of samples. The limit is needed because "
        "the two groups were chosen after looking at the results. “Not significant” does not mean equal. “Not "
        "comparable”: the groups have different shares of kin pairs."
    )
    return [Heading("All differences tested"), Table(header, rows, names=5), Paragraph(say(note), "note")]


def tabulate_groups(rows: list[dict]) -> Table:
    """Counts and metrics of groups."""
    header = ["group", "kin pairs", "non-kin pairs", "families", "accuracy, %", "TPR, %", "FMR, %", "FNMR, %", "AUC"]
    header += [f"TAR at FAR {far}, %" for far in ("10%", "1%", "0.1%")]
    metrics = ("accuracy", "tpr", "fmr", "fnmr", "auc", "tar_at_1e-1", "tar_at_1e-2", "tar_at_1e-3")
    cells = [
        [
            row["group"],
            f"{row['kin']:,}",
            f"{row['non_kin']:,}",
            f"{row['families']:,}" if row["families"] else DASH,
            *(estimate(row, metric) for metric in metrics),
        ]
        for row in rows
    ]
    faint = {number for number, row in enumerate(rows) if row["not_compared"] and row["grouping"] != OVERALL}
    return Table(header, cells, faint=frozenset(faint))


def write_groups(record: dict) -> Section:
    """Every grouping: its groups, curves and disparities."""
    note = (
        "Groups in italics are left out of some or all comparisons; the reason is below the table. A dash means that "
        "the group lacks the pairs that are needed. TAR at FAR is given if the non-kin pairs of the group allow "
        "{number} false accepts."
    )
    blocks: list[Block] = [Paragraph(say(note, number=FALSE_ACCEPTS), "note")]
    for grouping in dict.fromkeys(row["grouping"] for row in record["groups"]):
        if grouping != OVERALL:
            blocks += _write_grouping(record, grouping)
    return Section("groups", "Results by group", blocks)


def _write_grouping(record: dict, grouping: str) -> list[Block]:
    rows = [row for row in record["groups"] if row["grouping"] == grouping]
    blocks: list[Block] = [Heading(name_grouping(grouping)), tabulate_groups(rows)]
    if record["without_group"][grouping]:
        blocks.append(Paragraph(describe_unlabelled(record, grouping)))
    excluded = [f"{row['group']} ({row['not_compared']})" for row in rows if row["not_compared"]]
    if excluded:
        blocks.append(Paragraph(say("Left out of comparisons: {groups}.", groups="; ".join(excluded)), "note"))
    lossy = [row for row in rows if row["auc"] is not None and 0 < row["complete_resamples"] < record["resamples"]]
    if lossy:
        counts = ", ".join(f"{row['group']} {row['complete_resamples']:,}" for row in lossy)
        text = "Of {resamples:,} resamples, those with both kin and non-kin pairs of the group were used: {counts}."
        blocks.append(Paragraph(say(text, counts=counts, resamples=record["resamples"]), "note"))
    blocks += _contrast(record, grouping)
    caption = say(
        "{grouping}: results with 95% intervals. Dashed line: all pairs. Open points: groups left out of the "
        "comparison.",
        grouping=name_grouping(grouping),
    )
    blocks.append(Picture(f"rates_{_name_file(record, grouping)}", caption))
    return [*blocks, *_show_curves(record, grouping), *_tabulate_disparities(record, grouping)]


def _contrast(record: dict, grouping: str) -> list[Block]:
    against = [row for row in record["contrasts"] if row["grouping"] == grouping]
    if not against:
        return []
    rows = []
    for group in dict.fromkeys(row["group"] for row in against):
        of_group = {row["metric"]: row for row in against if row["group"] == group}
        cells = [change(of_group.get(metric), in_points=metric != "auc") for metric in ("tpr", "fmr", "auc")]
        rows.append([group, *cells])
    header = [f"compared with {against[0]['reference']}", "TPR, points", "FMR, points", "AUC"]
    note = (
        "Each group minus {reference}, the largest group. Bold: the interval excludes 0. In grey: the value of the "
        "group and of {reference}."
    )
    return [Table(header, rows), Paragraph(say(note, reference=against[0]["reference"]), "note")]


def _show_curves(record: dict, grouping: str) -> list[Block]:
    name, title = _name_file(record, grouping), name_grouping(grouping)
    scores = (
        "{title}: distribution of scores. Solid: kin pairs. Dashed: non-kin pairs. Pairs right of the threshold are "
        "accepted."
    )
    roc = (
        "{title}: ROC curves. A point shows the FMR and TPR of a group at the threshold, with 95% intervals. Groups "
        "with the same curve can still have different points. Groups with too few pairs have no curve."
    )
    return [
        Picture(f"scores_{name}", say(scores, title=title)),
        Picture(f"roc_{name}", say(roc, title=title)),
    ]


def _tabulate_disparities(record: dict, grouping: str) -> list[Block]:
    unequal = [row for row in record["disparities"] if row["grouping"] == grouping]
    if not unequal:
        return [Paragraph(say("No disparities: fewer than two groups can be compared."), "note")]
    warned = grouping in record["unequal_prevalence"]
    rows = []
    for row in unequal:
        name = row["disparity"] + (" *" if warned and row["disparity"] in AFFECTED_BY_PREVALENCE else "")
        interval = DASH if row["low"] is None else f"{decimal(row['low'])}–{decimal(row['high'])}"
        figures = [decimal(row["value"]), interval, f"{row['ideal']:g}", decimal(row["chance"])]
        rows.append([name, _judge(row, record["resamples"]), str(row["compared_groups"]), *figures])
    header = ["disparity", "result", "groups", "value", "95% interval", "ideal", "chance limit"]
    blocks: list[Block] = [Table(header, rows, names=2)]
    if warned:
        note = "* These groups have different shares of kin pairs, which alone makes this value differ from its ideal."
        blocks.append(Paragraph(say(note), "note"))
    return blocks


def _judge(row: dict, resamples: int) -> str:
    if row["value"] is None:
        return "not defined: a rate is 0 in all groups"
    if row["beyond_chance"] is None:
        return "not judged: a rate is 0 in one group"
    text = bold("beyond chance") if row["beyond_chance"] else say("within chance")
    if row["resamples"] < resamples:
        text += say(' <span class="none">({count:,} resamples)</span>', count=row["resamples"])
    return text


def _name_file(record: dict, grouping: str) -> str:
    return name_files(dict.fromkeys(row["grouping"] for row in record["groups"]))[grouping]
