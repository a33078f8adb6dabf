"""The leaderboard: what is measured of scores, what is kept, and the page that is made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from kinface.fairness.audit import audit_fairness
from kinface.fairness.threshold import choose_threshold
from kinface.leakage.controls import controls
from swinface.files import InputError
from tests.benchmarks import load_benchmark

ROOT = Path(__file__).resolve().parents[2]
CARD = {"model": "<b>a|b</b>", "by": "somebody", "trained on": "other faces", "link": None}


@pytest.fixture(scope="module")
def leaderboard():
    return load_benchmark("leaderboard")


@pytest.fixture
def out(draw_scored, tmp_path) -> Path:
    """Scores of one model, a csv among them."""
    for name, pairs in (("val", draw_scored(1500)), ("matched", draw_scored(1200, seed=2))):
        pairs.to_parquet(tmp_path / f"mine-{name}.parquet")
    draw_scored(800, seed=1, prefix="V").to_csv(tmp_path / "mine-tune.csv", index=False)
    return tmp_path


def test_figures_are_those_of_an_audit_and_no_pair_is_kept(leaderboard, out, tmp_path):
    table = leaderboard.measure("mine", out, "val")
    pairs, tune = pd.read_parquet(out / "mine-val.parquet"), pd.read_csv(out / "mine-tune.csv")
    audit = audit_fairness(pairs, choose_threshold(tune)).groups.set_index(["grouping", "group"])
    of_list = table[table["list"] == "standard"]
    for metric in ("auc", "accuracy"):
        for row in of_list[(of_list["metric"] == metric) & (of_list["grouping"] != "control")].itertuples():
            expected = audit.loc[(row.grouping, row.group)]
            assert [row.value, row.low, row.high] == [*expected[[metric, f"{metric}_low", f"{metric}_high"]]]
            assert (row.n, row.families) == (expected["pairs"], expected["families"])
    assert {"overall", "race", "gender pair"} <= {*table["grouping"]}
    known, of_controls = controls(pairs).set_index("control"), of_list[of_list["grouping"] == "control"]
    assert {*of_controls["group"]} == {"same race", "same gender", "photos per person"} and len(of_controls) == 6
    for row in of_controls.itertuples():
        column = "auc" if row.metric == "auc" else "model_alike"
        expected = known.loc[row.group, [column, f"{column}_low", f"{column}_high", "pairs"]]
        assert [row.value, row.low, row.high, row.n] == [*expected]
    assert not {*pairs["face_a"], *pairs["family_a"]} & {*table.astype(str).to_numpy().ravel()}


def test_the_threshold_comes_from_other_pairs(leaderboard, out):
    shutil.copy(out / "mine-val.parquet", out / "mine-tune.parquet")
    with pytest.raises(InputError, match="mine-tune"):
        leaderboard.measure("mine", out, "val")
    (out / "mine-matched.parquet").unlink()
    (out / "mine-tune.parquet").unlink()
    with pytest.raises(InputError, match="mine-matched"):
        leaderboard.measure("mine", out, "val")


def test_lists_have_one_digest_if_their_pairs_are_the_same(leaderboard, draw_scored):
    pairs = draw_scored(100)
    turned = pairs.rename(columns={"face_a": "face_b", "face_b": "face_a"}).sample(frac=1, random_state=0)
    digest = leaderboard.digest_pairs(pairs)
    assert leaderboard.digest_pairs(turned) == digest
    assert leaderboard.digest_pairs(pairs.assign(kin=~pairs["kin"])) != digest
    assert leaderboard.digest_pairs(pairs[1:]) != digest


def test_the_page_ranks_models_and_parts_lists(leaderboard, out, tmp_path):
    folder = tmp_path / "cards"
    folder.mkdir()
    table = leaderboard.measure("mine", out, "val")
    better = table.assign(value=table["value"].where(table["metric"] != "auc", 0.99))
    for name, figures in (("mine", table), ("better", better), ("elsewhere", table.assign(digest="0" * 12))):
        figures.to_csv(folder / f"{name}.csv", index=False)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(CARD | {"by": name}))
    page = leaderboard.write_page(folder)
    assert page.count("## 1,500 pairs of") == 2
    assert page.index("| better |") < page.index("| mine |") < page.index("| elsewhere |")
    assert "<b>" not in page and "&lt;b&gt;a&#124;b&lt;/b&gt;" in page
    row = table[(table["grouping"] == "overall") & (table["metric"] == "auc")].iloc[0]
    assert f".{1000 * row['value']:.0f} [.{1000 * row['low']:.0f}, .{1000 * row['high']:.0f}]" in page
    assert page.count("| the control alone |") == 2 * 3 and "{{" not in page
    (folder / "mine.yaml").write_text("model: mine")
    with pytest.raises(InputError, match=r"mine\.yaml"):
        leaderboard.write_page(folder)


def test_the_page_that_is_there_is_of_the_figures_that_are_there(leaderboard):
    assert (ROOT / "docs" / "leaderboard.md").read_text() == leaderboard.write_page(ROOT / "docs" / "leaderboard")
