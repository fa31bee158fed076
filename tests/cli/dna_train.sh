#!/usr/bin/env bash
# dna-mamba train from outside: a killed or stopped run goes on to the same bytes, a full disk harms nothing, impossible
# settings are refused before work begins, and what comes out is a model to every other verb.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
export OMP_WAIT_POLICY=passive
genome=genomics/data/lambda.fa.gz
train=("$bin/dna-mamba" train "$genome" -m caduceus-ps-tiny:d16:n2 --block 2k --valid 0.2 --window 256 --batch-tokens 512
    --evaluation-windows 4 --evaluate-every 4 --save-every 2 --log-every 1 -t 2 --quiet)
twelve=(--steps 12)
many=(--steps 5000) # never reached

# ---- a run, and what it leaves
check "twelve steps" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/whole"
for f in config.json model.safetensors run.json splits.bed metrics.jsonl; do
    check "it leaves $f" test -s "$tmp/whole/$f"
done
check "twelve lines of training, three evaluations" test "$(grep -c '"train"' "$tmp/whole/metrics.jsonl") $(
    grep -c '"valid"' "$tmp/whole/metrics.jsonl")" = "12 3"
check "nothing unfinished stays" test -z "$(find "$tmp/whole" -name '*unfinished*' -o -name '*.tmp.*')"
printf '>a\n%s\n' ACGTTGCAACGGTCATTGCAAACCGT >"$tmp/a.fa"
check "score takes the model" exits 0 "$bin/dna-mamba" score "$tmp/a.fa" -m "$tmp/whole" --quiet
check "its laws hold" exits 0 "$bin/dna-mamba" info "$tmp/whole" --certify
check "score takes a checkpoint" exits 0 "$bin/dna-mamba" score "$tmp/a.fa" -m "$tmp/whole/checkpoints/step-00000012" --quiet
check "trained further, from its weights" exits 0 "$bin/dna-mamba" train "$genome" -m "$tmp/whole" -o "$tmp/further" \
    --block 2k --valid 0.2 --window 256 --batch-tokens 512 --steps 1 --evaluation-windows 1 --quiet
sum=$(sha256sum <"$tmp/whole/model.safetensors")
check "the same command again changes nothing" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/whole"
check "the same bytes" test "$sum" = "$(sha256sum <"$tmp/whole/model.safetensors")"

# ---- kill -9 and signals
"${train[@]}" "${twelve[@]}" -o "$tmp/killed" >"$tmp/.out" 2>"$tmp/.err" </dev/null &
pid=$!
wait_saved "$tmp/killed" 4 || true
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
check "killed after step 4 or so: no model yet, or all was done" test ! -e "$tmp/killed/model.safetensors" -o "$(saved "$tmp/killed")" = 12
check "it goes on" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/killed" -t 1
check "killed and resumed on another number of threads: the same bytes" same "$tmp/whole/model.safetensors" "$tmp/killed/model.safetensors"
check "its metrics have each step once" test "$(grep '"train"' "$tmp/killed/metrics.jsonl" | sed 's/.*"step": \([0-9]*\),.*/\1/' | tr '\n' ' ')" = \
    "1 2 3 4 5 6 7 8 9 10 11 12 "

"${train[@]}" "${many[@]}" -o "$tmp/stopped" >"$tmp/.out" 2>"$tmp/.err" </dev/null &
pid=$!
wait_saved "$tmp/stopped" 2 || true
run "${train[@]}" "${many[@]}" -o "$tmp/stopped" --max-minutes 0.001
if has "$err" "another process"; then ok "a second process is kept away"; else check "a second process is kept away" false; fi
kill -TERM "$pid" 2>/dev/null
wait "$pid"
status=$?
check "SIGTERM ends with 75" test "$status" = 75
before=$(saved "$tmp/stopped")
check "with the step at hand kept" test "${before:-0}" -ge 2
check "it goes on, and stops by its clock" exits 75 "${train[@]}" "${many[@]}" -o "$tmp/stopped" --max-minutes 0.001
check "one step further" test "$(saved "$tmp/stopped")" -gt "${before:-0}"
check "other settings are refused" exits 2 "${train[@]}" "${many[@]}" --rate 1e-3 -o "$tmp/stopped" --splits "$tmp/whole/splits.bed"
check "before anything is overwritten: a dry run too" exits 2 "${train[@]}" "${many[@]}" --rate 1e-3 -o "$tmp/stopped" --dry-run

# ---- a full disk: files may not grow beyond 20 kB
check "two steps" exits 75 "${train[@]}" "${twelve[@]}" -o "$tmp/full" --max-minutes 0.000001
first=$(saved "$tmp/full")
(trap '' XFSZ && ulimit -f 20 && exec "${train[@]}" "${twelve[@]}" -o "$tmp/full") >"$tmp/.out" 2>"$tmp/.err" </dev/null
status=$? err=$(cat "$tmp/.err")
check "a full disk ends with 74" test "$status" = 74
check "the checkpoint before it stays" test -e "$tmp/full/checkpoints/step-0000000${first:-x}/state.json"
check "with room again it goes on" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/full"
check "to the same bytes" same "$tmp/whole/model.safetensors" "$tmp/full/model.safetensors"

# ---- refused before work begins
refused() { # status, what stderr says, arguments
    local want=$1 part=$2
    shift 2
    run "${train[@]}" "${twelve[@]}" -o "$tmp/none" "$@"
    if [ "$status" = "$want" ] && has "$err" "$part" && [ ! -e "$tmp/none" ]; then
        ok "refused: $*"
    else
        check "refused: $* ($want, \"$part\", nothing written)" false
    fi
}
touch "$tmp/file"
printf '>n\n%s\n' NNNNNNNNNNNNNNNN >"$tmp/n.fa"
printf 'nosuch\t0\t100\ttrain\n' >"$tmp/bad.bed"
refused 65 "shorter than a window" --window 100k --min-window 0
refused 2 "min-window" --min-window 512
refused 2 "both sides" --objective causal
refused 2 ":dWIDTH" -m caduceus-ps-tiny:x3
refused 74 "no preset" -m caduceus-ps-tinny
refused 65 "nosuch" --splits "$tmp/bad.bed"
refused 2 "--device" --device abacus
refused 2 "decay-share" --schedule wsd --warmup 0.6 --decay-share 0.6
refused 2 "is a file" -o "$tmp/file"
check "a dry run writes nothing" exits 0 "${train[@]}" "${twelve[@]}" -o "$tmp/none" --dry-run
check "and says what a run takes" has "$out" memory
check "nothing is there" test ! -e "$tmp/none"
check "N alone is no corpus" exits 65 "$bin/dna-mamba" train "$tmp/n.fa" -o "$tmp/none"
check "where to is asked" exits 2 "${train[@]}" "${twelve[@]}"

# ---- a moving average: what is exported is what was measured as the best, and at rate 0 has the same loss
rough=("$bin/dna-mamba" train "$genome" --block 2k --valid 0.2 --window 64 --batch-tokens 512 --evaluation-windows 8
    --log-every 0 --no-tensorboard -t 2)
number() { sed -n "s/.*\"$2\": \([0-9.]\{1,10\}\).*/\1/p" "$1/run.json"; }
check "an average" exits 0 "${rough[@]}" -m caduceus-ps-tiny:d16:n1 --steps 12 --evaluate-every 2 --rate 0.3 --clip 0 \
    --schedule constant --average 0.5 --warmup 0.5 --rate-start 1e-3 -o "$tmp/average"
check "the best is not the last here" [ "$(number "$tmp/average" best_step)" -lt 12 ]
check "it says which step's weights these are" has "$err" "weights of step $(number "$tmp/average" best_step): "
check "its model at rate 0" exits 0 "${rough[@]}" -m "$tmp/average" --steps 1 --rate 0 --rate-least 0 --rate-start 0 \
    -o "$tmp/again"
check "has the loss that was told" [ "$(number "$tmp/average" best_loss)" = "$(number "$tmp/again" best_loss)" ]

# ---- the original's weights come back from training as they went in: at rate 0 they still give its recorded outputs
for golden in caduceus_ps_even caduceus_ph_layernorm_untied_mul; do
    [ -d "$shared/golden/$golden" ] || { skip "no shared data: $golden"; continue; }
    check "$golden at rate 0" exits 0 "$bin/dna-mamba" train "$genome" -m "$shared/golden/$golden" -o "$tmp/$golden" --rate 0 \
        --rate-least 0 --rate-start 0 --block 2k --valid 0 --window 32 --batch-windows 2 --steps 1 --no-tensorboard
    check "its export is the original" exits 0 "$bin/seqmamba" verify "$tmp/$golden" --io "$shared/golden/$golden/io.safetensors"
done

# ---- rates that rise where they should fall, patience that nothing tries
refused 2 "--rate-least" --rate 1e-5
refused 2 "--patience" --patience 2 --evaluate-every 0
refused 2 "--patience" --patience 2 --valid 0
finish
