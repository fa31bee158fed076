#!/usr/bin/env bash
# Pipelines from outside, on lambda and phiX with the bundled model: check tells everything at once, plan says why, run
# does what is needed and no more, what was killed or stopped goes on to the same bytes, two runs refuse each other.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program seqmamba
need_program dna-mamba
s=$bin/seqmamba
model=genomics/models/multispecies

cat >"$tmp/p.yaml" <<YAML
version: 1
output: $tmp/out
vars: {model: $model}
defaults: {model: "\${vars.model}", threads: 2}
steps:
  genes:
    run: dna-mamba embed
    inputs: [genomics/data/lambda.fa.gz]
    with: {regions: genomics/data/lambda.bed, output: "\${output}/genes.npy"}
  phix:
    run: dna-mamba embed
    inputs: genomics/data/phix174.fa
    with: {bin: 500, output: "\${output}/phix.npy"}
  near:
    run: dna-mamba nearest
    matrix: {measure: [cosine, l2]}
    inputs: ["\${steps.phix}"]
    with: {index: "\${steps.genes}", measure: "\${matrix.measure}", k: 3, output: "\${output}/\${name}.tsv"}
YAML
p=$tmp/p.yaml
results() { (cd "$1" && sha256sum genes.npy genes.npy.index.tsv phix.npy phix.npy.index.tsv near-cosine.tsv near-l2.tsv); }
state_of() { "$s" plan "$@" 2>/dev/null | awk -F'\t' 'NR > 1 { printf "%s=%s ", $2, $1 }'; }

# ---- check
check "check" exits 0 "$s" check "$p"
check "says that nothing is wrong" has "$out" "4 steps, nothing wrong"
check "and what a step takes, in its program's words" has "$out" "  memory "
check "and what is not known yet" has "$out" "known when this has run"
check "it writes nothing" test ! -e "$tmp/out"
check "--resolved" exits 0 "$s" check "$p" --resolved --set steps.near.with.k=5
printf '%s\n' "$out" >"$tmp/resolved.yaml"
check "what is resolved reads as a pipeline" exits 0 "$s" check "$tmp/resolved.yaml" --no-estimate
check "of as many steps" has "$out" "4 steps"
cat >"$tmp/bad.yaml" <<'YAML'
version: 1
output: build/never
steps:
  a:
    run: dna-mamba embed
    inputs: [genomics/data/phix174.fa]
    with: {modle: x, bin: ten, output: a.npy}
  b:
    run: dna-mamba embd
YAML
check "a bad file ends with 2" exits 2 "$s" check "$tmp/bad.yaml"
for part in 'bad.yaml:7:12: error: dna-mamba embed has no option "modle"; did you mean "model"?' \
    'bad.yaml:7:27: error: bin: "ten" is not a whole number' 'bad.yaml:9:10: error: run: dna-mamba has no command "embd"; did you mean "embed"?'; do
    check "told at once: ${part#*error: }" has "$err" "$part"
done
check "an input that is not there" exits 2 "$s" check "$p" --set steps.phix.inputs=nosuch.fa
check "is told with its place" has "$err" "nosuch.fa is not there, and no step writes it"
check "a model that is not there" exits 74 "$s" check "$p" --set vars.model=nosuch/model
check "is told by the program" has "$err" "genes: "
check "no file" exits 2 "$s" check "$tmp/nosuch.yaml"
check "no programs" exits 2 "$s" check "$p" --programs "$tmp"
check "says where they are sought" has "$err" "dna-mamba is not there: it is sought in $tmp"

# ---- plan and run
check "plan" has "$(state_of "$p")" "genes=new phix=new near-cosine=waits near-l2=waits"
check "run" exits 0 "$s" run "$p"
check "four steps done" has "$err" "4 steps done"
for f in pipeline.yaml steps/genes/{log,config.yaml,events.jsonl,done.json,stdout}; do
    check "it leaves $f" test -e "$tmp/out/$f"
done
check "nothing unfinished stays" test -z "$(find "$tmp/out" -name '*unfinished*' -o -name '*.tmp.*' -o -name '*.partial' -o -name started.json)"
results "$tmp/out" >"$tmp/sums"
check "by hand: the same bytes" exits 0 "$bin/dna-mamba" embed genomics/data/phix174.fa -m $model --bin 500 -o "$tmp/phix.npy" -q
check "as the step's" cmp -s "$tmp/phix.npy" "$tmp/out/phix.npy"
check "a step's config runs alone" exits 0 "$bin/dna-mamba" nearest --config "$tmp/out/steps/near-l2/config.yaml" --output -
check "with the same result" test "$out" = "$(cat "$tmp/out/near-l2.tsv")"
check "again: nothing to do" exits 0 "$s" run "$p"
check "all up to date" has "$err" "0 steps done in"
check "other threads: nothing to do" has "$(state_of "$p" --set defaults.threads=1)" "genes=up to date phix=up to date near-cosine=up to date near-l2=up to date"
check "another bin" has "$(state_of "$p" --set steps.phix.with.bin=100)" "genes=up to date phix=out of date near-cosine=waits"
run "$s" plan "$p" --set steps.phix.with.bin=100
check "says why" has "$out" "bin was 500, is 100"
rm "$tmp/out/near-l2.tsv"
check "a result that was lost" exits 0 "$s" run "$p"
check "is made again, alone" has "$err" "1 steps done in"
check "--force" exits 0 "$s" run "$p" --force phix
check "runs it, and what its same bytes feed stays" has "$err" "1 steps done in"
check "the same bytes" test "$(results "$tmp/out")" = "$(cat "$tmp/sums")"
check "--only of what is not there" exits 2 "$s" run "$p" --only nera
check "has a suggestion" has "$err" "near"
check "--only with its needs up to date" exits 0 "$s" run "$p" --only near --force all
check "side by side" exits 0 "$s" run "$p" --set "output=$tmp/side" --parallel 4
check "the same bytes side by side" test "$(results "$tmp/side" | cut -c1-64)" = "$(cut -c1-64 "$tmp/sums")"
check "--only without what it needs" exits 1 "$s" run "$p" --set "output=$tmp/none" --only near
check "says what" has "$err" "is needed and not up to date"

# ---- a step that fails
check "a failing step" exits 65 "$s" run "$p" --set "output=$tmp/fail" --set steps.genes.with.regions=nosuch:1-10 --keep-going
check "its log's end is shown" has "$err" "---- the end of $tmp/fail/steps/genes/log"
check "what does not need it is done" test -s "$tmp/fail/phix.npy"
check "what needs it is left out" has "$err" "2 left out"
check "no record of it" test ! -e "$tmp/fail/steps/genes/done.json"
check "repaired, it goes on" exits 0 "$s" run "$p" --set "output=$tmp/fail" --allow-change
check "to the same bytes" test "$(results "$tmp/fail" | cut -c1-64)" = "$(cut -c1-64 "$tmp/sums")"

# ---- two runs, kill -9, signals: a training run of some seconds
cat >"$tmp/t.yaml" <<YAML
version: 1
output: $tmp/train
steps:
  train:
    run: dna-mamba train
    inputs: [genomics/data/lambda.fa.gz]
    with: {model: "caduceus-ps-tiny:d16:n2", output: "\${output}/model", block: 2k, valid: 0.2, window: 256, batch-tokens: 512,
      evaluation-windows: 4, evaluate-every: 100, save-every: 2, log-every: 1, steps: 400, threads: 2}
  score:
    run: dna-mamba score
    inputs: [genomics/data/phix174.fa]
    with: {model: "\${steps.train}", output: "\${output}/score.tsv", mask-stride: 2}
YAML
t=$tmp/t.yaml
same_training() { cmp -s "$tmp/train/model/model.safetensors" "$1/model/model.safetensors" && cmp -s "$tmp/train/score.tsv" "$1/score.tsv"; }
check "train, then score" exits 0 "$s" run "$t"
for how in KILL USR2; do
    o=$tmp/$how
    "$s" run "$t" --set "output=$o" >"$tmp/.out" 2>"$tmp/$how.err" </dev/null &
    pid=$!
    wait_saved "$o/model" 4 60
    if [ $how = USR2 ]; then
        check "a second run is refused" exits 1 "$s" run "$t" --set "output=$o"
        check "with the owner's process" has "$err" "process $pid on"
        check "and --only too" exits 1 "$s" run "$t" --set "output=$o" --only score
    fi
    kill -$how $pid
    wait $pid 2>/dev/null
    status=$?
    last="kill -$how"
    if [ $how = USR2 ]; then
        check "a signal ends it with 75" test $status = 75
        check "the step is interrupted" has "$(state_of "$t" --set "output=$o")" "train=interrupted score=waits"
    fi
    check "after $how: no model yet" test ! -e "$o/model/model.safetensors" -a ! -e "$o/steps/train/done.json"
    if [ $how = USR2 ]; then
        check "with another rate it is refused" exits 2 "$s" run "$t" --set "output=$o" --set steps.train.with.rate=1e-2
        check "and says what changed" has "$err" "rate was 0.008, is 0.01"
    fi
    check "after $how: the same command" exits 0 "$s" run "$t" --set "output=$o"
    check "after $how: comes to the same bytes" same_training "$o"
    check "after $how: it went on, not anew" test "$(grep -c '"step": 1, "kind": "train"' "$o/model/metrics.jsonl")" = 1
done
check "max_minutes" exits 75 "$s" run "$t" --set "output=$tmp/clock" --set run.max_minutes=0.01
check "a pipeline of pipelines" exits 2 "$s" check "$t" --set 'steps.train.run=seqmamba run'
check "is refused" has "$err" "a pipeline cannot be a step"
finish
