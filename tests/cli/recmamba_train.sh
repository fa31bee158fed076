#!/usr/bin/env bash
# recmamba train from outside: what a run leaves, every objective, killed and stopped runs that go on to the same bytes, a
# full disk, what is refused before work begins, and that it learns.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program recmamba
export OMP_WAIT_POLICY=passive
log=recsys/data/ml-latest-small.csv.gz
core=(--min-user 5 --min-item 5)
train=("$bin/recmamba" train "$log" "${core[@]}" -m mamba4rec:d16:n1:s4 --window 100 --batch 40 --evaluate-every 0.4 --save-every 0.2
    --log-every 1 -t 2 --quiet)
twelve=(--steps 12)
many=(--steps 5000 --patience 0) # never reached

# ---- a run, and what it leaves
check "a dry run" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/whole" --dry-run
check "tells sizes, steps, memory" test "$(grep -cE '^(model|log|split|epoch|step|memory|output) ' <<<"$out")" = 7
check "and writes nothing" test ! -e "$tmp/whole"
check "twelve steps" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/whole"
check "a table of validation and test, the model and three floors" test "$(grep -cE '^(Mamba4Rec|popularity|markov-1|item-knn) ' <<<"$out")" = 8
fingerprint=$(sed -n 's/^split //p' <<<"$out")
run "$bin/recmamba" info "$log" "${core[@]}" --quiet
check "the fingerprint is that of recmamba info" has "$out" "${fingerprint:-none}"
for f in config.json model.safetensors items.txt recsys.json run.json report.html metrics.jsonl; do
    check "it leaves $f" test -s "$tmp/whole/$f"
done
check "an item a line" test "$(wc -l <"$tmp/whole/items.txt")" = "$(sed -n 's/^items  *\([0-9]*\).*/\1/p' <<<"$out" | head -1)"
check "twelve lines of training" test "$(grep -c '"train"' "$tmp/whole/metrics.jsonl")" = 12
check "evaluations judged by NDCG" grep -q '"ndcg@10"' "$tmp/whole/metrics.jsonl"
check "the record has the figures" grep -q '"test_filtered_ndcg@10"' "$tmp/whole/run.json"
check "nothing unfinished stays" test -z "$(find "$tmp/whole" -name '*unfinished*' -o -name '*.tmp.*')"
check "the same command again changes nothing" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/whole"
check "one thread" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/single" -t 1 --no-floors
check "the same bytes" same "$tmp/whole/model.safetensors" "$tmp/single/model.safetensors"
check "another seed" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/seed" --seed 5 --no-floors
check "other bytes" test "$(cmp "$tmp/whole/model.safetensors" "$tmp/seed/model.safetensors" 2>&1)"

# ---- objectives and batches
for loss in sampled bpr gbce bce; do
    check "--loss $loss" exits 0 "${train[@]}" --steps 2 -o "$tmp/$loss" --loss $loss --no-floors
done
check "negatives by popularity" exits 0 "${train[@]}" --steps 2 -o "$tmp/popular" --loss sampled --draw popularity --negatives 20 --no-floors
check "the softmax without the pad" exits 0 "${train[@]}" --steps 2 -o "$tmp/padless" --no-pad-in-softmax --no-floors
check "RecBole's windows and early stopping" exits 0 "${train[@]}" --steps 2 -o "$tmp/windows" --mode windows --window 20 --batch 64 \
    --early-stop recbole --no-floors
check "overlapping windows" exits 0 "${train[@]}" --steps 2 -o "$tmp/overlap" --overlap 20 --no-floors
check "whole histories, judged by the loss" exits 0 "${train[@]}" --steps 2 -o "$tmp/long" --window 0 --judge loss --no-floors
check "micro-batches, another schedule" exits 0 "${train[@]}" --steps 2 -o "$tmp/micro" --micro-batches 3 --schedule cosine --warmup 0.5 \
    --average 0.9 --no-floors
check "a split by time" exits 0 "${train[@]}" --steps 2 -o "$tmp/time" --split time --valid-from 2015-01-01 --test-from 2016-01-01 --no-floors
check "trained further, from its weights" exits 0 "${train[@]}" --steps 1 -m "$tmp/whole" -o "$tmp/further" --no-floors
check "from its configuration, drawn afresh" exits 0 "${train[@]}" --steps 1 -m "$tmp/whole/config.json" -o "$tmp/fresh" --no-floors
for model in mamba4rec-2:d16:s4 recmamba:d16:s4 mamba:d16:s4; do
    check "-m $model" exits 0 "${train[@]}" --steps 2 -m $model -o "$tmp/$model" --no-floors
done
check "without dropout, Mamba's own start, a residual" exits 0 "${train[@]}" --steps 2 -o "$tmp/other" --dropout 0 --init mamba --residual always \
    --no-floors
check "parts of a step drop the same out" exits 0 "${train[@]}" --steps 1 -o "$tmp/parts" --micro-batches 4 --no-floors
check "one part" exits 0 "${train[@]}" --steps 1 -o "$tmp/part" --no-floors
loss() { sed -n 's/.*"train".*"loss": \([0-9.]*\).*/\1/p' "$1/metrics.jsonl"; }
check "the same loss, to rounding" awk -v a="$(loss "$tmp/parts")" -v b="$(loss "$tmp/part")" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < 1e-10) }'
check "patience ends it" exits 0 "${train[@]}" --steps 5000 --rate 0 --patience 2 -o "$tmp/patience" --no-floors
check "after three evaluations" test "$(grep -c '"valid"' "$tmp/patience/metrics.jsonl")" = 3
check "RecBole's rule counts equals as better" exits 75 "${train[@]}" --steps 5000 --rate 0 --patience 1 --early-stop recbole \
    -o "$tmp/equal" --max-minutes 0.03
check "so it went on" test "$(grep -c '"valid"' "$tmp/equal/metrics.jsonl")" -ge 1

# ---- kill -9 and signals
"${train[@]}" "${twelve[@]}" -o "$tmp/killed" >"$tmp/.out" 2>"$tmp/.err" </dev/null &
pid=$!
wait_saved "$tmp/killed" 4 || true
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
check "it goes on" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/killed" -t 1
check "killed and resumed on another number of threads: the same bytes" same "$tmp/whole/model.safetensors" "$tmp/killed/model.safetensors"
check "its metrics have each step once" test "$(grep '"train"' "$tmp/killed/metrics.jsonl" | sed 's/.*"step": \([0-9]*\),.*/\1/' | tr '\n' ' ')" = \
    "1 2 3 4 5 6 7 8 9 10 11 12 "
steps=0 status=75
for ((i = 0; i < 40 && status == 75; i++)); do # stopped by its clock after each step
    run "${train[@]}" "${twelve[@]}" -o "$tmp/bits" --max-minutes 0.000001 --loss sampled --negatives 8 --no-floors
    steps=$((steps + 1))
done
check "stopped again and again, it ends" test "$status $((steps > 6))" = "0 1"
check "the same in one go" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/go" --loss sampled --negatives 8 --no-floors
check "to the same bytes" same "$tmp/bits/model.safetensors" "$tmp/go/model.safetensors"
"${train[@]}" "${many[@]}" -o "$tmp/stopped" >"$tmp/.out" 2>"$tmp/.err" </dev/null &
pid=$!
wait_saved "$tmp/stopped" 2 || true
kill -USR2 "$pid" 2>/dev/null
wait "$pid"
status=$?
check "SIGUSR2 ends with 75" test "$status" = 75
before=$(saved "$tmp/stopped")
check "with the step at hand kept" test "${before:-0}" -ge 2
check "other settings are refused" exits 2 "${train[@]}" "${many[@]}" --rate 1e-4 -o "$tmp/stopped"
check "another split is refused" exits 2 "${train[@]}" "${many[@]}" --min-item 4 -o "$tmp/stopped" --dry-run

# ---- a full disk: files may not grow beyond 20 kB
check "a step" exits 75 "${train[@]}" "${twelve[@]}" -o "$tmp/full" --max-minutes 0.000001
first=$(saved "$tmp/full")
(trap '' XFSZ && ulimit -f 20 && exec "${train[@]}" "${twelve[@]}" -o "$tmp/full") >"$tmp/.out" 2>"$tmp/.err" </dev/null
status=$? err=$(cat "$tmp/.err")
check "a full disk ends with 74" test "$status" = 74
check "the checkpoint before it stays" test -e "$tmp/full/checkpoints/step-0000000${first:-x}/state.json"
check "with room again it goes on" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/full"
check "to the same bytes" same "$tmp/whole/model.safetensors" "$tmp/full/model.safetensors"

# ---- what is refused, with a reason, before work begins
refused() { # status, part of the message, arguments...
    local want=$1 part=$2
    shift 2
    check "refused: $part" exits "$want" "${train[@]}" --steps 2 "$@"
    check "  it says so" has "$err" "$part"
    check "  and leaves nothing" test ! -e "$tmp/refused"
}
check "no output folder is wrong usage" exits 2 "${train[@]}" "${twelve[@]}"
refused 2 "must be less than --window" -o "$tmp/refused" --overlap 100
refused 2 "the softmax is over all items" -o "$tmp/refused" --negatives 5
refused 2 "after a preset come" -o "$tmp/refused" -m mamba:q3
refused 2 "is of mamba4rec" -o "$tmp/refused" -m mamba:d16 --residual always
refused 2 "--window must be" -o "$tmp/refused" -m recmamba --window 0
refused 74 "is no preset" -o "$tmp/refused" -m "$tmp/nowhere"
refused 65 "another item set" -o "$tmp/refused" -m "$tmp/whole" --min-item 4
refused 74 "has no items.txt" -o "$tmp/refused" -m genomics/models/multispecies
refused 2 "has no times" -o "$tmp/refused" --columns user=userId,item=movieId,time=- --split time --test-from 5
printf 'u1 a\nu2 b\n' >"$tmp/short.txt"
check "nothing to learn from" exits 65 "$bin/recmamba" train "$tmp/short.txt" --format sequences -o "$tmp/refused" --quiet
check "  it says so" has "$err" "nothing to learn from"
: >"$tmp/file"
check "-o that is a file" exits 2 "${train[@]}" "${twelve[@]}" -o "$tmp/file"

# ---- it learns
check "21 epochs of the excerpt" exits 0 "$bin/recmamba" train "$log" "${core[@]}" -m mamba4rec:d32:s8 --epochs 21 --batch-positions 1024 \
    --rate 3e-3 --evaluate-every 3 --quiet -o "$tmp/learned"
value() { sed -n "/^$1 /,/^$2/p" <<<"$out" | awk -v name="$3" -v c="$4" '$1 == name { print $(NF - 6 + c); exit }'; }
more() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { exit !(a > by * b) }'; }
check "validation NDCG@10 above popularity's" more "$(value valid test Mamba4Rec 2)" "$(value valid test popularity 2)" 1.2
if [ -e "$shared/data/recsys/ml-100k.inter.xz" ]; then
    check "four epochs of ml-100k" exits 0 "$bin/recmamba" train "$shared/data/recsys/ml-100k.inter.xz" "${core[@]}" -m mamba4rec:d32:s16 \
        --epochs 4 --batch-positions 2048 --rate 3e-3 --quiet -o "$tmp/ml100k"
    check "the floors are the published ones" test "$(value test none popularity 1) $(value test none markov-1 2)" = "0.0498 0.0559"
    check "test NDCG@10 is twice popularity's" more "$(value test none Mamba4Rec 2)" "$(value test none popularity 2)" 2
else
    skip "no ml-100k in $shared"
fi
finish
