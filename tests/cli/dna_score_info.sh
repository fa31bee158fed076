#!/usr/bin/env bash
# dna-mamba score and info from outside.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
dna=$bin/dna-mamba model=$top/tests/data/seeded
mkdir "$tmp/w" && cd "$tmp/w" || exit 1
head -c 700 "$top/genomics/data/phix174.fa" >p.fa

check "score" exits 0 "$dna" score p.fa -m "$model"
check "score: a header and a line" [ "$(wc -l <<<"$out")" = 2 ]
first=$out
check "score: totals on stderr" has "$err" "bits per base"
check "score: same numbers on one thread and in little memory" [ "$("$dna" score p.fa -m "$model" --threads 1 --memory 300k 2>/dev/null)" = "$first" ]
check "score --per-base" exits 0 "$dna" score p.fa -m "$model" -o s.tsv --per-base b.bedgraph
check "score --per-base: a line per base" [ "$(wc -l <b.bedgraph)" = "$(tail -n +2 p.fa | tr -d '\n' | wc -c)" ]
sum=$(awk '{ s += $4 } END { printf "%.3f", s }' b.bedgraph)
check "score --per-base: adds up to loglik" [ "$sum" = "$(awk -F'\t' 'NR == 2 { printf "%.3f", $10 }' s.tsv)" ]
check "score: provenance holds the totals" has "$(cat s.tsv.run.json)" '"bits_per_base"'
# The bases of a sequence on its reverse complement: an RC-equivariant model finds the same.
printf 'NC_001422.1\t0\t200\tf\t0\t+\nNC_001422.1\t0\t200\tr\t0\t-\n' >r.bed
"$dna" score p.fa -m "$model" --regions r.bed --mask-stride 0 -o rc.tsv 2>/dev/null
check "score: both strands alike" [ "$(awk -F'\t' 'NR > 1 { printf "%.2f\n", $10 }' rc.tsv | uniq | wc -l)" = 1 ]
check "score --scheme causal of a bidirectional model is refused" exits 2 "$dna" score p.fa -m "$model" --scheme causal
check "score --dry-run writes nothing" exits 0 "$dna" score p.fa -m "$model" -o no.tsv --dry-run
check "score --dry-run: no file" [ ! -e no.tsv ]

check "info" exits 0 "$dna" info "$model"
check "info: digest" has "$out" "$(sha256sum "$model/model.safetensors" | cut -c1-64)"
check "info: parameters" has "$out" "164160"
check "info --certify holds" exits 0 "$dna" info "$model" --certify
check "info --certify: the same bits for any memory" has "$out" "same bits"
check "info --certify: none is broken" [ "$(grep -c BROKEN <<<"$out")" = 0 ]
check "info --certify: equivariance holds to the bit" exits 0 "$dna" info "$model" --certify --tol 0
cp -r "$model" bad # its last weight is no number
printf '\xff\xff\xff\x7f' | dd of=bad/model.safetensors bs=1 seek=$(($(stat -c %s bad/model.safetensors) - 4)) conv=notrunc 2>/dev/null
check "info --certify of a broken model" exits 1 "$dna" info bad --certify
check "info --certify: says what is broken" has "$out" BROKEN
check "info --json" exits 0 "$dna" info "$model" --json --certify
if command -v python3 >/dev/null; then
    check "info --json is JSON" python3 -c 'import json, sys; j = json.load(sys.stdin); assert j["parameters"]["total"] == 164160 and all(l["holds"] for l in j["certify"])' <<<"$out"
fi
finish
