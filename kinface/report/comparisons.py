"""The sections that compare: a matched list with the standard one, and two models."""

from __future__ import annotations

from kinface.fairness.disparities import find_disparity
from kinface.fairness.groupings import OVERALL
from kinface.report.blocks import (
    DASH,
    Block,
    Heading,
    Paragraph,
    Picture,
    Section,
    Table,
    change,
    decimal,
    estimate,
    pick,
    say,
    signed,
)
from kinface.report.build import name_files
from kinface.report.sections import describe_families, describe_unlabelled, name_grouping


def write_matched(record: dict) -> Section:
    """The same model on a list whose non-kin pairs are matched."""
    matched, scores = record["matched"], record["scores"]
    listed = matched["scores"]
    named = {"file": listed["file"] or "no file", "families": describe_families(listed)}
    described = say(
        "In a list whose non-kin pairs are drawn at random, strangers differ in much besides kinship, above all in "
        "race and age. A model can use these differences. In the <b>matched</b> list, each non-kin pair shares its "
        "first face with a kin pair, and its second person is like the relative in the attributes that the list was "
        "matched by. The same model scored the matched list: <code>{file}</code> (list: {list}; {kin:,} kin and "
        "{non_kin:,} non-kin pairs of {families}). {both:,} of the {all_kin:,} kin pairs of the standard list "
        "(<code>{standard}</code>) are in both lists.",
        **listed | named,
        both=matched["kin_in_both"],
        all_kin=scores["kin"],
        standard=scores["file"] or "no file",
    )
    blocks: list[Block] = [Paragraph(described), Paragraph(_summarise_matched(matched)), _tabulate_lists(record)]
    note = (
        "Differences are the matched list minus the standard list, on the same resamples of {resampled} of both. Bold: "
        "the interval excludes 0. In grey: matched, standard. Within one race, the non-kin pairs of the standard list "
        "are of one race too. An advantage of recognising race therefore shows in all pairs. The threshold is the same."
    )
    blocks.append(Paragraph(say(note, resampled=record["resampled"]), "note"))
    unlabelled = [name for name in ("race", *record["own_groupings"]) if matched["without_group"].get(name)]
    blocks += [Paragraph(describe_unlabelled(matched, name)) for name in unlabelled]
    return Section("matched", "Matched non-kin pairs", [*blocks, *_tabulate_list_disparities(record)])


def _summarise_matched(matched: dict) -> str:
    auc = pick(matched["differences"], metric="auc", group="all pairs")
    text = "The AUC is {other} on the standard list and {ours} on the matched list: a difference of {difference} "
    text += "(95% interval {low} to {high}). "
    if isinstance(auc["high"], float | int) and auc["high"] < 0:
        text += (
            "<b>Part of what the standard list measures is not kinship</b>, but other differences between strangers "
            "that the matched list removes."
        )
    elif isinstance(auc["low"], float | int) and auc["low"] > 0:
        text += "The model does better on the matched list."
    else:
        text += "The difference is not significant."
    values = {name: decimal(auc[name]) for name in ("ours", "other")}
    return say(text, **values, **{name: signed(auc[name]) for name in ("difference", "low", "high")})


def _tabulate_lists(record: dict) -> Table:
    lists = (record["groups"], record["matched"]["groups"])
    header = ["grouping", "group", "non-kin pairs, standard", "non-kin pairs, matched", "AUC, standard", "AUC, matched"]
    header += ["AUC, difference"]
    for metric in ("accuracy", "TPR", "FMR"):
        header += [f"{metric} %, standard", f"{metric} %, matched"]
    rows = []
    for row in record["matched"]["differences"]:
        if row["metric"] == "auc":
            both = [pick(rows, grouping=row["grouping"], group=row["group"]) for rows in lists]
            cells = [f"{it['non_kin']:,}" for it in both] + [estimate(it, "auc") for it in both]
            cells.append(change(row, in_points=False))
            cells += [estimate(it, metric) for metric in ("accuracy", "tpr", "fmr") for it in both]
            rows.append([name_grouping(row["grouping"]), row["group"], *cells])
    return Table(header, rows, names=2)


def _tabulate_list_disparities(record: dict) -> list[Block]:
    unequal = [row for row in record["matched"]["differences"] if row["group"] is None]
    if not unequal:
        return []
    rows = []
    for row in unequal:
        wanted = {"grouping": row["grouping"], "disparity": row["metric"]}
        sides = [_cell(pick(rows, **wanted)) for rows in (record["disparities"], record["matched"]["disparities"])]
        rows.append([name_grouping(row["grouping"]), row["metric"], "0", *sides, change(row, in_points=False)])
    header = ["grouping", "disparity", "ideal", "standard", "matched", "difference"]
    note = (
        "The difference is between the groups that have enough pairs on both lists. The other values are those of each "
        "list, as under Results by group. <code>groups_matched.csv</code> has every group of the matched list."
    )
    return [Heading("Disparities on the two lists"), Table(header, rows, names=2), Paragraph(say(note), "note")]


def _cell(row: dict) -> str:
    text = say("{value}", value=decimal(row["value"]))
    if row["low"] is not None:
        text += say("<small>{low}–{high}</small>", low=decimal(row["low"]), high=decimal(row["high"]))
    if row["beyond_chance"] is not None:
        where = "beyond" if row["beyond_chance"] else "within"
        text += say('<small class="none">{where} chance</small>', where=where)
    return text


def write_comparison(record: dict) -> Section:
    """The same pairs scored by another model."""
    other = record["compared_with"]
    threshold = other["threshold"]
    text = "Another model scored the same pairs: <code>{file}</code>. Its own threshold is {value:.4g}"
    if threshold["rule"] != "given":
        text += ", chosen on <code>{chosen_on}</code> ({pairs:,} pairs)"
    text += ". Differences are this model minus the other model, on the same resamples of {resampled}."
    described = say(
        text,
        file=other["scores"]["file"] or "no file",
        value=threshold["value"],
        chosen_on=threshold.get("file") or "validation pairs",
        pairs=threshold.get("pairs"),
        resampled=record["resampled"],
    )
    warnings = [say("<b>Warning about the other model.</b> {}", text) for text in other["warnings"]]
    warnings = [Paragraph(text, "warning") for text in warnings]
    note = (
        "Bold: the interval excludes 0, so the difference is significant. All other differences are not. A group with "
        "too few pairs for comparisons has no interval here either. In grey: this model, the other model."
    )
    blocks: list[Block] = [Paragraph(described), *warnings, _tabulate_models(record), Paragraph(say(note), "note")]
    files = name_files(dict.fromkeys(row["grouping"] for row in record["groups"]))
    for grouping in ("race", *record["own_groupings"]):
        caption = "This model minus the other model, for all pairs and by {grouping}, with 95% intervals."
        name = f"differences_{files.get(grouping, grouping)}"
        blocks.append(Picture(name, say(caption, grouping=name_grouping(grouping).lower())))
    return Section("comparison", "Comparison with another model", [*blocks, *_tabulate_model_disparities(record)])


def _tabulate_models(record: dict) -> Table:
    rows = []
    for group in record["groups"]:
        if group["grouping"] in (OVERALL, "race", *record["own_groupings"]):
            wanted = {"grouping": group["grouping"], "group": group["group"]}
            found = {it: pick(record["differences"], **wanted, metric=it) for it in ("accuracy", "tpr", "fmr", "auc")}
            names = [name_grouping(group["grouping"]), group["group"]]
            rows.append([*names, *(change(row, in_points=it != "auc") for it, row in found.items())])
    return Table(["grouping", "group", "accuracy, points", "TPR, points", "FMR, points", "AUC"], rows, names=2)


def _tabulate_model_disparities(record: dict) -> list[Block]:
    unequal = [row for row in record["differences"] if row["group"] is None]
    groupings = list(dict.fromkeys(row["grouping"] for row in unequal))
    if not groupings:
        return []
    rows = []
    for name in dict.fromkeys(row["metric"] for row in unequal):
        found = [pick(unequal, grouping=grouping, metric=name) for grouping in groupings]
        rows.append(
            [name, f"{find_disparity(name).ideal:g}", *(change(row, in_points=False) if row else DASH for row in found)]
        )
    header = ["disparity", "ideal", *(name_grouping(grouping).lower() for grouping in groupings)]
    note = (
        "Different shares of kin pairs affect accuracy here too. The results are not corrected for the number of "
        "comparisons."
    )
    return [Heading("Disparities of the two models"), Table(header, rows), Paragraph(say(note), "note")]
