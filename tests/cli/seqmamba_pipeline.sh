#!/usr/bin/env bash
# The rest of what seqmamba does with pipelines: the examples run as they stand, parts are gathered to the bytes of one run,
# status, report, schema and init; what is interrupted in one of several parts.
. "$(dirname "$0")/lib.sh"
need_program seqmamba
need_program dna-mamba
s=$bin/seqmamba
model=genomics/models/multispecies
limit=300

# ---- the examples
for p in pipelines/phages.yaml pipelines/train_score.yaml; do
    check "$p: nothing wrong" exits 0 "$s" check "$p" --no-estimate --set "output=$tmp/x"
done
run bash -n pipelines/run.sbatch
check "run.sbatch is a program to bash" test $status = 0
p=(pipelines/phages.yaml --set "output=$tmp/phages" --set steps.score.with.regions=NC_001416.1:1-3000)
check "phages.yaml" exits 0 "$s" run "${p[@]}" --parallel 2
check "all seven steps" has "$err" "7 steps done"
check "the score, without parts" exits 0 "$bin/dna-mamba" score genomics/data/lambda.fa.gz -m $model --regions NC_001416.1:1-3000 \
    --window 1000 --mask-stride 4 -o "$tmp/score.tsv" -q
check "is the gathered one" cmp -s "$tmp/score.tsv" "$tmp/phages/score.tsv"
check "--shard of a part that is not there" exits 2 "$s" run "${p[@]}" --only score --shard 7
check "--shard without --only" exits 2 "$s" run "${p[@]}" --shard 1
check "a task of an array" exits 0 env SLURM_ARRAY_TASK_ID=1 "$s" run "${p[@]}" --only score --shard auto --force all
check "does its part alone" has "$err" "score-1-of-2: done"
check "1 step" has "$err" "1 steps done"
rm "$tmp/phages/parts/score/0-of-2/score.tsv"
run "$s" plan "${p[@]}"
check "plan sees the lost part" grep -q "^out of date.score-0-of-2" <<<"$out"
check "and run makes it again" exits 0 "$s" run "${p[@]}"

# ---- status, report
check "status" exits 0 "$s" status "${p[@]}"
check "says what is done" test "$(grep -c '^done' <<<"$out")" = 7
check "with memory and host" grep -qE "^done.genes.*iB.$(hostname)" <<<"$out"
check "report" exits 0 "$s" report "${p[@]}" -o "$tmp/r.html"
for part in '<!DOCTYPE html>' 'alike-cosine' 'SHA-256' 'bits_per_base' "$tmp/phages/genes.npy"; do
    check "the page has $part" grep -qF "$part" "$tmp/r.html"
done
check "and loads nothing" test -z "$(grep -oE '(src|href)="https?:[^"]*' "$tmp/r.html")"
check "status of what never ran" exits 0 "$s" status "${p[@]}" --set "output=$tmp/none"
check "says so" test "$(grep -c '^not begun' <<<"$out")" = 7
check "report of what never ran" exits 74 "$s" report "${p[@]}" --set "output=$tmp/none"
check "nothing was made by looking" test ! -e "$tmp/none"

# ---- schema, init
check "schema" exits 0 "$s" schema -o "$tmp/schema.json"
if command -v python3 >/dev/null; then
    run python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(len(d["$defs"]["step"]["allOf"]))' "$tmp/schema.json"
    check "it is JSON, with a rule for each command" test "$out" -ge 10
else
    skip "no python3: the schema is not read back"
fi
check "init" exits 0 "$s" init dna-mamba embed nearest -o "$tmp/i.yaml"
check "it overwrites nothing" exits 1 "$s" init dna-mamba embed -o "$tmp/i.yaml"
check "what it wrote lacks its inputs" exits 2 "$s" check "$tmp/i.yaml"
check "and nothing else" test "$(grep -c ': error: ' <<<"$err")" = 2
sed -i -e "s|\[INPUT\]|[genomics/data/phix174.fa]|; s|MODEL\$|$model|" "$tmp/i.yaml"
check "with them nothing is wrong" exits 0 "$s" check "$tmp/i.yaml" --no-estimate
check "init of a command that is none" exits 2 "$s" init dna-mamba embde
check "has a suggestion" has "$err" 'did you mean "embed"?'
check "a dry run writes nothing" exits 0 "$s" init dna-mamba embed -o "$tmp/j.yaml" --dry-run
check "so nothing is there" test ! -e "$tmp/j.yaml"

# ---- gather by hand
for k in 0 1 2; do
    run "$bin/dna-mamba" embed genomics/data/phix174.fa -m $model --window 500 --shard $k/3 -o "$tmp/$k.npy" -q
done
run "$bin/dna-mamba" embed genomics/data/phix174.fa -m $model --window 500 -o "$tmp/all.npy" -q
check "gather" exits 0 "$s" gather "$tmp"/{0,1,2}.npy -o "$tmp/g.npy"
check "the rows of one run" cmp -s "$tmp/g.npy" "$tmp/all.npy"
check "and their names" cmp -s "$tmp/g.npy.index.tsv" "$tmp/all.npy.index.tsv"
check "its record names the parts" grep -q "$tmp/1.npy" "$tmp/g.npy.run.json"
check "out of order" exits 65 "$s" gather "$tmp"/{0,2,1}.npy -o "$tmp/h.npy"
check "one missing" exits 65 "$s" gather "$tmp"/{0,1}.npy -o "$tmp/h.npy"
check "not there" exits 74 "$s" gather "$tmp"/{0,1,7}.npy -o "$tmp/h.npy"
check "onto a part" exits 2 "$s" gather "$tmp"/{0,1,2}.npy -o "$tmp/1.npy"
check "nothing was written" test ! -e "$tmp/h.npy"
check "a shard beyond the last" exits 2 "$bin/dna-mamba" embed genomics/data/phix174.fa -m $model --shard 3/3 -o "$tmp/x.npy"
check "more parts than sequences" exits 0 "$bin/dna-mamba" score genomics/data/phix174.fa -m $model --shard 1/2 -o "$tmp/x.tsv" -q
check "an empty one has titles" test "$(wc -l <"$tmp/x.tsv")" = 1
check "from standard input there are no parts" exits 2 bash -c "'$bin/dna-mamba' score - -m $model --shard 0/2 <genomics/data/phix174.fa"
finish
