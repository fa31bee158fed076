#!/usr/bin/env bash
# seqmamba submit on a real Slurm of one node, private to this script: an array over parts gathered to the bytes of one
# run, a training job that is signalled, requeued and comes to the same bytes, one that is preempted. PBS and LSF: what is
# written is a program to bash, and is what it was.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program seqmamba
need_program dna-mamba
s=$bin/seqmamba

cat >"$tmp/p.yaml" <<YAML
version: 1
output: $tmp/out
defaults: {model: genomics/models/multispecies, threads: 1}
batch: {minutes: 10, cpus: 1, signal_seconds: 60, max_restarts: 5}
steps:
  rows:
    run: dna-mamba embed
    inputs: [genomics/data/lambda.fa.gz]
    shards: 3
    with: {window: 1000, bin: 100, output: "\${output}/rows.npy"}
  near:
    run: dna-mamba nearest
    inputs: ["\${steps.rows}"]
    with: {index: "\${steps.rows}", k: 1, exclude-self: true, output: "\${output}/near.tsv"}
    batch: {cpus: 2, memory: 100M, extra: ["--comment=words"], setup: ["export MB_TEST=1 # a line of shell"]}
  train:
    run: dna-mamba train
    inputs: [genomics/data/lambda.fa.gz]
    with: {model: "caduceus-ps-tiny:d16:n2", output: "\${output}/model", block: 2k, valid: 0.2, window: 256, batch-tokens: 512,
      evaluation-windows: 4, evaluate-every: 50, save-every: 2, log-every: 1, steps: 150}
YAML
p=$tmp/p.yaml

# ---- scripts, without any batch system
plain() { sed -e "s|$tmp|TMP|g" -e "s|$(readlink -f "$s")|SEQMAMBA|g" -e "s|$top|TOP|g" -e 's/^# .*//' "$1"; }
for system in slurm pbs lsf; do
    check "$system: scripts are written" exits 0 "$s" submit "$p" --system $system --dry-run --set "output=$tmp/$system" --set 'vars={x: it'"'"'s}'
    check "$system: nothing is handed in" test ! -e "$tmp/$system/jobs/submitted.tsv"
    for f in "$tmp/$system"/jobs/*; do
        run bash -n "$f"
        check "$system: ${f##*/} is a program to bash" test "$status" = 0
    done
    for f in rows-parts near; do
        file=$(ls "$tmp/$system/jobs/$f".*)
        plain "$file" >"$tmp/have"
        diff "tests/cli/golden/$system-$f.txt" "$tmp/have" >"$tmp/.out" 2>"$tmp/.err"
        status=$? last="diff tests/cli/golden/$system-$f.txt"
        check "$system: $f is as it was" test $status = 0
    done
    plain "$tmp/$system/jobs/submit.sh" >"$tmp/have"
    diff "tests/cli/golden/$system-submit.txt" "$tmp/have" >"$tmp/.out" 2>"$tmp/.err"
    status=$? last="diff tests/cli/golden/$system-submit.txt"
    check "$system: submit.sh is as it was" test $status = 0
done
check "an output folder that no script can name" exits 2 "$s" submit "$p" --dry-run --set "output=$tmp/a b"
check "--whole is one job" exits 0 "$s" submit "$p" --dry-run --whole --set "output=$tmp/whole"
check "that runs the pipeline" has "$(cat "$tmp/whole/jobs/pipeline.sbatch")" "$p --set"
PATH=/usr/bin:/bin run env -i PATH="$tmp" HOME=/ "$s" submit "$p" --set "output=$tmp/nosbatch"
check "without sbatch it says so" test "$status" = 1
check "and that nothing was handed in" has "$err" "nothing was handed in"

# ---- a Slurm of its own
up=$shared/slurm/slurm-up.sh
slurm=''
if [ "$(id -u)" != 0 ] || ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null || [ ! -e "$up" ]; then
    skip "a private Slurm needs root, slurm-wlm, munge and ../shared/slurm"
    finish
    exit
fi
slurm=$(mktemp -d /tmp/slXXXX) # sockets want short paths
chmod 755 "$slurm"
if ! SLURM_TEST_PORT=$((20000 + RANDOM % 20000)) bash "$up" "$slurm" 1 2 >"$tmp/up" 2>&1; then
    skip "Slurm did not start here: $(tail -1 "$tmp/up")"
    bash "$shared/slurm/slurm-down.sh" "$slurm" >"$tmp/down" 2>&1
    rm -rf "$slurm"
    finish
    exit
fi
trap 'bash "$shared/slurm/slurm-down.sh" "$slurm" >"$tmp/down" 2>&1; sleep 1; rm -rf "$slurm" "$tmp"' EXIT
export SLURM_CONF=$slurm/slurm.conf
. "$shared/slurm/slurm-lib.sh"
limit=300
unset OMP_NUM_THREADS

check "the same, run here" exits 0 "$s" run "$p" --set "output=$tmp/here" --parallel 2
check "submit" exits 0 "$s" submit "$p" --set "output=$tmp/out"
check "four jobs" test "$(wc -l <<<"$out")" = 4
rows=$(awk '$1 == "rows" { print $2 }' <<<"$out") near=$(awk '$1 == "near" { print $2 }' <<<"$out")
train=$(awk '$1 == "train" { print $2 }' <<<"$out")

# The training job: signalled when it has saved, requeued by its script, released at once (Slurm would wait two minutes).
check "the training job saves" wait_saved "$tmp/out/model" 4 180
scancel -s USR2 "$train"
release_requeued "$train"
check "signalled, it is stopped and not done" test ! -e "$tmp/out/steps/train/done.json"
run "$s" status "$p" --set "output=$tmp/out"
check "status says so" grep -qE "^(stopped|running).train" <<<"$out"
check "the training job ends" wait_gone "$train" 300
check "after one restart" test "$(job_field "$train" Restarts)" = 1
check "it went on, not anew" test "$(grep -c '"step": 1, "kind": "train"' "$tmp/out/model/metrics.jsonl")" = 1
check "to the bytes of a run without a signal" cmp -s "$tmp/out/model/model.safetensors" "$tmp/here/model/model.safetensors"
check "its restart is on record" grep -q '"restart": 1, "attempt": 2' "$tmp/out/steps/train/events.jsonl"
check "the jobs of the array end" wait_gone "$near" 300
for f in rows.npy rows.npy.index.tsv near.tsv; do
    check "$f: the bytes of a run without Slurm" cmp -s "$tmp/out/$f" "$tmp/here/$f"
done
check "without parts, by hand" exits 0 "$bin/dna-mamba" embed genomics/data/lambda.fa.gz -m genomics/models/multispecies --window 1000 --bin 100 -o "$tmp/all.npy" -q
check "the same bytes too" cmp -s "$tmp/out/rows.npy" "$tmp/all.npy"
check "the processors granted were used" grep -q "slurm job ${rows%%_*}" "$tmp/out/steps/rows/events.jsonl"
check "submit again: nothing to do" exits 0 "$s" submit "$p" --set "output=$tmp/out"
check "it says so" has "$err" "everything is up to date"

# Preemption by a job of a higher partition: the signal comes first, then the node is taken.
check "a second training job" exits 0 "$s" submit "$p" --set "output=$tmp/second" --set steps.rows=null --set steps.near=null
train=$(awk '$1 == "train" { print $2 }' <<<"$out")
wait_saved "$tmp/second/model" 4 180
high=$(sbatch --parsable -p high -n2 -N1 -t1 -o "$tmp/high.out" --wrap 'echo high')
wait_gone "$high" 120
release_requeued "$train"
check "preempted, the training job ends" wait_gone "$train" 300
check "after a restart" test "$(job_field "$train" Restarts)" -ge 1
check "with the same bytes" cmp -s "$tmp/second/model/model.safetensors" "$tmp/here/model/model.safetensors"
finish
