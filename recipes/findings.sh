#!/usr/bin/env bash
# Figures of docs/findings.md on the released models, from a licensed copy of FIW to tables in one folder. Not among
# them: the table of directions kept, the whitened recogniser (docs/leaderboard.md) and earlier models. They are torch's,
# in bfloat16 where the processor multiplies in it; another runtime rounds otherwise, and may choose another threshold.
#
#   recipes/findings.sh FIW OUT                      the two released models (forty minutes on two CPU cores)
#   EMBEDDINGS=dlib_fiw.npz recipes/findings.sh FIW OUT      the method comparison on another recogniser too (1 hour more)
#   OTHERS=others.csv OTHERS_EMBEDDINGS=dlib_utkface.npz EMBEDDINGS=...      and its rows with other people
#
# Each step is skipped if its result is there, so an interrupted script resumes.
set -euo pipefail
fiw=$1 out=$2
list=$fiw/lists/val_choose.txt
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
step() { [ -e "$1" ] || { echo "== $1" >&2; "${@:2}"; }; }
attackers=(--kind linear --kind mlp --kind kernel --kind trees --kind knn --kind qda)
fit_on=(--fit-on train --fit-on tune)

step "$out/tables" kinface prepare "$fiw" --out "$out/tables"
step "$out/matched.parquet" kinface pairs --root "$out/tables" --list "$list" --match race --match type --match gender \
    --out "$out/matched.parquet"

for model in shipped shipped-debiased; do
    step "$out/$model.npz" kinface embed --model "$model" --runtime torch --root "$out/tables" --out "$out/$model.npz"
    step "$out/$model-parts.npz" kinface embed --model "$model" --runtime torch --root "$out/tables" --features \
        --out "$out/$model-parts.npz"
    for pairs in tune "$list" "$out/matched.parquet"; do
        name=$model-$(basename "${pairs%.*}")
        step "$out/$name.parquet" kinface score --embeddings "$out/$model.npz" --root "$out/tables" --list "$pairs" \
            --out "$out/$name.parquet"
    done
    # What is left of race and gender, for six attackers that are fitted on all other families too, and for two part by
    # part of the model.
    step "$out/attackers-$model" kinface probe "$out/$model.npz" --people "$out/tables" --split val "${fit_on[@]}" \
        --attribute race --attribute gender "${attackers[@]}" --out "$out/attackers-$model"
    step "$out/parts-$model" kinface probe "$out/$model-parts.npz" --people "$out/tables" --split val "${fit_on[@]}" \
        --attribute race --attribute gender --out "$out/parts-$model"
    # For whom it fails, and how much of kinship it keeps.
    step "$out/report-$model" kinface report "$out/$model-val_choose.parquet" \
        --threshold-from "$out/$model-tune.parquet" --out "$out/report-$model"
done

for pairs in val_choose matched; do
    step "$out/compare-$pairs" kinface report "$out/shipped-debiased-$pairs.parquet" \
        --threshold-from "$out/shipped-debiased-tune.parquet" --compare "$out/shipped-$pairs.parquet" \
        --compare-threshold-from "$out/shipped-tune.parquet" --out "$out/compare-$pairs"
done

# An upper bound for every attacker, if a face is handed out as one of a few cells; and people by the mean of their faces.
bound() {
    python "$here/benchmarks/bound.py" --root "$out/tables" --list "$list" --embeddings "$out"/shipped{,-debiased}.npz \
        > "$out/bound.partial" && mv "$out/bound.partial" "$out/bound.txt"
}
step "$out/bound.txt" bound
step "$out/people" kinface probe "$out/shipped-debiased.npz" --people "$out/tables" --split val "${fit_on[@]}" \
    --attribute race --attribute gender --each person --seeds 1 --kind linear --kind mlp --kind kernel --kind qda \
    --kind knn --out "$out/people"

families() {
    python "$here/benchmarks/attacker_families.py" --people "$out/tables" --embeddings "$out"/shipped{,-debiased}.npz \
        --out "$out/families"
}
step "$out/families.csv" families

sweep() {
    kinface sweep "$here/configs/kinface/ablation.yaml" --root "$out/tables" --list "$list" --embeddings "$EMBEDDINGS" \
        "${fit_on[@]}" "$@"
}
if [ -n "${EMBEDDINGS:-}" ]; then
    step "$out/sweep/frontier.csv" sweep --out "$out/sweep"
fi
if [ -n "${OTHERS:-}" ]; then
    step "$out/sweep-others/frontier.csv" sweep --others "$OTHERS" --others-embeddings "$OTHERS_EMBEDDINGS" --only none \
        --only leace --only transport --only ours --only ours_and_transport --only ours_and_discrepancy \
        --out "$out/sweep-others"
fi
python "$here/benchmarks/tables.py" "$out" | tee "$out/tables.md"
