"""``swinface evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from swinface.benchmarks.benchmark import COLUMNS, Benchmark, Evaluation, Predictor, count_digits, run_benchmarks
from swinface.choices import SHIPPED, Precision, Runtime
from swinface.files import InputError, replacing_folder, write_json
from swinface.inference import Shards
from swinface.model import SwinFace


def evaluate(
    *,
    benchmarks: dict[str, Benchmark],
    model: Path = SHIPPED,
    out: Path | None = None,
    precision: Precision = "fast",
    runtime: Runtime = "auto",
    shards: Path | None = None,
    devices: int = 1,
    num_nodes: int = 1,
) -> None:
    """Run the benchmarks whose data are present, and compare the figures with the paper's.

    Intervals are 95%; see each protocol in ``swinface.benchmarks.protocols``.

    Parameters
    ----------
    benchmarks
        Benchmarks by name; ``configs/swinface/evaluate.yaml`` lists all, ``--benchmarks.lfw.path FILE`` changes one.
    model
        Folder of a trained model; by default the released model.
    out
        Folder to write results.json, results.csv and the tables behind them to.
    precision
        ``fast``: bfloat16 if the device multiplies in it natively; ``full``: float32.
    runtime
        The library that runs the model. ``auto``: OpenVINO on a CPU, if the extra ``fast`` is installed and its outputs
        agree with torch's; otherwise torch.
    shards
        Folder of partial results on large sets, from which an interrupted evaluation resumes. It is deleted at the end.
    devices
        Number of devices per machine; several need ``shards``.
    num_nodes
        Number of machines; start the same command on each.
    """
    for name in benchmarks:
        if Path(name).name != name:
            raise InputError(f"benchmarks: {name!r} would be in the names of files; write it without slashes.")
    parts = Shards.start(shards, devices, num_nodes)
    owned = ["results.json", "results.csv", "*_table.csv"]
    with replacing_folder(out, owned) if parts.first and out is not None else nullcontext() as folder:
        network = SwinFace.from_pretrained(model).to(parts.device)
        found = run_benchmarks(benchmarks, Predictor(network, precision=precision, runtime=runtime, shards=parts))
        if folder is not None:
            about = {"model": str(model), "results": found.rows, "skipped": found.skipped, "failed": found.failed}
            write_json(folder / "results.json", about)
            pd.DataFrame(found.rows, columns=COLUMNS).to_csv(folder / "results.csv", index=False)
            for name, table in found.tables.items():
                table.to_csv(folder / f"{name}_table.csv")
    parts.finish()
    if parts.first:  # after all is written: whoever reads it may stop at the first lines
        _print(found)
    if found.failed:
        for name, reason in found.failed.items():
            print(f"failed {name}: {reason}", file=sys.stderr)
        raise InputError(
            f"{len(found.failed)} of {len(benchmarks)} benchmarks have data that cannot be used, see above."
        )
    if not found.rows:
        raise InputError("no benchmark could be run, see above; name folders that hold their data.")


def _print(found: Evaluation) -> None:
    for name, obstacle in found.skipped.items():
        print(f"skipped {name}: {obstacle}")
    for name, table in found.tables.items():
        text = table.to_string(float_format="{:.2f}".format, index_names=False)
        print(f"\n{name}, {' and '.join(table.index.names)} by row\n{text}")
    if found.rows:
        print(_describe_results(found.rows))


def _describe_results(rows: Sequence[dict]) -> str:
    lines = []
    for row in rows:
        number = f".{count_digits(row['metric'])}f"
        shown = {key: "" if row[key] is None else f"{row[key]:{number}}" for key in ("ours", "low", "high", "paper")}
        interval = f"[{shown['low']}, {shown['high']}]" if shown["low"] else ""
        difference = "" if row["difference"] is None else f"{row['difference']:+{number}}"
        lines.append(
            (row["benchmark"], row["metric"], shown["ours"], interval, shown["paper"], difference, f"{row['n']:,}")
        )
    columns = ["benchmark", "metric", "ours", "95% interval", "paper", "difference", "n"]
    return f"\n{pd.DataFrame(lines, columns=columns).to_string(index=False)}"
