#!/usr/bin/env bash
# Reports: one file each, that a browser shows without complaint and without the network.
. "$(dirname "$0")/lib.sh"
need_program dna-mamba
m=$bin/dna-mamba demo=tests/data/seeded
check "score writes a page" exits 0 "$m" score genomics/data/lambda.fa.gz --regions genomics/data/lambda.bed -m $demo --mask-stride 2 \
    -o "$tmp/s.tsv" --report "$tmp/score.html"
check "train" exits 0 "$m" train genomics/data/lambda.fa.gz -o "$tmp/run" -m caduceus-ps-tiny:d16 --block 2k --valid 0.2 --window 128 \
    --steps 6 --batch-tokens 1k --evaluate-every 2 --log-every 1
check "finetune" exits 0 "$m" finetune genomics/data/phages.tsv -m "$tmp/run" -o "$tmp/tuned" --epochs 1
check "evaluate" exits 0 "$m" evaluate genomics/data/phages.tsv -m "$tmp/tuned" -o "$tmp/again"
check "a report over the input is refused" exits 2 "$m" score genomics/data/phix174.fa -m $demo -o "$tmp/t.tsv" --report genomics/data/phix174.fa
check "and in no folder" exits 74 "$m" score genomics/data/phix174.fa -m $demo -o "$tmp/t.tsv" --report "$tmp/no/where.html"
check "then there is no table either" test ! -e "$tmp/t.tsv"
browser=''
for b in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || browser=$(command -v $b)
done
pages=("$tmp/score.html" "$tmp/run/report.html" "$tmp/tuned/report.html" "$tmp/again/report.html")
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
