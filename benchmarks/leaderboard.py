"""The leaderboard of kinship verification: models on the same pairs, with 95% intervals over families.

    python benchmarks/leaderboard.py OUT      measures what is in OUT, and writes docs/leaderboard.md
    python benchmarks/leaderboard.py          writes the page alone

A model has a card, ``docs/leaderboard/NAME.yaml``. OUT, such as the folder of ``recipes/findings.sh``, has its scores:
``NAME-val_choose`` (the list; ``--list`` is another name), ``NAME-matched`` (``kinface pairs``) and ``NAME-tune``, from
which the threshold comes, as .parquet or .csv; and, of embeddings, ``attackers-NAME`` of ``kinface probe``. What is
kept is ``docs/leaderboard/NAME.csv``: figures of groups, and no pair. A card without scores in OUT keeps the figures
that it has. The words of the page are in ``benchmarks/leaderboard.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from kinface.data.pairs import read_pairs
from kinface.data.vocabulary import in_words
from kinface.fairness.audit import Origin, audit_fairness
from kinface.fairness.threshold import choose_threshold
from kinface.leakage.controls import measure_controls
from kinface.report.checks import check_validation
from swinface.files import InputError, one_line, replacing
from swinface.settings import read_settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
WORDS = Path(__file__).with_suffix(".md")
CARD = {"model", "by", "trained on", "link"}
GROUPINGS = {"overall": "", "race": "race", "gender pair": "gender", "generation gap": "generation gap"}
METRICS = ("auc", "accuracy")
CONTROLS = ("same race", "same gender", "same photo", "photos per person")  # known of every list
CONTROL, ALIKE = "control", "auc_alike"  # a control's AUC by itself, and the model's among pairs that it scores alike
COLUMNS = ["list", "digest", "grouping", "group", "metric", "value", "low", "high", "n", "families"]


def measure(name: str, out: Path, standard: str) -> pd.DataFrame:
    """The figures of a model: a row per list, group and metric.

    Raises
    ------
    InputError
        A table is missing or broken, or the threshold's pairs are also on a list.
    """
    tune_file = _find(out, f"{name}-tune")
    tune, parts = read_pairs(tune_file, scored=True), []
    for listed, file in (("standard", _find(out, f"{name}-{standard}")), ("matched", _find(out, f"{name}-matched"))):
        pairs = read_pairs(file, scored=True)
        check_validation(pairs, Origin(str(file), tune, str(tune_file)))
        audit = audit_fairness(pairs, choose_threshold(tune))
        groups, about = audit.groups, {"list": listed, "digest": digest_pairs(pairs)}
        told = (groups["grouping"] == "overall") | groups["not_compared"].isna()
        groups = groups[groups["grouping"].isin(GROUPINGS) & told]
        for metric in METRICS:
            figures = groups[["grouping", "group", metric, f"{metric}_low", f"{metric}_high", "pairs", "families"]]
            figures = figures.set_axis(["grouping", "group", "value", "low", "high", "n", "families"], axis=1)
            parts.append(figures.assign(**about, metric=metric))
        known = measure_controls(audit.pairs, dyads=audit.dyads)
        known = known[known["control"].isin(CONTROLS)].assign(grouping=CONTROL, families=groups["families"][0])
        for metric, column in (("auc", "auc"), (ALIKE, "model_alike")):
            ends = {f"{column}{end}": end[1:] or "value" for end in ("", "_low", "_high")}
            parts.append(known.rename(columns=ends | {"control": "group", "pairs": "n"}).assign(**about, metric=metric))
    left = out / f"attackers-{name}" / "leakage.csv"
    if left.exists():
        table = pd.read_csv(left).sort_values("balanced_accuracy", ascending=False).drop_duplicates("attribute")
        ends = {f"balanced_accuracy{end}": end[1:] or "value" for end in ("", "_low", "_high")}
        table = table.rename(columns=ends | {"attribute": "grouping", "probe": "group", "faces": "n"})
        parts.append(table.assign(list="embeddings", digest=None, metric="left").sort_values("grouping"))
    return pd.concat([part[COLUMNS] for part in parts])


def digest_pairs(pairs: pd.DataFrame) -> str:
    """Twelve digits that two lists share if they have the same pairs, whichever face of a pair comes first."""
    rows = sorted(f"{' '.join(sorted(row[:2]))} {row[2]}" for row in pairs[["face_a", "face_b", "kin"]].to_numpy())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]


def _find(out: Path, stem: str) -> Path:
    for path in (out / f"{stem}.parquet", out / f"{stem}.csv"):
        if path.exists():
            return path
    raise InputError(f"{out / stem}: there is no .parquet or .csv of this name; `kinface score` writes it.")


def read_card(path: Path) -> dict[str, str]:
    """The card of a model, in HTML that Markdown leaves alone.

    Raises
    ------
    InputError
        It has other keys than ``CARD``, or no value of one.
    """
    card = read_settings(path)
    if card.keys() != CARD or not all(card[key] for key in CARD - {"link"}):
        raise InputError(f"{path}: a card has the keys {', '.join(sorted(CARD))}; only link may be null.")
    written = {
        key: html.escape(one_line(value), quote=False).replace("|", "&#124;") for key, value in card.items() if value
    }
    written["linked"] = f"[{written['model']}]({written['link']})" if "link" in written else written["model"]
    return written


def write_page(folder: Path) -> str:
    """The page of all cards that have figures, a section for each list of pairs; best on the matched list first."""
    tables, cards = {}, {}
    for path in sorted(folder.glob("*.csv")):
        table = pd.read_csv(path)
        if [*table] != COLUMNS:
            raise InputError(f"{path}: its columns must be {', '.join(COLUMNS)}; benchmarks/leaderboard.py writes it.")
        cards[path.stem], tables[path.stem] = read_card(path.with_suffix(".yaml")), table
    lists = {name: (_pick(it, "standard")["digest"], _pick(it, "matched")["digest"]) for name, it in tables.items()}
    ranked = sorted(tables, key=lambda name: -_pick(tables[name], "matched")["value"])
    sections: list[str] = []
    for pairs in dict.fromkeys(lists[name] for name in ranked):
        of_list = [name for name in ranked if lists[name] == pairs]
        sections += _write_section({name: tables[name] for name in of_list}, cards, pairs)
    return WORDS.read_text(encoding="utf-8").replace("{{ tables }}", "\n".join(sections))


def _write_section(tables: dict[str, pd.DataFrame], cards: dict, digests: tuple[str, str]) -> Iterator[str]:
    first = next(iter(tables.values()))
    sizes = [_pick(first, listed) for listed in ("standard", "matched")]
    yield "## {:,} pairs of {:,} families\n".format(*sizes[0][["n", "families"]])
    yield f"Digest {digests[0]}; {sizes[1]['n']:,} matched pairs, digest {digests[1]}.\n"
    shown = [(metric, listed) for metric in METRICS for listed in ("standard", "matched")]
    titles = ["AUC, random non-kin", "AUC, matched", "accuracy, random", "accuracy, matched"]
    rows = []
    for name, table in tables.items():
        card, left = cards[name], {it["grouping"]: it for _, it in table[table["metric"] == "left"].iterrows()}
        figures = [_write(_pick(table, listed, metric)) for metric, listed in shown]
        figures += [_write(left.get(attribute)) for attribute in ("race", "gender")]
        rows.append([card["linked"], card["by"], card["trained on"], *figures])
    yield _to_markdown(["model", "by", "trained on", *titles, "race left", "gender left"], rows)
    for grouping, title in GROUPINGS.items():
        if not title:
            continue
        of_grouping = first[(first["grouping"] == grouping) & first["list"].isin(["standard", "matched"])]
        groups = dict.fromkeys(of_grouping.sort_values("list", kind="stable")["group"])  # the matched list has most
        rows = []
        for group in groups:
            for name, table in tables.items():
                found = [_pick(table, listed, metric, grouping, group) for metric, listed in shown]
                rows.append([in_words(group, grouping), cards[name]["model"], *map(_write, found)])
        if rows:
            yield f"### By {title}\n"
            yield _to_markdown(["group", "model", *titles], rows)
    rows = []
    for control in dict.fromkeys(first["group"][first["grouping"] == CONTROL]):
        lists = ("standard", "matched")
        alone = [_write(_pick(first, listed, "auc", CONTROL, control)) for listed in lists]
        rows.append([control, "the control alone", *alone])
        for name, table in tables.items():
            alike = [_write(_pick(table, listed, ALIKE, CONTROL, control)) for listed in lists]
            rows.append([control, cards[name]["model"], *alike])
    if rows:
        yield "### Where a control cannot help\n"
        yield _to_markdown(["control", "model", *titles[:2]], rows)


def _pick(
    table: pd.DataFrame, listed: str, metric: str = "auc", grouping: str = "overall", group: str | None = None
) -> pd.Series | None:
    """The row of a figure; None where there is none."""
    rows = table[(table["list"] == listed) & (table["metric"] == metric) & (table["grouping"] == grouping)]
    rows = rows if group is None else rows[rows["group"] == group]
    return None if rows.empty else rows.iloc[0]


def _write(row: pd.Series | None) -> str:
    """A figure with its interval as the tables of the documentation have it, such as .766 [.716, .809]."""
    if row is None:
        return "–"
    value, low, high = (f"{row[name]:.3f}".replace("0.", ".", 1) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _to_markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Measure what is there, and write the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("out", type=Path, nargs="?", help="folder of scores")
    options.add_argument("--list", default="val_choose", help="name of the list (default: val_choose)")
    chosen, folder = options.parse_args(), DOCS / "leaderboard"
    try:
        for card in sorted(folder.glob("*.yaml")) if chosen.out else []:
            read_card(card)
            if [*chosen.out.glob(f"{card.stem}-{chosen.list}.*")]:
                table = measure(card.stem, chosen.out, chosen.list)
                with replacing(card.with_suffix(".csv")) as partial:
                    table.to_csv(partial, index=False, float_format="%.6f")
                print(f"measured {card.stem}")
        page = write_page(folder)
        with replacing(DOCS / "leaderboard.md") as partial:
            partial.write_text(page, encoding="utf-8")
    except InputError as error:
        print(f"leaderboard: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"wrote {DOCS / 'leaderboard.md'}")


if __name__ == "__main__":
    main()
