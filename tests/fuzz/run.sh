#!/usr/bin/env bash
# One fuzzer for a while: tests/fuzz/run.sh PROGRAM SECONDS. Replays tests/fuzz/corpus/NAME (small, kept), then mutates
# from it; what it learns goes beside the program and is used again next time. A crash leaves its input there.
set -u
program=$1 seconds=$2 name=${1##*/fuzz_}
kept=tests/fuzz/corpus/$name learned=$program.corpus
mkdir -p "$learned"
dirs=("$learned")
[ -d "$kept" ] && dirs+=("$kept")
dict=tests/fuzz/$name.dict
"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$program." ${dict:+$([ -f "$dict" ] && echo "-dict=$dict")} "${dirs[@]}" >"$program.log" 2>&1
status=$?
if [ $status = 0 ]; then
    echo "ok - fuzz_$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$program.log") inputs, $(ls "$kept" 2>/dev/null | wc -l) in the corpus"
else
    grep -vE '^(#[0-9]+|INFO:|  0x|=>0x)' "$program.log" | tail -n 100
    echo "not ok - fuzz_$name: exit status $status; the input is at $program.*"
fi
exit $status
