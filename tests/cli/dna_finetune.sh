#!/usr/bin/env bash
# dna-mamba finetune, predict and evaluate from outside: training on a small table, answers, going on after kill -9, bad
# inputs.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
export OMP_WAIT_POLICY=passive # on a busy machine spinning workers take minutes
dna=$bin/dna-mamba data=$top/genomics/data
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
tiny=(-m caduceus-ps-tiny:d16:n2 --epochs 4 --rate 4e-3 --save-every 1 --keep 9 --no-tensorboard)

check "finetune" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -o a
check "finetune: a report" has "$(cat a/report.txt)" "confusion"
check "finetune: k-mers beside it" has "$(cat a/report.txt)" "k-mers"
check "finetune: intervals" grep -q '"low": 0' a/report.json
check "finetune: answers for the test part" [ "$(wc -l <a/predictions.tsv)" = 41 ]
check "finetune: the original's class" has "$(cat a/config.json)" CaduceusForSequenceClassification
check "finetune: names of labels" has "$(cat a/config.json)" '"lambda": 0'
check "finetune: the folder is a model" exits 0 "$dna" embed "$data/phix174.fa" -m a -o e.npy --quiet
check "finetune: same weights on one thread" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -o b --threads 1
check "finetune: same bits" cmp a/model.safetensors b/model.safetensors
if command -v python3 >/dev/null; then
    check "finetune: report.json is JSON" python3 -c 'import json; r = json.load(open("a/report.json")); assert sum(map(sum, r["confusion"])) == 40 and r["metrics"]["mcc"]["low"] <= r["metrics"]["mcc"]["value"]'
fi

# Killed somewhere in the middle, the same command ends with the same bits.
"$dna" finetune "$data/phages.tsv" "${tiny[@]}" -o c >/dev/null 2>&1 &
pid=$!
for _ in $(seq 2400); do
    compgen -G 'c/checkpoints/step-0000000[4-9]' >/dev/null && break
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
done
kill -9 "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
check "finetune: nothing final after kill -9" [ ! -e c/model.safetensors ]
check "finetune: goes on" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -o c
check "finetune: it said so" has "$err" "going on after step"
check "finetune: same bits as one that was not killed" cmp a/model.safetensors c/model.safetensors
check "finetune: same report" cmp a/predictions.tsv c/predictions.tsv
check "finetune: other settings in the same folder are refused" exits 2 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --batch 7 -o c

sed 's/"add"/"ew_multiply"/' a/config.json >other.json
sed 's/"add"/"add"/' a/config.json >same.json
check "finetune: a configuration" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -m same.json --epochs 1 -o conf
cp other.json same.json
check "finetune: a configuration that was edited in between is refused" exits 2 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -m same.json --epochs 1 -o conf

check "finetune --folds" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --epochs 1 --folds 2 --seeds 2 --freeze -o f
check "finetune --folds: every example once" [ "$(wc -l <f/predictions.tsv)" = 201 ]
check "finetune --folds: four runs" [ "$(grep -c '^ *[01] ' f/report.txt)" = 4 ]
check "finetune --seeds: other weights" [ "$(cmp -s f/fold-0-seed-0/model.safetensors f/fold-0-seed-1/model.safetensors; echo $?)" = 1 ]
check "finetune: micro-batches" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --micro-batches 3 -o micro
check "finetune: micro-batches give the same, up to rounding" [ "$(awk -F'\t' 'NR == FNR { x[$1] = $6; next } FNR > 1 && (x[$1] - $6) ^ 2 > 1e-6' a/predictions.tsv micro/predictions.tsv | wc -l)" = 0 ]
check "finetune: masked" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --masked 0.3 -o masked
check "finetune: masked, micro-batches" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --masked 0.3 --micro-batches 3 -o masked3
far() { awk -F'\t' 'NR == FNR { x[$1] = $6; next } FNR > 1 && (x[$1] - $6) ^ 2 > 1e-6' "$1/predictions.tsv" "$2/predictions.tsv" | wc -l; }
check "finetune: the same bases are masked in micro-batches" [ "$(far masked masked3)" = 0 ]
check "finetune: and masks matter" [ "$(far a masked)" != 0 ]
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print $0, "split"; next } { print $0, NR % 5 == 0 ? "test" : NR % 7 == 0 ? "dev" : "train" }' "$data/phages.tsv" >split.tsv
check "finetune: given parts" exits 0 "$dna" finetune split.tsv "${tiny[@]}" --epochs 1 -o split
check "finetune: given parts: the test part is what was given" [ "$(awk 'NR > 1 { split($2, p, ":"); if (p[2] % 5) print }' split/predictions.tsv | wc -l)" = 0 ]
check "finetune: given parts: all of it" [ "$(wc -l <split/predictions.tsv)" = 41 ]
check "evaluate --part" exits 0 "$dna" evaluate split.tsv --part test -m split
check "evaluate --part: what finetune reported" grep -q "$(awk '$1 == "accuracy" { print "accuracy *" substr($2, 1, 6) }' <<<"$out")" split/report.txt
for fold in 0 1; do
    check "finetune --freeze: a backbone" exits 0 "$dna" score "$data/phix174.fa" -m f/fold-$fold-seed-0/checkpoints/step-00000001 -o s$fold.tsv
done
check "finetune --freeze: it is as it was, whatever the head learned" cmp s0.tsv s1.tsv
check "finetune --freeze: the head learned" [ "$(cmp -s f/fold-0-seed-0/model.safetensors f/fold-1-seed-0/model.safetensors; echo $?)" = 1 ]
# Windows that overlap by half: left to themselves they come to train and test alike.
awk 'BEGIN { for (i = 0; i < 40; i++) printf "NC_001422.1\t%d\t%d\t%s\n", i * 50, i * 50 + 100, i % 20 < 10 ? "a" : "b" }' >half.bed
cp "$data/phix174.fa" g.fa
check "finetune --shared" exits 0 "$dna" finetune half.bed --genome g.fa "${tiny[@]}" --shared 51 --folds 2 --dry-run -o no
check "finetune --shared: one chain of windows cannot be divided" exits 65 "$dna" finetune half.bed --genome g.fa "${tiny[@]}" --shared 50 --folds 2 --dry-run -o no
check "finetune --shared: it says how many groups there are" has "$err" "1 different sequences"
check "finetune --dry-run writes nothing" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -o no --dry-run
check "finetune --dry-run: no folder" [ ! -e no ]

check "predict" exits 0 "$dna" predict "$data/phix174.fa" -m a --window 100 -o p.tsv
check "predict: a line a window" [ "$(wc -l <p.tsv)" = 55 ]
check "predict: probabilities sum to 1" [ "$(awk -F'\t' 'NR > 1 && ($9 + $10 < 0.99999 || $9 + $10 > 1.00001)' p.tsv | wc -l)" = 0 ]
# Both strands of a place: an equivariant model says the same to the last digit.
printf 'NC_001422.1\t9\t211\tf\t0\t+\nNC_001422.1\t9\t211\tr\t0\t-\n' >r.bed
cp "$data/phix174.fa" p.fa
check "predict: both strands" exits 0 "$dna" predict p.fa -m a --regions r.bed
check "predict: both strands alike" [ "$(cut -f8- <<<"$out" | tail -n +2 | uniq | wc -l)" = 1 ]
check "predict: same in little memory" [ "$("$dna" predict "$data/phix174.fa" -m a --window 100 --threads 1 --memory 300k 2>/dev/null)" = "$(cat p.tsv)" ]
check "predict: a model without a head is refused" exits 74 "$dna" predict p.fa -m "$top/tests/data/seeded"
check "predict: and says what is wanted" has "$err" "dna-mamba finetune"
check "predict: a table" exits 0 "$dna" predict "$data/phages.tsv" -m a -o t.tsv
check "predict: a table: as evaluate would" [ "$(awk -F'\t' 'NR == FNR { x[$1] = $6; next } FNR > 1 && x[$1] + 0 != $9 + 0' a/predictions.tsv t.tsv | wc -l)" = 160 ]
check "predict without -m" exits 2 "$dna" predict p.fa

check "evaluate" exits 0 "$dna" evaluate "$data/phages.tsv" -m a -o ev --predictions ev.tsv
check "evaluate: metrics" has "$out" "mcc"
check "evaluate: agrees with the answers that finetune wrote" [ "$(awk -F'\t' 'NR == FNR { x[$1] = $6; next } FNR > 1 && x[$1] != $6' ev.tsv a/predictions.tsv | wc -l)" = 0 ]

# Other tasks, a few steps each.
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print "name", "seq", "label"; next } NR < 60 { g = gsub(/[GC]/, "&", $2); print $1, $2, g / 53 }' "$data/phages.tsv" >gc.tsv
check "finetune: numbers" exits 0 "$dna" finetune gc.tsv "${tiny[@]}" -o gc
check "finetune: numbers have a rank correlation" has "$(cat gc/report.txt)" spearman
check "predict: numbers" exits 0 "$dna" predict p.fa -m gc --window 500
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print "name", "seq", "a", "b"; next } NR < 60 { print $1, $2, $2 ~ /GC/, $2 ~ /TATA/ }' "$data/phages.tsv" >two.tsv
check "finetune: several labels" exits 0 "$dna" finetune two.tsv --label a,b "${tiny[@]}" --class-weights balanced --bias -o two
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print "name", "seq", "gc", "c"; next } NR < 60 { s = $2; g = gsub(/[GC]/, "&", s); print $1, $2, g / 53, gsub(/C/, "&", s) / 11 }' "$data/phages.tsv" >numbers.tsv
check "finetune: several numbers" exits 0 "$dna" finetune numbers.tsv --label gc,c "${tiny[@]}" --epochs 1 -o numbers
check "evaluate: several numbers" exits 0 "$dna" evaluate numbers.tsv --label gc,c -m numbers
check "evaluate: columns in another order are refused" exits 65 "$dna" evaluate numbers.tsv --label c,gc -m numbers
check "evaluate: and which" has "$err" "found label column 1 'c', expected the model's 'gc'"
check "predict: several labels" exits 0 "$dna" predict p.fa -m two --window 500
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print "name", "seq", "label"; next } NR < 60 { l = $2; gsub(/[GC]/, "s", l); gsub(/[AT]/, "w", l); print $1, $2, l }' "$data/phages.tsv" >bases.tsv
check "finetune: bases" exits 0 "$dna" finetune bases.tsv "${tiny[@]}" -o bases
check "finetune: bases of a model that is blind to the strand: it says so" has "$err" "labels that differ between the strands"
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print "name", "seq", "label"; next } NR < 60 { l = $2; gsub(/[AG]/, "r", l); gsub(/[CT]/, "y", l); print $1, $2, l }' "$data/phages.tsv" >purines.tsv
check "finetune: bases that differ between the strands, a model of one strand" exits 0 "$dna" finetune purines.tsv "${tiny[@]}" -m caduceus-ph-1k:d16:n1 --epochs 8 --rate 1e-2 -o purines
check "finetune: it learns them" grep -q '^accuracy  *1\.0000' purines/report.txt
check "finetune: and says nothing of strands" [ "$(grep -c "between the strands" <<<"$err")" = 0 ]
check "predict: bases" exits 0 "$dna" predict p.fa -m bases
check "predict: a character a base" [ "$(awk -F'\t' 'NR == 2 { print length($8) }' <<<"$out")" = 5386 ]
check "finetune: a model of one strand" exits 0 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" -m caduceus-ph-1k:d16:n2 --epochs 1 -o ph
check "predict: a model of one strand" exits 0 "$dna" predict p.fa -m ph --regions r.bed
check "predict: conjoined strands alike" [ "$(cut -f8- <<<"$out" | tail -n +2 | uniq | wc -l)" = 1 ]

check "finetune without -o" exits 2 "$dna" finetune "$data/phages.tsv" -m caduceus-ps-tiny
check "finetune: an unknown metric" exits 2 "$dna" finetune "$data/phages.tsv" "${tiny[@]}" --judge mmc -o x
check "finetune: the metrics there are" has "$err" "auroc"
check "finetune: no such file" exits 74 "$dna" finetune none.tsv "${tiny[@]}" -o x
printf 'seq\tlabel\nACGT\ta\nACGT\ta\n' >one.tsv
printf 'seq\tlabel\nACGTACGT\ta;b\nACGTACGA\t\nACGTACCA\tb\n' >none.tsv
check "finetune: an empty list of labels" exits 65 "$dna" finetune none.tsv "${tiny[@]}" -o x
check "finetune: says how it is meant" has "$err" "--task multi"
awk -F'\t' 'BEGIN { OFS = "\t" } NR == 1 { print $0, "split"; next } { print $0, NR % 4 == 0 && NR < 90 ? "valid" : NR % 3 ? "train" : "test" }' "$data/phages.tsv" | awk -F'\t' 'NR == 1 { c = NF } $c != "valid" || !label || $(c - 1) == label { if ($c == "valid") label = $(c - 1); print }' >onesided.tsv
check "finetune: one class held out" exits 0 "$dna" finetune onesided.tsv "${tiny[@]}" --epochs 1 -o onesided
check "finetune: the figure that is chosen by is not defined" has "$err" "mcc is not defined"
check "finetune: one class only" exits 65 "$dna" finetune one.tsv "${tiny[@]}" -o x
printf 'seq\tlabel\nACGT\ta\nAC!T\tb\n' >bad.tsv
check "finetune: a bad letter" exits 65 "$dna" finetune bad.tsv "${tiny[@]}" -o x
check "finetune: and where" has "$err" "bad.tsv:3"
printf 'seq\tlabel\nACGTACGT\tlambda\nACGTACGA\tmartian\n' >other.tsv
check "evaluate: a label that the model does not know" exits 65 "$dna" evaluate other.tsv -m a
check "evaluate: names it" has "$err" martian
printf 'seq\tlabel\tsplit\nACGTACGT\ta\ttrain\nACGTACGT\ta\ttest\nACGTACGA\tb\ttrain\n' >leak.tsv
check "finetune: parts that share sequences are refused" exits 65 "$dna" finetune leak.tsv "${tiny[@]}" -o x
truncate -s -8 a/model.safetensors
check "predict: weights cut short" exits 65 "$dna" predict p.fa -m a
finish
