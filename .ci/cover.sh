#!/usr/bin/env bash
# make cover: runs units and command-line tests in a build that counts, prints lines and branches taken for each source.
# A source built for several instruction sets is shown as the build that ran most.
set -u
cd "$(dirname "$0")/.." || exit 1
MAKE=${MAKE:-make}
"$MAKE" --no-print-directory MODE=cover all tests >/dev/null || exit 1
bin=$("$MAKE" -s MODE=cover list-bin) objects=${bin%/bin}
find "$objects" -name '*.gcda' -delete
export SEQMAMBA_SHARED=${SEQMAMBA_SHARED:-$PWD/../shared}
failed=0
for t in $("$MAKE" -s MODE=cover list-tests); do "$t" >/dev/null 2>&1 || { echo "failed: ${t##*/}"; failed=1; }; done
for s in tests/cli/*.sh; do
    [ "$s" = tests/cli/lib.sh ] || grep -q '^# only: ' "$s" || SEQMAMBA_BIN=$bin bash "$s" >/dev/null 2>&1 || { echo "failed: $s"; failed=1; }
done
find "$objects" -name '*.gcno' | while read -r notes; do gcov -n -b -o "$notes" "$notes" 2>/dev/null; done |
    awk -v q="'" '
        /^File /                { f = $2; gsub(q, "", f); use = f ~ /^(kernels|core|genomics|recsys|timeseries|pipelines)\/.*\.c$/ }
        /^Lines executed:/      { split($2, a, ":"); l = a[2] + 0; nl = $4; better = use && l >= line[f] + 0; if (better) { line[f] = l; lines[f] = nl } }
        /^Taken at least once:/ { split($4, a, ":"); if (better) { branch[f] = a[2] + 0; branches[f] = $6 } }
        END {
            for (f in line) {
                printf "  %-32s %5.1f %% of %5d lines  %5.1f %% of %5d branches\n", f, line[f], lines[f], branch[f], branches[f] | "sort"
                l1 += line[f] * lines[f] / 100; l0 += lines[f]; b1 += branch[f] * branches[f] / 100; b0 += branches[f]
            }
            close("sort")
            if (l0 && b0) printf "  %-32s %5.1f %% of %5d lines  %5.1f %% of %5d branches\n", "all", 100 * l1 / l0, l0, 100 * b1 / b0, b0
        }'
exit $failed
