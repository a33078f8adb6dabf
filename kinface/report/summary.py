"""The first screen of a report: what was measured, what matters most, and for whom the model fails."""

from __future__ import annotations

from kinface.fairness.groupings import intersects
from kinface.fairness.groups import TOO_FEW
from kinface.report.blocks import Block, Items, Paragraph, Section, bold, decimal, say
from kinface.report.sections import name_grouping

MOST_FINDINGS = 3


TEXTS = {
    "tpr": (
        "<b>Relatives are missed more often in the group {lowest}</b> ({grouping}): of 100 pairs it accepts {low}, and "
        "{high} in the group {highest}."
    ),
    "fmr": (
        "<b>Strangers are taken for relatives more often in the group {highest}</b> ({grouping}): {high} of 100 pairs, "
        "and {low} in the group {lowest}."
    ),
}


def write_summary(record: dict) -> Section:
    """How often it is right, at most three findings, and what they do not say, for readers without statistics."""
    overall = record["groups"][0]
    right = (
        "Of 100 pairs of relatives the model accepts <b>{accepted}</b>; of 100 pairs of strangers it takes "
        "<b>{wrong}</b> for relatives. It is right for {right} of 100 pairs of this list; one and the same answer for "
        "all pairs would be right for {same}."
    )
    share = overall["kin"] / overall["pairs"]
    figures = {"accepted": overall["tpr"], "wrong": overall["fmr"], "right": overall["accuracy"]}
    figures["same"] = max(share, 1 - share)
    text = say(right, **{name: _of_100(value) for name, value in figures.items()})
    findings = _find(record)
    blocks: list[Block] = [Paragraph(text, "lead")]
    if findings:
        blocks.append(Items(findings))
    elif any(gap["comparable"] for gap in record["gaps"]):
        text = (
            "<b>No group is shown to be treated worse than another.</b> This is no proof that all are treated alike: "
        )
        text += "small groups may differ much without being noticed."
        blocks.append(Paragraph(say(text)))
    else:
        text = "<b>No groups were compared</b>, because the pairs have no labels or each group has too few of them. "
        text += "Nothing is known of how groups are treated."
        blocks.append(Paragraph(say(text)))
    unknown = _name_small(record)
    if unknown:
        text = "Groups with too few pairs to be compared in all: {}."
        blocks.append(Paragraph(say(text, unknown), "note"))
    return Section("summary", "In short", blocks)


def _of_100(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}"


def _find(record: dict) -> list[str]:
    """The findings that matter most: who is rejected, who is accepted too often, and what race earns."""
    found = []
    for metric, text in TEXTS.items():
        gaps = [gap for gap in record["gaps"] if gap["metric"] == metric and gap["comparable"] and gap["shown"]]
        gaps = [gap for gap in gaps if gap["grouping"] != "race crossing"]  # a finding of its own, below
        if gaps:
            gap = max(gaps, key=lambda gap: (not intersects(gap["grouping"]), gap["difference"]))
            values = {"low": _of_100(gap["lowest_value"]), "high": _of_100(gap["highest_value"])}
            names = {
                "lowest": gap["lowest"],
                "highest": gap["highest"],
                "grouping": name_grouping(gap["grouping"]).lower(),
            }
            found.append(say(text, **values, **names))
    reward = record["race_reward"]
    if reward and reward["low"] > 0:
        text = (
            "<b>The model uses race</b>: of 100 pairs of strangers of one race it takes {same} for relatives, of 100 "
            "of two races {cross}. So it does well where strangers are of different races, and worse elsewhere."
        )
        found.append(say(text, same=_of_100(reward["same"]), cross=_of_100(reward["cross"])))
    auc = record["groups"][0]
    if auc["auc_low"] is not None and auc["auc_low"] <= 0.5:
        text = "<b>The model is not significantly better than guessing</b> (AUC {} [{}, {}])."
        found.insert(0, say(text, *(decimal(auc[name]) for name in ("auc", "auc_low", "auc_high"))))
    return found[:MOST_FINDINGS]


def _name_small(record: dict) -> str:
    """Groups of race, or of one's own groupings, that lack pairs for a comparison, and which."""
    chosen = ["race", *record["own_groupings"]]
    small = [row for row in record["groups"] if row["grouping"] in chosen]
    small = [row for row in small if (row["not_compared"] or "").startswith(TOO_FEW)]
    return say("; ").join(
        say("{} ({})", bold(row["group"]), row["not_compared"].removeprefix(f"{TOO_FEW}: ")) for row in small
    )
