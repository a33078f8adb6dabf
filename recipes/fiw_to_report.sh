#!/usr/bin/env bash
# From a copy of FIW to a report that says for whom a model fails, and how much of kinship it keeps.
#
#   recipes/fiw_to_report.sh FIW OUT                  the released model (10 minutes on two CPU cores)
#   recipes/fiw_to_report.sh FIW OUT runs/mine        a model of your own, the folder of a run of `kinface fit`
#
# FIW is the folder with Train, Validation and lists; without a copy, draw one: kinface synthesize --out FIW
# The threshold is chosen on tune pairs, of families that are neither trained on nor reported.
set -euo pipefail
fiw=$1 out=$2 model=${3:-shipped}

kinface prepare "$fiw" --out "$out/tables"
kinface score --model "$model" --root "$out/tables" --list tune --out "$out/tune.parquet"
kinface score --model "$model" --root "$out/tables" --list "$fiw/lists/val_choose.txt" --out "$out/scores.parquet"
kinface report "$out/scores.parquet" --threshold-from "$out/tune.parquet" --out "$out/report"
