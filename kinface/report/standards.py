"""The section for readers who know NIST's reports and ISO/IEC 19795-10."""

from __future__ import annotations

from kinface.fairness.groupings import OVERALL
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
    estimate,
    say,
    signed,
)
from kinface.report.build import name_files
from kinface.report.sections import name_grouping

# What ISO/IEC 19795-10 asks a report on demographic groups for, in our words, and where it stands.
ITEMS = (
    ("How groups were labelled, by whom", "What was measured"),
    ("Numbers of people and comparisons per group", "Results by group: pairs and families"),
    ("Failure to acquire per group", "below, where photos were given"),
    ("How the threshold was set, on which data", "What was measured; other thresholds below"),
    ("FMR and FNMR per group, with their uncertainty", "Results by group"),
    ("Shifts of mated and non-mated scores", "below"),
    ("FMR between people of different groups", "below"),
    ("One number for the differential: GARBE, and max over geometric mean", "Results by group: disparities"),
    ("Whether differences exceed chance", "Findings"),
    ("DET curves", "below"),
)


def write_standards(record: dict) -> Section:
    """Shifts of scores, FMR across groups, other operating points, DET curves, failures to acquire."""
    listed = Items([say("{}: <i>{}</i>", item, place) for item, place in ITEMS])
    about = (
        "ISO/IEC 19795-10:2024 lists what a report on differences between demographic groups contains. It stands here:"
    )
    blocks: list[Block] = [Paragraph(say(about)), listed]
    blocks += _tabulate_shifts(record["shifts"])
    for attribute, cells in record["across_groups"].items():
        blocks += _tabulate_across(attribute, cells)
    blocks += _tabulate_points(record["operating_points"])
    names = name_files(dict.fromkeys(row["grouping"] for row in record["groups"]))
    if record["det_curves"]:
        blocks.append(Heading("DET curves"))
    for grouping in record["det_curves"]:
        caption = "{grouping}: DET curves. Lower is better. Points: the groups at the threshold of this report."
        blocks.append(Picture(f"det_{names[grouping]}", say(caption, grouping=name_grouping(grouping))))
    blocks += _tabulate_acquisition(record["acquisition"])
    return Section("standards", "For readers of NIST reports and ISO/IEC 19795-10", blocks)


def _tabulate_shifts(shifts: list[dict]) -> list[Block]:
    if not shifts:
        return []
    rows = []
    for grouping, group in dict.fromkeys((row["grouping"], row["group"]) for row in shifts):
        of_kind = {row["kind"]: row for row in shifts if (row["grouping"], row["group"]) == (grouping, group)}
        rows.append([name_grouping(grouping), group, *(_write_shift(of_kind.get(kind)) for kind in ("kin", "non-kin"))])
    note = (
        "A shift is the group's mean score minus that of all pairs of the kind, in standard deviations of all such "
        "pairs. Non-kin pairs that are shifted upwards are accepted too often, at any threshold for all groups; kin "
        "pairs that are shifted downwards are rejected too often. Bold: the interval excludes 0."
    )
    table = Table(["grouping", "group", "kin pairs", "non-kin pairs"], rows, names=2)
    return [Heading("Shifts of scores"), table, Paragraph(say(note), "note")]


def _write_shift(row: dict | None) -> str:
    if row is None:
        return DASH
    if row["low"] is None:
        return say('{}<small class="none">no interval</small>', signed(row["shift"]))
    shown = row["low"] > 0 or row["high"] < 0
    value = bold(signed(row["shift"])) if shown else signed(row["shift"])
    return say("{}<small>{} to {}</small>", value, signed(row["low"]), signed(row["high"]))


def _tabulate_across(attribute: str, cells: list[dict]) -> list[Block]:
    values = sorted({cell[side] for cell in cells for side in "ab"})
    by_pair = {frozenset((cell["a"], cell["b"])): cell for cell in cells}
    rows = []
    for place, first in enumerate(values):
        row = [first]
        for second in values[: place + 1]:
            cell = by_pair.get(frozenset((first, second)))
            row.append(DASH if cell is None else say("{}<small>n {:,}</small>", estimate(cell, "fmr"), cell["non_kin"]))
        rows.append([*row, *[""] * (len(values) - place - 1)])
    note = (
        "The share of non-kin pairs that are accepted, in percent, between people of every two groups. The diagonal is "
        "within one group. If it is higher than the rest, the model takes strangers for kin because they are of one "
        "group."
    )
    title = f"FMR between groups: {attribute}"
    return [Heading(title), Table([attribute, *values], rows), Paragraph(say(note), "note")]


def _tabulate_points(points: list[dict]) -> list[Block]:
    if not points:
        text = "Other thresholds are given where validation pairs are: with <code>--threshold-from</code>."
        return [Heading("Other operating points"), Paragraph(say(text), "note")]
    rows = []
    for row in points:
        name = "All pairs" if row["grouping"] == OVERALL else f"{name_grouping(row['grouping'])}: {row['group']}"
        cells = [f"FMR {100 * row['chosen_at']:g}%", f"{row['threshold']:.4g}"]
        rows.append([name, *cells, estimate(row, "fmr"), estimate(row, "fnmr")])
    note = (
        "Each threshold is the lowest at which at most that share of the non-kin <i>validation</i> pairs is accepted."
    )
    header = ["group", "threshold chosen at", "threshold", "FMR, %", "FNMR, %"]
    return [Heading("Other operating points"), Table(header, rows), Paragraph(say(note), "note")]


def _tabulate_acquisition(acquisition: dict[str, list[dict]]) -> list[Block]:
    blocks: list[Block] = [Heading("Failure to acquire")]
    if not acquisition:
        text = (
            "Not measured: no table of photos was given (<code>--acquisition</code>). If faces were cut from photos by "
            "a detector, those that it did not find are missing from all figures of this report."
        )
        return [*blocks, Paragraph(say(text), "note")]
    for name, groups in acquisition.items():
        rows = [
            [row["group"] or "no label", f"{row['photos']:,}", f"{row['failed']:,}", estimate(row, "rate")]
            for row in groups
        ]
        blocks.append(Table([name, "photos", "without a usable face", "share, %"], rows))
    note = "These photos take no part in any other figure of this report."
    return [*blocks, Paragraph(say(note), "note")]
