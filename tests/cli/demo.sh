#!/usr/bin/env bash
# make demo's script: it ends well, writes what it says, and what it claims about the model is so.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
SEQMAMBA_BIN=$bin check "the demonstration runs" exits 0 bash genomics/demo.sh "$tmp/demo"
for f in phix174.npy phix174.bins.tsv likelihood.tsv likelihood.html; do
    check "it leaves $f" test -s "$tmp/demo/$f"
    check "and names it" has "$out" "$f"
done
check "real sequence is likelier than the same read backwards, and than its letters alone" \
    awk 'NR > 1 { bits[$1] = $11; order0[$1] = $12 } END { exit !(bits["NC_001422.1"] < order0["NC_001422.1"] - 0.02 && bits["backwards"] > bits["NC_001422.1"] + 0.03) }' \
    "$tmp/demo/likelihood.tsv"
finish
