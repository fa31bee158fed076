#!/usr/bin/env bash
# Reports: one file each, that a browser shows without complaint and without the network.
# only: cli
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
m=$bin/dna-mamba demo=tests/data/seeded
check "score writes a page" exits 0 "$m" score genomics/data/lambda.fa.gz --regions genomics/data/lambda.bed -m $demo --mask-stride 2 \
    -o "$tmp/s.tsv" --report "$tmp/score.html"
check "train" exits 0 "$m" train genomics/data/lambda.fa.gz -o "$tmp/run" -m caduceus-ps-tiny:d16 --block 2k --valid 0.2 --window 128 \
    --steps 6 --batch-tokens 1k --evaluate-every 2 --log-every 1
check "finetune" exits 0 "$m" finetune genomics/data/phages.tsv -m "$tmp/run" -o "$tmp/tuned" --epochs 1
check "evaluate" exits 0 "$m" evaluate genomics/data/phages.tsv -m "$tmp/tuned" -o "$tmp/again"
check "variants" exits 0 "$m" variants genomics/data/phix174.vcf -r genomics/data/phix174.fa -m $demo --score llr,l2 --window 128 \
    -o "$tmp/v.vcf" --report "$tmp/variants.html"
check "track" exits 0 "$m" track genomics/data/phix174.fa -m $demo --regions NC_001422.1:1-600 --mask-stride 2 -o "$tmp/t.bedgraph" \
    --report "$tmp/track.html"
check "reads" exits 0 "$m" reads genomics/data/phix174.fa -m $demo --mask-stride 2 -o "$tmp/r.bam" --report "$tmp/reads.html"
for f in npy h5; do
    run "$m" embed genomics/data/lambda.fa.gz -m $demo --bin 500 -o "$tmp/e.$f" --report "$tmp/embed_$f.html"
    if has "$err" libhdf5; then skip "embed into .h5: this build has no HDF5"; else check "embed into .$f" test "$status" = 0; fi
done
check "it names the sequence and counts its rows" grep -q '<td>NC_001416.1</td>.*98' <(tr -d '\n' <"$tmp/embed_npy.html")
check "a report of embed needs rows to look at" exits 2 "$m" embed genomics/data/phix174.fa -m $demo -o "$tmp/e.tsv" --report "$tmp/x.html"
check "and not over the input" exits 2 "$m" embed genomics/data/phix174.fa -m $demo -o "$tmp/f.npy" --report genomics/data/phix174.fa
check "then nothing is there" test ! -e "$tmp/f.npy" -a ! -e "$tmp/x.html"
pages=(embed_npy score variants track reads)
[ ! -e "$tmp/embed_h5.html" ] || pages+=(embed_h5)
run "$m" ism genomics/data/phix174.fa -m $demo --regions NC_001422.1:301-330 --flank 50 -o "$tmp/ism" --report "$tmp/ism.html"
if has "$err" cairo; then
    skip "ism: this build draws no pictures"
else
    check "ism" test "$status" = 0
    check "its picture is in the page" grep -q 'data:image/svg+xml;base64' "$tmp/ism.html"
    pages+=(ism)
fi
check "a report over the input is refused" exits 2 "$m" score genomics/data/phix174.fa -m $demo -o "$tmp/t.tsv" --report genomics/data/phix174.fa
check "so for variants" exits 2 "$m" variants genomics/data/phix174.vcf -r genomics/data/phix174.fa -m $demo -o "$tmp/w.vcf" \
    --report genomics/data/phix174.vcf
check "and in no folder" exits 74 "$m" score genomics/data/phix174.fa -m $demo -o "$tmp/t.tsv" --report "$tmp/no/where.html"
check "then there is no table either" test ! -e "$tmp/t.tsv"
browser=''
for b in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || browser=$(command -v $b)
done
pages=("${pages[@]/%/.html}" run/report.html tuned/report.html again/report.html)
pages=("${pages[@]/#/$tmp/}")
for page in "${pages[@]}"; do
    check "${page#"$tmp"/} names its run" grep -q 'Record of the run' "$page"
    if [ -z "$browser" ]; then
        skip "no Chromium to open ${page#"$tmp"/} in: apt-get install chromium"
        continue
    fi
    run "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$tmp/browser" --enable-logging=stderr --v=0 \
        --dump-dom "file://$page"
    check "${page#"$tmp"/}: the browser reads it to the end" has "$out" "Record of the run"
    check "${page#"$tmp"/}: and has nothing to say about it" test -z "$(grep -E 'CONSOLE|Refused to' "$tmp/.err")"
done
finish
